"""Fit and train an energy: the priors from distributions, the networks by noise contrast with forces or denoising.

What is left of the budget then goes to what the model samples: to telling data from it, or to maximum likelihood.
"""

from __future__ import annotations

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core import devices, disk_arrays
from cgsurrogate.core.energy import Difference, Energy, Prior, Sum, forces
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator
from cgsurrogate.core.statistics import systematic
from cgsurrogate.geometry.torsion_moves import TorsionMoves
from cgsurrogate.training import energy_start, ranks
from cgsurrogate.training.batches import WeightedFrames, naming
from cgsurrogate.training.loop import Report, fit, silent
from cgsurrogate.training.objectives import maximum_likelihood, self_contrast
from cgsurrogate.training.objectives._base import BatchObjective
from cgsurrogate.training.objectives.denoising import Denoising
from cgsurrogate.training.objectives.force_matching import ForceMatching
from cgsurrogate.training.objectives.noise_contrast import NoiseContrast, WithLogPartition
from cgsurrogate.training.settings import EnergySettings, TrainingSettings
from cgsurrogate.training.state import History

SAMPLE = 2000
BATCH = 64
BLOCK = 500  # frames at a time, of which forces are taken
LOCAL_SHARE, LOCAL_BATCH = 0.3, 48  # of the forces or of denoising, beside contrast
LOCAL_EVERY = 10  # steps between those that have it, on average: it takes as long as several of contrast
FIRST_SHARE = {"self-contrast": 0.4, "likelihood": 0.2, "": 1.0}  # of the budget for noise contrast, by what follows

Sampler = Callable[[], Propagator]
"""Makes what samples the energy that is trained; called once its priors are fitted."""


def train_energy(
    energy: Sum,
    frames: Frames,
    settings: EnergySettings = EnergySettings(),
    *,
    sampler: Sampler | None = None,
    trained: Sum | None = None,
    folder: Path | None = None,
    report: Report = silent,
    device: str = "cpu",
) -> History:
    """Fit the priors of ``energy``, then train its networks, in place.

    Args:
        settings: its ``network`` and ``priors`` are those that ``energy`` was made of, and are not read here.
        sampler: for ``fine_tune``, and for the objective ``likelihood``, whose sampler must soon be in equilibrium, as
            with moves between states.
        trained: an energy of the same kinds of terms, of any molecule, to begin with what is good of it for these
            frames (``energy_start``).
        folder: as for ``fit``; each part of the training has files of its own in it.
        device: where it is trained; before and after the energy is on the processor.

    Raises:
        ValueError: the frames do not suit the energy or the objective; a prior term that could not be simulated.
        Stopped: a signal came; with a ``folder`` the same call continues.
    """
    objective, then = local_objective(settings.objective, frames), _then(settings)
    if len(frames) < 10:
        raise ValueError(f"expected ten or more frames to train from, got {len(frames)}; map more frames")
    kept, held = parts = frames.split(settings.held_out_fraction, settings.seed)
    begun, notes, settings = prepared(energy, trained, [parts], settings, report)
    place(begun, device)
    priors, networks = divided(energy)
    if not len(networks.terms):
        return History((), {}, "priors fitted; there is no network to train", notes)
    if then and sampler is None:
        raise ValueError(f"{then} needs a sampler of the energy, got none; give one, or settings with fine_tune=False")
    share = FIRST_SHARE[then]
    first, rest = settings.split(share) if then else (settings, settings)
    history = fit(
        WithLogPartition(networks, begun.log_partitions[0]),
        energy_objective(objective, priors, kept, held, settings.seed, marginals=begun.marginals[0]),
        first,
        folder=folder,
        label=f"training the energy ({objective})",
        report=lambda fraction, text: report(share * fraction, text),
        start=trained is not None,
    )
    history = told(history, begun, notes, lambda words: report(share, words))
    if then and sampler is not None:
        tell = functools.partial(_after, share, report)
        if then == "likelihood":
            more = _maximise_likelihood(networks, sampler, frames, rest, folder, tell)
        else:
            more = _tell_from_samples(networks, sampler(), parts, rest, folder, tell)
        history = dataclasses.replace(history, reason=f"{history.reason}; then {more}")
    energy.cpu()
    return history


