"""The LightningModule of the training loop; the only file that must import Lightning at its top."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader, IterableDataset

SAVE_SECONDS = 60.0
WARM_UP = 0.02  # share of the budget over which the learning rate rises


class _Ticks(IterableDataset):
    """Endless step numbers; the batches themselves are drawn in the step, from its own generator."""

    def __iter__(self) -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1


class _Task(lightning.LightningModule):
    def __init__(self, work, rate: float, decay: float, report: Callable[[float, str], None]):
        super().__init__()
        self.module = work.module
        self.work, self.rate, self.decay, self.report = work, rate, decay, report
        self.optimizer_state: dict | None = None

    def ticks(self) -> DataLoader:
        return DataLoader(_Ticks(), batch_size=None)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(self.module.parameters(), lr=self.rate, weight_decay=self.decay)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        return optimizer

    def on_train_start(self) -> None:
        self.work.watch.install()  # Lightning has put its own handlers in place

    def on_train_batch_start(self, batch, batch_idx) -> int | None:
        used = self.work.fraction
        scale = min(1.0, used / WARM_UP + 0.05) * 0.5 * (1 + math.cos(math.pi * used))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.rate * max(scale, 1e-3)
        return None

    def training_step(self, tick: int, _index: int) -> torch.Tensor | None:
        rng = self.work.rng(self.work.progress.step + self.work.progress.bad)
        batch = tuple(part.to(self.device) for part in self.work.train.draw(rng))
        loss = self.work.loss(self.module, batch, rng)
        if not torch.isfinite(loss):
            self.work.bad_batch()
            return None
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        if not all(torch.isfinite(gradient).all() for gradient in gradients):
            self.work.bad_batch()
            for gradient in gradients:
                gradient.zero_()

    def on_train_batch_end(self, outputs, batch, batch_idx) -> None:
        if outputs:
            self.work.after_step(float(outputs["loss"]))
            if self.work.progress.step % self.work.every == 0:
                row = self.work.validate()
                self.report(self.work.fraction, f"held-out loss {row['held_out']:.5g}")
        if time.monotonic() - self.work.saved_at > SAVE_SECONDS:
            self.work.save(self)
        if self.work.progress.step % 20 == 0:
            self.report(self.work.fraction, "")
        if self.work.watch.requested or self.work.finished():
            self.trainer.should_stop = True


def make_task(work, **options) -> _Task:
    return _Task(work, **options)
