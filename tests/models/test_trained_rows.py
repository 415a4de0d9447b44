"""A graph stepper that begins with a trained one: the same density, room for what is new, refusals."""

import warnings

import numpy as np
import pytest
import torch
from flipping_chains import SMALL, make_beads, make_frames, make_stepper

from cgsurrogate.core import registry
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.models.steppers._trained_rows import ROWS


def begun(trained, *every):
    stepper = registry.build("steppers", "graph", every[0].beads, **SMALL)
    stepper.begin_from(trained, *every)
    return stepper.eval()


def density(stepper, frames, count=30):
    """Log densities of soft coordinates one by one and of the stiff ones per nm and radian, of the same pairs."""
    code = stepper.encode(torch.from_numpy(frames.positions[:count].copy()))
    lag = torch.full((count,), stepper.lag)
    with torch.no_grad():
        soft, stiff = stepper.log_density_parts(code, code.roll(7, 0), lag)
    return soft, stiff - stepper.scale[~stepper.soft].log().sum()


@pytest.fixture(scope="module")
def trained():
    return make_stepper(make_frames("AGAVAG"), make_frames("GAAGV", seed=1), rough=0.2)


def test_of_what_is_known_the_density_is_that_of_the_trained_one_to_the_digit(trained):
    for sequence in ("AGAVAG", "GAAGV"):
        frames = make_frames(sequence, (60, 60), seed=5)
        bound, own = trained.bound(frames.beads), begun(trained, frames)
        for one, other in zip(density(bound, frames), density(own, frames), strict=True):
            assert torch.equal(one, other)
        assert own.lags == trained.lags and own.lag == trained.lag
        assert not {id(p) for p in own.parameters()} & {id(p) for p in trained.parameters()}  # it may learn on


def test_what_is_new_begins_with_what_is_most_like_it_and_takes_its_means_from_the_data(trained):
    """Isoleucine was never seen, and is like valine; its bonds are longer here."""
    frames, known = make_frames("AGAIAG", (60, 60), seed=5), make_frames("AGAVAG", (60, 60), seed=5)
    soft, _ = density(trained.bound(known.beads), known)
    assert torch.allclose(density(begun(trained, frames), frames)[0], soft, atol=1e-4)
    own = begun(trained, Frames(frames.beads, 1.03 * frames.positions, frames.lengths, 2.0, 300.0))
    means = {kind: own.kind_centre[k].item() for k, kind in enumerate(own.vocabulary.kinds) if kind.count("CA") == 2}
    assert any(kind.startswith("ILE") for kind in means)
    for kind, mean in means.items():
        assert mean == pytest.approx((1.03 if kind.startswith("ILE") else 1.0) * 0.38, abs=2e-3)


def test_new_molecules_leave_the_density_of_the_known_as_it_was(trained):
    """The vocabulary grows, the known keep theirs: nothing of the new ones is heard yet."""
    known, new = make_frames("AGAVAG", (60, 60), seed=5), make_frames("IPAAGAAAAVA", (60, 60), seed=6)
    own = begun(trained, known, new)
    assert len(own.vocabulary.kinds) > len(trained.vocabulary.kinds) and len(own.heard) > len(trained.heard)
    for one, other in zip(density(trained.bound(known.beads), known), density(own, known), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert torch.isfinite(density(own.bound(new.beads), new)[0]).all()


def capped(frames):
    """The same chain after a bead XX of a kind and element that nothing known is like, but of a known name."""
    beads, count = frames.beads, len(frames)
    more = np.random.default_rng(0).normal(0, 0.05, (count, 1, 3)) + frames.positions[:, :1] - [0.15, 0.1, 0.1]
    x = np.concatenate([more, frames.positions], 1).astype(np.float32)
    bonds = ((0, 1), *((a + 1, b + 1) for a, b in beads.bonds))
    names, residues = ("CA", *beads.names), (0, *(r + 1 for r in beads.residues))
    made = Beads(names, (0,) * len(names), (71.0,) * len(names), residues, ("XXX", *beads.residue_names), bonds)
    return Frames(made, x, frames.lengths, frames.dt, frames.temperature)


def test_an_unknown_residue_at_an_end_is_no_obstacle(trained):
    frames = capped(make_frames("AGAVAG", (60, 60), seed=5))
    own = begun(trained, frames)
    assert "XXX" in own.vocabulary.residues and torch.isfinite(density(own, frames)[1]).all()
    code = own.encode(torch.from_numpy(frames.positions[:1].copy())).expand(200, -1)
    drawn = own.draw(code, torch.full((200,), own.lag), torch.Generator().manual_seed(0))
    assert torch.isfinite(drawn).all()


def test_other_beads_are_refused_by_name(trained):
    frames = make_frames("AGAVAG", (60, 60))
    strange = Beads(("XY",) * 6, *(getattr(frames.beads, f) for f in ("types", "masses", "residues", "residue_names")))
    with pytest.raises(ValueError, match="XY"):
        begun(trained, Frames(strange, frames.positions, (60, 60), 2.0, 300.0))


def test_every_weight_that_grows_with_the_vocabulary_has_its_rows(trained):
    """A weight of the networks that is forgotten in the table would be copied whole, and could not be."""
    larger = make_stepper(make_frames("AGAVAG"), make_frames("IPGV", seed=2), make_frames("GAAAAAAAAAG", seed=3))
    sizes = dict(trained.named_parameters())
    grown = {name for name, weight in larger.named_parameters() if weight.shape != sizes[name].shape}
    assert grown and grown <= set(ROWS) <= set(sizes)


def test_a_stepper_of_one_molecule_begins_with_itself_only():
    frames = make_frames("AGAVAG", (60, 60))
    torch.manual_seed(0)
    first, second = (registry.build("steppers", "autoregressive", frames.beads, width=8) for _ in range(2))
    first.calibrate(frames)
    second.begin_from(first, frames)
    code = first.encode(torch.from_numpy(frames.positions[:5].copy()))
    lag = torch.full((5,), first.lag)
    assert torch.equal(first.log_density(code, code, lag), second.log_density(code, code, lag))
    other = registry.build("steppers", "autoregressive", make_beads("AGAVA"), width=8)
    with pytest.raises(ValueError, match="one molecule"), warnings.catch_warnings():
        other.begin_from(first, make_frames("AGAVA", (60, 60)))
