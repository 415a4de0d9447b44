"""Models that come with the package, each a folder with ``stepper``, ``force-field`` and ``card.md``."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The models that are bundled."""
    return tuple(sorted(card.parent.name for card in HERE.glob("*/card.md")))


def folder(name: str | Path) -> Path:
    """The folder of a bundled model, or one of the user's own by its path.

    Raises:
        FileNotFoundError: neither a bundled name nor a folder.
    """
    if str(name) in names():
        return HERE / name
    if Path(name).is_dir():
        return Path(name)
    raise FileNotFoundError(f"{name} is no folder, and the pretrained models are: {', '.join(names()) or 'none'}")
