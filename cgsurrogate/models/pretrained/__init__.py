"""Models that come with the package, each a folder with ``stepper``, ``force-field`` and ``card.md``."""

from __future__ import annotations

from pathlib import Path

from cgsurrogate.core import filesystem

MODEL = "model.json"
HERE = Path(__file__).parent
PARTS = {"stepper": "stepper", "energy": "force-field"}  # the folder of a model of each kind


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


def model_folder(name: str | Path, kind: str) -> Path:
    """That of the "stepper" or the "energy" of a pretrained model; a folder of the user's may be that model itself.

    Raises:
        FileNotFoundError: there is none of this kind.
        ValueError: the folder is of a model of the other kind.
    """
    whole = folder(name)
    if (whole / MODEL).exists():
        found = filesystem.read_json(whole / MODEL).get("kind")
        if found != kind:
            raise ValueError(f"{whole} is a model of the kind {found}, expected {kind}")
        return whole
    if not (whole / PARTS[kind] / MODEL).exists():
        raise FileNotFoundError(f"{whole} holds no model ({MODEL}), nor one in {PARTS[kind]}")
    return whole / PARTS[kind]
