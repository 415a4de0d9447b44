"""Bare arrays that belong to trajectories: ``file.npy`` or ``file.npz:name``, split over the runs."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.data.formats import compressed

_SPEC = re.compile(r"(?P<path>.*?\.np[yz])(?::(?P<name>[^:]+))?", re.IGNORECASE)


def is_array(spec: str | Path | np.ndarray) -> bool:
    """Whether it is an array, or names one."""
    return isinstance(spec, np.ndarray) or _SPEC.fullmatch(str(spec)) is not None


def load(spec: str | Path | np.ndarray) -> np.ndarray:
    """A ``.npy`` file, memory-mapped, or one array of an ``.npz`` file; an array stands for itself.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not numbers, no such name, or several arrays to choose from.
    """
    if isinstance(spec, np.ndarray):
        return spec
    match = _SPEC.fullmatch(str(spec))
    if match is None:
        raise ValueError(f"expected file.npy or file.npz:name, got {spec}")
    path, name = filesystem.existing(match["path"], "an array"), match["name"]
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with np.load(path, allow_pickle=False) as held:
                chosen = _choose(path, name, held.files)
                _fits(path, chosen)
                array = held[chosen]
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(
            f"{path} is damaged, or holds Python objects, which are not read; save plain numbers"
        ) from None
    except Exception as error:  # numpy, zip and zlib raise whatever a damaged header leads them to
        raise ValueError(f"{path} cannot be read as an array ({filesystem.first_line(error)})") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError(f"expected an array of numbers in {spec}")
    return array


def _fits(path: Path, name: str) -> None:
    """An array of an ``.npz`` file is unpacked into memory: no more than half of what the machine has."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    with zipfile.ZipFile(path) as held:
        size = max((one.file_size for one in held.infolist() if one.filename in (name, f"{name}.npy")), default=0)
        packed = max((one.compress_size for one in held.infolist() if one.filename in (name, f"{name}.npy")), default=0)
    if size > max(compressed.FREE_OF_DOUBT, compressed.RATIO * packed):
        raise ValueError(
            f"{path}: {name} unpacks to more than {compressed.RATIO} times its size, as no coordinates do; is it the "
            "right file? If it is, save it as .npy"
        )
    if size > most:
        raise ValueError(
            f"{path}: {name} has {size / 1e9:.3g} GB when unpacked, more than half of the memory; save it as .npy, "
            "which is read in pieces"
        )


def _choose(path: Path, name: str | None, names: list[str]) -> str:
    if name in names:
        return str(name)
    if name is None and len(names) == 1:
        return names[0]
    wrong = f"there is no {name!r}" if name else "say which"
    raise ValueError(f"{path} holds {', '.join(names)}: {wrong}; give it as {path}:{names[0] if names else 'name'}")


def split(
    specs: Sequence[str | Path | np.ndarray], frames: Sequence[int], tail: tuple[int, ...], what: str
) -> list[np.ndarray]:
    """One array (frames[i], *tail) for each run, out of one file a run or one file for all.

    One file for all holds either one row a run, (R, T, *tail), or all frames one after the other, (sum T, *tail).

    Raises:
        ValueError: the shapes do not fit the trajectories.
    """
    loaded = [load(spec) for spec in specs]
    parts: list[tuple[str, np.ndarray]] = []
    names = ["the array" if isinstance(spec, np.ndarray) else str(spec) for spec in specs]
    for spec, array in zip(names, loaded, strict=True):
        if array.ndim == len(tail) + 2:
            parts += [(f"{spec} row {i}", row) for i, row in enumerate(array)]
        elif len(specs) == 1 < len(frames) and array.shape == (sum(frames), *tail):
            parts += [(spec, row) for row in np.split(array, np.cumsum(frames)[:-1])]
        else:
            parts.append((spec, array))
    if len(parts) != len(frames):
        raise ValueError(f"{len(frames)} runs need as many arrays of {what}, got {len(parts)}; give one a trajectory")
    for (name, array), count in zip(parts, frames, strict=True):
        if array.ndim != len(tail) + 1 or array.shape[1:] != tail:
            shape = ", ".join(["T", *map(str, tail)]) + ("," if not tail else "")
            raise ValueError(f"expected {what} of shape ({shape}) in {name}, got {array.shape}")
        if len(array) != count:
            raise ValueError(f"{name} holds {what} of {len(array)} frames, the trajectory has {count}; they must agree")
    return [array for _, array in parts]
