"""What is put around an integrator: Monte Carlo turns, jumps, and parallel tempering."""

from __future__ import annotations

from collections.abc import Sequence

from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator, divisor_near
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.monte_carlo.sampler import usual_period

Turns = tuple[int, int | None]
"""Attempts, and the steps of dynamics before them; None for what is usual."""


def parse_turns(text: str | None, model: Model) -> Turns | None:
    """``N`` or ``N:STEPS``; None, or "0", is plain dynamics."""
    if text is None:
        return None
    if model.is_stepper:
        raise ValueError(
            "Monte Carlo turns need the energy of a force field; a time-stepper has none, leave out --turns"
        )
    parts = text.split(":")
    if text.strip() == "0":
        return None
    if len(parts) > 2 or not all(part.strip().isdigit() and int(part) for part in parts):
        raise ValueError(f"expected --turns N or N:STEPS, whole numbers of at least 1, or 0 for none, got {text!r}")
    return int(parts[0]), int(parts[1]) if len(parts) == 2 else None


def fitted(turns: Turns, every: float, step: float) -> Turns:
    """Turns of which whole rounds lie between frames that are ``every`` ps apart; ``step`` in ps."""
    attempts, period = turns
    steps = max(1, round(every / step))
    if period is None:
        return attempts, usual_period(steps)
    if steps % period:
        raise ValueError(
            f"the time between frames ({every:g} ps) must be a whole number of {period} steps, which are "
            f"{period * step:g} ps; the nearest is {max(1, round(steps / period)) * period * step:g} ps"
        )
    return turns


def jumping(moves: Propagator, model: Model, jumps: Frames, every: float) -> Propagator:
    """Jumps between the states of frames, with a whole number of rounds between frames."""
    from cgsurrogate.simulation.monte_carlo.state_moves import PERIOD, Jumping

    if model.is_stepper:
        raise ValueError("jumps need the energy of a force field; a time-stepper has none, leave out --jumps")
    if jumps.beads != model.beads:
        raise ValueError("the frames of --jumps hold other beads than the model; map them as its training data were")
    wanted = max(1, PERIOD // getattr(moves, "period", 1))  # a round of turns is several steps
    period = divisor_near(max(1, round(every / moves.lag)), wanted)
    return Jumping(moves, model.module, jumps, period=period)


def tempered(
    moves: Propagator, model: Model, ladder: Sequence[float], every: float, exchange: float | None
) -> Propagator:
    """Parallel tempering around an integrator, with a whole number of exchanges between frames."""
    from cgsurrogate.simulation import replica_exchange

    steps = max(1, round((every if exchange is None else exchange) / moves.lag))
    if exchange is not None and abs(steps * moves.lag - exchange) > 1e-6 * moves.lag:
        raise ValueError(
            f"the time between exchanges ({exchange:g} ps) must be a whole number of steps of {moves.lag:g} ps; "
            f"the nearest is {steps * moves.lag:g} ps"
        )
    period = replica_exchange.usual_period(steps) if exchange is None else steps
    return replica_exchange.Tempering(moves, model.module, ladder, period)
