"""One page that shows a folder of results: ``index.html``, which opens without a server.

Everything is inside the page but the pictures, which are linked beside it. What comes from
outside is escaped. Read next: `panel` and `plots`, which make the pictures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from pellucid.images.files import atomic


@dataclass(frozen=True)
class Figure:
    """A picture with a line beneath it; several paths make a film with a slider (epochs).

    Attributes:
        paths: Picture files, at least one; a film starts at its last.
        caption: What it shows.
        labels: A name for each frame of a film; their numbers where absent.
    """

    paths: tuple[str | Path, ...]
    caption: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; columns of numbers are aligned to the right.

    Attributes:
        header: Names of the columns.
        rows: Text of every cell.
        best: Row that is set in bold, or None.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: int | None = None


@dataclass(frozen=True)
class Section:
    """A heading with, in this order: text, pictures, tables, and the command that made it.

    Attributes:
        title: The heading.
        text: Paragraphs, parted by empty lines.
        figures: Pictures, one below the other.
        tables: Tables of scores.
        command: What to type to get the same; lines as given.
        files: Files to look at, as links.
    """

    title: str
    text: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    command: str = ""
    files: tuple[str | Path, ...] = ()


def index(
    folder: str | Path,
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    footer: str = "",
) -> Path:
    """Write ``folder/index.html`` and return its path.

    Args:
        folder: Where the page goes; paths of pictures are taken from here when relative.
        title: The heading of the page.
        sections: What it shows, in order.
        lead: A sentence under the title.
        footer: A line at the end, for example version and date.
    """
    folder = Path(folder)
    parts = [_section(folder, number, section) for number, section in enumerate(sections, 1)]
    links = "".join(
        f'<a href="#part-{number}">{escape(section.title)}</a>'
        for number, section in enumerate(sections, 1)
    )
    page = _PAGE.format(
        title=escape(title),
        style=_STYLE,
        lead=f'<p class="lead">{escape(lead)}</p>' if lead else "",
        contents=f"<nav>{links}</nav>" if len(sections) > 2 else "",
        body="\n".join(parts),
        footer=f"<footer>{escape(footer)}</footer>" if footer else "",
        script=_SCRIPT if any(len(f.paths) > 1 for s in sections for f in s.figures) else "",
    )
    path = folder / "index.html"
    with atomic(path) as beside:
        beside.write(page.encode())
    return path


def _section(folder: Path, number: int, section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(text.strip())}</p>" for text in section.text.split("\n\n") if text]
    parts += [_figure(folder, figure) for figure in section.figures]
    parts += [_table(table) for table in section.tables]
    if section.command:
        parts.append(f"<pre><code>{escape(section.command)}</code></pre>")
    if section.files:
        links = ", ".join(
            f'<a href="{_link(folder, file)}">{escape(Path(file).name)}</a>'
            for file in section.files
        )
        parts.append(f'<p class="files">Files: {links}</p>')
    return f'<section id="part-{number}">\n' + "\n".join(parts) + "\n</section>"


def _figure(folder: Path, figure: Figure) -> str:
    caption = f"<figcaption>{escape(figure.caption)}</figcaption>" if figure.caption else ""
    link = _link(folder, figure.paths[-1])
    with Image.open(folder / figure.paths[-1]) as picture:
        width, height = picture.size
    image = (
        f'<a href="{link}"><img src="{link}" width="{width}" height="{height}" '
        f'alt="{escape(figure.caption)}" loading="lazy"></a>'
    )
    if len(figure.paths) == 1:
        return f"<figure>{image}{caption}</figure>"
    labels = figure.labels or tuple(str(i + 1) for i in range(len(figure.paths)))
    frames = escape(
        "\n".join(
            f"{_link(folder, path)} {label}"
            for path, label in zip(figure.paths, labels, strict=True)
        )
    )
    last = len(figure.paths) - 1
    slider = (
        f'<div class="slide"><button type="button" aria-label="Play">▶︎</button>'
        f'<input type="range" min="0" max="{last}" value="{last}" aria-label="Frame">'
        f"<output>{escape(labels[-1])}</output></div>"
    )
    return f'<figure class="film" data-frames="{frames}">{slider}{image}{caption}</figure>'


def _table(table: Table) -> str:
    numeric = [
        bool(table.rows)
        and all(_is_number(row[c]) for row in table.rows if c < len(row) and row[c].strip(" –-"))
        for c in range(len(table.header))
    ]

    def line(cells: Sequence[str], tag: str, mark: str = "") -> str:
        inner = "".join(
            f"<{tag}{' class=number' if c < len(numeric) and numeric[c] else ''}>"
            f"{escape(text)}</{tag}>"
            for c, text in enumerate(cells)
        )
        return f"<tr{mark}>{inner}</tr>"

    rows = "\n".join(
        line(row, "td", " class=best" if r == table.best else "")
        for r, row in enumerate(table.rows)
    )
    return (
        f'<div class="wide"><table><thead>{line(table.header, "th")}</thead>\n'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _is_number(text: str) -> bool:
    head = text.strip().lstrip("+-−").split(" ")[0].rstrip("%").replace(",", "")
    return head.replace(".", "", 1).isdigit()


def _link(folder: Path, path: str | Path) -> str:
    """The path as a link from the page, percent-encoded: names may hold spaces, '#' and '?'."""
    relative = os.path.relpath(folder / path, folder)
    return quote(Path(relative).as_posix())


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<header><h1>{title}</h1>{lead}{contents}</header>
{body}
{footer}
</main>
{script}</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #1f2328;
  --pale: #5f6368; --edge: #e3e5e8; --link: #9a3412; --code: #f3f4f6; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --card: #1f2226; --ink: #e8eaed;
  --pale: #a3a9b1; --edge: #34383e; --link: #f0a27a; --code: #2a2e33; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 20px 56px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 8px; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 8px; }
.lead { color: var(--pale); font-size: 1.1rem; margin: 0 0 8px; max-width: 46em; }
nav { display: flex; flex-wrap: wrap; gap: 4px 20px; margin-top: 12px; }
a { color: var(--link); }
section { background: var(--card); border: 1px solid var(--edge); border-radius: 10px;
  padding: 22px 24px 24px; margin-top: 24px; }
section > :last-child { margin-bottom: 0; }
p { margin: 0 0 12px; max-width: 46em; }
figure { margin: 12px 0 18px; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px;
  border: 1px solid var(--edge); }
figcaption { color: var(--pale); font-size: .92rem; margin-top: 6px; max-width: 50em; }
.slide { display: flex; align-items: center; gap: 12px; margin-bottom: 8px; max-width: 640px; }
.slide input { flex: 1; accent-color: var(--link); }
.slide output { min-width: 6em; font-variant-numeric: tabular-nums; color: var(--pale); }
.slide button { border: 1px solid var(--edge); border-radius: 6px; background: var(--code);
  color: var(--ink); width: 36px; height: 30px; cursor: pointer; }
.wide { overflow-x: auto; margin: 8px 0 16px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 18px 5px 0; text-align: left; border-bottom: 1px solid var(--edge);
  white-space: nowrap; }
th { color: var(--pale); font-weight: 600; font-size: .9rem; }
.number { text-align: right; }
.best td { font-weight: 700; }
pre { background: var(--code); border-radius: 6px; padding: 10px 14px; overflow-x: auto;
  margin: 0 0 12px; font-size: .92rem; }
.files { color: var(--pale); font-size: .92rem; }
footer { color: var(--pale); font-size: .9rem; margin-top: 28px; }
"""

_SCRIPT = """<script>
for (const film of document.querySelectorAll(".film")) {
  const frames = film.dataset.frames.split("\\n").map(line => {
    const at = line.indexOf(" ");
    return [line.slice(0, at), line.slice(at + 1)];
  });
  const range = film.querySelector("input"), name = film.querySelector("output");
  const image = film.querySelector("img"), link = film.querySelector("a");
  const button = film.querySelector("button");
  let timer = null;
  const show = () => {
    const [path, label] = frames[range.value];
    image.src = path; link.href = path; name.value = label;
  };
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "▶︎"; };
  range.addEventListener("input", () => { stop(); show(); });
  button.addEventListener("click", () => {
    if (timer) return stop();
    for (const [path] of frames) new Image().src = path;
    range.value = 0; show(); button.textContent = "❚❚";
    timer = setInterval(() => {
      if (+range.value >= frames.length - 1) return stop();
      range.value = +range.value + 1; show();
    }, 400);
  });
}
</script>
"""
