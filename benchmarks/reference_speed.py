"""How fast OpenMM makes reference data of small molecules, one after the other and many in one system.

    python benchmarks/reference_speed.py [SEQUENCE ...] [--copies 1 4 16] [--steps N] [--repeats N]

ns of all molecules per CPU-hour of one thread on OpenMM's CPU platform: medians of measurements taken in turns, and the
median of the ratios to the first number of copies in each turn.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from cgsurrogate.data.generation import openmm, sequences
from cgsurrogate.data.generation.engine import Engine
from cgsurrogate.data.generation.protocol import Protocol


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequences", nargs="*", default=["GQSF"])
    parser.add_argument("--copies", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    protocol = Protocol()
    molecules = openmm.molecules_of([sequences.parse(text) for text in given.sequences], protocol)
    engines = []
    for count in given.copies:
        chosen = [molecules[k % len(molecules)] for k in range(count)]
        engines.append(Engine(chosen, protocol, "CPU", 1))
        engines[-1].seconds_per_ns()  # minimised, and all code loaded
    rates = []
    for _ in range(given.repeats):
        rates.append([])
        for count, engine in zip(given.copies, engines, strict=True):
            began = time.process_time()
            engine.integrator.step(given.steps)
            engine.context.getState(getPositions=True)
            ns = count * given.steps * protocol.step / 1000
            rates[-1].append(ns / (time.process_time() - began) * 3600)
    table, atoms = np.array(rates), np.mean([len(molecule.positions) for molecule in molecules])
    print(f"{atoms:.0f} atoms a molecule on average\n")
    print("| molecules in one system | ns per CPU-hour | ratio (range) |\n|---|---|---|")
    for k, count in enumerate(given.copies):
        ratio = table[:, k] / table[:, 0]
        print(
            f"| {count} | {np.median(table[:, k]):.1f} | {np.median(ratio):.2f} ({ratio.min():.2f}-{ratio.max():.2f}) |"
        )


if __name__ == "__main__":
    main()
