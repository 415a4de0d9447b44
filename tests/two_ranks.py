"""A small training that a test starts with several ranks: Lightning runs this file once more for each of them.

python two_ranks.py RANKS FOLDER [STEP]     rank 1 is sent SIGTERM in this step
"""

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

from cgsurrogate.core.interrupts import Stopped
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives._base import Objective
from cgsurrogate.training.settings import TrainingSettings
from cgsurrogate.training.state import TrainingState

STEPS, EVERY, SIZE = 60, 10, 32


def settings(devices=1):
    return TrainingSettings(seed=5, steps=STEPS, every=EVERY, rate=5e-3, devices=devices)


class Parabola(Objective):
    """y = |x|^2, learned from random x; ``ranks`` batches at once. The loss of step ``bad`` is not finite on rank 1."""

    def __init__(self, ranks=1, stop=None, bad=None):
        self.ranks, self.stop, self.bad, self.number = ranks, stop, bad, 0
        self.rank = int(os.environ.get("LOCAL_RANK", 0))

    def draw(self, rng):
        drawn = [rng]
        for rank in range(1, self.ranks):
            drawn.append(TrainingState.rng(SimpleNamespace(settings=settings()), self.number, rank))
        self.number += 1
        if self.rank == 1 and self.number == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return (torch.cat([torch.randn(SIZE, 3, generator=one) for one in drawn]),)

    def loss(self, module, batch, rng):
        (x,) = batch
        value = (module(x) - x.square().sum(1, keepdim=True)).square().mean()
        return value * float("nan") if self.rank == 1 and module.training and self.number == self.bad else value

    def held_out(self):
        rng = torch.Generator().manual_seed(1)
        return [(torch.randn(100, 3, generator=rng),) for _ in range(3)]


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.SiLU(), torch.nn.Linear(32, 1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    stop, bad = (int(text) if text != "-" else None for text in (*sys.argv[3:], "-", "-")[:2])
    module = network()
    with torch.no_grad():  # only the weights of the first rank count
        module[0].bias += int(os.environ.get("LOCAL_RANK", 0))
    try:
        fit(module, Parabola(1, stop, bad), settings(int(sys.argv[1])), folder=Path(sys.argv[2]))
    except Stopped as error:
        print(error, flush=True)
        sys.exit(143)
