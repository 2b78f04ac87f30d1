"""Groups on a page of PDF (Form XObjects), laid open so that a scan inside them can be found.

Some programs wrap every page that they take over in a group. What is in it means the same without,
once its names are told apart from the page's. Read next: `scans`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pellucid.errors import ImageError, optional
from pellucid.images.painting import STRAY, differing, glance, instructions_of

DEEPEST = 4
"""Groups within groups that are laid open."""

MOST_PAINTED = 1_000_000
"""Groups that a page paints, those within groups counted each time."""

MOST = 100
"""Groups that are laid open at each depth; a page of more is no scan."""

_NAMED = {"Do": "/XObject", "gs": "/ExtGState", "sh": "/Shading", "Tf": "/Font"}
_NAMED |= dict.fromkeys(("cs", "CS"), "/ColorSpace")
_NAMED |= dict.fromkeys(("scn", "SCN"), "/Pattern")
_NAMED |= dict.fromkeys(("BDC", "DP"), "/Properties")
"""Where the names are explained that instructions use."""

_OPENS, _CLOSES = ("q", "BT", "BMC", "BDC"), ("Q", "ET", "EMC", "EMC")


def check(page: Any, instructions: Sequence[Any], name: str) -> None:
    """Refuse groups that hold themselves or others without end, which would be painted for ever.

    Args:
        page: pikepdf's page.
        instructions: What is on it, parsed.
        name: For messages.

    Raises:
        ImageError: There are such groups.
    """
    pikepdf = optional("pikepdf", "pdf")
    known: dict[tuple[int, int], int] = {}

    def painted(instructions: Sequence[Any], resources: Any) -> int:
        """How many groups are painted in all; one that is being counted counts as too many."""
        named = resources.get("/XObject", {})
        forms = {key: one for key, one in named.items() if one.get("/Subtype") == "/Form"}
        total = 0
        for one in instructions:
            form = forms.get(str(one.operands[0])) if str(one.operator) == "Do" else None
            if form is not None and form.objgen not in known:
                inside = form.get("/Resources", resources)
                known[form.objgen] = MOST_PAINTED
                deeper = any(
                    each.get("/Subtype") == "/Form" for each in inside.get("/XObject", {}).values()
                )
                known[form.objgen] = (
                    painted(list(pikepdf.parse_content_stream(form)), inside) if deeper else 0
                )
            total += 0 if form is None else 1 + known[form.objgen]
            if total >= MOST_PAINTED:
                return MOST_PAINTED
        return total

    here = page.get_resources()
    is_flat = all(each.get("/Subtype") != "/Form" for each in here.get("/XObject", {}).values())
    if not is_flat and painted(instructions, here) >= MOST_PAINTED:
        raise ImageError(
            f"{name}: a group on this page holds itself, or others without end; it is damaged, or "
            "made to harm"
        )


def opened(page: Any) -> Any:
    """A document of this one page, with its groups laid open.

    None where there are none with pictures in them, or where the page would not look the same.
    """
    pikepdf = optional("pikepdf", "pdf")
    if not _groups(page.get_resources()):
        return None
    alone = pikepdf.new()
    alone.pages.append(page)
    copy = alone.pages[0]
    before = instructions_of(copy)
    if not lay_open(alone, copy):
        return None
    seen = differing(glance(page, before), glance(copy, instructions_of(copy)))
    return alone if seen.sum() <= STRAY else None


def lay_open(pdf: Any, page: Any) -> bool:
    """Write a page's groups with pictures out in place of their names; False if there are none."""
    depth = 0
    while depth < DEEPEST and _lay_open_once(pdf, page, depth):
        depth += 1
    return depth > 0


def _lay_open_once(pdf: Any, page: Any, depth: int) -> bool:
    pikepdf = optional("pikepdf", "pdf")
    given = page.get_resources()
    resources = {key: pikepdf.Dictionary(dict(one.items())) for key, one in _tables(given)}
    forms = _groups(resources)
    body: list[bytes] = []
    count = 0
    for one in instructions_of(page):
        is_one = str(one.operator) == "Do" and count < MOST
        form = forms.get(str(one.operands[0])) if is_one else None
        inside = None if form is None else _contents(form, f"/G{depth}x{count}")
        if form is None or inside is None:
            body.append(pikepdf.unparse_content_stream([one]))
            continue
        content, names = inside
        body.append(content)
        count += 1
        for table, renamed in names.items():
            there = resources.setdefault(table, pikepdf.Dictionary())
            for name, value in renamed.items():
                there[name] = value
    if not count:
        return False
    page.Contents = pdf.make_stream(b"\n".join(body))
    whole = pikepdf.Dictionary(dict(given.items()))
    for table, entries in resources.items():
        whole[table] = entries
    page.Resources = whole
    return True


def _tables(resources: Any) -> Iterator[tuple[str, Any]]:
    """The parts of resources that explain names."""
    for key in set(_NAMED.values()):
        if key in resources:
            yield key, resources[key]


def _groups(resources: Any) -> dict[str, Any]:
    """The groups with a picture in them, however deep, that are always shown, by name."""
    named = resources.get("/XObject", {})
    return {name: one for name, one in named.items() if _has_pictures(one, set())}


def _has_pictures(one: Any, seen: set[tuple[int, int]]) -> bool:
    if one.get("/Subtype") != "/Form" or "/OC" in one or one.objgen in seen:
        return False
    seen.add(one.objgen)
    inside = one.get("/Resources", {}).get("/XObject", {})
    return any(
        each.get("/Subtype") == "/Image" or _has_pictures(each, seen) for each in inside.values()
    )


def _contents(form: Any, prefix: str) -> tuple[bytes, dict[str, dict[str, Any]]] | None:
    """A group's instructions with names of their own, and what these mean; None if it is unsafe."""
    pikepdf = optional("pikepdf", "pdf")
    instructions = list(pikepdf.parse_content_stream(form))
    tables = dict(_tables(form.Resources))
    open_ones = 0
    lines = []
    for one in instructions:
        what, given = str(one.operator), list(one.operands)
        if what == "INLINE IMAGE":
            return None  # which may use names that cannot be changed
        open_ones += (what in _OPENS) - (what in _CLOSES)
        if open_ones < 0:
            return None
        table = _NAMED.get(what)
        place = 0 if what in ("Do", "gs", "sh", "Tf", "cs", "CS") else -1
        if table in tables and given and isinstance(given[place], pikepdf.Name):
            name = str(given[place])
            if name in tables[table]:
                given[place] = pikepdf.Name(prefix + name[1:])
        lines.append(pikepdf.ContentStreamInstruction(given, one.operator))
    if open_ones:
        return None
    matrix = " ".join(str(number) for number in form.get("/Matrix", [1, 0, 0, 1, 0, 0]))
    left, low, right, high = (float(edge) for edge in form.BBox)
    frame = f"{left:.6f} {low:.6f} {right - left:.6f} {high - low:.6f} re W n"
    head = f"q {matrix} cm {frame}\n".encode()
    names = {
        table: {prefix + name[1:]: value for name, value in entries.items()}
        for table, entries in tables.items()
    }
    return head + pikepdf.unparse_content_stream(lines) + b"\nQ", names
