"""Several processes (ranks) that train one model: who is who, and what they tell one another.

Lightning starts them, or torchrun or srun do. Each runs the whole program: the same frames, the same settings. Of each
step they draw different batches, and average the slopes. Only the first of them writes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed

from cgsurrogate.training.settings import TrainingSettings

ACCELERATORS = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}  # as Lightning calls devices
STRATEGY = "ddp_find_unused_parameters_true"  # a step need not have all weights: of the molecules it draws one


def options(settings: TrainingSettings) -> dict[str, Any]:
    """Of the Lightning ``Trainer``, with a strategy where there are several ranks and none is named."""
    found = dict(settings.trainer)
    if settings.devices > 1:
        found["devices"] = settings.devices
    if settings.devices > 1 or found.get("num_nodes", 1) > 1:
        found.setdefault("devices", 1)
        found.setdefault("strategy", STRATEGY)
    return found


def quiet_lightning() -> None:
    """It says only what is wrong."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)


def several(settings: TrainingSettings) -> bool:
    return "strategy" in options(settings)


def joined(settings: TrainingSettings, device: torch.device) -> int:
    """The rank of this process in a training, which need not have begun; on CUDA it takes its own GPU."""
    if count() > 1:
        return own()
    found = options(settings)
    layout = {name: found[name] for name in ("devices", "num_nodes", "strategy") if name in found}
    if "strategy" not in layout:
        return 0
    import pytorch_lightning as lightning

    quiet_lightning()
    without = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    silent: dict[str, Any] = dict.fromkeys(without, False)
    trainer = lightning.Trainer(accelerator=ACCELERATORS[device.type], **layout, **silent)
    if device.type == "cuda":
        torch.cuda.set_device(trainer.local_rank)
    return int(trainer.global_rank)


# -- while they train; of one rank each gives back what it got ---------------------------------------------------------


def count() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def own() -> int:
    """The rank of this process."""
    return distributed.get_rank() if count() > 1 else 0


def mean(value: torch.Tensor) -> torch.Tensor:
    """Over the ranks; not finite where that of one is not."""
    if count() == 1:
        return value
    value = value.detach().clone()
    distributed.all_reduce(value)
    return value / count()


def added(values: Sequence[float], device: torch.device) -> list[float]:
    if count() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    distributed.all_reduce(total)
    return [float(value) for value in total]


def joint(found: list[str]) -> list[str]:
    """What all of them found, in the order of the ranks."""
    if count() == 1:
        return found
    every: list[Any] = [None] * count()
    distributed.all_gather_object(every, found)
    return [name for one in every for name in one]


def of_first(value: Any) -> Any:
    """What the first rank has."""
    if count() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def wait() -> None:
    """Until all are here."""
    if count() > 1:
        distributed.barrier()
