"""Chains of CA beads whose torsions flip between two wells, with populations by residue, and small graph steppers."""

import numpy as np
import torch

from cgsurrogate.core import registry
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.zmatrix import ZMatrix

SMALL = {"width": 24, "layers": 1, "hidden": 24, "mixtures": 4, "tail": 16}
INSIDE = {"ALA": 2 / 3, "GLY": 1 / 3}  # how often the torsion of a residue is near 2; else near -1.2
OUT = 0.2  # a frame, of leaving both wells together


def make_beads(sequence):
    """CA beads in a row."""
    count = len(sequence)
    names = tuple({"A": "ALA", "G": "GLY", "P": "PRO", "V": "VAL", "I": "ILE"}[letter] for letter in sequence)
    bonds = tuple((i, i + 1) for i in range(count - 1))
    return Beads(("CA",) * count, (0,) * count, (71.0,) * count, tuple(range(count)), names, bonds)


def torsion_kinds(beads):
    """Residue of each dihedral: that of the bead to which the new one is bonded."""
    return [beads.residue_names[row[1]] for row in ZMatrix(beads, True).refs[3:]]


def make_frames(sequence, lengths=(400, 400), seed=0, dt=2.0, beads=None):
    """Stiff bonds and angles; each torsion flips between two wells, with populations by its residue, independently."""
    beads, rng = make_beads(sequence) if beads is None else beads, np.random.default_rng(seed)
    count, size = sum(lengths), len(beads)
    torsions = np.empty((count, size - 3))
    for d, residue in enumerate(torsion_kinds(beads)):
        share, state = INSIDE.get(residue, 0.5), 1
        for t, chance in enumerate(rng.random(count)):
            state = 1 - state if chance < OUT * (1 - share if state else share) else state
            torsions[t, d] = (-1.2, 2.0)[state] + rng.normal(0, 0.25)
    bond, angle = rng.normal(0.38, 0.005, (count, size - 1)), rng.normal(1.6, 0.04, (count, size - 2))
    x = ZMatrix(beads, True).to_positions(*(torch.tensor(part) for part in (bond, angle, torsions))).numpy()
    return Frames(beads, x.astype(np.float32), lengths, dt=dt, temperature=300.0)


def make_stepper(*frames, rough=0.0, **options):
    torch.manual_seed(0)
    stepper = registry.build("steppers", "graph", frames[0].beads, **(options or SMALL))
    stepper.calibrate(*frames)
    with torch.no_grad():
        for parameter in stepper.parameters():
            parameter.add_(rough * torch.randn(parameter.shape))
    return stepper.eval()
