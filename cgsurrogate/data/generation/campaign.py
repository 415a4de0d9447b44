"""All-atom reference runs as a campaign: each run of all molecules is a task, for processes, a cluster or an array."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cgsurrogate.core import interrupts
from cgsurrogate.core.campaigns import Executors, Share, run_tasks
from cgsurrogate.core.task_board import Board, Told
from cgsurrogate.data.generation.openmm import Report, generate
from cgsurrogate.data.generation.protocol import Protocol
from cgsurrogate.data.generation.sequences import Peptide


def make_reference(
    source: str | Path | Sequence[Peptide],
    out: str | Path,
    protocol: Protocol,
    *,
    executor: Executors | None = None,
    share: Share | None = None,
    report: Report = lambda done, total, speed: None,
    **how: Any,
) -> list[Path]:
    """As ``generate``, which takes all else; a share is of the runs.

    With an executor the runs do not share OpenMM systems, so that each is a task. How many workers there are
    changes nothing.

    Raises:
        ValueError: as ``generate``; also for a share without runs, or one with ``only``.
        Stopped: a signal came; the same call continues.
    """
    if share is not None:
        if how.get("only"):
            raise ValueError("give --only or --part, not both")
        how["only"] = tuple(share.of(range(protocol.runs)))
        if not how["only"]:
            raise ValueError(f"part {share} has none of the {protocol.runs} runs; ask for fewer parts")
    if executor is not None:
        runs = how.get("only") or tuple(range(protocol.runs))
        _run(source, Path(out), protocol, runs, executor, report, how)
    return generate(source, out, protocol, report=report, **how)  # with nothing left to simulate it collects


def _run(
    source: str | Path | Sequence[Peptide],
    out: Path,
    protocol: Protocol,
    runs: Sequence[int],
    executor: Executors,
    report: Report,
    how: dict[str, Any],
) -> None:
    board, shares = Board(out), dict.fromkeys((f"run {k}" for k in runs), Told("simulating", 0.0))

    def hear(name: str, told: Told) -> None:
        shares[name] = told
        done = sum(one.fraction or 0.0 for one in shares.values()) * protocol.nanoseconds
        report(done, len(shares) * protocol.nanoseconds, sum(one.pace or 0.0 for one in shares.values()))

    alone = {f"run {k}": functools.partial(_one, source, out, protocol, how | {"only": (k,)}) for k in runs}
    board.plan({f"run {k}": f"{protocol.nanoseconds:g} ns" for k in range(protocol.runs)})
    with interrupts.watching() as watch:
        run_tasks(alone, board, hear, watch, "the generation", executor)
    board.remove()


def _one(
    source: str | Path | Sequence[Peptide],
    out: Path,
    protocol: Protocol,
    how: dict[str, Any],
    tell: Callable[..., None],
) -> None:
    generate(
        source,
        out,
        protocol,
        report=lambda done, total, speed: tell("simulating", done / total, "", speed),
        **how,
    )
