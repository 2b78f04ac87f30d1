"""The text that names what spoils a picture, ``gaussian:0..0.2+jpeg:40``, and what it does.

Stages joined with ``+`` follow one another; of damages joined with ``|`` each picture gets one.

One text serves the command line, the recipes and the reports: `parse` reads it, `str` writes it
back. First the strengths are drawn, then they are applied, so that a report can say what was done
and the same strengths give the same picture. Read next: `pictures`, which holds what is damaged.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pellucid.errors import OptionError, unknown
from pellucid.learn.degrade import DEGRADATIONS
from pellucid.learn.draws import Strength


@dataclass(frozen=True)
class Stage:
    """One degradation of a `Damage`, with the range that its strengths are drawn from."""

    name: str
    low: float
    high: float

    def __str__(self) -> str:
        span = _written(self.low)
        return f"{self.name}:{span if self.low == self.high else f'{span}..{_written(self.high)}'}"


@dataclass(frozen=True)
class Damage:
    """Degradations one after the other, fixed or blind; `parse` makes one, `str` writes it back.

    Example:
        >>> damage = parse("gaussian:0..0.2")
        >>> seeded = torch.Generator().manual_seed(0)
        >>> damage(torch.rand(4, 1, 8, 8), generator=seeded, clip=True).shape
        torch.Size([4, 1, 8, 8])
    """

    stages: tuple[Stage, ...] = ()

    def __str__(self) -> str:
        return "+".join(map(str, self.stages)) or "none"

    @property
    def blind(self) -> bool:
        """Whether any strength is drawn from a range."""
        return any(stage.low != stage.high for stage in self.stages)

    @property
    def holes(self) -> bool:
        """Whether pixels are taken away, of some pictures at least."""
        return any(DEGRADATIONS[stage.name].holes for stage in self.stages)

    @property
    def sigma(self) -> float | None:
        """The noise level a method may be told: that of one fixed Gaussian, else None."""
        if len(self.stages) == 1 and self.stages[0].name == "gaussian" and not self.blind:
            return self.stages[0].low
        return None

    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """Strengths for `n` pictures, (n, stages), uniform over each stage's range."""
        lows = torch.tensor([stage.low for stage in self.stages])
        spans = torch.tensor([stage.high - stage.low for stage in self.stages])
        if not self.blind:
            return lows.expand(n, -1)
        device = generator.device if generator is not None else None
        draws = torch.rand(n, len(self.stages), generator=generator, device=device)
        return lows.to(draws) + spans.to(draws) * draws

    def apply(
        self,
        x: Tensor,
        strengths: Tensor,
        generator: Generator | None = None,
        *,
        missing: float = 0.0,
    ) -> Tensor:
        """Damage with strengths that were drawn before, (B, stages); not clipped.

        `missing` is what stands where a mask took a pixel away; NaN tells holes from black.
        """
        if strengths.shape != (len(x), len(self.stages)):
            raise OptionError(
                f"'{self}' takes strengths of shape {(len(x), len(self.stages))}, "
                f"not {tuple(strengths.shape)}; draw them with Damage.draw"
            )
        lost: Tensor | None = None
        for index, stage in enumerate(self.stages):
            fixed = stage.low == stage.high and bool((strengths[:, index] == stage.low).all())
            strength: Strength = stage.low if fixed else strengths[:, index]
            entry = DEGRADATIONS[stage.name]
            if entry.holes:
                kept = entry.function(torch.ones_like(x), strength, generator=generator)
                gone = kept == 0
                # What comes after it could do nothing with NaN but spread or lose it.
                x = x.masked_fill(gone, 0.0 if math.isnan(missing) else missing)
                lost = gone if lost is None else lost | gone
            else:
                x = entry.function(x, strength, generator=generator)
        return x if lost is None or not math.isnan(missing) else x.masked_fill(lost, missing)

    def drawn(self, strengths: Tensor) -> Damage:
        """The damage of one picture, with the strengths (stages,) that were drawn for it."""
        return Damage(
            tuple(
                stage if stage.low == stage.high else Stage(stage.name, value, value)
                for stage, value in zip(self.stages, strengths.tolist(), strict=True)
            )
        )

    def __call__(
        self,
        x: Tensor,
        *,
        generator: Generator | None = None,
        clip: bool = False,
        missing: float = 0.0,
    ) -> Tensor:
        """Draw strengths, then damage.

        Args:
            x: Clean images, (B, C, H, W) in [0, 1].
            generator: Where strengths and noise come from; torch's own where none is given.
            clip: Whether to clip the result to [0, 1], as training pairs and saved files are.
            missing: What stands where a mask took a pixel away; NaN for models that fill holes.

        Returns:
            Damaged images, same shape.
        """
        if x.ndim != 4 or not x.is_floating_point():
            raise OptionError(
                f"a batch to damage is a float tensor (B, C, H, W), not {x.dtype} of shape "
                f"{tuple(x.shape)}; add the batch axis with x[None], scale to [0, 1]"
            )
        # Formulas are exact, whatever a model is computed in: within a training step autocast would
        # blur in bfloat16, whose steps are those of 8 bits.
        with torch.autocast(x.device.type, enabled=False):
            drawn = self.draw(len(x), generator)
            damaged = self.apply(x, drawn, generator, missing=missing)
        return damaged.clamp(0, 1) if clip else damaged


