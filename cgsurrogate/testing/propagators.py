"""The contract of whatever moves positions: integrators and steppers."""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
import tempfile
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator, State, Stepper
from cgsurrogate.models.model import Model
from cgsurrogate.testing import samples
from cgsurrogate.testing._law import ContractError, Kind, Law, expect
from cgsurrogate.testing.samples import generator

DRAWS = "draw all noise from the generator that step is given, and keep what changes in the state"
ENCODING = "encode internal coordinates, and let nothing depend on the frame of the laboratory"
LAG = 4.0  # ps


def _integrator(kind: Kind) -> tuple[Propagator, Tensor]:
    """In float64, around springs, and where it starts."""
    built: Propagator = kind.build(samples.chain_beads(4), samples.Springs(), samples.TEMPERATURE)
    return built.double(), samples.zigzag(4)


def _frames() -> Frames:
    """Frames with dihedrals that move, in two runs."""
    return dataclasses.replace(samples.frames(600, shake=0.02), lengths=(300, 300), dt=2.0)


def _stepper(kind: Kind) -> tuple[Stepper, Tensor]:
    """Calibrated, its weights moved off their start so that everything depends on everything; and where it starts."""
    frames = _frames()
    torch.manual_seed(0)
    stepper: Stepper = kind.build(frames.beads, lag=LAG)
    stepper.calibrate(frames)
    with torch.no_grad():
        for weight in stepper.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator(1)))
    return stepper, torch.as_tensor(frames.positions[::30].copy())


def _made(kind: Kind) -> tuple[Propagator, Tensor]:
    return _stepper(kind) if kind.family == "steppers" else _integrator(kind)


def roll(propagator: Propagator, state: State, steps: int, rng: Generator) -> State:
    for _ in range(steps):
        state = propagator.step(state, rng)
    return state


def _same(one: State, two: State) -> bool:
    pairs = zip(one, two, strict=True)
    return all(a is b is None or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)


def _copied(state: State) -> State:
    return copy.deepcopy(state)


def the_same_seed_gives_the_same_rollout_and_another_seed_another(kind: Kind) -> None:
    propagator, x = _made(kind)
    ends = []
    for seed in (1, 1, 2):
        rng = generator(seed)
        ends.append(roll(propagator, propagator.start(x, rng), 8, rng).positions)
    expect(torch.equal(ends[0], ends[1]), "the same positions from the same seed", "others", DRAWS)
    expect(not torch.allclose(ends[0], ends[2]), "other positions from another seed", "the same", DRAWS)


def a_step_leaves_its_input_alone(kind: Kind) -> None:
    propagator, x = _made(kind)
    state = propagator.start(x, generator())
    before = _copied(state)
    after = propagator.step(state, generator())
    remedy = "give a new State from step, and change no tensor in place"
    expect(_same(before, state), "step to leave the given state alone", "a changed one", remedy)
    same = after.positions.shape == x.shape and after.positions.dtype == state.positions.dtype
    expect(same, f"positions {tuple(x.shape)}", f"{tuple(after.positions.shape)} {after.positions.dtype}", remedy)
    expect(not torch.equal(after.positions, state.positions), "positions that move", "the same ones", remedy)
    grown = [a is None for a in before] != [b is None for b in after]
    expect(not grown, "start to give all parts of the state that step gives", after, "draw them in start")
    history = any(part.requires_grad for part in after if part is not None)
    expect(not history, "a state without gradients", "one with a history", "decorate step with torch.no_grad()")


def a_step_is_a_function_of_state_and_noise(kind: Kind) -> None:
    """Whatever is not in the state or the generator is lost in a checkpoint, so it must not matter."""
    propagator, x = _made(kind)
    rng = generator()
    middle = roll(propagator, propagator.start(x, rng), 5, rng)
    noise, kept = rng.get_state(), io.BytesIO()
    torch.save(tuple(middle), kept)
    kept.seek(0)
    copied = State(*torch.load(kept, weights_only=True))
    roll(propagator, propagator.start(x.flip(0), generator(5)), 3, generator(6))  # some other use in between
    expected = roll(propagator, middle, 5, rng)
    again = Generator()
    again.set_state(noise)
    came = roll(propagator, copied, 5, again)
    expect(_same(expected, came), "a rollout to go on from a stored state as if unbroken", "another one", DRAWS)


