"""Where frames come from, in typed fields: files that were mapped, or a simulation and what it did to their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

EXCHANGE = "exchanging replicas"  # a ``mixed_by``, as are those of the sampler that a simulation names
DRAWS = "independent draws"  # another


@dataclasses.dataclass(frozen=True)
class Quarantined:
    """A replica that was frozen: its number, the time in ps of its first bad frame, and why that is bad."""

    replica: int
    time: float
    reason: str

    def __str__(self) -> str:
        return f"replica {self.replica} after {self.time:g} ps ({self.reason})"


class Exchange(TypedDict, total=False):
    """What replica exchange on a ladder of temperatures achieved.

    ``temperatures`` in K, rising; for each pair of neighbours the ``attempts`` and the ``acceptance`` (None where
    nothing was tried); rounds of ``exchanges``; ``round_trips`` of replicas from the lowest temperature to the highest
    and back; ``settled``, ps that got no weight; and how many frames lie at the lowest temperature, and how many
    all of them are worth there by weight.
    """

    temperatures: list[float]
    acceptance: list[float | None]
    attempts: list[int]
    exchanges: int
    round_trips: int
    settled: float
    frames_at_target: int
    effective_frames: float


@dataclasses.dataclass(frozen=True, repr=False)
class Provenance:
    """Where frames come from. Every field is optional; what is in a mapping, JSON can hold.

    >>> Provenance(mapping="ca", wall_seconds=3.0)
    Provenance(mapping='ca', wall_seconds=3.0)

    Attributes:
        topology: name of the file that all-atom trajectories were read with.
        trajectories: names of their files.
        mapping: from atoms to beads, as on the command line.
        example: name of the embedded example.
        aggregate: how forces of atoms became forces of beads, "basic" or "optimal".
        mean_square_force: of each such aggregation, (kJ/mol/nm)^2, and which was used.
        ns_per_day: speed of the simulation that made the frames.
        made_by: in words, where neither files nor a simulation made them.
        propagator: what moved the beads, "force field" or "time-stepper".
        lag: ps of one of its steps.
        simulation: all that decides about the frames, by which a folder tells one simulation from another.
        physical_time: whether ``dt`` is time of the molecule; not so for a coarse-grained force field.
        why_not_physical: in words.
        mixed_by: what took the order in time from the frames ("exchanging replicas", ...); empty if they have it.
        monte_carlo: by kind of move, what was tried and accepted.
        exchange: what replica exchange achieved; None without.
        replicas: number of the replica that each run is.
        ladders: number of the ladder of replicas that each run comes from.
        blocks_of: number of the unbroken run that each run is a block of, where one was cut; empty where none was.
        quarantined: replicas that were frozen.
        wall_seconds: of the simulation.
        kinetic_temperature: K, the mean.
        too_close: the first pair of beads that came nearer than training data do, and its distance in nm.
        correction: how the frames were weighted after they were made.
        extrapolation: summary of how new the frames are to the model that made them.
        training_notes: what the training of that model warned of.
        trained_on: fingerprints of some of the frames that it was trained on (``fingerprints.sketch``).
        contents: what of the topology is mapped and what is left out, in words.
        left_out: what of trajectory files that were cut short is not there, a line each.
        notes: anything else.
    """

    topology: str = ""
    trajectories: tuple[str, ...] = ()
    mapping: str = ""
    example: str = ""
    aggregate: str = ""
    mean_square_force: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ns_per_day: float | None = None
    made_by: str = ""
    propagator: str = ""
    lag: float | None = None
    simulation: Mapping[str, Any] | None = None
    physical_time: bool = True
    why_not_physical: str = ""
    mixed_by: str = ""
    monte_carlo: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    exchange: Exchange | None = None
    replicas: tuple[int, ...] = ()
    ladders: tuple[int, ...] = ()
    blocks_of: tuple[int, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    wall_seconds: float | None = None
    kinetic_temperature: float | None = None
    too_close: tuple[float, ...] = ()
    correction: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extrapolation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training_notes: tuple[str, ...] = ()
    trained_on: tuple[int, ...] = ()
    contents: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if clash := FIELDS & self.notes.keys():
            raise ValueError(f"{', '.join(sorted(clash))} of a provenance are fields of their own, not notes")

    def __repr__(self) -> str:
        return f"Provenance({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def of_runs(self, chosen: Sequence[int], count: int) -> Provenance:
        """That of some of ``count`` runs: each keeps its replica, its ladder, and the run that it is a block of."""
        replicas, ladders, blocks_of = (
            tuple(each[run] for run in chosen) if len(each) == count else each
            for each in (self.replicas, self.ladders, self.blocks_of)
        )
        return dataclasses.replace(self, replicas=replicas, ladders=ladders, blocks_of=blocks_of)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: fields that say something, and the notes beside them."""
        empty = Provenance()
        named = {name: getattr(self, name) for name in FIELDS if getattr(self, name) != getattr(empty, name)}
        if self.quarantined:
            named["quarantined"] = [dataclasses.asdict(one) for one in self.quarantined]
        return dict(sorted(named.items())) | dict(self.notes)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Provenance:
        """The inverse of ``to_dict``, after a round trip through JSON; reads what earlier versions wrote, too."""
        given = {name: value for name, value in _renewed(dict(values)).items() if value is not None}
        named = {name: given.pop(name) for name in FIELDS & given.keys()}
        listed = (
            "trajectories",
            "replicas",
            "ladders",
            "blocks_of",
            "too_close",
            "training_notes",
            "trained_on",
            "contents",
            "left_out",
        )
        for name in listed:
            if name in named:
                named[name] = tuple(named[name])
        named["quarantined"] = tuple(Quarantined(**entry) for entry in named.get("quarantined", ()))
        return cls(**named, notes=given)


FIELDS = {field.name for field in dataclasses.fields(Provenance)} - {"notes"}
RENAMED = {"made by": "made_by", "uncertainty": "extrapolation"}
MOVES = {"turns": "pivot", "jumps": "independence"}  # as they were called at first, and are called
COUNTS = {"never_turned": "never_moved", "never_jumped": "never_moved", "acceptance_window": "acceptance_block"}


def _renewed(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of today from those of folders that were written before ``mixed_by`` and ``monte_carlo``."""
    moves = {
        new: {COUNTS.get(key, key): value for key, value in values.pop(old).items()}
        for old, new in MOVES.items()
        if old in values
    }
    if moves:
        values["monte_carlo"] = moves
    if not values.pop("time_ordered", True):
        kinds = " and ".join(moves)
        values["mixed_by"] = f"Monte Carlo {kinds} moves" if moves and "exchange" not in values else EXCHANGE
    return {RENAMED.get(name, name): value for name, value in values.items()}
