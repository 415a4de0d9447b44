"""Energy and forces of one molecule as one graph of tensor operations: a ``.pt2``, for Python, C++ and any device.

The derivative is traced with the energy, so that what is stored needs no autograd: (B, N, 3) nm -> energies (B,) kJ/mol
and forces (B, N, 3) kJ/mol/nm, with any B. Weights are constants of the graph. Two files can be made of it: the graph
itself, which every PyTorch reads, and a package compiled for this machine (AOTInductor), which C++ loads as well.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cgsurrogate.core import filesystem
from cgsurrogate.core.energy import Energy, forces

LARGEST = 1 << 20  # replicas in a batch
COMPILERS = ("g++", "clang++", "c++")


class NoCompiler(RuntimeError):
    """This machine, or this PyTorch, cannot compile a package."""


class _Graph(nn.Module):
    """Names the argument of a traced graph, as ``torch.export`` wants it."""

    def __init__(self, graph: nn.Module):
        super().__init__()
        self.traced = graph

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return self.traced(positions)


def trace(energy: Energy, count: int) -> torch.export.ExportedProgram:
    """The graph of an energy of ``count`` beads, on the device and in the precision of its weights."""
    from torch.fx.experimental.proxy_tensor import make_fx

    energy = energy.eval().requires_grad_(False)
    like = next((t for t in energy.state_dict().values() if t.is_floating_point()), torch.zeros(()))
    batch = next(n for n in itertools.count(5) if n != count)  # equal sizes would be taken for one
    x = like.new_empty(batch, count, 3).normal_(generator=torch.Generator(like.device).manual_seed(0))

    def both(positions: Tensor) -> tuple[Tensor, Tensor]:
        return forces(energy, positions)

    graph = make_fx(both, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x)
    sizes = {"positions": {0: torch.export.Dim("batch", min=1, max=LARGEST)}}
    return torch.export.export(_Graph(graph), (x,), dynamic_shapes=sizes)


def save(program: torch.export.ExportedProgram, path: Path) -> Path:
    """The graph, which PyTorch can read and compile elsewhere."""
    with filesystem.renaming(path, path.suffix) as temporary:
        torch.export.save(program, temporary)
    return path


def package(program: torch.export.ExportedProgram, path: Path) -> Path:
    """Compiled for this machine and device, with as many threads as PyTorch has now; takes a minute or two.

    Raises:
        NoCompiler: no C++ compiler, or a PyTorch older than 2.6.
    """
    import shutil

    make: Any = getattr(torch._inductor, "aoti_compile_and_package", None)
    if make is None:
        raise NoCompiler(f"a compiled .pt2 needs PyTorch 2.6 or newer, got {torch.__version__}")
    if not any(map(shutil.which, COMPILERS)):
        raise NoCompiler(f"a compiled .pt2 needs a C++ compiler, one of {', '.join(COMPILERS)}; there is none")
    with filesystem.renaming(path, path.suffix) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own parts
        make(program, package_path=str(temporary))
    return path


def load(path: Path) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A compiled package as a function of positions."""
    run: Any = torch._inductor.aoti_load_package(str(path))

    def evaluate(positions: Tensor) -> tuple[Tensor, Tensor]:
        value, force = run(positions.contiguous())
        return value, force

    return evaluate
