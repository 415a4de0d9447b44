"""All-atom runs -> positions of beads: several runs at once, in pieces, each looked at before it is mapped."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from cgsurrogate.core import disk_arrays
from cgsurrogate.core.limits import cores
from cgsurrogate.data import validation
from cgsurrogate.data.formats.sources import Reader, Source
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups
from cgsurrogate.geometry.periodic import Unwrap

Report = Callable[[int, int], None]
"""Called with frames done and frames in all."""


def map_runs(
    structure: Any, mapping: Mapping, runs: list[tuple[Source, range]], positions: np.ndarray, report: Report
) -> None:
    """Beads of the wanted frames of every run one after the other, into ``positions`` (T, N, 3) nm.

    Several runs are read at once, by a parser each, where there are cores for them.
    """
    used = _heavy_atoms(structure, mapping)
    part = structure.subset(used)
    ends = np.cumsum([len(window) for _, window in runs])
    places = [positions[end - len(window) : end] for end, (_, window) in zip(ends.tolist(), runs, strict=True)]
    one = _OneRun(used, mapping.of_atoms(used), _atom_groups.bonds(part), [str(atom) for atom in part.atoms])
    one.report = _together(report, len(positions))
    several = min(len(runs), cores())
    with ThreadPoolExecutor(several) as pool:
        try:
            for future in [pool.submit(one.map, *run, place) for run, place in zip(runs, places, strict=True)]:
                future.result()
        except BaseException:
            one.stopped = True
            pool.shutdown(cancel_futures=True)
            raise


def _together(report: Report, total: int) -> Callable[[int], None]:
    """A function that takes frames as they are done, by any thread, and reports how many are."""
    lock, done = threading.Lock(), [0]

    def count(frames: int) -> None:
        with lock:
            done[0] += frames
            report(done[0], total)

    return count


@dataclasses.dataclass
class _OneRun:
    """Maps runs of one molecule: atoms that are read, their mapping, bonds and names."""

    used: np.ndarray
    mapping: Mapping
    bonds: np.ndarray
    labels: list[str]
    report: Callable[[int], None] = lambda frames: None
    stopped: bool = False

    def map(self, run: Source, window: range, positions: np.ndarray) -> None:
        """Into (T, N, 3) nm; ends early where ``stopped``."""
        unwrap, done = Unwrap(len(self.used), self.bonds), 0
        shape = validation.Shape(run.name, self.bonds, self.labels)
        with Reader() as reader:
            for xyz, cells in reader.blocks(run, self.used, window):
                left = window[done:]
                validation.finite(run.name, xyz, left, self.labels, "coordinates")
                xyz = unwrap(xyz, cells)
                if not done:
                    validation.scale(run.name, xyz[0], self.bonds, self.labels)
                shape.add(xyz, left)
                positions[done : done + len(xyz)] = self.mapping.positions(xyz)
                done += len(xyz)
                disk_arrays.release(positions)
                self.report(len(xyz))
                if self.stopped:
                    return
        if done != len(window):
            raise ValueError(f"{run.name} gave {done} frames where {len(window)} were expected; is it damaged?")
        shape.check()


def _heavy_atoms(structure: Any, mapping: Mapping) -> np.ndarray:
    """Indices of the atoms that are read: heavy atoms of mapped chains and whatever else is mapped."""
    mapped = mapping.used
    chains = {structure.atom(int(i)).residue.chain.index for i in np.flatnonzero(mapped)}
    for residue in _atom_groups.protein_residues(structure):
        if residue.chain.index in chains:
            mapped[[atom.index for atom in residue.atoms if not _atom_groups.is_hydrogen(atom)]] = True
    return np.flatnonzero(mapped)
