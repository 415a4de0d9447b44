"""Commands that are killed again and again, and what they leave when they are done at last.

    python benchmarks/kill_harness.py [--kills 50] [STAGE ...]

For each stage, a command of some seconds is run undisturbed, and then killed with SIGKILL, half of the time at instants
drawn from its duration and half at changes of its output folder. After a few kills it is left alone until it is done.
What it leaves must be byte for byte what the undisturbed one left, but for ``log.txt``, ``.lock``, the column
``seconds`` of ``metrics.csv``, and the wall times and dates in other files; no ``.tmp`` may be left, no row of
``metrics.csv`` may stand twice, and no process may live on. One chain in four is stopped with SIGTERM and SIGINT
instead, and must end with one line and 143 or 130. The last stage, ``run``, depends on the speed of the machine: there,
what was finished before a kill must stay as it was. Prints a Markdown table; ends with 1 if anything is not so.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import kills

IN_A_CHAIN = 6  # stops before a command is left alone
HEAD = "| stage | SIGKILL | SIGTERM, SIGINT | identical ends | processes left for, s | undisturbed, s |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(kills.STAGES)}; all by default.")
    parser.add_argument("--kills", type=int, default=10, help="SIGKILLs a stage that meet it at work.")
    parser.add_argument("--seed", type=int, default=0, help="Of the instants.")
    settings = parser.parse_args()
    if unknown := set(settings.stages) - set(kills.STAGES):
        parser.error(f"expected stages among {', '.join(kills.STAGES)}, got {', '.join(unknown)}")
    bad = 0
    with tempfile.TemporaryDirectory() as name, kills.Shell() as shell:
        kills.prepare(shell, Path(name), settings.stages or kills.STAGES)
        print(f"{HEAD}\n|---|---|---|---|---|---|", flush=True)
        for stage in settings.stages or kills.STAGES:
            bad += _stage(shell, Path(name), stage, settings.kills, settings.seed)
    sys.exit(bool(bad))


def _stage(shell: kills.Shell, place: Path, stage: str, wanted: int, seed: int) -> int:
    """Print the row of a stage; the number of its ends that were not as they should be."""
    words = kills.STAGES[stage]
    usual, whole = kills.undisturbed(shell, words, place / stage)
    killed = asked = same = chains = 0
    longest, faults = 0.0, 0

    def fault(plan: list[kills.Stop], what: object) -> int:
        print(f"{stage}, {plan}: {what}", file=sys.stderr, flush=True)
        return 1

    while killed < wanted and chains < 3 * wanted:
        plan = kills.stops(usual, min(IN_A_CHAIN, wanted - killed), seed + chains)
        gently = chains % 4 == 1
        if gently:
            plan = [dataclasses.replace(stop, number=_other(k)) for k, stop in enumerate(plan)]
        folder, chains = place / f"{stage}-{chains}", chains + 1
        try:
            count, lived = kills.disturbed(shell, words, folder, plan)
        except (AssertionError, TimeoutError) as error:
            faults += fault(plan, error)
            killed += len(plan) * (not gently)
            continue
        killed, asked = killed + count * (not gently), asked + count * gently
        longest, left = max(longest, lived), kills.content(folder / "out")
        if stage == kills.RUN or left == whole:
            same += 1
        else:
            unlike = sorted(name for name in whole.keys() | left.keys() if whole.get(name) != left.get(name))
            faults += fault(plan, f"differ in {unlike}")
    ends = "as promised" if stage == kills.RUN else "identical"
    print(
        f"| {stage} | {killed} | {asked} | {same} of {chains} {ends} | {longest:.1f} | {usual.seconds:.1f} |",
        flush=True,
    )
    return faults


def _other(number: int) -> signal.Signals:
    return signal.SIGINT if number % 2 else signal.SIGTERM


if __name__ == "__main__":
    began = time.monotonic()
    try:
        main()
    finally:
        print(f"\n{time.monotonic() - began:.0f} s in all", flush=True)