def replicas_do_not_feel_each_other(kind: Kind) -> None:
    propagator, x = _made(kind)
    disturbed = x.clone()
    disturbed[1] *= 1.2
    disturbed[2] = float("nan")
    ends = [roll(propagator, propagator.start(y, rng := generator()), 10, rng) for y in (x, disturbed)]
    alone = all(a is b is None or torch.equal(a[0], b[0]) for a, b in zip(*ends, strict=True))
    remedy = "sum over beads, never over the batch, and let no size of a batch or draw depend on how others fare"
    expect(alone, "a replica to move as it does beside others", "another motion where its neighbours differ", remedy)
    expect(not torch.equal(ends[0].positions[1], ends[1].positions[1]), "motion from the start", "none", remedy)


# -- integrators ------------------------------------------------------------------------------------------------------


def the_energy_in_the_state_is_that_of_its_positions(kind: Kind) -> None:
    propagator, x = _integrator(kind)
    rng = generator()
    state = roll(propagator, propagator.start(x, rng), 3, rng)
    if state.energy is not None:
        off = float((state.energy - samples.Springs()(state.positions)).abs().max())
        remedy = "evaluate it at the positions that step gives, or leave State.energy None"
        expect(off < 1e-9, "State.energy at State.positions", f"{off:.2g} kJ/mol more", remedy)


def what_a_step_does_not_use_is_passed_on(kind: Kind) -> None:
    propagator, x = _integrator(kind)
    if not propagator.mixes_temperatures:
        return
    state = propagator.start(x, generator())
    more = state._replace(temperature=torch.full((3,), samples.TEMPERATURE).double(), ladder=torch.arange(3))
    one, two = (propagator.step(s, generator(1)) for s in (state, more))
    kept = two.temperature is more.temperature and two.ladder is more.ladder
    expect(kept, "temperature and ladder to be passed on", "others", "give state._replace(positions=..., ...)")
    same = torch.equal(one.positions, two.positions)
    expect(same, "the same motion with State.temperature as with the own one", "another", "use the one or the other")


def it_goes_on_from_where_something_else_has_moved_it(kind: Kind) -> None:
    """Only where it says so, by ``moved``: Monte Carlo moves need it."""
    propagator, x = _integrator(kind)
    if type(propagator).moved is Propagator.moved:
        return
    state = roll(propagator, propagator.start(x, generator()), 3, generator(1))
    moved = propagator.moved(state, 1.01 * x)
    fresh = propagator.start(1.01 * x, generator())._replace(velocities=state.velocities)
    remedy = "in moved, keep velocities, and find anew all that belongs to positions"
    expect(_same(fresh, moved), "the state of a start there, with the old velocities", "another one", remedy)


# -- steppers ---------------------------------------------------------------------------------------------------------


def a_proposal_turns_with_the_molecule(kind: Kind) -> None:
    stepper, x = _stepper(kind)
    stepper, x = stepper.double(), x.double()
    turn = torch.linalg.matrix_exp(torch.tensor([[0, 1, 2], [-1, 0, 3], [-2, -3, 0]], dtype=x.dtype))
    one = stepper.step(stepper.start(x, generator()), generator(1)).positions
    two = stepper.step(stepper.start(x @ turn.T + 1.0, generator()), generator(1)).positions
    off = float((one @ turn.T + 1.0 - two).abs().max())
    expect(off < 1e-8, "a step of the turned molecule to be the turned step", f"{off:.2g} nm apart", ENCODING)


def its_density_is_blind_to_shifts_and_turns_but_not_to_the_mirror(kind: Kind) -> None:
    stepper, x = _stepper(kind)
    stepper, x = stepper.double().requires_grad_(False), x[:6].double()
    lag, later = torch.full((6,), LAG, dtype=x.dtype), x.flip(0)
    value = stepper.log_density(stepper.encode(x), stepper.encode(later), lag)
    moved = stepper.log_density(stepper.encode(x + 2.0), stepper.encode(later[..., [1, 2, 0]]), lag)
    mirrored = stepper.log_density(stepper.encode(x), stepper.encode(-later), lag)
    fine = value.shape == (6,) and bool(torch.isfinite(value).all())
    expect(fine, "six finite log densities", value, "sum over coordinates, and keep to the range of the encoding")
    off = float((value - moved).abs().max())
    expect(off < 1e-6, "the same density of a shifted and turned molecule", f"{off:.2g} nats more", ENCODING)
    seen = float((value - mirrored).abs().min())
    expect(seen > 1.0, "another density of the mirror image", "the same", "encode dihedrals with their sign")


