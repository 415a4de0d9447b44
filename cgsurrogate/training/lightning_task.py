"""The LightningModule of the training loop; the only file that must import Lightning at its top."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader, IterableDataset

from cgsurrogate.core import devices
from cgsurrogate.core.interrupts import Watch
from cgsurrogate.training import ranks
from cgsurrogate.training.objectives._base import Batch
from cgsurrogate.training.state import TrainingState

SAVE_SECONDS = 60.0
WARM_UP = 0.02  # share of the budget over which the learning rate rises


class _Ticks(IterableDataset):
    """Endless step numbers; the batches themselves are drawn in the step, from its own generator."""

    def __iter__(self) -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1


class Task(lightning.LightningModule):
    """One training, as Lightning runs it, on one rank or on several."""

    def __init__(self, state: TrainingState, watch: Watch, report: Callable[[float, str], None]):
        super().__init__()
        self.module = state.module
        self.state, self.settings, self.watch, self.report = state, state.settings, watch, report
        self.stored = state.resume()  # of the optimizer
        self.batch: Batch = ()
        self.skipped = False
        self.mean_loss = math.nan  # over the ranks

    def run(self) -> None:
        """Train until the budget is used, nothing improves, or a signal comes."""
        place = devices.of(self.module)
        options: dict[str, Any] = {
            "devices": 1 if place.index is None else [place.index],
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        trainer = lightning.Trainer(
            max_steps=-1,
            max_epochs=1,
            accelerator=ranks.ACCELERATORS[place.type],
            gradient_clip_val=self.settings.clip,
            inference_mode=False,
            **{**options, **ranks.options(self.settings)},
        )
        trainer.fit(self, DataLoader(_Ticks(), batch_size=None))

    def save(self) -> None:
        self.state.save(self.stored if self._trainer is None else self.trainer.optimizers[0].state_dict())

    def setup(self, stage: str) -> None:
        """All ranks go on from what the first has."""
        if ranks.count() > 1:
            self.state.began = time.monotonic()  # waiting for the others was no training
            self.stored = self.state.unpack(ranks.of_first(self.state.packed(self.stored)))
            self.asked()

    def asked(self) -> bool:
        """Take the clock of the first rank; whether any rank was asked to stop; all must call it."""
        if ranks.count() == 1:
            return self.watch.requested
        mine = [float(self.watch.requested), self.state.own_seconds if self.state.rank == 0 else 0.0]
        asked, self.state.shared_seconds = ranks.added(mine, devices.of(self.module))
        self.watch.requested_elsewhere = asked > 0
        return asked > 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=settings.rate, weight_decay=settings.decay, betas=settings.betas
        )
        if self.stored is not None:
            optimizer.load_state_dict(self.stored)
        return optimizer

    def on_train_start(self) -> None:
        self.watch.install()  # Lightning has put its own handlers in place

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        used = self.state.fraction
        scale = min(1.0, used / WARM_UP + 0.05) * 0.5 * (1 + math.cos(math.pi * used))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.settings.rate * max(scale, 1e-3) * self.state.objective.rate_scale
        return None

    def training_step(self, tick: int, _index: int) -> torch.Tensor | None:
        rng = self.state.batch_rng()
        self.batch = self.state.objective.draw(rng)
        loss = self.state.objective.loss(self.module, self.batch, rng)
        mean = ranks.mean(loss)
        self.skipped = not torch.isfinite(mean)
        if self.skipped:
            self.report(self.state.fraction, self.state.bad_batch(self.batch))
        self.mean_loss = float(mean.detach())
        if self.skipped:  # of several ranks each must have slopes to average, which are then passed over
            weights = [weight.sum() for weight in self.module.parameters() if weight.requires_grad]
            return None if ranks.count() == 1 else 0.0 * torch.stack(weights).sum()
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if not self.skipped and not self._finite_slopes():
            self.skipped = True
            self.report(self.state.fraction, self.state.bad_batch(self.batch))
        if self.skipped:
            for weight in self.module.parameters():
                weight.grad = None  # the optimizer passes over it

    def _finite_slopes(self) -> bool:
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        return all(bool(torch.isfinite(gradient).all()) for gradient in gradients)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        state, asked = self.state, self.asked()
        if outputs and not self.skipped:
            state.after_step(self.mean_loss)
            if state.progress.step % self.settings.every == 0:
                row = state.validate()
                self._tell(row)
                self.report(state.fraction, f"validation loss {row['held_out']:.5g}" if "held_out" in row else "")
        if time.monotonic() - state.saved_at > SAVE_SECONDS:
            self.save()
        if state.progress.step % 20 == 0:
            self.report(state.fraction, "")
        if asked or state.finished():
            self.trainer.should_stop = True

    def _tell(self, row: dict[str, float]) -> None:
        """Callbacks find the row in ``trainer.callback_metrics``; loggers get it once."""
        self.log_dict(row, logger=False)
        for logger in self.trainer.loggers:
            logger.log_metrics({name: value for name, value in row.items() if name != "step"}, int(row["step"]))
            logger.save()
