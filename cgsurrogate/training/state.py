"""The state of one training beside the network's own: clock, averaged and best weights, and the files that keep it."""

from __future__ import annotations

import copy
import dataclasses
import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn

from cgsurrogate.core import checked_files, devices, filesystem
from cgsurrogate.training import ranks
from cgsurrogate.training.objectives._base import Batch, Objective
from cgsurrogate.training.settings import TrainingSettings

MAX_BAD_BATCHES, MAX_BAD_SHARE = 10, 0.05  # more than so many, and more than this share of all, end a training
MOST_CULPRITS = 20  # that are kept
RISE = 0.25  # share of what was learned
CHECKPOINT, METRICS = "training.pt", "metrics.csv"


@dataclasses.dataclass(frozen=True)
class History:
    """``rows`` hold step, seconds, train and, where something is held out, held_out loss; ``best`` is the row that was
    kept; ``notes`` are concerns about the data and about what was learned of them, in words."""

    rows: tuple[dict[str, float], ...]
    best: dict[str, float]
    reason: str
    notes: tuple[str, ...] = ()


def overfitting(rows: Sequence[Mapping[str, float]], best: Mapping[str, float]) -> tuple[str, ...]:
    """Words where the held-out loss rose again while that of the training runs fell; else none.

    It must have risen by ``RISE`` of all that was learned, the larger of what either loss fell.
    """
    if "held_out" not in best or len(rows) < 2:
        return ()
    first, last = rows[0], rows[-1]
    learned = max(first["held_out"] - best["held_out"], first["train"] - last["train"])
    rise = last["held_out"] - best["held_out"]
    if not (math.isfinite(rise) and rise > RISE * learned and last["train"] < best["train"]):
        return ()
    return (
        f"overfitting: the loss of the validation runs rose from {best['held_out']:.4g} at step {best['step']:.0f} to"
        f" {last['held_out']:.4g} at step {last['step']:.0f}, while that of the training runs fell; the weights of step"
        f" {best['step']:.0f} are kept, and more runs would help where more training does not",
    )


@dataclasses.dataclass
class Progress:
    """All that a continued training needs besides weights and what the objective keeps.

    ``bad`` batches were skipped, because of ``culprits``, in words, as far as that is known.
    ``running`` is the sum of the losses of the ``running_count`` steps since the last validation.
    """

    step: int = 0
    seconds: float = 0.0
    bad: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    running: float = 0.0
    running_count: int = 0
    rows: list[dict[str, float]] = dataclasses.field(default_factory=list)
    culprits: list[str] = dataclasses.field(default_factory=list)


def _because(culprits: Sequence[str]) -> str:
    return f", because of {', '.join(culprits)} (counted from 0)" if culprits else ""


