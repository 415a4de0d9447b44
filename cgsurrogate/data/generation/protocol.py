"""What reference data are to be; the command line reads its defaults here, so nothing heavy is imported."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is simulated. Two generations with equal protocols and seeds sample the same ensemble.

    ``solvent_every`` evaluates implicit-solvent forces at every n-th step only (impulse multiple time-stepping,
    Tuckerman, Berne and Martyna 1992): they cost most of a step and vary slowly. 1 turns it off.
    """

    runs: int = 4
    nanoseconds: float = 10.0  # of each run
    every: float = 2.0  # ps between frames
    temperature: float = 300.0  # K
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
        if abs(self.steps_per_frame * self.step - self.every) > 1e-9:
            raise ValueError(
                f"frames every {self.every} ps are not a whole number of steps of {self.step} ps; "
                "choose a multiple or change the time step"
            )

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
