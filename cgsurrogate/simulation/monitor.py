"""A monitor of simulated replicas: which have left the physical range, since which frame, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core import units
from cgsurrogate.core.frames import Beads
from cgsurrogate.core.propagator import State
from cgsurrogate.simulation.checkpoint import Progress
from cgsurrogate.simulation.settings import Limits

NO_LIMITS = Limits()


class Monitor:
    """Judges every frame of every replica on its own, so that the verdict does not depend on when it is asked."""

    def __init__(
        self,
        beads: Beads,
        start: Tensor,
        temperature: float,
        limits: Limits = NO_LIMITS,
        number: int = 0,
    ):
        """``number`` is that of the first replica, for what is said of them."""
        from scipy.special import chdtri

        if start.ndim != 3 or start.shape[1:] != (len(beads), 3) or not len(start):
            raise ValueError(f"expected starting positions (R, {len(beads)}, 3) nm, got {tuple(start.shape)}")
        _refuse(start, torch.isfinite(start).flatten(1).all(1), lambda _: "positions are not finite")
        pairs = np.asarray(beads.bonds if limits.bonds is None else limits.bonds, int).reshape(-1, 2)
        if len(pairs) and not (pairs.min() >= 0 and pairs.max() < len(beads)):
            raise ValueError(f"watched bonds must name beads below {len(beads)}, got {pairs.tolist()}")
        self.bonds, self.temperature = torch.as_tensor(pairs), temperature
        self.masses = torch.tensor(beads.masses, dtype=start.dtype)[:, None]
        lengths = _lengths(start, self.bonds)  # (R, P)
        asked = limits.bond_lengths
        given = lengths.mean(0) if asked is None else torch.as_tensor(np.asarray(asked), dtype=start.dtype)
        if given.shape != (len(pairs),):
            raise ValueError(f"{len(pairs)} watched bonds need {len(pairs)} lengths, got shape {tuple(given.shape)}")
        self.reference = given
        freedom = 3 * len(beads)
        # three times what chance reaches once in 10^15 frames
        self.hottest = 3 * float(chdtri(freedom, 1e-15)) / freedom * temperature  # K
        self.closest = (
            None if limits.closest is None else torch.as_tensor(np.asarray(limits.closest), dtype=start.dtype)
        )
        self.apart = _apart(len(beads), pairs)
        self.news: list[str] = []
        self.number = number
        _refuse(start, self._good(start[None], None)[0][0], lambda x: self._reason(x, None))

    def describe(self) -> dict[str, Any]:
        """The limits, for the settings of a simulation."""
        return {"bonds": self.bonds.tolist(), "lengths": [round(float(b), 6) for b in self.reference]}

    def to(self, device: torch.device) -> None:
        self.bonds, self.masses = self.bonds.to(device), self.masses.to(device)
        self.reference, self.apart = self.reference.to(device), self.apart.to(device)
        self.closest = None if self.closest is None else self.closest.to(device)

    def check(
        self, x: Tensor, v: Tensor | None, progress: Progress, first: int, temperature: Tensor | None = None
    ) -> None:
        """Judge frames ``first``, ``first + 1``, ... at (W, R, N, 3) nm and nm/ps, and note replicas that go bad.

        ``temperature`` (W, R) K where replicas differ; their kinetic temperatures are then judged and averaged as if
        scaled to the one of the simulation.
        """
        good, heat = self._good(x, v, temperature)
        frozen = {entry["replica"] for entry in progress.quarantined}
        alive = torch.ones(x.shape[1], dtype=torch.bool, device=x.device)
        alive[list(frozen)] = False
        bad = (~good & alive).cpu()
        for replica in bad.any(0).nonzero()[:, 0].tolist():
            frame = int(bad[:, replica].nonzero()[0])
            reason = self._reason(x[frame, replica], None if v is None else v[frame, replica])
            progress.quarantined.append({"replica": replica, "frame": first + frame, "reason": reason})
            self.news.append(f"replica {self.number + replica} quarantined: {reason}")
        usable = good & alive
        if heat is not None and usable.any():
            progress.heat[0] += float(heat[usable].sum(dtype=torch.float64))
            progress.heat[1] += int(usable.sum())
        if self.closest is not None and self.apart.numel() and not progress.close and usable[-1].any():
            self._approach(x[-1][usable[-1]], progress)

    def mend(self, state: State, progress: Progress) -> State:
        """The state with a copy of a healthy replica in the place of every frozen one that is not safe to evaluate.

        A frozen replica is taken out of its ladder of temperatures, copy or not.
        """
        frozen = [entry["replica"] for entry in progress.quarantined]
        if not frozen or len(frozen) == len(state.positions):
            return state
        if state.ladder is not None:
            state = state._replace(ladder=state.ladder.clone())
            state.ladder[frozen, 0] = -1  # type: ignore[index]
        good = self.good(state)
        bad = [replica for replica in frozen if not good[replica]]
        healthy = [r for r in good.nonzero()[:, 0].tolist() if r not in frozen]
        if not bad or not healthy:
            return state

        def replace(tensor: Tensor | None) -> Tensor | None:
            if tensor is None:
                return None
            tensor = tensor.clone()
            tensor[bad] = tensor[healthy[0]].clone()
            return tensor

        return State._make(map(replace, state))._replace(ladder=state.ladder)

    def good(self, state: State) -> Tensor:
        """(R,) whether a replica is within the physical range."""
        velocities = None if state.velocities is None else state.velocities[None]
        return self._good(state.positions[None], velocities, state.temperature)[0][0]

    def kinetic_temperature(self, state: State, progress: Progress) -> float | None:
        """Mean over the replicas that are not frozen, K, scaled as in ``check``; None without velocities."""
        if state.velocities is None:
            return None
        alive = torch.ones(len(state.positions), dtype=torch.bool)
        alive[[entry["replica"] for entry in progress.quarantined]] = False
        return float(self._heat(state.velocities, state.temperature)[alive.to(state.positions.device)].mean())

    def pop_news(self) -> str:
        text, self.news = "; ".join(self.news), []
        return text

    def _good(self, x: Tensor, v: Tensor | None, temperature: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(W, R) whether a frame is physical, and its kinetic temperature in K, scaled as in ``check``."""
        good = torch.isfinite(x.sum((-1, -2)))
        if len(self.bonds):
            ratio = _lengths(x, self.bonds) / self.reference
            good &= ((ratio > 0.5) & (ratio < 2)).all(-1)
        if v is None:
            return good, None
        heat = self._heat(v, temperature)
        return good & (heat < self.hottest), heat

    def _heat(self, v: Tensor, temperature: Tensor | None = None) -> Tensor:
        """(..., N, 3) nm/ps -> (...) K; of replicas at (...) K scaled to the temperature of the simulation."""
        heat = (self.masses * v * v).sum((-1, -2)) / (3 * len(self.masses) * units.BOLTZMANN)
        return heat if temperature is None else heat * (self.temperature / temperature)

    def _reason(self, x: Tensor, v: Tensor | None) -> str:
        """What is wrong with one frame at (N, 3) nm and nm/ps."""
        if not torch.isfinite(x).all():
            return "positions are not finite"
        ratio = _lengths(x, self.bonds) / self.reference
        off = ((ratio <= 0.5) | (ratio >= 2)).nonzero()
        if len(off):
            bond = int(off[0])
            length, usual = float(ratio[bond] * self.reference[bond]), float(self.reference[bond])
            return f"bond {tuple(self.bonds[bond].tolist())} is {length:.3g} nm long, usually {usual:.3g}"
        heat = float("nan") if v is None else float(self._heat(v))
        return f"kinetic temperature {heat:.3g} K"

    def _approach(self, x: Tensor, progress: Progress) -> None:
        """Warn once when a pair at (R, N, 3) nm is closer than half of what training has seen."""
        i, j = self.apart
        distance = (x[:, i] - x[:, j]).norm(dim=-1).amin(0)  # (P,) nm
        limit = self.closest if self.closest is not None and self.closest.ndim == 0 else self.closest[i, j]  # type: ignore[index]
        share = distance / limit
        pair = int(share.argmin())
        if share[pair] < 0.5:
            progress.close = [int(i[pair]), int(j[pair]), float(distance[pair])]
            self.news.append(
                f"beads {i[pair]} and {j[pair]} came within {float(distance[pair]):.3g} nm, less than half of what "
                "training has seen; look at these frames before you trust them"
            )


def _lengths(x: Tensor, bonds: Tensor) -> Tensor:
    """(..., N, 3) nm -> (..., P) nm."""
    return (x[..., bonds[:, 1], :] - x[..., bonds[:, 0], :]).norm(dim=-1)


def _apart(count: int, bonds: np.ndarray) -> Tensor:
    """(2, P) all pairs i < j without the bonded ones."""
    free = torch.triu(torch.ones(count, count), 1)
    free[bonds.min(1), bonds.max(1)] = 0
    return free.nonzero().T


def _refuse(start: Tensor, good: Tensor, reason: Callable[[Tensor], str]) -> None:
    """ValueError that names the first replica that is not good."""
    if not good.all():
        bad = int((~good).nonzero()[0])
        raise ValueError(f"starting positions of replica {bad}: {reason(start[bad])}; choose other starting frames")
