"""The worked example of a time-stepper that proposes: whatever it proposes, the ensemble stays that of the energy."""

import importlib.util
from pathlib import Path

import known_molecule as known
import pytest
import torch

from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.models.engines.potential import Potential
from cgsurrogate.models.model import Model

EXAMPLE = Path(__file__).parents[2] / "docs" / "how-to" / "stepper_proposals.py"


def test_jumps_keep_a_distribution_that_is_known_exactly():
    pytest.importorskip("openmm")
    spec = importlib.util.spec_from_file_location("stepper_proposals", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    frames = Frames(known.BEADS, known.exact(600, 1, 2.0).numpy(), (300, 300), 2.0, known.KELVIN)  # of another ensemble
    stepper = registry.build("steppers", "autoregressive", known.BEADS, lag=4.0)
    stepper.calibrate(frames)
    potential = Potential(Model(known.Known(), known.BEADS, known.KELVIN))
    jumps = example.Jumps(potential, stepper, torch.Generator().manual_seed(0))
    start = x = known.exact(4000).numpy()
    for _ in range(6):
        x = jumps.step(x)
    assert jumps.accepted > 0.05 * jumps.tried
    assert ((x != start).any((1, 2))).mean() > 0.2
    assert known.p_value(torch.from_numpy(x).double()) > 1e-3
