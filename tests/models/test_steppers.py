"""Laws of time-steppers: exactness of the density, and a toy whose kinetics are known."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from known_chains import autoregressive

from cgsurrogate.analysis.kinetics.one_step_relaxation import one_step_relaxation, slow_processes
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.zmatrix import ZMatrix, wrap
from cgsurrogate.models.steppers import _wrapped_normal
from cgsurrogate.models.steppers._dense import DenseGaussian
from cgsurrogate.training.batches import LaggedPairs
from cgsurrogate.training.settings import StepperSettings
from cgsurrogate.training.stepper import check, kinetics, pair_loss, train_stepper

CHAIN = ((0, 1), (1, 2), (2, 3))
BRANCHED = ((0, 1), (1, 2), (1, 3), (2, 4), (4, 5), (4, 6), (5, 7))


def make_beads(bonds):
    count = max(map(max, bonds)) + 1
    return Beads(
        names=("X",) * count,
        types=(0,) * count,
        masses=(12.0,) * count,
        residues=(0,) * count,
        residue_names=("UNK",) * count,
        bonds=bonds,
    )


def make_frames(bonds=BRANCHED, lengths=(300, 300), seed=0, torsion=None, **options):
    """Frames with stiff bonds, angles and impropers; torsions (T,) are given, or walk on the circle."""
    beads, rng, count = make_beads(bonds), np.random.default_rng(seed), sum(lengths)
    z = ZMatrix(beads)
    torsions = np.cumsum(rng.normal(0, 0.4, (count, int(z.torsion.sum()))), 0) if torsion is None else torsion[:, None]
    dihedrals = np.where(z.torsion, 0.0, 2.1) + rng.normal(0, 0.05, (count, len(z.torsion)))
    dihedrals[:, z.torsion] = torsions
    bond = rng.normal(0.15, 0.003, (count, len(beads) - 1))
    angle = rng.normal(1.9, 0.05, (count, len(beads) - 2))
    positions = z.to_positions(*(torch.tensor(part) for part in (bond, angle, dihedrals))).numpy()
    return Frames(beads, positions.astype(np.float32), lengths, dt=2.0, temperature=300.0, **options)


def make_stepper(kind="autoregressive", frames=None, rough=0.0, seed=0, **options):
    """A calibrated stepper; ``rough`` adds noise to its weights, so that everything depends on everything."""
    frames = make_frames() if frames is None else frames
    torch.manual_seed(seed)
    stepper = registry.build("steppers", kind, frames.beads, lag=4.0, **options)
    stepper.calibrate(frames)
    with torch.no_grad():
        for parameter in stepper.parameters():
            parameter.add_(rough * torch.randn(parameter.shape))
    return stepper, frames


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def first(frames, count=20):
    return torch.as_tensor(frames.positions[:: len(frames) // count][:count].copy())


# -- laws of every kind ----------------------------------------------------------------------------------------------
@pytest.fixture(params=registry.kinds("steppers"))
def kind(request):
    return request.param


def test_the_store_brings_it_back(kind, tmp_path):
    from cgsurrogate.models.model import Model

    frames = make_frames(torsion=np.random.default_rng(0).normal(0, 0.01, 600))  # no soft coordinate at all
    for data in (make_frames(), frames):
        stepper, _ = make_stepper(kind, frames=data)
        Model(stepper, data.beads, 300.0).save(tmp_path)
        again = Model.load(tmp_path).module
        state = stepper.start(first(data), generator())
        assert torch.equal(stepper.step(state, generator(1)).positions, again.step(state, generator(1)).positions)


@pytest.mark.parametrize("rough", [0.0, 0.5])
def test_nothing_breaks_however_bad_the_weights(kind, rough):
    """Bonds stay whole and centres keep their hand in rollouts of an untrained stepper, even of a wild one."""
    stepper, frames = make_stepper(kind, rough=rough)
    z, rng = ZMatrix(frames.beads), generator()
    state = stepper.start(first(frames, 12), rng)
    hand = z.to_internal(state.positions)[2][:, ~z.torsion].sin().sign()
    for _ in range(20):
        state = stepper.step(state, rng)
        bonds, _, dihedrals = z.to_internal(state.positions)
        assert torch.isfinite(state.positions).all()
        assert bonds.min() > 0.1 and bonds.max() < 0.2
        assert torch.equal(dihedrals[:, ~z.torsion].sin().sign(), hand)


# -- the exact density -----------------------------------------------------------------------------------------------
def test_circle_density_integrates_to_one_and_is_that_of_wrapped_normal_numbers():
    rng = generator()
    logits, centre = torch.randn(7, 5, generator=rng), 6 * torch.rand(7, 5, generator=rng)
    log_scale = torch.linspace(-2.5, _wrapped_normal.LOG_SCALES[1], 35).view(7, 5)
    edges = torch.linspace(-math.pi, math.pi, 20001, dtype=torch.float64)
    middles = 0.5 * (edges[1:] + edges[:-1])
    density = _wrapped_normal.log_density(middles[:, None], *(p.double() for p in (logits, centre, log_scale))).exp()
    mass = density * (edges[1] - edges[0])
    assert torch.allclose(mass.sum(0), torch.ones(7, dtype=torch.float64), atol=1e-5)
    count = 50_000
    uniform = torch.rand(count, 7, 5, generator=rng)
    chosen = (logits + _wrapped_normal.gumbel(uniform)).argmax(-1, keepdim=True)
    mean, scale = (part.expand(count, 7, 5).gather(-1, chosen).squeeze(-1) for part in (centre, log_scale.exp()))
    drawn = wrap(mean + scale * torch.randn(count, 7, generator=rng))
    for k in range(7):
        expected = mass[:, k].view(40, 500).sum(1) * count
        seen = torch.histc(drawn[:, k].double(), 40, -math.pi, math.pi)
        full = expected > 5
        chi2 = ((seen - expected)[full].square() / expected[full]).sum()
        assert chi2 < full.sum() + 6 * math.sqrt(2 * full.sum())


def test_soft_density_integrates_to_one():
    """Over a grid of both soft coordinates, whatever the context."""
    stepper, frames = make_stepper(rough=0.2, frames=make_frames(bonds=(*CHAIN, (3, 4))))
    assert int(stepper.soft.sum()) == 2
    now = stepper.encode(first(frames, 1)[:1])
    grid = (torch.arange(300) + 0.5) / 300 * 2 * math.pi - math.pi
    a, b = torch.meshgrid(grid, grid, indexing="ij")
    later = torch.cat([a.reshape(-1, 1), b.reshape(-1, 1), now[:, 2:].expand(a.numel(), -1)], 1)
    soft, _ = stepper.log_density_parts(now.expand(len(later), -1), later, torch.full((len(later),), 4.0))
    total = soft.sum(1).exp().sum() * (2 * math.pi / 300) ** 2
    assert total.item() == pytest.approx(1.0, abs=2e-3)


def test_tail_is_the_gaussian_it_says():
    """Without stretches, the one of the training data; with them, the density is that of the draws."""
    torch.manual_seed(0)
    tail = DenseGaussian(4, 2, 8)
    root = torch.randn(4, 4)
    covariance = root @ root.T + torch.eye(4)
    tail.set_covariance(covariance)
    given, later = torch.randn(6, 2), torch.randn(6, 4)
    gauss = torch.distributions.MultivariateNormal(torch.zeros(4), covariance)
    assert torch.allclose(tail.log_density(given, later), gauss.log_prob(later), atol=1e-4)
    torch.nn.init.normal_(tail.factors.bias[: tail.stretches])  # the skews stay zero
    same = torch.ones(200_000, 2)
    drawn = tail.draw(same, torch.rand(200_000, 4, generator=generator()))
    stretched = torch.distributions.MultivariateNormal(torch.zeros(4), drawn.T.cov())
    assert (drawn.T.cov() - covariance).abs().max() > 0.1
    assert torch.allclose(tail.log_density(same[:6], later), stretched.log_prob(later), atol=0.1)


def test_a_skewed_tail_integrates_to_one_and_is_the_density_of_its_draws():
    torch.manual_seed(1)
    tail = DenseGaussian(2, 2, 8, stretches=2).double()
    tail.set_covariance(torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    torch.nn.init.normal_(tail.factors.bias)
    given = torch.ones(1, 2, dtype=torch.float64)
    ticks = torch.linspace(-25, 25, 1001, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="ij"), -1).view(-1, 2)
    with torch.no_grad():
        mass = tail.log_density(given.expand(len(grid), -1), grid).exp() * 0.05**2
        uniform = torch.rand(100_000, 2, generator=generator(), dtype=torch.float64)
        drawn = tail.draw(given.expand(len(uniform), -1), uniform)
    assert mass.sum().item() == pytest.approx(1.0, abs=1e-3)
    mean, third = mass @ grid, mass @ (grid - mass @ grid) ** 3
    assert torch.allclose(drawn.mean(0), mean, atol=0.05)
    assert third.abs().max() > 0.1 and torch.allclose(((drawn - mean) ** 3).mean(0), third, rtol=0.15, atol=0.2)


def test_draws_follow_the_density_jointly():
    """E over draws from p of q / p is one for any other density q: here the same stepper from a nearby structure."""
    stepper, frames = make_stepper(rough=0.1)
    count = 20_000
    now = stepper.encode(first(frames, 1)[:1]).expand(count, -1)
    lag = torch.full((count,), 4.0)
    drawn = stepper.draw(now, lag, generator())
    with torch.no_grad():
        p, q = stepper.log_density(now, drawn, lag), stepper.log_density(now + 0.05, drawn, lag)
    ratio = (q - p).exp()
    assert (q - p).std() > 0.01
    assert abs(ratio.mean().item() - 1) < 5 * ratio.std().item() / math.sqrt(count)


def test_encoding_round_trip():
    stepper, frames = make_stepper()
    x = first(frames).double()
    stepper = stepper.double()
    assert (stepper.decode(stepper.encode(x), like=x) - x).abs().max() < 1e-9


def test_soft_are_the_torsions_here():
    stepper, frames = make_stepper()
    z = ZMatrix(frames.beads)
    assert np.array_equal(stepper.soft[-len(z.torsion) :].numpy(), z.torsion)
    assert int(stepper.soft.sum()) == z.torsion.sum()


# -- pairs and training ----------------------------------------------------------------------------------------------
def test_pairs_stay_in_their_run_and_at_their_lag():
    frames = make_frames(lengths=(40, 25, 60))
    stepper, _ = make_stepper(frames=frames)
    pairs = LaggedPairs(stepper, frames, (2.0, 40.0), batch=2000, reversible=False)
    now, later, lag = pairs.draw(generator())
    where = {tuple(code.tolist()): i for i, code in enumerate(pairs.codes)}
    i = np.array([where[tuple(code.tolist())] for code in now])
    j = np.array([where[tuple(code.tolist())] for code in later])
    assert np.array_equal((j - i) * frames.dt, lag.numpy())
    run = np.repeat(np.arange(3), frames.lengths)
    assert np.array_equal(run[i], run[j])
    assert set(run[i]) == {0, 1, 2}
    assert lag.min() == 2.0 and lag.max() == 40.0


def test_a_memory_is_trained_on_sequences_of_one_run():
    frames = make_frames(lengths=(60, 25, 60))
    stepper, _ = make_stepper(frames=frames, memory=8)
    pairs = LaggedPairs(stepper, frames, (2.0, 12.0), batch=400, history=4, reversible=True)
    now, later, lag = pairs.draw(generator())
    assert now.shape == later.shape == (100, 4, now.shape[2]) and torch.equal(now[:, 1:], later[:, :-1])
    where = {tuple(code.tolist()): i for i, code in enumerate(pairs.codes)}
    place = np.array([[where[tuple(code.tolist())] for code in row] for row in now])
    step = np.diff(place, axis=1) * frames.dt
    assert np.array_equal(np.abs(step), np.tile(lag.numpy()[:, None], (1, 3)))
    assert set(np.sign(step[:, 0])) == {-1.0, 1.0}  # forwards and backwards
    run = np.repeat(np.arange(3), frames.lengths)
    assert (run[place] == run[place[:, :1]]).all()
    loss = pair_loss(stepper, (now, later, lag), generator())
    loss.backward()
    assert torch.isfinite(loss) and stepper.cell.weight_hh.grad.abs().sum() > 0


def test_memory_travels_in_the_state():
    """Two replicas in the same place with different pasts move differently on the same random numbers."""
    stepper, frames = make_stepper(rough=0.1, memory=8)
    state = stepper.start(first(frames), generator())
    after = stepper.step(state, generator(1))
    assert state.memory.shape == after.memory.shape == (20, 8) and after.memory.abs().sum() > 0
    forgetful = after._replace(memory=torch.zeros_like(after.memory))
    one, two = stepper.step(after, generator(2)).positions, stepper.step(forgetful, generator(2)).positions
    assert not torch.allclose(one, two, atol=1e-4)


def two_wells(starts, lengths, out=(0.05, 0.05)):
    """Runs of a torsion that leaves well k with probability ``out[k]`` a frame."""
    rng, states = np.random.default_rng(0), []
    for start, length in zip(starts, lengths, strict=True):
        state = start
        for chance in rng.random(length):
            state = 1 - state if chance < out[state] else state
            states.append(state)
    torsion = np.array([-1.2, 2.0])[states] + rng.normal(0, 0.3, len(states))
    return make_frames(CHAIN, tuple(lengths), torsion=torsion)


@pytest.mark.parametrize(
    ("starts", "lengths", "out", "words"),
    [
        ((0, 1, 0), (2000, 2000, 2000), (0.05, 0.05), None),
        ((0, 1, 0), (1000, 1000, 1000), (0.0, 0.0), "never connect 2 groups"),
        ((0,) * 100, (25,) * 100, (0.02, 0.02), "not at equilibrium"),
    ],
)
def test_concerns_about_the_data_are_said_before_training(starts, lengths, out, words):
    frames = two_wells(starts, lengths, out)
    stepper, _ = make_stepper(frames=frames)
    found = check(stepper, frames)
    assert found.words == () if words is None else any(words in line for line in found.words)
    assert found.equilibrium == (words != "not at equilibrium")


@pytest.mark.slow
@pytest.mark.parametrize("reweight", [False, True])
def test_runs_out_of_equilibrium_still_give_the_right_populations(reweight):
    """Many short runs that all start in one well: forward pairs teach the exchange, or weighted ones in both
    directions; backward ones without weights would not."""
    frames = two_wells((0,) * 400, (25,) * 400, (0.02, 0.02))  # in 18 % of all frames, they have left the well
    stepper = registry.build("steppers", "autoregressive", frames.beads, width=32, blocks=1, hidden=16, mixtures=4)
    with pytest.warns(UserWarning, match="not at equilibrium"):
        history = train_stepper(stepper, frames, StepperSettings(lag=6.0, steps=400, seed=1, reweight_starts=reweight))
    assert any(("reversible Markov model" in line) == reweight for line in history.notes)
    state, z = stepper.start(first(frames, 2000), generator()), ZMatrix(frames.beads)
    rng, inside = generator(), []
    for _ in range(60):
        state = stepper.step(state, rng)
        inside.append((wrap(z.to_internal(state.positions)[2][:, 0] - 2.0).abs() < 1.6).double().mean())
    now, later = frames.pairs(3)  # 36 returns are in the data, so that these say 0.54, and not the 0.5 of the truth
    well = (wrap(z.to_internal(torch.as_tensor(frames.positions))[2][:, 0] - 2.0).abs() < 1.6).numpy()
    out, back = (
        (well[later] & ~well[now]).sum() / (~well[now]).sum(),
        (~well[later] & well[now]).sum() / well[now].sum(),
    )
    assert torch.stack(inside[30:]).mean().item() == pytest.approx(out / (out + back), abs=0.08)


def test_frames_with_weights_pair_with_the_weighted_distribution():
    weights = np.zeros(600)
    weights[100:120] = 1.0
    frames = make_frames(weights=weights)
    stepper, _ = make_stepper(frames=make_frames())
    pairs = LaggedPairs(stepper, frames, batch=500)
    _, later, _ = pairs.draw(generator())
    heavy = {tuple(code.tolist()) for code in pairs.codes[100:120]}
    assert all(tuple(code.tolist()) in heavy for code in later)


@pytest.fixture(scope="module")
def toy():
    """A torsion that flips between two wells, P(flip) = 0.1 and 0.05 a frame; noise within a well has no memory."""
    rng = np.random.default_rng(0)
    count, state, states = 12_000, 0, []
    for chance in rng.random(count):
        state = 1 - state if chance < (0.1, 0.05)[state] else state
        states.append(state)
    torsion = wrap(torch.tensor(np.array([-1.2, 2.6])[states] + rng.normal(0, 0.3, count))).numpy()
    frames = make_frames(CHAIN, (4000, 4000, 4000), torsion=torsion)
    stepper = registry.build("steppers", "autoregressive", frames.beads, width=32, blocks=1, hidden=16, mixtures=4)
    history = train_stepper(stepper, frames, StepperSettings(lag=4.0, steps=600, seed=1))
    return stepper, frames, history


def test_a_stepper_begins_with_the_distribution_of_its_angles_rare_basins_included(kind):
    """Quantiles would give none of the components of a mixture to a basin of 0.5 %."""
    rng = np.random.default_rng(0)
    rare = rng.random(4000) < 0.005
    torsion = np.where(rare, rng.normal(1.0, 0.15, 4000), rng.normal(-1.5, 0.5, 4000))
    stepper, _ = make_stepper(kind, frames=make_frames(CHAIN, (2000, 2000), torsion=torsion))
    heads = stepper.heads
    bias = heads.out_bias.detach().reshape(-1, 3 * heads.mixtures)[-1]
    _, centre, log_scale = (part[heads.near :].double() for part in bias.chunk(3))
    there = (centre - 1.0).abs() < 0.3
    assert (log_scale[there].exp() < 0.5).all()
    share = _wrapped_normal.fitted_logits(
        _wrapped_normal.log_density_of_each(torch.tensor(torsion), centre, log_scale)
    ).exp()
    assert share.sum().item() == pytest.approx(1.0)
    assert share[there].sum().item() == pytest.approx(rare.mean(), rel=0.2)
    assert (share @ centre).item() == pytest.approx(torsion.mean(), abs=0.02)


def test_a_stepper_begins_with_the_odds_of_the_data_to_enter_a_rare_basin():
    """At both ends of its lags; within a well the torsion moves slowly, so that whoever is elsewhere has hopped."""
    rng = np.random.default_rng(0)
    state, states = 0, []
    for chance in rng.random(20_000):
        state = 1 - state if chance < (0.001, 0.1)[state] else state
        states.append(state)
    inside = np.array(states)
    torsion = np.where(inside, 1.0, -1.2) + 0.3 * autoregressive(rng, 1, len(inside), 0.98)
    stepper, _ = make_stepper(frames=make_frames(CHAIN, (len(inside),), torsion=torsion))
    heads, k = stepper.heads, stepper.heads.mixtures
    logits, centre = heads.out_bias[0, 0, :k], heads.out_bias[0, 0, k : 2 * k]
    rare = (wrap(centre - 1.0).abs() < 1.1) & (torch.arange(k) >= heads.near)
    for lag in stepper.lags:
        moved = stepper._lag_inputs(torch.tensor([lag]), torch.zeros(1)) @ heads.moved_by_lag[0]
        odds = (logits + moved[0]).softmax(0)[rare].sum().item()
        step = round(lag / 2.0)
        assert odds == pytest.approx((inside[step:] & ~inside[:-step] & 1).mean(), rel=0.3)


def test_a_mixture_on_the_circle_is_found_from_its_draws():
    """Also across the end of the circle."""
    rng = generator()
    known = torch.tensor([[0.6, 3.1, 0.2], [0.37, -1.0, 0.4], [0.03, 1.2, 0.15]], dtype=torch.float64)
    choice = torch.multinomial(known[:, 0], 20_000, replacement=True, generator=rng)
    angles = wrap(known[choice, 1] + known[choice, 2] * torch.randn(20_000, generator=rng, dtype=torch.float64))
    weight, centre, log_scale = _wrapped_normal.fitted(angles, 3)
    order = weight.argsort(descending=True)
    assert (weight - known[:, 0][order.argsort()]).abs().max() < 0.01
    assert wrap(centre[order] - known[:, 1]).abs().max() < 0.03
    assert (log_scale.exp()[order] - known[:, 2]).abs().max() < 0.02


def test_training_improves_the_likelihood_of_held_out_runs(toy):
    stepper, frames, history = toy
    fresh = registry.build("steppers", "autoregressive", frames.beads, width=32, blocks=1, hidden=16, mixtures=4)
    fresh.calibrate(frames)
    batch = LaggedPairs(stepper, frames, (4.0, 4.0), batch=4000, reversible=False).draw(generator(9))
    with torch.no_grad():
        gain = pair_loss(fresh, batch, generator()) - pair_loss(stepper, batch, generator())
        soft, _ = stepper.log_density_parts(*batch)
    assert gain > 0.02 and math.isfinite(history.best["held_out"])
    stay = np.linalg.matrix_power([[0.9, 0.1], [0.05, 0.95]], 2)
    entropy = -(np.array([1, 2]) / 3 @ (stay * np.log(stay)).sum(1))  # of the flips, plus that of the Gaussian noise
    exact = -entropy - 0.5 * math.log(2 * math.pi * math.e * 0.3**2)
    assert soft.mean().item() == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("lag", [2.0, 4.0, 12.0])
def test_rollout_has_the_populations_and_the_relaxation_of_the_toy(toy, lag):
    stepper, frames, _ = toy
    stepper.lag = lag
    z, rng = ZMatrix(frames.beads), generator()
    state = stepper.start(torch.as_tensor(frames.positions[:2000].copy()), rng)
    inside = []
    for _ in range(60):
        state = stepper.step(state, rng)
        inside.append((wrap(z.to_internal(state.positions)[2][:, 0] - 2.6).abs() < 1.5).double())
    inside = torch.stack(inside)[20:]
    assert inside.mean().item() == pytest.approx(2 / 3, abs=0.05)
    ahead = inside - inside.mean()
    correlation = ((ahead[1:] * ahead[:-1]).mean() / ahead.square().mean()).item()
    assert correlation == pytest.approx(0.85 ** (lag / frames.dt), abs=0.05)


def test_few_frames_are_not_learned_by_heart():
    """Frames without memory: noise on what is seen and dropout keep a large network from inventing one."""
    frames = make_frames(tuple((k, k + 1) for k in range(8)), (3000,))
    shuffled = frames.positions[np.random.default_rng(0).permutation(len(frames))]
    known, other = (
        Frames(frames.beads, part, (len(part),), frames.dt, 300.0) for part in (shuffled[:150], shuffled[150:])
    )
    losses = []
    for blur in (True, False):
        torch.manual_seed(0)
        stepper = registry.build("steppers", "autoregressive", known.beads, lag=4.0, width=96, hidden=16)
        stepper.calibrate(known)
        assert stepper.blur > 0 and stepper.tail.dropout == 0.5
        stepper.blur *= blur
        optimiser, pairs = torch.optim.Adam(stepper.parameters(), 3e-3), LaggedPairs(stepper, known, batch=150)
        for step in range(150):
            optimiser.zero_grad()
            pair_loss(stepper, pairs.draw(generator(step)), generator(step)).backward()
            optimiser.step()
        with torch.no_grad():
            soft, _ = stepper.eval().log_density_parts(*LaggedPairs(stepper, other, batch=2000).draw(generator()))
        losses.append(-soft.sum(1).mean().item())
    assert losses[0] < losses[1] - 0.5


def test_one_jump_shows_the_rates_of_a_stepper(toy):
    """The trained toy keeps as much of its only slow process as the data; one that was not trained forgets at once."""
    stepper, frames, _ = toy
    processes = slow_processes(stepper, frames, 2.0, processes=1)
    assert slow_processes(stepper, dataclasses.replace(frames, weights=np.ones(len(frames))), 2.0) is None
    found = one_step_relaxation(stepper, frames, 2.0, processes, starts=4000)
    assert found.data[0] == pytest.approx(0.85, abs=0.02) and found.lag == 2.0
    assert found.model[0] == pytest.approx(found.data[0], abs=0.03 + 3 * found.error[0])
    assert found.rates[0] == pytest.approx(1.0, abs=0.25) and not found.words and stepper.lag != 2.0
    fresh = registry.build("steppers", "autoregressive", frames.beads, lag=4.0)
    fresh.calibrate(frames)
    assert any("times as fast" in line for line in one_step_relaxation(fresh, frames, 2.0, processes).words)
    said = kinetics(fresh, frames)
    assert all(line.startswith("one-step check, jumps of ") for line in said)
    usual, shortest = ([line for line in said if f"jumps of {lag} ps" in line] for lag in (4, 2))
    assert len(said) == len(usual) + len(shortest) and len(shortest) == 1
    assert "rollouts jump 4 ps unless told otherwise" in shortest[0] and "train for longer" not in shortest[0]
    assert all(line.endswith("train for longer, or simulate with a longer lag") for line in usual)


def test_collisions_do_not_make_compact_structures_rarer():
    """Half of the compact proposals collide, by their stiff coordinates; as many compact structures must come out."""
    compact = np.arange(4000) % 2 == 0
    torsion = np.where(compact, 0.6, 2.9) + np.random.default_rng(0).normal(0, 0.01, 4000)
    stepper, frames = make_stepper(frames=make_frames(((0, 1), (1, 2), (2, 3), (3, 4)), (2000, 2000), torsion=torsion))

    def ends(x):
        return (x[:, 0] - x[:, 4]).norm(dim=-1)

    def draw_soft(now, context, noise):
        return torch.where(noise[0][:, 0, :1] > 0, 0.6, 2.9) + 0.01 * noise[1]

    stepper._draw_soft = draw_soft
    state = stepper.start(torch.as_tensor(frames.positions[:1]).expand(8000, -1, -1).contiguous(), generator())
    middle = ends(torch.as_tensor(frames.positions[compact])).median()
    seen = []
    for closest in (0.0, float(middle)):
        stepper.closest[0, 4] = stepper.closest[4, 0] = closest
        x = stepper.step(state, generator(1)).positions
        seen.append((float((ends(x) < middle).double().mean()), float((stepper.encode(x)[:, 0] < 1.5).double().mean())))
    assert seen[0][0] > 0.2  # so many collide
    assert seen[1][0] == 0
    assert abs(seen[1][1] - seen[0][1]) < 0.002  # the soft angles are kept wherever stiff ones can be found for them
