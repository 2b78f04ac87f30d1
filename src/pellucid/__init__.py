"""Convolutional autoencoders that people can use.

The names below open late, so that ``import pellucid`` stays light: restoring a picture with a
shipped model never imports torch. Read next: ``images`` (files and arrays), ``restore`` (run a
network), ``learn`` (make one), ``report`` (judge one).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pellucid.errors import making

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pellucid.images import read, write
    from pellucid.learn.checkpoints import load
    from pellucid.learn.models import create
    from pellucid.report.display import show
    from pellucid.report.evaluate import evaluate
    from pellucid.report.runs import fit
    from pellucid.restore.denoise import denoise
    from pellucid.uses.compress import compress, decompress

_HOMES = {
    "compress": "pellucid.uses.compress",
    "create": "pellucid.learn.models",
    "decompress": "pellucid.uses.compress",
    "denoise": "pellucid.restore.denoise",
    "evaluate": "pellucid.report.evaluate",
    "fit": "pellucid.report.runs",
    "load": "pellucid.learn.checkpoints",
    "read": "pellucid.images",
    "show": "pellucid.report.display",
    "write": "pellucid.images",
}

__all__ = [
    "__version__",
    "compress",
    "create",
    "decompress",
    "denoise",
    "evaluate",
    "fit",
    "load",
    "read",
    "show",
    "write",
]


def __getattr__(name: str) -> object:
    """Open a public name at its first use (PEP 562)."""
    if name in _HOMES:
        with making():
            return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pellucid' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, opened or not."""
    return sorted(__all__)