class TrainingState:
    """``folder`` None keeps no files; ``label`` names the training in errors. Of several ranks only the first, 0,
    writes files, and its clock is that of all while they train."""

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        settings: TrainingSettings,
        folder: Path | None,
        label: str,
        rank: int = 0,
    ):
        self.rank = rank
        self.module, self.objective, self.settings = module, objective, settings
        self.folder, self.label = folder, label
        self.average = copy.deepcopy(module).requires_grad_(False).eval()
        self.best = copy.deepcopy(module.state_dict())
        self.progress, self.began, self.reason = Progress(), time.monotonic(), ""
        self.saved_at = time.monotonic()
        self.shared_seconds: float | None = None  # what the clock of the first rank showed at the last step

    # -- the clock ------------------------------------------------------------------------------------------------
    @property
    def seconds(self) -> float:
        return self.own_seconds if self.shared_seconds is None else self.shared_seconds

    @property
    def own_seconds(self) -> float:
        return self.progress.seconds + time.monotonic() - self.began

    @property
    def fraction(self) -> float:
        """Share of the budget that is used up."""
        shares = [self.progress.step / self.settings.steps] if self.settings.steps else []
        if self.settings.minutes:
            shares.append(self.seconds / (60 * self.settings.minutes))
        return min(1.0, max(shares))

    def finished(self) -> bool:
        since_best = sum(1 for row in self.progress.rows if row["step"] > self.progress.best_step)
        if self.fraction >= 1:
            self.reason = "budget used"
        elif since_best >= self.settings.patience:
            self.reason = f"no better on validation runs for {self.settings.patience} validations"
        return bool(self.reason)

    def rng(self, *key: int) -> Generator:
        """A generator that follows from the seed and the key alone."""
        mixed = self.settings.seed
        for part in key:
            mixed = (mixed * 6364136223846793005 + part + 1442695040888963407) % (1 << 63)
        return Generator().manual_seed(mixed)

    def batch_rng(self) -> Generator:
        """Of the batch of this step, and of its loss; every rank has its own."""
        number = self.progress.step + self.progress.bad
        return self.rng(number, self.rank) if self.rank else self.rng(number)

    # -- what happens around a step -------------------------------------------------------------------------------
    def after_step(self, loss: float) -> None:
        self.progress.step += 1
        self.progress.running += loss
        self.progress.running_count += 1
        weight = min(self.settings.average, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.module.parameters(), strict=True):
                mean.lerp_(now, 1 - weight)

    def bad_batch(self, batch: Batch) -> str:
        """Count a batch that is skipped, and say so; FloatingPointError where there are many."""
        progress = self.progress
        found = ranks.joint(self.objective.blame(self.module, batch, self.batch_rng))
        progress.bad += 1
        progress.culprits += [name for name in found if name not in progress.culprits][:MOST_CULPRITS]
        del progress.culprits[MOST_CULPRITS:]
        if progress.bad > max(MAX_BAD_BATCHES, MAX_BAD_SHARE * (progress.step + progress.bad)):
            raise FloatingPointError(
                f"{self.label}: the loss was not finite in {progress.bad} of {progress.step + progress.bad} batches"
                f"{_because(progress.culprits)}; "
                + ("leave these out" if progress.culprits else "lower the learning rate, or look for outliers")
            )
        return f"skipped a batch at step {progress.step}, whose loss was not finite{_because(found)}"

    def skipped(self) -> tuple[str, ...]:
        """A line on the batches that were skipped; none where none was."""
        bad, every = self.progress.bad, self.progress.step + self.progress.bad
        words = f"{bad} of {every} batches were skipped, whose loss was not finite{_because(self.progress.culprits)}"
        return (words,) if bad else ()

    def validate(self) -> dict[str, float]:
        """A new row; the averaged weights are kept where they are the best, or where nothing is held out."""
        row: dict[str, float] = {
            "step": self.progress.step,
            "seconds": round(self.seconds, 3),
            "train": self._train_loss(),
        }
        batches = self.objective.held_out()
        if batches:
            with torch.no_grad():  # losses on forces switch gradients on themselves
                losses = [
                    float(self.objective.loss(self.average, batch, self.rng(-1, number)))
                    if number % ranks.count() == ranks.own()
                    else 0.0
                    for number, batch in enumerate(batches)
                ]
            losses = ranks.added(losses, devices.of(self.module))
            self._refuse_held_out(batches, losses)
            counts = [len(batch[0]) for batch in batches]
            row["held_out"] = sum(a * b for a, b in zip(losses, counts, strict=True)) / max(1, sum(counts))
        value = row.get("held_out", -math.inf)
        if (math.isfinite(value) and value < self.progress.best_loss) or not batches:
            self.progress.best_loss, self.progress.best_step = value, self.progress.step
            self.best = {name: value.detach().clone() for name, value in self.average.state_dict().items()}
        self.progress.running, self.progress.running_count = 0.0, 0
        self.progress.rows.append(row)
        self._write_rows()
        return row

    def _train_loss(self) -> float:
        """The mean since the last validation; before the first step that of one batch."""
        if self.progress.running_count:
            return self.progress.running / self.progress.running_count
        rng = self.batch_rng()
        batch = self.objective.draw(rng)
        with torch.no_grad():
            return float(ranks.mean(self.objective.loss(self.average, batch, rng)))

    def _refuse_held_out(self, batches: Sequence[Batch], losses: Sequence[float]) -> None:
        """FloatingPointError at the first validation where single frames make it infinite: it would stay so."""
        bad = [number for number, loss in enumerate(losses) if not math.isfinite(loss)]
        if not bad or self.progress.rows:
            return
        number = bad[0]
        found = self.objective.blame(self.average, batches[number], lambda: self.rng(-1, number), number)
        if found:
            raise FloatingPointError(
                f"{self.label}: the validation loss is not finite{_because(found)}; leave these out"
            )

    def finish(self) -> History:
        rows = self.progress.rows
        if not rows or rows[-1]["step"] < self.progress.step:
            self.validate()
        self.module.load_state_dict(self.best)
        if self.progress.best_loss == math.inf:
            raise FloatingPointError(
                f"{self.label}: the validation loss was never finite; are there outliers in the input?"
            )
        best = next(row for row in rows if row["step"] == self.progress.best_step)
        notes = (*overfitting(rows, best), *self.skipped())
        return History(tuple(rows), best, self.reason or "budget used", notes)

    # -- files ----------------------------------------------------------------------------------------------------
    def _write_rows(self) -> None:
        if self.folder is not None and self.rank == 0:
            rows = self.progress.rows
            lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
            filesystem.write_text(self.folder / METRICS, "\n".join(lines) + "\n")

    def save(self, optimizer: dict[str, Any] | None) -> None:
        self.saved_at = time.monotonic()
        if self.folder is not None and self.rank == 0:
            checked_files.write_checked(self.folder / CHECKPOINT, self.packed(optimizer))

    def packed(self, optimizer: dict[str, Any] | None) -> bytes:
        """All that continuing needs."""
        content = {
            "progress": dataclasses.asdict(self.progress) | {"seconds": self.seconds},
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best,
            "optimizer": optimizer,
            "objective": self.objective.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()

    def unpack(self, stored: bytes) -> dict[str, Any]:
        """Go on from what was ``packed``; returns the state of the optimizer."""
        content = torch.load(io.BytesIO(stored), weights_only=True, map_location=devices.of(self.module))
        self.progress = Progress(**content["progress"])
        self.module.load_state_dict(content["module"])
        self.average.load_state_dict(content["average"])
        self.objective.load_state_dict(content["objective"])
        self.best = content["best"]
        optimizer: dict[str, Any] = content["optimizer"]
        return optimizer

    def resume(self) -> dict[str, Any] | None:
        """Go on from the files of the folder, if there are any; returns the state of the optimizer.

        Raises:
            ValueError: the file is damaged, or holds anything but such a state.
        """
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        stored = checked_files.read_checked(path, "remove it to train anew")
        try:
            return self.unpack(stored)
        except Exception:  # whatever its unpickler meets, or another model
            raise ValueError(f"{path} is not the state of this training; remove it to train anew") from None
