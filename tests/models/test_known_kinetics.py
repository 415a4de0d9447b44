"""A torsion that diffuses in a known potential: the stepper has its populations and rates within the data's errors."""

from __future__ import annotations

import math

import known_chains
import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Generator

from cgsurrogate.core import registry
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Stepper
from cgsurrogate.geometry.zmatrix import ZMatrix, wrap
from cgsurrogate.training.settings import StepperSettings
from cgsurrogate.training.stepper import train_stepper

pytestmark = pytest.mark.slow
BEADS = Beads(("X",) * 4, (0,) * 4, (12.0,) * 4, (0,) * 4, ("UNK",) * 4, ((0, 1), (1, 2), (2, 3)))
BINS, DT, RUNS, LENGTH = 90, 2.0, 4, 10_000
GRID = (np.arange(BINS) + 0.5) * 2 * np.pi / BINS - np.pi
DEEP, RARE = -1.2, math.pi - 1.2  # rad, the two wells


def diffusion(speed: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Overdamped Langevin dynamics on the circle: its Fokker-Planck operator on a grid, a frame, and populations.

    The rare well has 5 %; barriers are 6 kT, so that it is left and entered in some tens of frames.
    """
    energy = 2.4 * (1 - np.cos(2 * (GRID - DEEP))) + 1.6 * (1 - np.cos(GRID - DEEP))  # kT
    rate = np.zeros((BINS, BINS))
    for k in range(BINS):
        for other in ((k + 1) % BINS, (k - 1) % BINS):
            rate[k, other] = speed / (2 * np.pi / BINS) ** 2 * np.exp((energy[k] - energy[other]) / 2)
    share = np.exp(-energy)
    return rate - np.diag(rate.sum(1)), share / share.sum()


def frames_of(torsion: np.ndarray, lengths: tuple[int, ...], rng: np.random.Generator) -> Frames:
    """Of torsions (T,) in radian, with stiff bonds and angles that know nothing of them."""
    count = len(torsion)
    bonds, angles = rng.normal(0.15, 0.003, (count, 3)), rng.normal(1.9, 0.05, (count, 2))
    parts = (torch.tensor(x) for x in (bonds, angles, torsion[:, None]))
    return Frames(BEADS, ZMatrix(BEADS).to_positions(*parts).numpy().astype(np.float32), lengths, DT, 300.0)


def in_bins(states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(GRID[states] + (rng.random(len(states)) - 0.5) * 2 * np.pi / BINS)


def bins_of(positions: torch.Tensor) -> np.ndarray:
    torsion = ZMatrix(BEADS).to_internal(positions.double())[2][:, 0].numpy()
    return np.clip(((torsion + np.pi) / (2 * np.pi) * BINS).astype(int), 0, BINS - 1)


def rare() -> np.ndarray:
    """(BINS,) bool"""
    return np.abs(wrap(torch.tensor(GRID - RARE)).numpy()) < 1.2


@pytest.fixture(scope="module")
def trained() -> Stepper:
    rng, (rate, share) = np.random.default_rng(2), diffusion()
    states = known_chains.simulate(rng, np.abs(expm(rate)), share, RUNS, LENGTH)
    frames = frames_of(in_bins(states, rng), (LENGTH,) * RUNS, rng)
    stepper = registry.build("steppers", "autoregressive", BEADS, width=32, blocks=1, hidden=16, mixtures=6)
    assert isinstance(stepper, Stepper)
    train_stepper(stepper, frames, StepperSettings(lag=10.0, steps=800, seed=1, held_out_fraction=0.25))
    return stepper


def visits() -> float:
    """How often the data are expected to enter the rare well: entries that last, as the slow rates count them."""
    rate, share = diffusion()
    slowest = -np.sort(np.linalg.eigvals(rate).real)[-2]
    p = share[rare()].sum()
    return float(RUNS * LENGTH * p * (1 - p) * slowest)


@pytest.mark.parametrize("lag", [2.0, 10.0, 40.0])
def test_one_jump_relaxes_as_the_slow_process_of_the_diffusion(trained, lag):
    """From exact equilibrium; the error is that of the visits in the training data, and that of the draws."""
    rng, (rate, share) = np.random.default_rng(3), diffusion()
    values, vectors = np.linalg.eig(rate)
    order = np.argsort(-values.real)
    psi, exact = vectors[:, order[1]].real, -values[order[1]].real / DT
    psi = psi / np.sqrt(share @ psi**2)
    now = rng.choice(BINS, 20_000, p=share * psi**2 / (share @ psi**2))
    trained.lag = lag
    start = torch.as_tensor(frames_of(in_bins(now, rng), (len(now),), rng).positions)
    after = trained.step(trained.start(start, Generator().manual_seed(0)), Generator().manual_seed(1)).positions
    kept = psi[bins_of(after)] / psi[now]
    found, error = -math.log(kept.mean()) / lag, kept.std() / math.sqrt(len(kept)) / kept.mean() / lag
    assert abs(found - exact) < 3 * math.hypot(error, exact / math.sqrt(visits()))


def test_a_rollout_has_the_populations_and_the_passage_times_of_the_diffusion(trained):
    rng, (rate, share) = np.random.default_rng(4), diffusion()
    trained.lag = 10.0
    now = rng.choice(BINS, 500, p=share)
    state = trained.start(torch.as_tensor(frames_of(in_bins(now, rng), (500,), rng).positions), Generator())
    generator, path = Generator().manual_seed(5), []
    for _ in range(400):
        state = trained.step(state, generator)
        path.append(bins_of(state.positions))
    bins, inside = np.array(path[100:]), rare()
    found, exact = inside[bins].mean(), share[inside].sum()
    assert abs(found - exact) < 3 * exact / math.sqrt(visits())
    jump = expm(rate * 10.0 / DT)
    leave = share[inside] @ jump[np.ix_(inside, ~inside)].sum(1) / exact
    seen = (inside[bins[:-1]] & ~inside[bins[1:]]).sum() / inside[bins[:-1]].sum()
    assert abs(seen - leave) < 3 * leave / math.sqrt(visits())