@dataclass(frozen=True)
class OneOf(Damage):
    """Several damages, one of which each picture gets, all equally often.

    Example:
        >>> damage = parse("gaussian:0..0.2 | jpeg:40..90 | none")
        >>> damage.draw(5).shape  # which of them, and the strengths of all
        torch.Size([5, 3])
    """

    choices: tuple[Damage, ...] = ()

    def __str__(self) -> str:
        return " | ".join(map(str, self.choices))

    @property
    def blind(self) -> bool:
        """Always: which damage a picture gets is drawn."""
        return True

    @property
    def holes(self) -> bool:
        """Whether any of the choices takes pixels away."""
        return any(choice.holes for choice in self.choices)

    @property
    def sigma(self) -> float | None:
        """None: nothing can be told before the draw."""
        return None

    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """Which choice each picture gets, then every choice's strengths: (n, 1 + stages)."""
        device = generator.device if generator is not None else None
        which = torch.randint(len(self.choices), (n, 1), generator=generator, device=device)
        strengths = [choice.draw(n, generator) for choice in self.choices]
        return torch.cat([which.float(), *(part.to(which.device) for part in strengths)], dim=1)

    def apply(
        self,
        x: Tensor,
        strengths: Tensor,
        generator: Generator | None = None,
        *,
        missing: float = 0.0,
    ) -> Tensor:
        """Damage each picture as was drawn; not clipped."""
        wanted = (len(x), 1 + sum(len(choice.stages) for choice in self.choices))
        if strengths.shape != wanted:
            raise OptionError(
                f"'{self}' takes strengths of shape {wanted}, not {tuple(strengths.shape)}; "
                "draw them with Damage.draw"
            )
        damaged = x.clone()
        # Asked once: a graphics card finishes all its work before it answers.
        told = strengths.cpu()
        for index, choice in enumerate(self.choices):
            mine = (told[:, 0] == index).nonzero()[:, 0]
            if len(mine):
                rows = mine.to(x.device)
                given = told[mine][:, self._columns(index)]
                damaged[rows] = choice.apply(x[rows], given, generator, missing=missing)
        return damaged

    def drawn(self, strengths: Tensor) -> Damage:
        """The damage of one picture, with the strengths (1 + stages,) that were drawn for it."""
        index = int(strengths[0])
        return self.choices[index].drawn(strengths[self._columns(index)])

    def _columns(self, index: int) -> slice:
        start = 1 + sum(len(choice.stages) for choice in self.choices[:index])
        return slice(start, start + len(self.choices[index].stages))


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_GRAMMAR = "name:strength, where strength is 0.1, 25/255 or a range 0..0.2, joined with '+'"


def parse(spec: str | Damage) -> Damage:
    """The damage that a text names: ``name:strength[+name:strength...]``, or ``none``.

    Damages joined with ``|`` are alternatives: each picture gets one of them.

    A strength is a number, a fraction ``25/255`` or a blind range ``0..0.2``; without one the
    degradation's default is taken. A `Damage` is handed back as it is.

    Raises:
        OptionError: For an unknown name, a malformed text or a strength out of range.

    Example:
        >>> str(parse("gaussian:0/255..55/255+jpeg:40"))
        'gaussian:0..55/255+jpeg:40'
    """
    if isinstance(spec, Damage):
        return spec
    if spec.strip() == "none":
        return Damage()
    if "|" in spec:
        return OneOf(choices=tuple(parse(choice) for choice in spec.split("|")))
    # A sign inside 1e+3 does not separate stages.
    parts = re.split(r"(?<![\d.][eE])\+", spec)
    return Damage(tuple(_stage(part.strip(), spec) for part in parts))


def _stage(part: str, spec: str) -> Stage:
    name, colon, strength = (piece.strip() for piece in part.partition(":"))
    if not name:
        raise OptionError(f"malformed damage '{spec}'; write {_GRAMMAR}")
    if name == "none":
        raise OptionError(f"'none' stands alone, it takes no strength or partner: '{spec}'")
    if name not in DEGRADATIONS:
        raise unknown("degradation", name, [*DEGRADATIONS, "none"])
    if not colon:
        default = DEGRADATIONS[name].default
        return Stage(name, default, default)
    ends = [_value(name, text.strip(), spec) for text in strength.split("..")]
    if len(ends) > 2 or ends != sorted(ends):
        raise OptionError(
            f"malformed range '{strength}' in damage '{spec}'; write {name}:LOW..HIGH, low first"
        )
    return Stage(name, ends[0], ends[-1])


def _value(name: str, text: str, spec: str) -> float:
    match = re.fullmatch(rf"({_NUMBER})(?:\s*/\s*({_NUMBER}))?", text)
    if match is None or (match[2] is not None and float(match[2]) == 0):
        raise OptionError(f"malformed strength '{text}' in damage '{spec}'; write {_GRAMMAR}")
    value = float(match[1]) / float(match[2] or 1)
    entry = DEGRADATIONS[name]
    if entry.low <= value <= entry.high:
        return value
    if entry.scale is not None and entry.high < value <= entry.scale:
        what = "values are on the [0, 1] scale" if entry.scale == 255 else "it is a fraction"
        raise OptionError(
            f"{name} strength {text} is above {entry.high:g}; {what}: "
            f"did you mean {name}:{text}/{entry.scale}?"
        )
    raise OptionError(
        f"{name} strength {text} is outside {entry.low:g}..{entry.high:g} ({entry.parameter})"
        f"; give one inside, such as {name}:{_written(entry.default)}"
    )


def _written(value: float) -> str:
    """The shortest text that reads back as exactly this value: 25/255 rather than 0.0980392...."""
    plain = repr(float(value)).removesuffix(".0")
    fraction = f"{round(value * 255)}/255"
    exact = round(value * 255) / 255 == value
    return fraction if exact and len(fraction) < len(plain) else plain