def members_of_a_batch_do_not_see_each_other(kind: Kind) -> None:
    stepper, x = _stepper(kind)
    stepper.requires_grad_(False)
    code = stepper.encode(x)
    lag, later = torch.full((len(code),), LAG), code.flip(0)
    whole, part = stepper.log_density(code, later, lag), stepper.log_density(code[3:5], later[3:5], lag[3:5])
    off = float((whole[3:5] - part).abs().max())
    fine = torch.allclose(whole[3:5], part, atol=1e-4)
    expect(fine, "the same density alone and in a batch", f"{off:.2g} nats more", "take no mean over the batch")


def it_is_stored_and_comes_back_the_same(kind: Kind) -> None:
    stepper, x = _stepper(kind)
    stepper.lag = 6.0
    with tempfile.TemporaryDirectory() as folder:
        Model(stepper, samples.peptide(), samples.TEMPERATURE).save(folder)
        again = Model.load(folder).module
    assert isinstance(again, Stepper)
    remedy = "keep all that is learned or calibrated in parameters and buffers"
    kept = (again.lag, again.lags) == (stepper.lag, stepper.lags)
    expect(kept, f"lag {stepper.lag} and lags {stepper.lags}", (again.lag, again.lags), remedy)
    state = stepper.start(x, generator())
    one, two = (s.step(state, generator(3)).positions for s in (stepper, again))
    expect(torch.equal(one, two), "the same step after it is stored and loaded", "another", remedy)


def a_lag_that_was_not_trained_is_refused(kind: Kind) -> None:
    stepper, _ = _stepper(kind)
    low, high = stepper.lags
    for bad in (low / 2, high * 2):
        wanted, remedy = f"{low:g} to {high:g} ps", "let the setter of lag check"
        _refused(functools.partial(setattr, stepper, "lag", bad), wanted, remedy)
    stepper.lag = high
    expect(stepper.lag == high, f"lag {high}", stepper.lag, "let lag be set within lags")


def an_uncalibrated_stepper_says_so(kind: Kind) -> None:
    stepper = kind.build(samples.peptide(), lag=LAG)
    x = samples.conformations(2).float()
    _refused(lambda: stepper.start(x, generator()), "calibrate", "let start check that calibrate was called")


def a_lag_beyond_the_data_is_refused(kind: Kind) -> None:
    frames = _frames()
    stepper = kind.build(frames.beads, lag=1e6)
    _refused(lambda: stepper.calibrate(frames), "ps", "let calibrate compare the lag with supported_lags(frames)")


def _refused(attempt: Callable[[], object], words: str, remedy: str) -> None:
    try:
        attempt()
    except ValueError as error:
        expect(words in str(error), f"a ValueError that says {words!r}", error, remedy)
        return
    raise ContractError(f"expected a ValueError that says {words!r}; there was none; {remedy}")


PROPAGATORS: tuple[Law, ...] = (
    the_same_seed_gives_the_same_rollout_and_another_seed_another,
    a_step_leaves_its_input_alone,
    a_step_is_a_function_of_state_and_noise,
    replicas_do_not_feel_each_other,
)
INTEGRATORS = (
    *PROPAGATORS,
    the_energy_in_the_state_is_that_of_its_positions,
    what_a_step_does_not_use_is_passed_on,
    it_goes_on_from_where_something_else_has_moved_it,
)
STEPPERS = (
    *PROPAGATORS,
    a_proposal_turns_with_the_molecule,
    its_density_is_blind_to_shifts_and_turns_but_not_to_the_mirror,
    members_of_a_batch_do_not_see_each_other,
    it_is_stored_and_comes_back_the_same,
    a_lag_that_was_not_trained_is_refused,
    an_uncalibrated_stepper_says_so,
    a_lag_beyond_the_data_is_refused,
)
