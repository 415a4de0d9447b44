"""HDF5 of mdtraj, Amber (NetCDF-4) and H5MD (de Buyl, Colberg and Höfling 2014), through h5py alone.

Nothing pickled is read, no link to another file followed, and no data set that lies in another file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cgsurrogate.data.formats import cells

Blocks = Iterator[tuple[np.ndarray, np.ndarray | None]]
LONGEST_TEXT = 1024  # bytes of an attribute


def describe(path: str) -> dict[str, Any]:
    """What a file holds: its ``kind``, frames, atoms, times in ps, whether positions and forces, and their units.

    ``forces`` says for each frame whether there are any.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if "particles" in file and "coordinates" not in file:
            return _describe_h5md(file)
        return _describe_plain(file)


def _describe_plain(file: Any) -> dict[str, Any]:
    """As mdtraj and Amber write it: coordinates, time, forces beside one another."""
    data = _dataset(file, "coordinates")
    shape = _shape(data, "coordinates")
    found = {"kind": "hdf5", "frames": shape[0], "atoms": shape[1], "times": None}
    found["length_unit"] = _text(data, "units") or "nm"
    if "forces" in file:
        forces = _dataset(file, "forces")
        if tuple(forces.shape) != shape:
            raise ValueError(f"it has forces of shape {forces.shape} and coordinates of {shape}")
        found |= {"forces": np.ones(shape[0], bool), "force_unit": _text(forces, "units")}
    try:
        times = np.asarray(_dataset(file, "time")[:], float)
    except (KeyError, ValueError):
        return found
    return found | ({"times": times} if times.shape == shape[:1] else {})


def blocks(path: str, kind: str, content: str, frames: range, count: int, atoms: np.ndarray) -> Blocks:
    """``count`` frames at a time, in the units of the file: (n, len(atoms), 3), and cells (n, 3, 3) for positions."""
    import h5py

    with h5py.File(path, "r") as file:
        if kind == "hdf5":
            name = "coordinates" if content == "positions" else "forces"
            values, places = _dataset(file, name), None
            boxes = _mdtraj_cells(file) if content == "positions" else None
        else:
            group = _particles(file)
            values = _dataset(group, f"{'position' if content == 'positions' else 'force'}/value")
            places = None if content == "positions" else _places(group)
            boxes = _h5md_cells(group, _shape(values, content)[0]) if content == "positions" else None
        for at in range(0, len(frames), count):
            part = frames[at : at + count]
            chosen: Any = slice(part.start, part.stop, part.step)
            if places is not None:
                rows = places[chosen]
                even = len(set(np.diff(rows).tolist())) == 1  # h5py is slow with lists
                chosen = slice(rows[0], rows[-1] + 1, rows[1] - rows[0]) if even else rows
            xyz = np.asarray(values[chosen], np.float32)[:, atoms]
            yield xyz, None if boxes is None else boxes(slice(part.start, part.stop, part.step))


def _dataset(group: Any, path: str) -> Any:
    """A data set that lies in this file, by its path of hard links."""
    import h5py

    here = group
    for name in path.split("/"):
        if not isinstance(here, h5py.Group) or name not in here:
            raise KeyError(f"it holds no data set {path!r}; is it a trajectory?")
        if not isinstance(here.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"its {path} is a link to another place, which is not read")
        here = here[name]
    if not isinstance(here, h5py.Dataset):
        raise ValueError(f"its {path} is no data set")
    if here.external or here.is_virtual:
        raise ValueError(f"its {path} lie in another file, which is not read")
    if here.dtype.kind not in "fiu":
        raise ValueError(f"its {path} are not numbers")
    return here


def _shape(data: Any, what: str) -> tuple[int, int, int]:
    if len(data.shape) != 3 or data.shape[2] != 3:
        raise ValueError(f"its {what} have the shape {data.shape}, expected (frames, atoms, 3)")
    return tuple(map(int, data.shape))  # type: ignore[return-value]


def _text(data: Any, name: str) -> str | None:
    """A short text attribute, or None."""
    import h5py

    if name not in data.attrs or h5py.h5a.open(data.id, name.encode()).get_storage_size() > LONGEST_TEXT:
        return None
    value = data.attrs[name]
    return value.decode(errors="replace") if isinstance(value, bytes) else value if isinstance(value, str) else None


