"""One training loop for every model and objective: Lightning steps, and around it what a long run needs.

The order of the data follows from (seed, step), so that a run that was stopped and continued with a budget of steps
ends bit for bit where an unbroken one does. The learning rate falls to zero over the budget, be it steps or minutes.
What is validated and kept is the moving average of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from torch import nn

from cgsurrogate.core import devices
from cgsurrogate.core.interrupts import watching
from cgsurrogate.training import ranks
from cgsurrogate.training.objectives._base import Objective, OnDevice
from cgsurrogate.training.settings import TrainingSettings
from cgsurrogate.training.state import History, TrainingState

Report = Callable[[float, str], None]


def silent(fraction: float, text: str) -> None:
    """No progress."""


def fit(
    module: nn.Module,
    objective: Objective,
    settings: TrainingSettings,
    *,
    folder: Path | None = None,
    label: str = "training",
    report: Report = silent,
    start: bool = False,
) -> History:
    """Train ``module`` in place, on its device; on return it holds the averaged weights that were best on the held-out
    data. Where the objective holds nothing out, it holds the last averaged weights.

    Args:
        folder: where ``metrics.csv`` and ``training.pt`` (all that continuing needs) go; None keeps nothing.
        label: names the training in messages.
        report: called with the used fraction of the budget and a line of text.
        start: the weights have been learned before, and are kept where training makes none that are better.

    With several ranks (see ``settings``) every step has a batch of each, the losses and slopes are averaged, the first
    rank writes, and all stop at the same step.

    Raises:
        ValueError: an option of the ``Trainer`` that the training sets itself.
        Stopped: a signal came; with a ``folder`` the same call continues.
        FloatingPointError: the loss was not finite in several batches.
    """
    with watching() as watch:  # before the heavy import, which would install its own handlers
        from cgsurrogate.training.lightning_task import Task

        ranks.quiet_lightning()
        device = devices.of(module)
        if device.type != "cpu":
            objective = OnDevice(objective, device)
        rank = ranks.joined(settings, device)
        state = TrainingState(module, objective, settings, folder, label, rank)
        report = report if rank == 0 else silent
        task = Task(state, watch, report)
        if start and not state.progress.rows:
            report(0.0, f"validation loss {state.validate().get('held_out', math.nan):.5g} to begin with")
        if not state.finished():
            task.run()
            module.to(device)  # Lightning leaves it on the processor
        if task.asked():
            task.save()
            ranks.wait()  # the first has saved before any ends
            raise watch.reason(label)
        history = state.finish()
        task.save()  # what comes after this training may be stopped and continued
        return history
