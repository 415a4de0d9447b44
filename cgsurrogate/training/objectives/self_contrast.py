"""Contrast with a model's own equilibrium: what the model samples is the noise that data must be told from.

Noise-contrastive estimation (Gutmann & Hyvarinen, J. Mach. Learn. Res. 13, 307 (2012)) learns most from noise that
resembles the data. A trained model gives such noise: its density is known up to the constant that is learned anyway,

    ln p(x) / q(x) = -(U(x) - U_before(x)) / kT + level,   q ~ exp(-U_before / kT) by simulation.

Where a classifier finds no difference between data and samples, the model is as good as these data can tell. The loss
on held-out runs, against samples that were held out as well, is a proper score; so this stops before it fits noise.
After each round the replicas are drawn anew with the weights exp(-(U - U_before) / kT), so that they are near the
equilibrium of the new model at once, also where they would be slow to go there.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core import filesystem
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.interrupts import watching
from cgsurrogate.core.propagator import Propagator
from cgsurrogate.training.batches import Sampled
from cgsurrogate.training.loop import History, fit
from cgsurrogate.training.objectives.noise_contrast import CLAMP, Levelled

FEWEST, MOST, ROUND = 3, 8, 1.5  # rounds, and the minutes that one has where there are more than the fewest
REPLICAS = 256
KEEP = 20_000  # conformations of a simulation
SETTLE = 0.3  # share of a simulation that is left out
ASIDE = 0.2  # share of the replicas that only judge
SAMPLING = 0.6  # share of a round's time
BLOCK = 1000
EQUAL = 2 * math.log(2)  # the loss of weights that change nothing
RATE, AVERAGE, EVERY, PATIENCE = 7e-4, 0.99, 25, 6


def fine_tune(
    networks: Energy,
    dynamics: Propagator,
    kept: Frames,
    held: Frames,
    *,
    minutes: float | None,
    steps: int | None,
    seed: int,
    rounds: int | None = None,
    folder: Path | None = None,
    report: Callable[[float, str], None] = lambda fraction, text: None,
) -> list[History]:
    """Train ``networks`` in place; ``dynamics`` samples the energy that they are a part of.

    Args:
        kept, held: frames to learn from, and those on which the best weights of a round are chosen.
        minutes, steps: the budget of all rounds; each step of training is paid for by as many of sampling.
        rounds: by default as many as the minutes allow.
        folder: where each round keeps its samples and its training, so that the same call continues.

    Returns:
        the history of each round. A held-out loss of 2 log 2 = 1.386 says that data and samples look the same; weights
        that do not come below it are not taken, and end the rounds, as does an energy that cannot be simulated.

    Raises:
        Stopped: a signal came; with a ``folder`` the same call continues.
    """
    histories, positions = [], drawn(kept, REPLICAS, _rng(seed, 0))
    data = [torch.from_numpy(np.array(frames.positions, np.float32)) for frames in (kept, held)]
    rounds = rounds or (FEWEST if minutes is None else min(MOST, max(FEWEST, int(minutes / ROUND))))
    for number in range(rounds):
        at = None if folder is None else folder / f"round-{number + 1}"

        def tell(fraction: float, text: str = "", begin: float = 0.0, share: float = 1.0, number: int = number) -> None:
            report((number + begin + share * fraction) / rounds, text)

        try:
            samples = _samples(
                dynamics,
                positions,
                _rng(seed, 2 * number + 1),
                at,
                rounds=None if steps is None else max(4, steps // rounds),
                minutes=None if minutes is None else SAMPLING * minutes / rounds,
                report=lambda fraction: tell(fraction, share=SAMPLING),
            )
        except FloatingPointError:  # it is as good as it was before
            break
        loss = OwnContrast(networks, samples, kept.kT)
        batches = [
            Sampled((x, energies(networks, x)), frames.probabilities)
            for x, frames in zip(data, (kept, held), strict=True)
        ]
        before, old = torch.cat(loss.before), copy.deepcopy(networks.state_dict())
        histories.append(
            fit(
                Levelled(networks),
                loss,
                *batches,
                minutes=None if minutes is None else (1 - SAMPLING) * minutes / rounds,
                steps=None if steps is None else max(1, steps // rounds),
                seed=seed + number + 1,
                rate=RATE,
                average=AVERAGE,
                every=EVERY,
                patience=PATIENCE,
                folder=at,
                label=f"telling data from samples, round {number + 1}",
                report=lambda fraction, text: tell(fraction, text, SAMPLING, 1 - SAMPLING),
            )
        )
        if not histories[-1].best["held_out"] < EQUAL:
            networks.load_state_dict(old)
            break
        positions = resampled(networks, before, torch.cat(loss.pools), kept.kT, REPLICAS, _rng(seed, 2 * number + 2))
    return histories


def _rng(seed: int, number: int) -> Generator:
    return Generator().manual_seed(1_000_003 * (seed + 1) + number)


def _samples(dynamics, positions, rng, folder: Path | None, *, rounds, minutes, report) -> Tensor:
    """Those of a round, or those that it has stored."""
    path = None if folder is None else folder / "samples.npy"
    if path is not None and path.exists():
        return torch.from_numpy(np.load(path, allow_pickle=False))
    with watching() as watch:

        def go_on(fraction: float) -> bool:
            report(fraction)
            return not watch.requested

        samples = sample(dynamics, positions, rng, rounds=rounds, minutes=minutes, keep=KEEP, go_on=go_on)
        if watch.requested:
            raise watch.reason("sampling the energy")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        filesystem.write_npy(path, samples.numpy())
    return samples


def drawn(frames: Frames, count: int, rng: Generator) -> Tensor:
    """(count, N, 3) nm: frames by weight, evenly spread over the runs."""
    edges = np.cumsum(frames.probabilities)
    ticks = (np.arange(count) + float(torch.rand((), generator=rng))) / count * edges[-1]
    chosen = np.minimum(np.searchsorted(edges, ticks, side="right"), len(frames) - 1)
    return torch.from_numpy(np.array(frames.positions[chosen], np.float32))


def sample(
    dynamics: Propagator,
    positions: Tensor,
    rng: Generator,
    *,
    rounds: int | None,
    minutes: float | None,
    keep: int,
    go_on: Callable[[float], bool] = lambda fraction: True,
) -> Tensor:
    """(T, R, N, 3) nm: about ``keep`` conformations of all replicas together, from the later part of a simulation.

    Args:
        positions: (R, N, 3) nm to start from.
        rounds, minutes: how long; whichever ends first.
        go_on: asked after every round with the share that is done.

    Raises:
        FloatingPointError: most replicas left the physical range.
    """
    state, kept, began, done, used = dynamics.start(positions, rng), [], time.monotonic(), 0, 0.0
    while used < 1 and go_on(used):
        state = dynamics.step(state, rng)
        done += 1
        used = max(done / rounds if rounds else 0.0, (time.monotonic() - began) / (60 * minutes) if minutes else 0.0)
        kept.append(state.positions)
        if len(kept) * len(positions) > 4 * keep:  # thin as it goes: nobody knows how many rounds there will be
            kept = kept[1::2]
    kept = kept[int(SETTLE * len(kept)) :]
    every = max(1, len(kept) * len(positions) // keep)
    out = torch.stack(kept[::-1][::every][::-1])
    good = torch.isfinite(out).flatten(2).all(2).all(0)
    if good.double().mean() < 0.5:
        raise FloatingPointError("most replicas left the physical range; use a shorter time step, or train for longer")
    return out[:, good]


def energies(energy: Energy, x: Tensor) -> Tensor:
    """(T, N, 3) nm -> (T,) kJ/mol, in blocks and without a graph."""
    with torch.no_grad():
        return torch.cat([energy(block) for block in x.split(BLOCK)])


class OwnContrast(nn.Module):
    """The logistic loss of telling batches (positions (B, N, 3) nm, energies before (B,) kJ/mol) from samples.

    In evaluation the samples are those that were set aside.
    """

    def __init__(self, networks: Energy, samples: Tensor, kT: float, ratio: int = 1):
        super().__init__()
        self.kT, self.ratio = kT, ratio
        aside = max(1, round(ASIDE * samples.shape[1]))
        self.pools = [part.flatten(0, 1) for part in (samples[:, aside:], samples[:, :aside])]
        self.before = [energies(networks, pool) for pool in self.pools]

    def forward(self, module: Levelled, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
        data, before = batch[:2]
        part = 0 if module.training else 1
        chosen = torch.randint(len(self.pools[part]), (self.ratio * len(data),), generator=rng)
        made = self.pools[part][chosen]
        scores = -(module.networks(torch.cat((data, made))) - torch.cat((before, self.before[part][chosen]))) / self.kT
        real, fake = (scores + module.level).clamp(-CLAMP, CLAMP).split([len(data), len(made)])
        return nn.functional.softplus(-real).mean() + self.ratio * nn.functional.softplus(fake).mean()


def resampled(networks: Energy, before: Tensor, samples: Tensor, kT: float, count: int, rng: Generator) -> Tensor:
    """(count, N, 3) nm of samples (M, N, 3), with the weights of the new energy over the one ``before`` (M,) kJ/mol."""
    weight = ((before - energies(networks, samples)).double() / kT).softmax(0).cumsum(0)
    ticks = (torch.arange(count, dtype=torch.float64) + torch.rand((), generator=rng, dtype=torch.float64)) / count
    return samples[torch.searchsorted(weight, ticks * weight[-1]).clamp(max=len(samples) - 1)]
