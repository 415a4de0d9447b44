"""One training loop for every model: Lightning steps, and around it what a long run needs.

The order of the data follows from (seed, step), so that a run that was stopped and continued with a budget of steps
ends bit for bit where an unbroken one does. The learning rate falls to zero over the budget, be it steps or minutes.
What is validated and kept is the moving average of the weights.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import io
import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core import filesystem
from cgsurrogate.core.interrupts import Watch, watching

Batch = tuple[Tensor, ...]
Loss = Callable[[nn.Module, Batch, Generator], Tensor]
MAX_BAD_BATCHES = 10


class Batches(Protocol):
    """Where training data come from."""

    def draw(self, rng: Generator) -> Batch:
        """A random batch."""

    def fixed(self) -> Sequence[Batch]:
        """The same batches every time, to validate on."""


@dataclasses.dataclass(frozen=True)
class History:
    """``rows`` hold step, seconds, train and held_out loss; ``best`` is the row that was kept; ``notes`` are concerns
    about the data, in words."""

    rows: tuple[dict[str, float], ...]
    best: dict[str, float]
    reason: str
    notes: tuple[str, ...] = ()


@dataclasses.dataclass
class _Progress:
    """All that a continued training needs besides weights."""

    step: int = 0
    seconds: float = 0.0
    bad: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    rows: list[dict[str, float]] = dataclasses.field(default_factory=list)


def fit(
    module: nn.Module,
    loss: Loss,
    train: Batches,
    held_out: Batches,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    rate: float = 1e-3,
    decay: float = 0.0,
    average: float = 0.999,
    patience: int = 20,
    every: int = 200,
    clip: float = 1.0,
    folder: Path | None = None,
    label: str = "training",
    device: str = "cpu",
    report: Callable[[float, str], None] = lambda fraction, text: None,
) -> History:
    """Train ``module`` in place; on return it holds the weights (averaged) that were best on the held-out data.

    Args:
        minutes, steps: the budget, at least one of them; whichever is used up first ends the training.
        rate: peak learning rate of AdamW; ``decay`` its weight decay.
        average: factor of the exponential moving average of the weights.
        patience: validations without improvement after which training ends early; each is ``every`` steps apart.
        folder: where ``metrics.csv`` and ``training.pt`` (all that continuing needs) go; None keeps nothing.
        report: called with the used fraction of the budget and a line of text.

    Raises:
        Stopped: a signal came; with a ``folder`` the same call continues.
        FloatingPointError: the loss was not finite in several batches.
    """
    if minutes is None and steps is None:
        raise ValueError("training needs a budget: give minutes, steps, or both")
    with watching() as watch:  # before the heavy import, which would install its own handlers
        import pytorch_lightning as lightning

        from cgsurrogate.training.lightning_task import make_task

        warnings.filterwarnings("ignore", module="pytorch_lightning")
        for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning.pytorch"):
            logging.getLogger(name).setLevel(logging.ERROR)
        task = make_task(
            _Work(module, loss, train, held_out, watch, minutes, steps, seed, average, patience, every, folder, label),
            rate=rate,
            decay=decay,
            report=report,
        )
        task.work.resume(task)
        if not task.work.finished():
            trainer = lightning.Trainer(
                max_steps=-1,
                max_epochs=1,
                accelerator=device,
                devices=1,
                gradient_clip_val=clip,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                inference_mode=False,
            )
            trainer.fit(task, task.ticks())
        work = task.work
        module.to("cpu")
        if watch.requested:
            work.save(task)
            raise watch.reason(label)
        history = work.finish()
        work.save(task)  # what comes after this training may be stopped and continued
        return history


class _Work:
    """The state of one training beside the network's own: clock, average, best weights, files."""

    def __init__(self, module, loss, train, held_out, watch: Watch, minutes, steps, seed, average, patience, every,
                 folder: Path | None, label: str):  # fmt: skip
        self.module, self.loss, self.train, self.held_out, self.watch = module, loss, train, held_out, watch
        self.minutes, self.steps, self.seed, self.decay = minutes, steps, seed, average
        self.patience, self.every, self.folder, self.label = patience, every, folder, label
        self.average = copy.deepcopy(module).requires_grad_(False).eval()
        self.best = copy.deepcopy(module.state_dict())
        self.progress, self.began, self.reason = _Progress(), time.monotonic(), ""
        self.running, self.running_count, self.saved_at = 0.0, 0, time.monotonic()

    # -- the clock ------------------------------------------------------------------------------------------------
    @property
    def seconds(self) -> float:
        return self.progress.seconds + time.monotonic() - self.began

    @property
    def fraction(self) -> float:
        """Share of the budget that is used up."""
        shares = [self.progress.step / self.steps] if self.steps else []
        if self.minutes:
            shares.append(self.seconds / (60 * self.minutes))
        return min(1.0, max(shares))

    def finished(self) -> bool:
        row_count_since_best = sum(1 for row in self.progress.rows if row["step"] > self.progress.best_step)
        if self.fraction >= 1:
            self.reason = "budget used"
        elif row_count_since_best >= self.patience:
            self.reason = f"no better on held-out runs for {self.patience} validations"
        return bool(self.reason)

    def rng(self, *key: int) -> Generator:
        """A generator that follows from the seed and the key alone."""
        mixed = self.seed
        for part in key:
            mixed = (mixed * 6364136223846793005 + part + 1442695040888963407) % (1 << 63)
        return Generator().manual_seed(mixed)

    # -- what happens around a step -------------------------------------------------------------------------------
    def after_step(self, loss: float) -> None:
        self.progress.step += 1
        self.running, self.running_count = self.running + loss, self.running_count + 1
        weight = min(self.decay, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.module.parameters(), strict=True):
                mean.lerp_(now.to(mean.device), 1 - weight)

    def bad_batch(self) -> None:
        self.progress.bad += 1
        if self.progress.bad > MAX_BAD_BATCHES:
            raise FloatingPointError(
                f"{self.label}: the loss was not finite in {self.progress.bad} batches, last at step "
                f"{self.progress.step}; check the input for outliers or lower the learning rate"
            )

    def validate(self) -> dict[str, float]:
        self.average.to(next(self.module.parameters()).device)
        with torch.no_grad():  # losses on forces switch gradients on themselves
            losses, counts = [], []
            for number, batch in enumerate(self.held_out.fixed()):
                losses.append(float(self.loss(self.average, batch, self.rng(-1, number))))
                counts.append(len(batch[0]))
        held_out = sum(a * b for a, b in zip(losses, counts, strict=True)) / max(1, sum(counts))
        row = {
            "step": self.progress.step,
            "seconds": round(self.seconds, 3),
            "train": self.running / max(1, self.running_count),
            "held_out": held_out,
        }
        self.running, self.running_count = 0.0, 0
        self.progress.rows.append(row)
        if math.isfinite(held_out) and held_out < self.progress.best_loss:
            self.progress.best_loss, self.progress.best_step = held_out, self.progress.step
            self.best = {name: value.detach().cpu().clone() for name, value in self.average.state_dict().items()}
        self._append(row)
        return row

    def finish(self) -> History:
        rows = self.progress.rows
        if not rows or (rows[-1]["step"] < self.progress.step):
            self.validate()
        self.module.load_state_dict(self.best)
        if not math.isfinite(self.progress.best_loss):
            raise FloatingPointError(f"{self.label}: the held-out loss was never finite; check the input for outliers")
        best = next(row for row in rows if row["step"] == self.progress.best_step)
        return History(tuple(rows), best, self.reason or "budget used")

    # -- files ----------------------------------------------------------------------------------------------------
    def _append(self, row: dict[str, float]) -> None:
        if self.folder is None:
            return
        path = self.folder / "metrics.csv"
        new = not path.exists()
        with open(path, "a", newline="") as handle:
            writer = csv.DictWriter(handle, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)

    def save(self, task) -> None:
        if self.folder is None:
            return
        progress = dataclasses.asdict(self.progress) | {"seconds": self.seconds}
        optimizer = task.trainer.optimizers[0].state_dict() if task._trainer is not None else task.optimizer_state
        content = {
            "progress": progress,
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best,
            "optimizer": optimizer,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        with filesystem.replacing(self.folder / "training.pt") as handle:
            handle.write(buffer.getvalue())
        self.saved_at = time.monotonic()

    def resume(self, task) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "training.pt"
        if not path.exists():
            (self.folder / "metrics.csv").unlink(missing_ok=True)
            return
        content = torch.load(path, weights_only=True)
        self.progress = _Progress(**content["progress"])
        self.module.load_state_dict(content["module"])
        self.average.load_state_dict(content["average"])
        self.best, task.optimizer_state = content["best"], content["optimizer"]
