"""Where tensors are computed: on the processor, or on an accelerator.

What is computed follows the module that computes it: a model on a device simulates and trains there. Random numbers of
a training are drawn on the processor, so that they are the same everywhere; those of a simulation on the device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, nn


def chosen(name: str) -> torch.device:
    """The device of a name; ``auto`` is CUDA where there is one, else the processor.

    Raises:
        ValueError: this machine, or this PyTorch, has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, True):
        why = "its build of PyTorch has none" if not _built(device.type) else "PyTorch finds none"
        raise ValueError(f"expected a device of this machine, got {name} ({why}); use auto or cpu")
    return device


def _built(kind: str) -> bool:
    backend: Any = getattr(torch.backends, kind)
    return bool(backend.is_built())


def words(device: torch.device) -> str:
    """What is used, in words."""
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        return f"cuda ({about.name}, {about.total_memory / 2**30:.0f} GiB)"
    return device.type


def of(module: nn.Module) -> torch.device:
    """Where the tensors of a module are; the processor where it has none."""
    tensors = (tensor for group in (module.parameters(), module.buffers()) for tensor in group)
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def generator(device: torch.device, rng: Generator) -> Generator:
    """Random numbers for a device that follow from ``rng``, which is itself given back where it is of that device."""
    if rng.device.type == device.type:
        return rng
    seed = int(torch.randint(1 << 62, (), generator=rng))
    return Generator(device).manual_seed(seed)


def wait(device: torch.device) -> None:
    """Until the device has done all that it was asked; clocks read before that are wrong."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