def _then(settings: EnergySettings) -> str:
    """What follows noise contrast."""
    then = "likelihood" if settings.objective == "likelihood" else "self-contrast" if settings.fine_tune else ""
    if then and ranks.several(settings):
        raise ValueError(
            f"{then} samples in one process, got several devices; give fine_tune=False (--no-fine-tune) and another "
            "objective than likelihood, or one device"
        )
    return then


def _after(share: float, report: Report, fraction: float, text: str) -> None:
    """The report of a part that begins when this share of the budget is used."""
    report(share + (1 - share) * fraction, text)


def place(begun: energy_start.Begun, device: str) -> None:
    """Move all energies to the device, in place."""
    for one in (*begun.energies, *begun.marginals):
        if one is not None:
            one.to(devices.chosen(device))


def told(history: History, begun: energy_start.Begun, notes: tuple[str, ...], say: Callable[[str], None]) -> History:
    """A history with what was begun with and the concerns of before; its own are said."""
    for words in history.notes:
        say(words)
        warnings.warn(words, stacklevel=3)
    reason = "; ".join(filter(None, (begun.words, history.reason)))
    return dataclasses.replace(history, reason=reason, notes=(*notes, *history.notes))


def divided(energy: Sum) -> tuple[Sum, Sum]:
    """(priors, networks)."""
    terms = [term for term in energy.terms if isinstance(term, Energy)]
    return (
        Sum(*(term for term in terms if isinstance(term, Prior))),
        Sum(*(term for term in terms if not isinstance(term, Prior))),
    )


def prepared(
    energy: Sum, trained: Sum | None, parts: energy_start.Parts, settings: EnergySettings, report: Report
) -> tuple[energy_start.Begun, tuple[str, ...], EnergySettings]:
    """Fit the priors, and choose what to begin with; concerns, and the settings of the training that follows."""
    fitted = [term for term in energy.terms if isinstance(term, Prior)]
    notes = fit_priors(fitted, [kept for kept, _ in parts], report)
    if trained is None:
        return energy_start.begin_untrained(energy, parts, settings.seed), notes, settings
    begun = energy_start.begin(energy, trained, parts, settings.seed)
    report(0.0, begun.words)
    return begun, notes, settings.gentle() if begun.pretrained else settings


def fit_priors(priors: list[Prior], every: Sequence[Frames], report: Report) -> tuple[str, ...]:
    """Fit them in place, to frames of one molecule or of several; what they warn of, which is also reported."""
    for prior in priors:
        prior.fit(*every)
    notes = tuple(note for prior in priors for note in prior.notes)
    for words in notes:
        report(0.0, words)
        warnings.warn(words, stacklevel=3)
    return notes


def training_part(frames: Frames, settings: EnergySettings) -> Frames:
    """The frames that ``train_energy`` learns from; the others, whole runs, only choose the best weights."""
    return frames.split(settings.held_out_fraction, settings.seed)[0]


def _maximise_likelihood(
    networks: Sum, sampler: Sampler, frames: Frames, rest: TrainingSettings, folder: Path | None, report: Report
) -> str:
    """Over all frames; says in words what was done."""
    began = time.monotonic()
    objective = maximum_likelihood.MaximumLikelihood(sampler().to(devices.of(networks)), frames)
    minutes = rest.minutes
    if minutes is not None:  # making the sampler is paid for by the budget
        minutes = max(minutes - (time.monotonic() - began) / 60, 0.05 * minutes)
    history = fit(
        networks,
        objective,
        maximum_likelihood.SETTINGS.within(minutes, rest.steps, seed=rest.seed),
        folder=None if folder is None else folder / "likelihood",
        label="maximum likelihood",
        report=report,
    )
    return f"{history.best['step']:.0f} updates of maximum likelihood"