def _mdtraj_cells(file: Any) -> Any:
    if not {"cell_lengths", "cell_angles"} <= set(file):
        return None
    sides, angles = _dataset(file, "cell_lengths"), _dataset(file, "cell_angles")
    return lambda part: cells.vectors(sides[part], angles[part])


def _particles(file: Any) -> Any:
    import h5py

    if not isinstance(file.get("particles", getlink=True), h5py.HardLink):
        raise ValueError("its particles are a link to another file, which is not read")
    groups = [
        name
        for name in file["particles"]
        if isinstance(file["particles"].get(name, getlink=True), h5py.HardLink)
        and isinstance(file["particles"][name], h5py.Group)
    ]
    if len(groups) != 1:
        raise ValueError(f"it has {len(groups)} groups of particles ({', '.join(groups)[:80]}); expected one")
    return file["particles"][groups[0]]


def _describe_h5md(file: Any) -> dict[str, Any]:
    group = _particles(file)
    held = [name for name in ("position", "force") if name in group]
    if not held:
        raise ValueError("its particles have neither position nor force")
    first = _dataset(group, f"{held[0]}/value")
    shape = _shape(first, held[0])
    found: dict[str, Any] = {"kind": "h5md", "frames": shape[0], "atoms": shape[1], "positions": "position" in held}
    found["times"] = _times(group[held[0]], shape[0])
    if "position" in held:
        found["length_unit"] = _text(first, "unit")
    if "force" in held:
        values = _dataset(group, "force/value")
        if _shape(values, "force")[1:] != shape[1:]:
            raise ValueError(f"it has forces of {values.shape[1]} atoms and positions of {shape[1]}")
        found |= {"forces": _places(group) >= 0, "force_unit": _text(values, "unit")}
    return found


def _times(element: Any, frames: int) -> np.ndarray | None:
    """(frames,) ps, or None where there are none in a known unit. H5MD: a list, or a spacing with an offset."""
    from cgsurrogate.data.formats import unit_names

    try:
        data = _dataset(element, "time")
        unit = unit_names.time(_text(data, "unit") or "")
    except (KeyError, ValueError):
        return None
    if data.shape == ():
        return (float(data.attrs.get("offset", 0.0)) + np.arange(frames) * float(data[()])) * unit
    return np.asarray(data[:], float) * unit if data.shape == (frames,) else None


def _places(group: Any) -> np.ndarray:
    """For each frame of the positions where its forces are, or -1, by the step of both."""
    forces = _dataset(group, "force/value").shape[0]
    if "position" not in group:
        return np.arange(forces)
    frames = _dataset(group, "position/value").shape[0]
    try:
        ours, theirs = (np.asarray(_dataset(group, f"{name}/step")[()]) for name in ("position", "force"))
    except KeyError:
        ours = theirs = np.zeros(())
    if ours.shape == (frames,) and theirs.shape == (forces,) and np.all(np.diff(theirs) > 0):
        places = np.minimum(np.searchsorted(theirs, ours), forces - 1)
        return np.where(theirs[places] == ours, places, -1)
    if frames != forces or not np.array_equal(ours, theirs):
        raise ValueError(f"it has positions of {frames} frames and forces of {forces}, and no steps that join them")
    return np.arange(frames)


def _h5md_cells(group: Any, frames: int) -> Any:
    """Cells by frame (n, 3, 3), in the unit of the positions; None without a periodic box."""
    try:
        edges, moving = _dataset(group, "box/edges/value"), True
    except KeyError:
        try:
            edges, moving = _dataset(group, "box/edges"), False
        except KeyError:
            return None
    sides = [
        side.decode() if isinstance(side, bytes) else side for side in np.ravel(group["box"].attrs.get("boundary", ()))
    ]
    if "none" in sides:
        return None
    if moving and edges.shape[0] not in (1, frames):
        raise ValueError(f"it has boxes of {edges.shape[0]} frames and positions of {frames}")
    same = None if moving and edges.shape[0] == frames else np.asarray(edges[0] if moving else edges[()], float)

    def boxes(part: slice) -> np.ndarray:
        count = len(range(*part.indices(frames)))
        box = np.asarray(edges[part], float) if same is None else np.broadcast_to(same, (count, *same.shape))
        return box if box.ndim == 3 else np.einsum("nd,de->nde", box, np.eye(3))

    return boxes
