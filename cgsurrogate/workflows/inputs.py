"""Frames from what a user has: an embedded example, folders of frames, trajectories of any program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames


def mapping_builder(text: str, selection: str | None = None) -> Callable[[Any], Any]:
    """``name`` or ``name:key=value`` -> a function from an mdtraj topology to a ``Mapping``; ``ca+cb`` is ``ca_cb``.

    Args:
        selection: of mdtraj; only residues with an atom of it are mapped.
    """
    from cgsurrogate.data import mapping

    return mapping.builder(text, selection)


def load_example(
    name: str,
    mapping: str = "backbone",
    *,
    aggregate: str = "auto",
    report: Callable[[int, int | None], None] = lambda done, total: None,
) -> Frames:
    """An embedded example (``cgsurrogate example`` lists them), mapped to beads."""
    from cgsurrogate.data import examples

    frames = examples.load_example(name, mapping_builder(mapping), aggregate=aggregate, report=report)
    return frames.with_provenance(mapping=mapping)


def load_reference(
    path: Path,
    topology: Path | None,
    *,
    mapping: str = "backbone",
    temperature: float | None = None,
    dt: float | None = None,
    recover: bool = False,
) -> Frames:
    """A folder of frames, or a trajectory file that is mapped as it is read."""
    if path.is_dir() or not path.exists():
        return Frames.load(path)
    from cgsurrogate.data.export import load_any

    frames = load_any(path, topology, temperature=temperature, dt=dt, build=mapping_builder(mapping), recover=recover)
    return frames.with_provenance(mapping=mapping)


def load_ensembles(
    items: Sequence[str],
    reference: Frames,
    topology: Path | None = None,
    dt: float | None = None,
    weights: Sequence[str] = (),
    recover: bool = False,
) -> dict[str, Frames]:
    """Ensembles by the name to show: ``NAME=PATH`` or ``PATH``, each a folder of frames or trajectory files.

    Trajectory files, ``NAME=a.xtc,b.xtc`` for several runs, are mapped as the reference was.

    Args:
        recover: take the whole frames of trajectory files that are cut short.
        weights: ``NAME=FILE`` for biased ensembles, as for ``read``: weights, or a bias energy with the suffix :kJ/mol.
    """
    rows: dict[str, Frames] = {}
    for item in items:
        name, text = _named(item)
        if name in rows:
            raise ValueError(f"two surrogates are called {name!r}; name them with NAME=PATH")
        rows[name] = _one_ensemble(text, reference, topology, dt, recover)
    for item in weights:
        name, equals, spec = item.partition("=")
        if not equals or name not in rows:
            raise ValueError(f"expected --weights NAME=FILE with a NAME out of {', '.join(rows)}, got {item!r}")
        rows[name] = _weighted(rows[name], spec)
    return rows


def with_speed(frames: Frames, ns_per_day: float) -> Frames:
    """The frames, noting how fast the simulation that made them was, ns a day."""
    if not ns_per_day > 0:
        raise ValueError(f"expected a speed above 0 ns a day, got {ns_per_day}")
    return frames.with_provenance(ns_per_day=float(ns_per_day))


def with_speeds(rows: dict[str, Frames], speeds: Sequence[str]) -> dict[str, Frames]:
    """Ensembles by name, with the speeds given as ``NAME=NS_PER_DAY``."""
    result = dict(rows)
    for item in speeds:
        name, _, text = item.partition("=")
        try:
            result[name] = with_speed(rows[name], float(text))
        except (KeyError, ValueError):
            expected = f"--ns-per-day NAME=NUMBER with a NAME out of {', '.join(rows)}"
            raise ValueError(f"expected {expected}, got {item!r}") from None
    return result


def paths(items: Iterable[str | Path]) -> list[Path]:
    """The files and folders that ``NAME=PATH``, ``PATH`` and ``NAME=FILE.npz:name`` name."""
    from cgsurrogate.data.frame_weights import file_of

    return [file_of(part) for item in items for part in _named(str(item))[1].split(",")]


def _named(item: str) -> tuple[str, str]:
    name, equals, text = item.partition("=")
    return (name, text) if equals else (Path(item.split(",")[0]).stem, item)


def _one_ensemble(text: str, reference: Frames, topology: Path | None, dt: float | None, recover: bool) -> Frames:
    if Path(text).is_dir():
        return Frames.load(text)
    from cgsurrogate.data.export import load_any

    mapping = reference.provenance.mapping
    build = mapping_builder(registry.stored(mapping, "frames.json of the reference")) if mapping else None
    paths: list[str | Path] = list(text.split(",")) if not Path(text).exists() else [text]
    return load_any(paths, topology, like=reference, dt=dt, build=build, recover=recover)


def _weighted(frames: Frames, spec: str) -> Frames:
    from cgsurrogate.data import frame_weights
    from cgsurrogate.data.formats.sources import Source

    runs = [Source(f"run {i}", n, len(frames.beads), None, "array") for i, n in enumerate(frames.lengths)]
    return dataclasses.replace(frames, weights=np.concatenate(frame_weights.of_runs([spec], runs, frames.kT)))
