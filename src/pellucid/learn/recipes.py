"""What a run is: model, data, damage and training, in one strict TOML file.

A key that nobody knows is an error that names the nearest one that is known; nothing is silently
ignored. Packaged recipes are called by name, and every value can be set from the command line.
"""

from __future__ import annotations

import json
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pellucid.errors import OptionError, unknown

OPEN = 0.8
"""Share of a run on the schedule 'rsqrt' after which its rate falls to nothing. Until then nothing
depends on how long the run will be (Zhai et al. 2022, https://arxiv.org/abs/2106.04560)."""

HALVED = 4
"""On that schedule, epochs after which the square of the rate is halved."""

Precision = Literal["auto", "float32", "bfloat16"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Data(_Section):
    """Which pictures: a data set's name, a folder, ``noisy:clean``, or an ``.npz``.

    Attributes:
        name: See `pellucid.learn.datasets.load`.
        channels: 1 turns all into grey, 3 into colour; None keeps what is there.
        size: Fit every picture into a square of this side.
        limit: Use so many training pictures at most.
    """

    name: str
    channels: Literal[1, 3] | None = None
    size: int | None = Field(None, ge=1, le=16_384)
    limit: int | None = Field(None, ge=1)


class Spoil(_Section):
    """What spoils them: ``with`` as on the command line, e.g. ``gaussian:0..0.2+jpeg:40``.

    Attributes:
        spec: The degradations; 'none' trains a plain autoencoder. Ignored for data with pairs.
        clip: Keep damaged values in [0, 1], as a saved file would.
    """

    spec: str = Field("none", alias="with")
    clip: bool = True


class Train(_Section):
    """How training goes.

    Attributes:
        epochs: Passes over the data, or rounds of `steps` batches.
        batch: Pictures in a batch, over all devices together.
        steps: Batches in an epoch; None goes once through the data.
        crop: Cut squares of this side from random places; None takes pictures whole.
        flipped: Mirror and turn at random. Not for digits.
        exposed: Share of pictures whose contrast is stretched at random until a part of some is
            all white or all black, as where a camera is blinded. Not for pairs.
        loss: 'mse', 'bce', 'l1', 'charbonnier', 'psnr' or 'psnr+ssim'; None keeps the model's own.
        optimizer: 'adam', 'adamw' or 'muon'.
        learning_rate: At its highest.
        schedule: 'constant', 'cosine' (down to nothing at the end), 'step' (a tenth after two
            thirds of the run, again after five sixths) or 'rsqrt' (up over the first epoch,
            down with the square root of the epochs done, and straight to nothing over the last
            fifth; such a run may be resumed with other epochs until that fifth begins, and ends as
            if it had been begun with them).
        warmup: Share of the run in which the rate rises from nothing; not for 'rsqrt'.
        weight_decay: For 'adamw' decoupled (Loshchilov and Hutter 2019,
            https://arxiv.org/abs/1711.05101), for 'adam' added to the gradient.
        clip_gradient: Largest norm of a step's gradient; None does not limit.
        ema: Decay of an exponential moving average of the weights, which is then what is judged
            and kept; None keeps the last step's weights.
        patience: Stop after so many epochs without a better validation loss; None never does.
        precision: 'auto' times both on the machine; 'float32' or 'bfloat16' give the same weights
            wherever these are computed alike.
        seed: Decides weights, order, crops and damage, each apart.
        start: A model to begin from in place of random weights: a shipped name, a checkpoint or a
            run folder. Grey may begin colour and colour grey. Its units that never open
            get new weights (`revive`).
    """

    epochs: int = Field(20, ge=1)
    batch: int = Field(128, ge=1)
    steps: int | None = Field(None, ge=1)
    crop: int | None = Field(None, ge=1)
    flipped: bool = False
    exposed: float = Field(0.0, ge=0, le=1)
    loss: Literal["mse", "bce", "l1", "charbonnier", "psnr", "psnr+ssim"] | None = None
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    schedule: Literal["constant", "cosine", "step", "rsqrt"] = "constant"
    warmup: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    clip_gradient: float | None = Field(None, gt=0, allow_inf_nan=False)
    ema: float | None = Field(None, gt=0, lt=1)
    patience: int | None = Field(None, ge=1)
    precision: Precision = "auto"
    seed: int = Field(0, ge=0, lt=2**63)
    start: str | None = None

    def continues(self, before: Train, done: int) -> bool:
        """Whether `done` epochs under the settings `before` began a run under these."""
        if self == before:
            return True
        open_until = OPEN * min(self.epochs, before.epochs)
        return (
            self.schedule == "rsqrt"
            and self == before.model_copy(update={"epochs": self.epochs})
            and done <= open_until
        )


class Recipe(_Section):
    """A whole run; `about` says what it reproduces."""

    about: str = ""
    model: dict[str, Any]
    data: Data
    damage: Spoil = Spoil()
    train: Train = Train()

    def to_toml(self) -> str:
        """The recipe as a file that `read` reads back."""
        told = self.model_dump(by_alias=True, exclude_none=True)
        lines = [f"about = {_toml(told.pop('about'))}"]
        for section, values in told.items():
            lines += ["", f"[{section}]"]
            lines += [
                f"{key} = {_toml(value)}" for key, value in values.items() if value is not None
            ]
        return "\n".join(lines) + "\n"


def names() -> list[str]:
    """The packaged recipes."""
    return sorted(p.name.removesuffix(".toml") for p in _packaged() if p.name.endswith(".toml"))


def read(source: str | Path, changes: list[str] | None = None) -> Recipe:
    """The recipe in a file, or packaged under a name, with changes like ``train.epochs=5``.

    Raises:
        OptionError: It is not there, not TOML, or holds an unknown key or an impossible value.
    """
    told = _parse(source)
    for change in changes or []:
        _set(told, change)
    return build(told, str(source))


def build(told: dict[str, Any], source: str = "recipe") -> Recipe:
    """The recipe in a plain dictionary of the same shape as the file."""
    _check_keys(told, source)
    try:
        return Recipe.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        given = first.get("input")
        if first["type"] == "literal_error" and isinstance(given, str):
            possible = re.findall("'([^']+)'", first["ctx"]["expected"])
            raise OptionError(f"{source}: {unknown(where, given, possible)}") from error
        what = f" (given: {given!r})" if first["type"] != "missing" else ""
        raise OptionError(f"{source}: {where}: {first['msg']}{what}") from error


def _packaged() -> list[Any]:
    return list((resources.files("pellucid") / "recipes").iterdir())


def _parse(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
    elif (path / "recipe.toml").is_file():
        raise OptionError(f"{path} is the folder of a run; give its recipe, {path / 'recipe.toml'}")
    elif path.suffix == ".toml" or path.parent != Path("."):
        raise OptionError(f"there is no recipe file {path}; packaged ones: {', '.join(names())}")
    elif str(source) in names():
        text = (resources.files("pellucid") / "recipes" / f"{source}.toml").read_text("utf-8")
    else:
        raise unknown("recipe", source, names())
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{source} is not valid TOML: {error}") from error


def _set(told: dict[str, Any], change: str) -> None:
    """Apply ``section.key=value``; the value is read as TOML, and as text where it is not."""
    key, equals, text = change.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and name):
        raise OptionError(f"--set takes section.key=value, e.g. train.epochs=5, not '{change}'")
    if section not in Recipe.model_fields or section == "about":
        raise unknown("recipe section", section, _sections())
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    if name in _WORDS.get(section, ()) and not isinstance(value, str):
        value = text.strip()
    table = told.setdefault(section, {})
    if text.strip() in ("none", "None") and name != "with":
        table.pop(name, None)
    else:
        table[name] = value


_WORDS = {"model": ("name",), "data": ("name",), "damage": ("with",), "train": ("start",)}
"""Values that are text even where they look like numbers, as the name of a folder may."""


def _sections() -> list[str]:
    return [name for name in Recipe.model_fields if name != "about"]


def _check_keys(told: dict[str, Any], source: str) -> None:
    """Offer the nearest known key before pydantic merely refuses."""
    for section, values in told.items():
        if section not in Recipe.model_fields:
            raise OptionError(f"{source}: {unknown('key', section, Recipe.model_fields)}")
        if section != "about" and not isinstance(values, dict):
            raise OptionError(f"{source}: [{section}] is a table of keys, not {values!r}")
    for section, kind in (("data", Data), ("damage", Spoil), ("train", Train)):
        known = [field.alias or name for name, field in kind.model_fields.items()]
        for key in told.get(section, {}):
            if key not in known:
                raise OptionError(f"{source}: {unknown(f'key in [{section}]', key, known)}")
    if "name" not in told.get("model", {}):
        raise OptionError(f'{source}: [model] needs a name, e.g. name = "conv"')


def _toml(value: Any) -> str:
    """A value in TOML, which writes these as JSON does."""
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value, ensure_ascii=False)