def _tell_from_samples(
    networks: Sum,
    dynamics: Propagator,
    parts: tuple[Frames, Frames],
    rest: TrainingSettings,
    folder: Path | None,
    report: Report,
) -> str:
    """By self-contrast; says in words what was done."""
    settings = self_contrast.SETTINGS.within(rest.minutes, rest.steps, seed=rest.seed)
    dynamics.to(devices.of(networks))
    rounds = self_contrast.fine_tune(networks, dynamics, *parts, settings, folder=folder, report=report)
    losses = ", ".join(f"{one.best['held_out']:.4g}" for one in rounds)
    told = f"told from its own samples with validation losses {losses} (1.386 is no difference)"
    return told if rounds else "it could not be simulated, so that nothing was tuned"


def local_objective(objective: str, frames: Frames) -> str:
    """What is learned beside noise contrast: ``force`` or ``denoise``."""
    if objective == "force" and frames.forces is None:
        raise ValueError("force matching needs frames with forces, these have none; map with forces, or use denoise")
    if objective in ("auto", "likelihood"):
        return "denoise" if frames.forces is None else "force"
    return objective


def energy_objective(
    objective: str,
    priors: Sum,
    kept: Frames,
    held: Frames,
    seed: int,
    pool: int | None = None,
    marginals: Sum | None = None,
    free: bool = False,
) -> BatchObjective:
    """Noise contrast and, in some steps of training, what the objective (``force`` or ``denoise``) adds to it.

    Args:
        priors: fitted; they are taken off the forces, and the network learns what is left.
        kept, held: frames to learn from, and to validate on.
        pool: number of noise frames.
        marginals: those that were fitted to the frames, where ``priors`` has others.
        free: the frames only validate, see ``NoiseContrast``.
    """
    moves = TorsionMoves(kept.beads)
    arrays = [kept.positions]
    chosen = systematic(torch.from_numpy(disk_arrays.running_sums(kept.probabilities)), min(SAMPLE, len(kept))).numpy()
    sample = torch.from_numpy(np.array(kept.positions[chosen], np.float32))
    local: Callable[..., Tensor] | None = None
    if objective == "force":
        arrays.append(_residual_forces(priors, kept))
        local = ForceMatching(moves, sample, torch.from_numpy(np.array(arrays[1][chosen])))
    elif objective == "denoise":
        local = Denoising(moves, priors, sample, kept.kT)
    rest: Energy = Sum(*(term for term in priors.terms if isinstance(term, Prior) and not term.marginal))
    if marginals is not None:
        rest = Difference(
            Sum(*(term for term in priors.terms if isinstance(term, Prior) and not energy_start.kept_by_noise(term))),
            marginals,
        )
    contrast = NoiseContrast(moves, rest, kept, Generator().manual_seed(seed), pool=pool, free=free)
    if isinstance(local, nn.Module):
        local.to(devices.of(priors))  # and the moves, with which noise was made on the processor

    def loss(module: WithLogPartition, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
        more = local is not None and module.training and LOCAL_EVERY * float(torch.rand((), generator=rng)) <= 1
        value = contrast(module, batch, rng)
        if local is None or not more:
            return value
        return value + LOCAL_SHARE * local(module.networks, tuple(part[:LOCAL_BATCH] for part in batch), rng)

    return BatchObjective(
        loss,
        WeightedFrames(arrays, kept.probabilities, BATCH, naming(kept)),
        WeightedFrames([held.positions], held.probabilities, BATCH, naming(held)),
    )


def _residual_forces(priors: Energy, frames: Frames) -> np.ndarray:
    """(T, N, 3) kJ/mol/nm: what is left of the forces when those of the priors are taken off."""
    assert frames.forces is not None
    made, device = disk_arrays.empty(frames.positions.shape), devices.of(priors)
    for start in range(0, len(frames), BLOCK):
        part = slice(start, start + BLOCK)
        x, felt = (torch.from_numpy(np.array(array[part], np.float32)) for array in (frames.positions, frames.forces))
        made[part] = felt.numpy() - forces(priors, x.to(device))[1].cpu().numpy()
    frames.release()
    return made
