"""A molecule of several groups of trajectories, which become one ``Frames``; by MBAR where ensembles differ."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cgsurrogate.core import disk_arrays, mbar, units
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import kish
from cgsurrogate.data import atomic_forces, force_aggregation
from cgsurrogate.data import read as reading
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.read import Input, Report, Sampled

NOTE = "combined ensembles"  # in the provenance of the frames
ENOUGH = 0.03  # overlap of neighbours (Klimovich, Shirts & Mobley, J. Comput.-Aided Mol. Des. 29, 397 (2015))
NONE = 1e-3  # below it free energies between two sets of states rest on a handful of frames or on none
FEW = 10.0  # effective frames
SAME = 1e-3  # of the time between frames

_Group = tuple[Input, Sampled]
_State = tuple[float, int]  # temperature in K, and the window or -1


@dataclasses.dataclass(frozen=True)
class Molecule:
    """One molecule and what is known of it.

    Attributes:
        name: by which its results are called.
        mapping: as on the command line.
        temperature: K, of the ensemble that is wanted.
        groups: trajectories that share a topology and the conditions of their simulation; the ``temperature`` of each
            is that of its simulation.
        selection: of mdtraj; only residues with an atom of it are mapped.
    """

    name: str
    mapping: str
    temperature: float
    groups: tuple[Input, ...]
    selection: str | None = None


def read(molecule: Molecule, build: Callable[[Any], Mapping], report: Report = lambda done, total: None) -> Frames:
    """Frames of all groups, a run a trajectory; weighted by MBAR where they are of several ensembles.

    Groups at one temperature are put together as they are; of those with weights each counts as much as it has
    effective frames. Groups at several temperatures need ``energies``, windows of umbrella sampling ``bias``.

    Raises:
        FileNotFoundError: a file that does not exist.
        ValueError: groups that do not fit together, or ensembles that overlap too little.
    """
    (first, *others), wanted = molecule.groups, molecule.temperature
    if not others and not first.bias and first.temperature == wanted:
        return reading.read(first, build, report)
    groups: list[_Group] = []
    for group in molecule.groups:
        done = sum(len(known.frames) for _, known in groups)
        total: Report = lambda n, _, done=done: report(done + n, None)  # type: ignore[misc]  # noqa: E731
        groups.append((group, reading.read_sampled(group, build, total)))
    _refuse_unlike(groups)
    frames = _joined(groups, wanted)
    if any(group.bias or group.temperature != wanted for group in molecule.groups):
        return _weighted(frames, groups)
    return frames


def sentences(frames: Frames) -> list[str]:
    """What reading found out about weights and forces, a line each."""
    known = frames.provenance
    lines = [mbar_sentence(about)] if (about := known.notes.get(NOTE)) else []
    if about := known.notes.get("atomic_forces"):
        lines.append(atomic_forces.sentence(about))
    if known.mean_square_force:
        lines.append(force_aggregation.sentence(dict(known.mean_square_force)))
    return lines


def mbar_sentence(about: dict[str, Any]) -> str:
    """What MBAR found, in one line."""
    states, (low, names) = about["states"], (about["overlap"], about["between"])
    weak = "" if low >= ENOUGH else f"; it is weak: add simulations between {names[0]} and {names[1]}"
    return (
        f"weighted by MBAR for {about['temperature']:g} K: {about['frames']:,} frames of {len(states)} states "
        f"({_listed(states)}) count as {about['effective']:,.0f} by their weights; the weakest overlap, of {names[0]} "
        f"with {names[1]}, is {low:.2g}{weak}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{names[0]}, {names[1]} ... {names[-1]}"


def _refuse_unlike(groups: list[_Group]) -> None:
    """Groups must be of the same beads, equally spaced in time, and all with forces or all without."""
    (own, known), *rest = groups
    for number, (group, other) in enumerate(rest, 2):
        which = f"group {number} ({group.trajectories[0]}) and group 1 ({own.trajectories[0]})"
        if other.frames.beads != known.frames.beads:
            raise ValueError(f"{which} have other beads: {_difference(known.frames.beads, other.frames.beads)}")
        first, second = known.frames.dt, other.frames.dt
        if abs(first - second) > SAME * first:
            raise ValueError(f"{which} have frames {second:g} and {first:g} ps apart; make them alike with stride")
        if (other.frames.forces is None) != (known.frames.forces is None):
            raise ValueError(f"of {which} only one has forces; give the others too, or set no_forces = true")


def _difference(first: Beads, second: Beads) -> str:
    if len(first) != len(second):
        return f"{len(second)} and {len(first)}; are they the same molecule, and do the atoms have the same names?"
    for field in dataclasses.fields(Beads):
        one, two = getattr(first, field.name), getattr(second, field.name)
        if one != two:
            if len(one) != len(two):
                return f"{len(two)} and {len(one)} {field.name}"
            k = next(k for k in range(len(one)) if one[k] != two[k])
            return f"{field.name} {k} is {two[k]} and {one[k]}"
    return "none"


def _joined(groups: list[_Group], temperature: float) -> Frames:
    parts = [known.frames for _, known in groups]
    about = [part.provenance for part in parts]
    weights = None
    if any(part.weights is not None for part in parts):
        weights = np.concatenate([part.probabilities * kish(part.probabilities) for part in parts])
    speeds = {one.ns_per_day for one in about}
    forces = [part.forces for part in parts if part.forces is not None]
    return Frames(
        beads=parts[0].beads,
        positions=disk_arrays.joined([part.positions for part in parts]),
        lengths=tuple(n for part in parts for n in part.lengths),
        dt=parts[0].dt,
        temperature=temperature,
        forces=disk_arrays.joined(forces) if forces else None,
        weights=weights,
        provenance=dataclasses.replace(
            about[0],
            topology=", ".join(dict.fromkeys(one.topology for one in about)),
            trajectories=tuple(name for one in about for name in one.trajectories),
            ns_per_day=about[0].ns_per_day if len(speeds) == 1 else None,
            left_out=tuple(line for one in about for line in one.left_out),
        ),
    )


# -- several ensembles -----------------------------------------------------------------------------------------------


def _weighted(frames: Frames, groups: list[_Group]) -> Frames:
    """With the weights of MBAR for the temperature of the frames."""
    if frames.weights is not None:
        raise ValueError(
            "some groups have weights and are to be combined by MBAR too; give weights, or energies and bias"
        )
    labels = _states_of_runs(groups)
    states = list(dict.fromkeys(labels))
    energies, bias = _potential(groups, frames.temperature), _bias(groups, frames)
    order = np.repeat([states.index(label) for label in labels], frames.lengths)
    reduced = np.stack(
        [
            (energies + (bias[:, window] if window >= 0 else 0.0)) / units.thermal_energy(kelvin)
            for kelvin, window in states
        ]
    )
    found = mbar.weights(reduced, np.bincount(order), energies / frames.kT)
    low, a, b = found.weakest()
    names = [_called(state, states) for state in states]
    if low < NONE:
        raise ValueError(
            f"nothing joins {names[a]} and {names[b]}, the nearest of two sets of states: they overlap by "
            f"{low:.1g}, {ENOUGH:g} are needed; simulate between them, or leave one set out"
        )
    if found.effective < FEW:
        raise ValueError(
            f"{len(frames):,} frames count as only {found.effective:.1f} at {frames.temperature:g} K; add simulations "
            "at that temperature, or nearer to it"
        )
    about = {
        "temperature": frames.temperature,
        "states": names,
        "frames": len(frames),
        "effective": found.effective,
        "overlap": low,
        "between": [names[a], names[b]],
    }
    if low < ENOUGH:
        warnings.warn(mbar_sentence(about), stacklevel=3)
    noted = frames.with_provenance(notes={**frames.provenance.notes, NOTE: about})
    return dataclasses.replace(noted, weights=found.weights)


def _called(state: _State, states: list[_State]) -> str:
    kelvin, window = state
    hot = f"{kelvin:g} K" if window < 0 or len({t for t, _ in states}) > 1 else ""
    return " at ".join(part for part in (f"window {window}" if window >= 0 else "", hot) if part)


def _states_of_runs(groups: list[_Group]) -> list[_State]:
    """The ensemble that each run was sampled in; without other word each run is a window of its own."""
    found: list[_State] = []
    for group, known in groups:
        runs = len(known.frames.lengths)
        if known.bias is None:
            found += [(group.temperature, -1)] * runs
            continue
        windows = list(group.windows) or [len(found) + k for k in range(runs)]
        count = known.bias.shape[1]
        if len(windows) != runs or not all(0 <= window < count for window in windows):
            raise ValueError(
                f"{group.bias[0]} holds bias energies of {count} windows, and the {runs} runs of "
                f"{group.trajectories[0]} are of windows {windows}; say windows = [...], one for each run"
            )
        found += [(group.temperature, window) for window in windows]
    return found


def _potential(groups: list[_Group], wanted: float) -> np.ndarray:
    """(T,) kJ/mol, the potential energy without bias, less its mean; zeros where it cancels, at one temperature."""
    if all(group.temperature == wanted for group, _ in groups):
        return np.zeros(sum(len(known.frames) for _, known in groups))
    parts = []
    for group, known in groups:
        if known.energies is None:
            kelvins = " and ".join(f"{kelvin:g}" for kelvin in sorted({group.temperature for group, _ in groups}))
            raise ValueError(
                f"frames were sampled at {kelvins} K, and {wanted:g} K are wanted: give the potential energy of every "
                f"frame of every group, energies = ...; {group.trajectories[0]} has none"
            )
        (first, own), *_ = groups
        if known.atoms != own.atoms:
            raise ValueError(
                f"{group.trajectories[0]} has {known.atoms} atoms and {first.trajectories[0]} {own.atoms}: "
                "energies of different systems cannot be compared; combine one system by temperature, and leave the "
                "others out"
            )
        parts.append(known.energies)
    every = np.concatenate(parts)
    return np.asarray(every - every.mean())


def _bias(groups: list[_Group], frames: Frames) -> np.ndarray:
    """(T, K) kJ/mol in every window; frames of groups without any must not be among those with."""
    shapes = {None if known.bias is None else known.bias.shape[1] for _, known in groups}
    if shapes == {None}:
        return np.zeros((len(frames), 0))
    if len(shapes) > 1:
        counted = " and ".join("none" if n is None else str(n) for n in sorted(shapes, key=str))
        raise ValueError(
            f"the groups have bias energies of {counted} windows: every frame needs those of all windows; an unbiased "
            "run has a window of its own whose bias is 0"
        )
    return np.concatenate([known.bias for _, known in groups if known.bias is not None])
