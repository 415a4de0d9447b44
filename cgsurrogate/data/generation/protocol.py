"""What reference data are to be; the command line reads its defaults here, so nothing heavy is imported."""

from __future__ import annotations

import dataclasses

CAPS = ("none", "ace-nme")  # ends of peptides: free and charged, or acetyl and N-methylamide


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is simulated. Two generations with equal protocols and seeds sample the same ensemble.

    ``solvent_every`` evaluates implicit-solvent forces at every n-th step only (impulse multiple time-stepping,
    Tuckerman, Berne and Martyna 1992): they cost most of a step and vary slowly. 1 turns it off.
    With ``tempering`` a run is a ladder of copies that exchange temperatures at every saved frame (Sugita and Okamoto
    1999): its frames have no order in time, and cross barriers that are too high at the lowest temperature.
    """

    runs: int = 4
    nanoseconds: float = 10.0  # of each run
    every: float = 2.0  # ps between frames
    temperature: float = 300.0  # K
    tempering: tuple[float, ...] | None = None  # K, rising from the temperature; copies of a molecule exchange them
    forcefield: tuple[str, ...] = ("amber14-all.xml", "implicit/obc2.xml")
    timestep: float = 0.004  # ps
    solvent_every: int = 1
    hydrogen_mass: float = 4.0  # amu
    friction: float = 1.0  # 1/ps
    chunk: float = 200.0  # ps between checkpoints
    seed: int = 0

    def __post_init__(self) -> None:
        if self.runs < 1 or self.nanoseconds <= 0 or self.every <= 0 or self.temperature <= 0:
            raise ValueError("runs, length, spacing of frames and temperature must be positive")
        if self.tempering and self.solvent_every > 1:
            raise ValueError("tempering and multiple time-stepping do not go together; leave --solvent-every out")
        if self.tempering and self.tempering[0] != self.temperature:
            low = f"{self.tempering[0]:g} K and the temperature is {self.temperature:g} K"
            raise ValueError(f"the ladder begins at {low}; leave the lowest out (:450:6) or make both one")
        if abs(self.steps_per_frame * self.step - self.every) > 1e-9:
            raise ValueError(
                f"frames every {self.every} ps are not a whole number of steps of {self.step} ps; "
                "choose a multiple or change the time step"
            )

    @property
    def rungs(self) -> tuple[float, ...]:
        """Temperatures in K of the copies of one run."""
        return self.tempering or (self.temperature,)

    @property
    def step(self) -> float:
        """Outer time step in ps."""
        return self.timestep * self.solvent_every

    @property
    def steps_per_frame(self) -> int:
        return max(1, round(self.every / self.step))

    @property
    def frames_per_chunk(self) -> int:
        return max(1, round(self.chunk / self.every))

    @property
    def chunks(self) -> int:
        return max(1, round(self.nanoseconds * 1000 / (self.frames_per_chunk * self.every)))
