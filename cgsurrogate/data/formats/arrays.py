"""Bare arrays that belong to trajectories: ``file.npy`` or ``file.npz:name``, split over the runs."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgsurrogate.core import filesystem

ENERGY_UNIT = "kJ/mol"  # of a bias, as a suffix
_SPEC = re.compile(r"(?P<path>.*?\.np[yz])(?::(?P<name>[^:]+?))??(?P<bias>:kJ/mol)?", re.IGNORECASE)


def is_array(spec: str | Path) -> bool:
    return _SPEC.fullmatch(str(spec)) is not None


def is_bias(spec: str | Path) -> bool:
    """Whether the array is a bias energy, ``file.npz:name:kJ/mol``."""
    match = _SPEC.fullmatch(str(spec))
    return match is not None and match["bias"] is not None


def load(spec: str | Path) -> np.ndarray:
    """A ``.npy`` file, memory-mapped, or one array of an ``.npz`` file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not numbers, no such name, or several arrays to choose from.
    """
    match = _SPEC.fullmatch(str(spec))
    if match is None:
        raise ValueError(f"expected file.npy or file.npz:name, got {spec}")
    path, name = filesystem.existing(match["path"], "an array"), match["name"]
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with np.load(path, allow_pickle=False) as held:
                array = held[_choose(path, name, held.files)]
    except (OSError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise ValueError(f"{path} cannot be read as an array ({error})") from None
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(
            f"{path} is damaged, or holds Python objects, which are not read; save plain numbers"
        ) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError(f"expected an array of numbers in {spec}")
    return array


def _choose(path: Path, name: str | None, names: list[str]) -> str:
    if name in names:
        return str(name)
    if name is None and len(names) == 1:
        return names[0]
    wrong = f"there is no {name!r}" if name else "say which"
    raise ValueError(f"{path} holds {', '.join(names)}: {wrong}; give it as {path}:{names[0] if names else 'name'}")


def split(specs: Sequence[str | Path], frames: Sequence[int], tail: tuple[int, ...], what: str) -> list[np.ndarray]:
    """One array (frames[i], *tail) for each run, out of one file a run or one file for all.

    One file for all holds either one row a run, (R, T, *tail), or all frames one after the other, (sum T, *tail).

    Raises:
        ValueError: the shapes do not fit the trajectories.
    """
    loaded = [load(spec) for spec in specs]
    parts: list[tuple[str, np.ndarray]] = []
    for spec, array in zip(specs, loaded, strict=True):
        if array.ndim == len(tail) + 2:
            parts += [(f"{spec} row {i}", row) for i, row in enumerate(array)]
        elif len(specs) == 1 < len(frames) and array.shape == (sum(frames), *tail):
            parts += [(str(spec), row) for row in np.split(array, np.cumsum(frames)[:-1])]
        else:
            parts.append((str(spec), array))
    if len(parts) != len(frames):
        raise ValueError(f"{len(frames)} runs need as many arrays of {what}, got {len(parts)}; give one a trajectory")
    for (name, array), count in zip(parts, frames, strict=True):
        if array.ndim != len(tail) + 1 or array.shape[1:] != tail:
            shape = ", ".join(["T", *map(str, tail)]) + ("," if not tail else "")
            raise ValueError(f"expected {what} of shape ({shape}) in {name}, got {array.shape}")
        if len(array) != count:
            raise ValueError(f"{name} holds {what} of {len(array)} frames, the trajectory has {count}; they must agree")
    return [array for _, array in parts]


def frame_weights(specs: Sequence[str | Path], parts: list[np.ndarray], kT: float) -> list[np.ndarray]:
    """Weights of each run: as they are, or exp(bias / kT) where every file is declared a bias in kJ/mol.

    The largest bias of all runs is taken off first; only ratios of weights have a meaning.

    Raises:
        ValueError: not finite, negative, or some files a bias and some not.
    """
    declared = {is_bias(spec) for spec in specs}
    if len(declared) > 1:
        raise ValueError("some files of weights are declared a bias in kJ/mol and some are not; treat all the same")
    values = [np.asarray(part, float) for part in parts]
    for i, part in enumerate(values):
        if not np.isfinite(part).all():
            raise ValueError(
                f"weights of run {i} are not finite, first in frame {np.flatnonzero(~np.isfinite(part))[0]}"
            )
    if declared == {True}:
        top = max(part.max() for part in values)
        return [np.exp((part - top) / kT) for part in values]
    if min(part.min() for part in values) < 0:
        raise ValueError(
            "expected weights that are not negative; if the file holds a bias energy, declare it: "
            f"file.npz:name:{ENERGY_UNIT} (then a weight is exp(bias / kT))"
        )
    return values
