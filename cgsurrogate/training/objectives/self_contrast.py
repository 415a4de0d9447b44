"""Self-contrast: the noise that data must be told from is what the model itself samples.

Noise-contrastive estimation (Gutmann & Hyvarinen, J. Mach. Learn. Res. 13, 307 (2012)) learns most from noise that
resembles the data. A trained model gives such noise: its density is known up to the constant that is learned anyway,

    ln p(x) / q(x) = -(U(x) - U_before(x)) / kT - ln Z,   q ~ exp(-U_before / kT) by simulation.

Where a classifier finds no difference between data and samples, the model is as good as these data can tell. The loss
on held-out runs, against samples that were held out as well, is a proper score; so this stops before it fits noise.
After each round the replicas are drawn anew with the weights exp(-(U - U_before) / kT), so that they are near the
equilibrium of the new model at once, also where they would be slow to go there.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core import checked_files, devices, disk_arrays
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.interrupts import watching
from cgsurrogate.core.propagator import Propagator
from cgsurrogate.core.statistics import systematic
from cgsurrogate.training.batches import WeightedFrames, naming
from cgsurrogate.training.loop import Report, fit, silent
from cgsurrogate.training.objectives._base import BatchObjective
from cgsurrogate.training.objectives.noise_contrast import CLAMP, WithLogPartition
from cgsurrogate.training.settings import TrainingSettings
from cgsurrogate.training.state import History

FEWEST, MOST, ROUND = 3, 8, 1.5  # rounds, and the minutes that one has where there are more than the fewest
REPLICAS = 256
KEEP = 20_000  # conformations of a simulation
SETTLE = 0.3  # share of a simulation that is left out
ASIDE = 0.2  # share of the replicas that only judge
SAMPLING = 0.6  # share of a round's time
BLOCK = 1000
EQUAL = 2 * math.log(2)  # the loss of weights that change nothing
SETTINGS = TrainingSettings(rate=7e-4, average=0.99, every=25, patience=6)


def fine_tune(
    networks: Energy,
    dynamics: Propagator,
    kept: Frames,
    held: Frames,
    settings: TrainingSettings = SETTINGS,
    *,
    rounds: int | None = None,
    folder: Path | None = None,
    report: Report = silent,
) -> list[History]:
    """Train ``networks`` in place; ``dynamics`` samples the energy that they are a part of.

    Args:
        kept, held: frames to learn from, and those on which the best weights of a round are chosen.
        settings: with the budget of all rounds; each step of training is paid for by as many of sampling.
        rounds: by default as many as the minutes allow.
        folder: where each round keeps its samples and its training, so that the same call continues.

    Returns:
        the history of each round. A held-out loss of 2 log 2 = 1.386 says that data and samples look the same; weights
        that do not come below it are not taken, and end the rounds, as does an energy that cannot be simulated.

    Raises:
        Stopped: a signal came; with a ``folder`` the same call continues.
    """
    histories: list[History] = []
    minutes, steps, seed = settings.minutes, settings.steps, settings.seed
    positions = drawn(kept, REPLICAS, _rng(seed, 0))
    rounds = rounds or (FEWEST if minutes is None else min(MOST, max(FEWEST, int(minutes / ROUND))))
    sampling = settings.within(minutes and SAMPLING * minutes / rounds, steps and max(4, steps // rounds))
    training = settings.within(minutes and (1 - SAMPLING) * minutes / rounds, steps and max(1, steps // rounds))
    for number in range(rounds):
        at = None if folder is None else folder / f"round-{number + 1}"

        def tell(fraction: float, text: str = "", begin: float = 0.0, share: float = SAMPLING, n: int = number) -> None:
            report((n + begin + share * fraction) / rounds, text)

        try:
            samples = _samples(dynamics, positions, _rng(seed, 2 * number + 1), sampling, at, tell)
        except FloatingPointError:  # it is as good as it was before
            break
        loss, old = SelfContrast(networks, samples, kept.kT), copy.deepcopy(networks.state_dict())
        history = fit(
            WithLogPartition(networks),
            BatchObjective(loss, _batches(networks, kept), _batches(networks, held)),
            dataclasses.replace(training, seed=seed + number + 1),
            folder=at,
            label=f"telling data from samples, round {number + 1}",
            report=functools.partial(tell, begin=SAMPLING, share=1 - SAMPLING),
        )
        histories.append(history)
        if not history.best["held_out"] < EQUAL:
            networks.load_state_dict(old)
            break
        positions = loss.resampled(networks, REPLICAS, _rng(seed, 2 * number + 2))
    return histories


def _batches(networks: Energy, frames: Frames) -> WeightedFrames:
    before, device = disk_arrays.empty((len(frames),)), devices.of(networks)
    for start in range(0, len(frames), BLOCK):
        x = torch.from_numpy(np.array(frames.positions[start : start + BLOCK], np.float32))
        before[start : start + BLOCK] = energies(networks, x.to(device)).cpu().numpy()
    frames.release()
    return WeightedFrames((frames.positions, before), frames.probabilities, name=naming(frames))


def _rng(seed: int, number: int) -> Generator:
    return Generator().manual_seed(1_000_003 * (seed + 1) + number)


def _samples(
    dynamics: Propagator,
    positions: Tensor,
    rng: Generator,
    budget: TrainingSettings,
    folder: Path | None,
    tell: Callable[[float], None],
) -> Tensor:
    """Those of a round, or those that it has stored."""
    path = None if folder is None else folder / "samples.npy"
    if path is not None and path.exists():
        stored = io.BytesIO(checked_files.read_checked(path, "remove it to sample anew"))
        return torch.from_numpy(np.load(stored, allow_pickle=False)).to(devices.of(dynamics))
    with watching() as watch:

        def go_on(fraction: float) -> bool:
            tell(fraction)
            return not watch.requested

        samples = sample(dynamics, positions, rng, budget, go_on=go_on)
        if watch.requested:
            raise watch.reason("sampling the energy")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, samples.cpu().numpy(), allow_pickle=False)
        checked_files.write_checked(path, buffer.getvalue())
    return samples


def _uniform(rng: Generator) -> Tensor:
    return torch.rand(1, generator=rng, dtype=torch.float64, device=rng.device)


def drawn(frames: Frames, count: int, rng: Generator) -> Tensor:
    """(count, N, 3) nm: frames by weight, evenly spread over the runs."""
    chosen = systematic(torch.from_numpy(disk_arrays.running_sums(frames.probabilities)), count, _uniform(rng))
    return torch.from_numpy(np.array(frames.positions[chosen.numpy()], np.float32))


def sample(
    dynamics: Propagator,
    positions: Tensor,
    rng: Generator,
    budget: TrainingSettings,
    keep: int = KEEP,
    go_on: Callable[[float], bool] = lambda fraction: True,
) -> Tensor:
    """(T, R, N, 3) nm: about ``keep`` conformations of all replicas together, from the later part of a simulation.

    Args:
        positions: (R, N, 3) nm to start from.
        budget: its minutes and steps of ``dynamics``; whichever ends first.
        go_on: asked after every step with the share that is done.

    Raises:
        FloatingPointError: most replicas left the physical range.
    """
    steps, seconds = budget.steps or math.inf, 60 * (budget.minutes or math.inf)
    device = devices.of(dynamics)
    positions, rng = positions.to(device), devices.generator(device, rng)
    state, began, done, used = dynamics.start(positions, rng), time.monotonic(), 0, 0.0
    kept: list[Tensor] = []
    while used < 1 and go_on(used):
        state = dynamics.step(state, rng)
        done += 1
        used = max(done / steps, (time.monotonic() - began) / seconds)
        kept.append(state.positions)
        if len(kept) * len(positions) > 4 * keep:  # thin as it goes: nobody knows how many steps there will be
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


class SelfContrast(nn.Module):
    """The logistic loss of telling batches (positions (B, N, 3) nm, energies before (B,) kJ/mol) from samples.

    In evaluation the samples are those that were set aside.
    """

    def __init__(self, networks: Energy, samples: Tensor, kT: float, ratio: int = 1):
        super().__init__()
        self.kT, self.ratio = kT, ratio
        aside = max(1, round(ASIDE * samples.shape[1]))
        self.pools = [part.flatten(0, 1) for part in (samples[:, aside:], samples[:, :aside])]
        self.before = [energies(networks, pool) for pool in self.pools]

    def forward(self, module: WithLogPartition, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
        data, before = batch[:2]
        part = 0 if module.training else 1
        chosen = torch.randint(len(self.pools[part]), (self.ratio * len(data),), generator=rng)
        made = self.pools[part][chosen]
        scores = -(module.networks(torch.cat((data, made))) - torch.cat((before, self.before[part][chosen]))) / self.kT
        real, fake = (scores - module.log_partition).clamp(-CLAMP, CLAMP).split([len(data), len(made)])
        return nn.functional.softplus(-real).mean() + self.ratio * nn.functional.softplus(fake).mean()

    def resampled(self, networks: Energy, count: int, rng: Generator) -> Tensor:
        """(count, N, 3) nm of the samples, drawn with the weights of the energy as it is now over the one before."""
        samples, before = torch.cat(self.pools), torch.cat(self.before)
        weights = ((before - energies(networks, samples)).cpu().double() / self.kT).softmax(0)
        return samples[systematic(weights.cumsum(0), count, _uniform(rng))]
