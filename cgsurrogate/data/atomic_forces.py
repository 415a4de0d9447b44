"""Forces on all atoms: where they come from, in which unit, how large they are, and the aggregation that they allow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import disk_arrays
from cgsurrogate.data import force_aggregation as aggregation
from cgsurrogate.data import validation
from cgsurrogate.data.formats import arrays, unit_names
from cgsurrogate.data.formats.sources import Reader, Source, sources
from cgsurrogate.data.mapping import Mapping

UNIT = "kJ/mol/nm"
SAMPLE = 5000  # frames from which the optimal aggregation is found
GAIN = 0.99  # of the mean squared force of the basic aggregation, below which the optimal one is taken


@dataclasses.dataclass(frozen=True, eq=False)
class AtomicForces:
    """Forces of every run.

    Attributes:
        runs: a source of forces each.
        origin: in words.
        unit: as the files or the user say it; None where nobody does.
        sure: whether the unit is stated; that of arrays is what the manual asks for unless the user says another.
    """

    runs: list[Source]
    origin: str
    unit: str | None
    sure: bool

    def described(self, rms: float) -> dict[str, Any]:
        """The root mean square of a component in kJ/mol/nm and what it says about the unit, from that of the raw ones.

        Raises:
            ValueError: nobody states the unit, or it is that of the manual and cannot be right.
        """
        factor, own = self.runs[0].scale, self.runs[0].name
        if not rms > 0:
            raise ValueError(
                f"{own}: all forces are zero; give those of the simulation, or leave them out (--no-forces)"
            )
        likely, trusted = unit_names.likely_force(rms / factor)
        if self.unit is None:
            raise ValueError(
                f"{own} does not say the unit of its forces; their root mean square of {rms:.4g} suggests "
                f"{likely}{'' if trusted else ', but not clearly'}: give it with --force-unit, or leave the forces "
                "out with --no-forces"
            )
        if not self.sure and not unit_names.plausible(rms):
            other = f"it suggests {likely}" if trusted else "no usual unit makes that the forces of a molecule"
            raise ValueError(
                f"{own}: expected forces in {UNIT}, of a root mean square near {unit_names.TYPICAL:g}, got {rms:.4g}; "
                f"{other}: give the unit with --force-unit"
            )
        return {"from": self.origin, "unit": self.unit, "root_mean_square": rms, "likely_unit": likely}


def of_runs(
    specs: Sequence[Any], runs: list[Source], atoms: int, *, unit: str | None, ignore: bool
) -> AtomicForces | None:
    """The forces that were given, or else those in the trajectory files; None where there are none.

    Args:
        specs: files of forces: arrays, or trajectories with forces, one a run; or sources of forces.
        unit: of forces whose file does not say it.
        ignore: leave out the forces of trajectory files.

    Raises:
        ValueError: they do not fit the runs, or only some of the runs have forces.
    """
    if unit is not None:
        unit_names.force(unit)
    if specs:
        if all(isinstance(spec, Source) for spec in specs):
            return AtomicForces(list(specs), "memory", unit, unit is not None)
        given = [spec for spec in specs if arrays.is_array(spec)]
        if len(given) == len(specs):
            return _of_arrays(specs, runs, atoms, unit)
        if given:
            raise ValueError(f"some forces are arrays ({given[0]}) and some are not; give all in the same way")
        found, origin = _of_files(specs, runs), "files of their own"
    else:
        have = [run for run in runs if run.forces is not None]
        if ignore or not have:
            return None
        if len(have) < len(runs):
            without = next(run.name for run in runs if run.forces is None)
            raise ValueError(f"{have[0].name} has forces and {without} has none; leave all out with --no-forces")
        found, origin = have, "the trajectory files"
    return _in_units(found, origin, unit)


def _of_arrays(specs: Sequence[Any], runs: list[Source], atoms: int, unit: str | None) -> AtomicForces:
    parts = arrays.split(specs, [run.frames for run in runs], (atoms, 3), "forces")
    files = [spec for spec in specs if not isinstance(spec, np.ndarray)]
    names = [f"forces of {run.name}" for run in runs]
    if len(files) == len(specs):  # the file is named, and the run where one file serves several
        names = [str(s) for s in specs] if len(specs) == len(runs) else [f"{specs[0]}, {name}" for name in names]
    made = [
        Source(name, run.frames, atoms, None, "array", part, scale=unit_names.force(unit or UNIT))
        for name, run, part in zip(names, runs, parts, strict=True)
    ]
    return AtomicForces(made, "arrays", unit or UNIT, unit is not None)


def _of_files(specs: Sequence[str | Path], runs: list[Source]) -> list[Source]:
    found = [source for spec in specs for source in sources(spec, None, "nm")]
    if len(found) != len(runs):
        raise ValueError(f"{len(runs)} runs need as many files of forces, got {len(found)}; give one a trajectory")
    for source, run in zip(found, runs, strict=True):
        if source.forces is None:
            raise ValueError(
                f"{source.name} has no forces; expected TRR, Amber NetCDF or H5MD with forces, or an array"
            )
        if (source.frames, source.atoms) != (run.frames, run.atoms):
            raise ValueError(
                f"{source.name} has forces of {source.frames} frames and {source.atoms} atoms, {run.name} has "
                f"{run.frames} and {run.atoms}; they must agree"
            )
    return found


def _in_units(found: list[Source], origin: str, unit: str | None) -> AtomicForces:
    stated = {source.force_unit for source in found}
    if len(stated) > 1:
        raise ValueError(f"forces are stated in {' and '.join(map(str, stated))}; map these files apart")
    (own,) = stated
    if own is not None:
        try:
            factor = unit_names.force(own)
        except ValueError as error:
            if unit is None:
                raise ValueError(f"{found[0].name}: {error}; give the right one with --force-unit") from None
            own, factor = unit, unit_names.force(unit)
        if unit is not None and not np.isclose(unit_names.force(unit), factor):
            raise ValueError(f"{found[0].name} states forces in {own}, --force-unit says {unit}; leave the option out")
    named = own or unit
    scale = unit_names.force(named) if named else 1.0
    runs = [dataclasses.replace(source, content="forces", scale=scale) for source in found]
    return AtomicForces(runs, origin, named, named is not None)


def covered(forces: AtomicForces, windows: list[range]) -> None:
    """Every wanted frame has forces.

    Raises:
        ValueError: one has not.
    """
    for run, window in zip(forces.runs, windows, strict=True):
        if run.forces is None:
            continue
        there = run.forces[window.start : window.stop : window.step]
        if not there.all():
            every = np.diff(np.flatnonzero(run.forces))
            hint = f", or --stride {every[0]} takes those that have" if len(set(every.tolist())) == 1 else ""
            raise ValueError(
                f"{run.name} has forces in {there.sum()} of {len(there)} frames, not in frame "
                f"{window[int(np.flatnonzero(~there)[0])]}; leave them out with --no-forces{hint}"
            )


def aggregated(
    reader: Reader,
    aggregate: str,
    mapping: Mapping,
    structure: Any,
    forces: AtomicForces,
    weights: list[np.ndarray] | None,
    windows: list[range],
) -> tuple[Mapping, dict[str, Any], dict[str, Any]]:
    """The mapping with the wanted aggregation, the noise of each kind, and what the forces are (``described``).

    The optimum is found from four fifths of some frames of every run. Where it gains nothing on the last fifth, as when
    every heavy atom is a bead, the basic aggregation stays.
    """
    every = max(1, sum(len(window) for window in windows) // SAMPLE)
    atoms = np.flatnonzero(aggregation.connected(mapping, structure))  # without water
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number, window in enumerate(windows):
        taken = window[::every]
        part = np.concatenate([piece for piece, _ in reader.blocks(forces.runs[number], atoms, taken)])
        share = np.ones(len(part)) if weights is None else np.asarray(weights[number][np.array(taken)], float)
        good = (np.abs(part) < validation.STRONGEST).all((1, 2)) & np.isfinite(share)  # others are refused when mapped
        rows.append((part[good], share[good], np.flatnonzero(good) >= max(1, len(part) * 4 // 5)))
    sample, share, last = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    about = forces.described(float(np.sqrt(np.mean(sample.astype(float) ** 2)))) if len(sample) else {}
    if not share[~last].sum() > 0 or not share[last].sum() > 0:
        return mapping, {}, about
    best, noise = aggregation.noise(
        mapping.of_atoms(atoms), structure.subset(atoms), sample[~last], sample[last], (share[~last], share[last])
    )
    used = "optimal" if aggregate != "basic" and noise["optimal"] < GAIN * noise["basic"] else "basic"
    if used == "optimal":
        mapping = best.among(atoms, structure.n_atoms)
    return mapping, {**noise, "used": used}, about


def map_all(
    reader: Reader, mapping: Mapping, structure: Any, forces: AtomicForces, windows: list[range], made: np.ndarray
) -> None:
    """Forces of beads of the wanted frames of every run one after the other, into ``made`` (T, N, 3) kJ/mol/nm."""
    used = np.flatnonzero(mapping.felt)
    few, labels, done = mapping.of_atoms(used), [str(structure.atom(int(i))) for i in used], 0
    for run, window in zip(forces.runs, windows, strict=True):
        start = done
        for piece, _ in reader.blocks(run, used, window):
            validation.possible(run.name, piece, window[done - start :], labels)
            made[done : done + len(piece)] = few.forces(piece)
            done += len(piece)
            disk_arrays.release(made)
        if done - start != len(window):
            raise ValueError(f"{run.name} gave forces of {done - start} frames where {len(window)} were expected")


def sentence(about: dict[str, Any]) -> str:
    """What the forces are, in one line."""
    rms, likely = about["root_mean_square"], about["likely_unit"]
    agrees = np.isclose(unit_names.force(likely), unit_names.force(about["unit"]))
    if not agrees:
        verdict = f"which looks more like {likely}; check their unit"
    else:
        verdict = "as usual for a molecule" if unit_names.plausible(rms) else "which is unusual for a molecule"
    return f"forces from {about['from']}, stated in {about['unit']}: root mean square {rms:.4g} {UNIT}, {verdict}"
