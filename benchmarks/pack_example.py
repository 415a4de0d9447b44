"""Make an embedded example of what ``cgsurrogate reference`` left in a folder: forces in half precision, a manifest.

python benchmarks/pack_example.py GENERATED NAME --title TITLE --command COMMAND
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.data.examples import FOLDER, MANIFEST

LOSS = 1e-3  # relative error of forces in half precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generated", type=Path)
    for name in ("name", "--title", "--command"):
        parser.add_argument(name, **({"required": True} if name.startswith("-") else {}))
    given = parser.parse_args()
    protocol, out = filesystem.read_json(given.generated / "reference.json"), FOLDER / given.name
    trajectories = sorted(given.generated.glob("run*.xtc"))
    if not trajectories:
        raise SystemExit(f"{given.generated} holds no run0.xtc; generate it first: cgsurrogate reference")
    out.mkdir(parents=True, exist_ok=True)
    for path in trajectories:
        forces = halved(path.stem, np.load(path.with_suffix(".forces.npy")).astype(np.float32))
        filesystem.write_npy(out / f"{path.stem}.forces.npy", forces)
    for path in [given.generated / "topology.pdb", *trajectories]:
        shutil.copyfile(path, out / path.name)
    manifest = {"title": given.title, "temperature": protocol["temperature"], "dt": protocol["every"]}
    about = {"command": given.command, "licence": "MIT", "protocol": protocol}
    filesystem.write_json(out / MANIFEST, {**manifest, **about})


def halved(run: str, forces: np.ndarray) -> np.ndarray:
    """Forces in kJ/mol/nm in half precision."""
    half = forces.astype(np.float16)
    error = np.sqrt(np.mean((half.astype(np.float32) - forces) ** 2) / np.mean(forces**2))
    if not error < LOSS:  # infinite where a force is too large
        raise SystemExit(f"forces of {run} lose {error:.2g} of their size in half precision, more than {LOSS}")
    return half


if __name__ == "__main__":
    main()
