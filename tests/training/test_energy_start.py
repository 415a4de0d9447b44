"""An energy begins with what held-out frames like best: pretrained or own priors, a pretrained network or none."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from flipping_chains import make_frames

from cgsurrogate.core import bead_types
from cgsurrogate.core.energy import Prior
from cgsurrogate.core.frames import Frames
from cgsurrogate.models.model import compose
from cgsurrogate.training.energy_start import ALL, OWN, begin
from cgsurrogate.training.force_field import divided, energy_objective
from cgsurrogate.training.objectives.noise_contrast import WithLogPartition

TERMS = [("priors", name, {}) for name in ("bonds", "angles", "dihedrals", "repulsion")]
NETWORK = ("networks", "residues", {"width": 8})


def energy(*every):
    """Fitted priors and a network that has learned nothing."""
    torch.manual_seed(0)
    made = compose(every[0].beads, [*TERMS, NETWORK])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for term in made.terms:
            if isinstance(term, Prior):
                term.fit(*every)
    return made


def few(frames, basin):
    """Sixty frames, in all of which the first torsion is in one of its two wells."""
    x = torch.from_numpy(frames.positions[:, :4].copy())
    a, b, c = (x[:, k + 1] - x[:, k] for k in range(3))
    positive = (torch.linalg.cross(a, b) * c).sum(1) > 0
    chosen = np.flatnonzero(positive.numpy() == basin)[:60]
    return Frames(frames.beads, frames.positions[chosen], (60,), frames.dt, frames.temperature)


@pytest.fixture(scope="module")
def plenty():
    return make_frames("AGAVAG", (1500, 1500))


def test_of_few_frames_the_pretrained_priors_know_more(plenty):
    kept, held = few(plenty, True), make_frames("AGAVAG", (400,), seed=3)
    trained, own = energy(plenty), energy(kept)
    begun = begin(own, trained, [(kept, held)], 0)
    assert ALL in begun.words and begun.marginals[0] is not None
    x = torch.from_numpy(held.positions[:50].copy())
    with torch.no_grad():
        assert torch.equal(begun.energies[0](x), trained(x))


def test_priors_and_network_of_other_data_are_left_alone(plenty):
    """The trained ones saw one basin only, and their network is noise."""
    kept, held = make_frames("AGAVAG", (800,), seed=2), make_frames("AGAVAG", (400,), seed=3)
    trained, own = energy(few(plenty, True)), energy(kept)
    torch.nn.init.normal_(trained.terms[-1].output.weight)
    with torch.no_grad():
        before = own(torch.from_numpy(held.positions[:50].copy()))
    begun = begin(own, trained, [(kept, held)], 0)
    assert OWN in begun.words and "untrained" in begun.words and not begun.pretrained and begun.marginals == [None]
    with torch.no_grad():
        assert torch.equal(begun.energies[0](torch.from_numpy(held.positions[:50].copy())), before)


@pytest.mark.parametrize("several", [False, True])
def test_the_loss_that_training_begins_with_is_the_one_that_chose(several, plenty):
    """With other priors than those of the noise, and the ln Z that was found."""
    kept, held = few(plenty, True), make_frames("AGAVAG", (400,), seed=3)
    parts = [(kept, held)] * (2 if several else 1)
    begun = begin(energy(*(k for k, _ in parts)), energy(plenty), parts, 0)
    said = float(begun.words.split("validation loss ")[1].split(";")[0])
    found = []
    for one, at, marginals in zip(begun.energies, begun.log_partitions, begun.marginals, strict=True):
        priors, networks = divided(one)
        objective = energy_objective("denoise", priors, kept, held, 0, 4000, marginals)
        module = WithLogPartition(networks, at).eval()
        with torch.no_grad():
            losses = [
                objective.loss(module, b, torch.Generator().manual_seed(k)) for k, b in enumerate(objective.held_out())
            ]
        found.append(torch.stack(losses).mean().item())
    assert np.mean(found) == pytest.approx(said, abs=0.15)


def test_beads_that_the_pretrained_priors_do_not_know_have_those_of_the_frames(plenty):
    trained, strange = energy(plenty), make_frames("AGAVAG", (400, 100), seed=3)
    beads = dataclasses.replace(strange.beads, names=("XY",) * 6, types=(bead_types.OTHER,) * 6)
    frames = dataclasses.replace(strange, beads=beads)
    begun = begin(energy(frames), trained, [frames.split(0.2)], 0)
    assert OWN in begun.words and torch.isfinite(begun.energies[0](torch.from_numpy(frames.positions[:9].copy()))).all()
