"""Is this trajectory what it claims to be? Each question is one function, each fault one line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cgsurrogate.core import limits
from cgsurrogate.data.formats.sources import Source
from cgsurrogate.geometry import bond_graph, measures

TYPICAL = 0.15  # nm, a bond between heavy atoms
LONGEST = 0.25  # nm, in a structure that is whole
BROKEN = 0.5  # nm, at any time: beyond every vibration
STRETCHED = 0.05  # nm, from the mean of all other frames: ten standard deviations of a covalent bond at 300 K
BENT = 0.08  # nm, likewise of the ends of an angle
SHORTEST = 1e-6  # ps between frames
STRONGEST = 1e6  # kJ/mol/nm on an atom of a simulation that goes on


def runs(found: Sequence[Source], atoms: int, dt: float | None) -> float:
    """ps between frames, the same in every run; each run has so many atoms and enough frames."""
    for run in found:
        if not run.positions:
            raise ValueError(f"{run.name} has no positions; if it holds forces, give it with --forces")
        if run.atoms != atoms:
            raise ValueError(
                f"{run.name} has {run.atoms} atoms and the topology {atoms}; "
                "give the topology that the trajectory was made with"
            )
        if run.frames < 2:
            raise ValueError(f"{run.name} gives {run.frames} frame(s); a run needs at least two")
    steps = [spacing(run.name, run.times, dt) for run in found]
    for run, step in zip(found, steps, strict=True):
        if abs(step - steps[0]) > 1e-3 * steps[0]:
            raise ValueError(
                f"frames of {found[0].name} are {steps[0]:g} ps apart and those of {run.name} {step:g} ps; "
                "map them apart, or give --dt if the files are wrong"
            )
    return steps[0]


def spacing(name: str, times: np.ndarray | None, dt: float | None) -> float:
    """ps between frames, as stated by the file unless ``dt`` overrides it.

    Raises:
        ValueError: neither says it, or the times of the file are not evenly spaced.
    """
    if dt is not None:
        if not dt > 0 or not np.isfinite(dt):
            raise ValueError(f"expected a time between frames above 0 ps, got {dt}")
        return float(dt)
    if times is None or not np.isfinite(times).all() or np.ptp(times) == 0:
        raise ValueError(f"{name} does not state the time between its frames; give --dt in ps")
    steps = np.diff(times)
    middle = float(np.median(steps))
    slack = max(1e-3 * abs(middle), 4 * np.finfo(np.float32).eps * float(np.abs(times).max()))
    bad = np.flatnonzero(np.abs(steps - middle) > slack)
    if middle <= 0 or len(bad):
        frame = int(bad[0]) if len(bad) else 0
        raise ValueError(
            f"{name}: frames are {middle:g} ps apart but {steps[frame]:g} ps between frames {frame} and {frame + 1}; "
            "split the file there, or give --dt if they are evenly spaced"
        )
    whole = float(np.ptp(times))  # one absurd time makes the slack as absurd
    if not SHORTEST <= middle <= limits.LONGEST or whole > 10 * len(steps) * middle:
        raise ValueError(
            f"{name} states that its frames are {middle:g} ps apart and last {whole:g} ps; is it damaged? Give --dt in "
            "ps"
        )
    mean = float((times[-1] - times[0]) / (len(times) - 1))
    for digits in (0, 1, 2, 3, 4, 5, 6):  # times are stored in single precision
        if abs(round(mean, digits) - mean) <= 1e-4 * mean / max(1, len(steps)) ** 0.5:
            return round(mean, digits) or mean
    return mean


def finite(name: str, array: np.ndarray, frames: range, labels: Sequence[str], what: str) -> None:
    """(n, A, 3); ``frames`` are their numbers in the file."""
    good = np.isfinite(array).all(-1)
    if not good.all():
        frame, atom = np.argwhere(~good)[0]
        raise ValueError(
            f"{name}: {what} are not finite, first in frame {frames[frame]}, atom {labels[atom]}; "
            "leave those frames out"
        )


def possible(name: str, forces: np.ndarray, frames: range, labels: Sequence[str]) -> None:
    """(n, A, 3) kJ/mol/nm: finite, and not beyond what an atom can feel; a damaged file has any number."""
    finite(name, forces, frames, labels, "forces")
    largest = np.abs(forces).max(-1)
    if largest.max() > STRONGEST:
        frame, atom = map(int, np.unravel_index(int(largest.argmax()), largest.shape))
        raise ValueError(
            f"{name}: a force of {largest[frame, atom]:.3g} kJ/mol/nm in frame {frames[frame]} on atom {labels[atom]} "
            "is beyond what an atom can feel; is the file damaged, or the unit wrong?"
        )


def scale(name: str, xyz: np.ndarray, bonds: np.ndarray, labels: list[str]) -> None:
    """The first frame (A, 3) nm of a whole molecule: is it in nm, and are these the atoms of the topology?"""
    if not len(bonds):
        return
    length = measures.distances(xyz[None], bonds)[0]
    middle = float(np.median(length))
    if 5 * TYPICAL < middle < 20 * TYPICAL and np.mean(np.abs(length / middle - 1) < 0.4) > 0.8:
        raise ValueError(
            f"{name}: bonded atoms are {middle:.2f} nm apart, ten times too far: it looks like Angstrom; "
            "divide the coordinates by 10, or give --length-unit A for arrays"
        )
    worst = int(length.argmax())
    a, b = (labels[i] for i in bonds[worst])
    if length[worst] > LONGEST:
        raise ValueError(
            f"{name}: bonded atoms {a} and {b} are {length[worst]:.2f} nm apart in the first frame; "
            "is it the right topology, in the same order of atoms?"
        )
    if middle < TYPICAL / 2:
        raise ValueError(f"{name}: bonded atoms are {middle:.3f} nm apart, too near; are the coordinates in nm?")


class Shape:
    """Bonds and angles of one run, whose frames come in pieces: none is broken, or once far from what it usually is.

    An angle is known by the distance of its ends.

    Args:
        name: of the run, for messages.
        bonds: (B, 2) pairs of atoms.
        labels: of the atoms.
    """

    def __init__(self, name: str, bonds: np.ndarray, labels: Sequence[str]):
        near = bond_graph.adjacency(len(labels), bonds)
        ends = sorted({(i, k) for around in near for i in around for k in around if i < k} - set(map(tuple, bonds)))
        self.name, self.labels, self.bonds = name, labels, len(bonds)
        self.pairs = np.array([*bonds, *ends], int).reshape(-1, 2)
        self.most = np.where(np.arange(len(self.pairs)) < len(bonds), STRETCHED, BENT)
        self.count, self.total = 0, np.zeros(len(self.pairs))
        self.extremes = np.full((2, len(self.pairs)), -np.inf)  # the longest, and minus the shortest
        self.frames = np.zeros((2, len(self.pairs)), int)  # where these are

    def add(self, xyz: np.ndarray, frames: range) -> None:
        """Frames (n, A, 3) nm, whose numbers in the file are ``frames``.

        Raises:
            ValueError: a bond is broken in one of them.
        """
        if not self.bonds or not len(xyz):
            return
        length = measures.distances(xyz, self.pairs)
        of_bonds = length[:, : self.bonds]
        if not of_bonds.max() <= BROKEN:
            frame, bond = map(int, np.unravel_index(int(of_bonds.argmax()), of_bonds.shape))
            a, b = (self.labels[i] for i in self.pairs[bond])
            raise ValueError(
                f"{self.name}: bonded atoms {a} and {b} are {length[frame, bond]:.2f} nm apart in frame "
                f"{frames[frame]}; make molecules whole (gmx trjconv -pbc mol) or leave that frame out"
            )
        self.count += len(length)
        self.total += length.sum(0, dtype=float)
        for sign, extremes, where in zip((1, -1), self.extremes, self.frames, strict=True):
            most = length.max(0) if sign > 0 else -length.min(0)
            for pair in np.flatnonzero(most > extremes):
                extremes[pair] = most[pair]
                where[pair] = frames[int((sign * length[:, pair]).argmax())]

    def check(self) -> None:
        """Call it after the last frame.

        Raises:
            ValueError: one is in some frame more than ``STRETCHED``, or ``BENT``, from its mean over all others.
        """
        if self.count < 2 or not self.bonds:
            return
        signs = np.array([[1.0], [-1.0]])
        off = (self.extremes - signs * self.total / self.count) * self.count / (self.count - 1)
        which, pair = map(int, np.unravel_index(int((off / self.most).argmax()), off.shape))
        if off[which, pair] > self.most[pair]:
            a, b = (self.labels[i] for i in self.pairs[pair])
            length = abs(self.extremes[which, pair])
            usual = (self.total[pair] - length) / (self.count - 1)
            what = "bonded atoms" if pair < self.bonds else "neighbours of one atom,"
            raise ValueError(
                f"{self.name}: {what} {a} and {b} are {length:.3f} nm apart in frame {self.frames[which, pair]}, "
                f"usually {usual:.3f}; no vibration reaches that: is the file damaged? Copy it again or leave that "
                "frame out"
            )
