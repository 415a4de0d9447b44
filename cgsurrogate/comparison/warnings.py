"""What a reader must know before trusting a comparison: too few data, other temperatures, halves that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cgsurrogate.comparison import shared_frames
from cgsurrogate.comparison.ensemble import ROLES, Ensemble
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import LEAST_RUNS

OUTSIDE = 0.01


def warnings(
    ensembles: Sequence[Ensemble], frames: Mapping[str, Frames], enough: bool, splits: Mapping[str, int]
) -> tuple[str, ...]:
    """What a reader must know before trusting the verdict.

    Args:
        frames: of every ensemble, by name.
        enough: whether the blocks of the reference are longer than its correlation.
        splits: how many splits each noise floor rests on.
    """
    reference = frames[ensembles[0].name]
    roles = {role: {one.name: frames[one.name] for one in ensembles if one.role == role} for role in ROLES}
    found = shared_frames.words(reference, next(iter(roles["floor"].values()), None), roles["surrogate"])
    if not enough:
        found.append(
            "the reference is too short for its own slowest motion: runs are cut into blocks shorter than its"
            " correlation, so errors and noise floor are too small; add runs or longer ones"
        )
    elif reference.independent_runs < LEAST_RUNS:
        found.append(
            f"the reference has {reference.independent_runs} run(s): its errors come from blocks within runs, taken as"
            f" independent; {LEAST_RUNS} or more runs would need no such assumption"
        )
    few = [name for name, number in splits.items() if number < 10]
    if few:
        found.append(f"the noise floor of {', '.join(few)} rests on fewer than ten splits; read it as a rough figure")
    own = ensembles[0]
    for one in ensembles[1:]:
        outside = {name: s.outside for name, s in one.surfaces.items() if s.outside > OUTSIDE}
        if outside:
            worst = max(outside, key=lambda name: outside[name])
            found.append(
                f"{one.name}: {outside[worst]:.1%} of the frames lie outside the range of the reference in {worst}"
            )
        if one.role == "surrogate" and one.effective < own.effective / 2:
            found.append(
                f"{one.name}: about {one.effective:.0f} independent frames against {own.effective:.0f} of the"
                " reference; its own sampling error hides what a longer simulation would show"
            )
        own_temperature = frames[one.name].temperature
        if abs(own_temperature - reference.temperature) > 0.5:
            found.append(
                f"{one.name} is at {own_temperature:g} K, the reference at {reference.temperature:g} K; each has free"
                " energies at its own temperature"
            )
    return tuple(dict.fromkeys([*found, *of_each(ensembles)]))


def of_each(ensembles: Sequence[Ensemble]) -> tuple[str, ...]:
    """What a reader must know of every ensemble, whatever it is held against."""
    found: list[str] = []
    for one in ensembles:
        found += _halves(one)
        found += [f"{one.name}: {note}" for note in one.notes]
        found += [
            f"{one.name}: {note}" for known in one.states.values() for note in known.notes if note not in one.notes
        ]
    return tuple(dict.fromkeys(found))


def _halves(one: Ensemble) -> list[str]:
    """Whether the first half of the runs and the second tell different stories."""
    if one.convergence is None:
        return []
    limits = one.convergence.halves_floor
    moved = {n: v for n, v in one.convergence.halves.items() if v > limits[n]}
    if len(moved) < max(2, len(limits) / 4):  # one in twenty lies beyond by chance
        return []
    worst = max(moved, key=lambda n: moved[n] / limits[n])
    return [
        f"{one.name}: the second half of its runs differs from the first on {len(moved)} of {len(limits)} figures (most"
        f" on {worst}: {moved[worst]:.3f}, by chance up to {limits[worst]:.3f}); it has not come to equilibrium"
    ]
