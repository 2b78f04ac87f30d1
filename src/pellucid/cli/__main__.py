"""``python -m pellucid.cli`` is ``pellucid``."""

from pellucid.cli import main

main()
