"""Whether the stepper of a run begins with a pretrained one: a short training of both kinds, held-out runs decide."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import torch

from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Stepper
from cgsurrogate.models import pretrained
from cgsurrogate.models.model import Model
from cgsurrogate.training.batches import LaggedPairs
from cgsurrogate.training.settings import StepperSettings
from cgsurrogate.training.stepper import train_stepper
from cgsurrogate.workflows.pretrained import pretrained_model, refuse_unlike, started

NONE, USUAL = "none", "peptides"  # what --from takes for no model; the one that is tried without being asked for
PROBE = 60  # steps of either training before they are compared


def refuse_start(name: str | None, stepper: str) -> None:
    """A model to begin with that there is not, or that the run's kind of stepper cannot begin with.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: the stepper is of another kind, or of other options.
    """
    if name not in (None, NONE):
        if registry.parse(stepper)[0] != "graph":
            raise ValueError(f"--from {name} is a start of the stepper graph; add --stepper graph, or leave it out")
        started(StepperSettings(stepper=stepper), pretrained_model(name, "stepper"), ["stepper"])


def start_of_run(name: str | None, settings: StepperSettings, frames: Frames) -> tuple[Model | None, str]:
    """The pretrained stepper that a run begins with, if it helps, and what was decided in a line; none if nothing was.

    Args:
        name: a bundled model or a folder; ``NONE`` for none; None for ``USUAL`` where it is bundled and suits.
        frames: that the run trains on.

    Raises:
        ValueError: a model that was named does not suit the frames.
    """
    kind = registry.parse(settings.stepper)[0]
    if name == NONE or kind != "graph" or (name is None and USUAL not in pretrained.names()):
        return None, ""
    try:
        start = pretrained_model(name or USUAL, "stepper")
        refuse_unlike(start, [frames])
        short = dataclasses.replace(settings, minutes=None, steps=PROBE, every=PROBE)
        begun = _trained(started(short, start, ["stepper"]), frames, start)
    except ValueError as error:
        if name is not None:
            raise
        return None, f"the pretrained model {USUAL} is not used: {error}"
    fresh = _trained(dataclasses.replace(short, lag=begun.lag), frames, None)
    held = frames.split(settings.held_out_fraction, settings.seed)[1]
    own, without = (log_likelihood(one, held, begun.lag) for one in (begun, fresh))
    words = (
        f"after {PROBE} steps the log-likelihood of held-out jumps of {begun.lag:g} ps is {own:.4g} with the pretrained"
        f" model and {without:.4g} nats without: it is {'used' if own > without else 'not used'}"
    )
    return (start if own > without else None), words


def _trained(settings: StepperSettings, frames: Frames, start: Model | None) -> Stepper:
    name, options = registry.parse(settings.stepper)
    torch.manual_seed(settings.seed)
    stepper: Stepper = registry.build("steppers", name, frames.beads, **options)
    trained = None if start is None else start.module
    assert trained is None or isinstance(trained, Stepper)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train_stepper(stepper, frames, settings, trained=trained)
    return stepper.eval()


def log_likelihood(stepper: Stepper, frames: Frames, lag: float) -> float:
    """Nats of a jump of ``lag`` ps, the mean over the frames, as a density in nm and radian: steppers that scale their
    coordinates differently are told apart by it alone."""
    pairs = LaggedPairs(stepper, frames, (lag, lag), batch=512, batches=4)
    scales = stepper.scale[~stepper.soft].log().sum()  # type: ignore[operator, index]
    with torch.no_grad():
        found = [float((stepper.log_density(*pair) - scales).mean()) for pair in pairs.fixed()]
    return float(np.mean(found))
