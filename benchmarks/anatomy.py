"""What a network is made of, by its card alone: its weights are not opened."""

from __future__ import annotations

from pathlib import Path

from pellucid.learn.models import MODELS, create
from pellucid.learn.models.summary import Summary, summary
from pellucid.restore import zoo


def anatomy(model: str | Path) -> Summary | None:
    """Parameters and arithmetic of a network; None for one that this package did not make."""
    card = zoo.card(model)
    if card.get("model") not in MODELS:
        return None
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in card["options"].items()}
    return summary(create(card["model"], **options))
