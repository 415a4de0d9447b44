"""What ``cgsurrogate map`` says to damaged inputs: for each one its exit code and its line.

    python benchmarks/damaged_inputs.py [--only WORD]

makes each input in a temporary folder from a small peptide and reads it. Expected of every one: an exit code that is
neither 0 nor that of a crash, exactly one line of error that names the file, and nothing left behind. Rows that miss
this are marked, and the command ends with 1.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import dataclasses
import gzip
import io
import lzma
import os
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import mdtraj
import numpy as np

from cgsurrogate.cli import main as command_line
from cgsurrogate.data import examples

FRAMES = 20
Make = Callable[["Bench"], list[str]]
CASES: dict[str, tuple[str, Make]] = {}  # title -> the file to be named, and what makes it and gives the options


@dataclasses.dataclass
class Bench:
    """A folder, the whole peptide in it, and short ways to damage it."""

    folder: Path
    pdb: Path
    run: mdtraj.Trajectory

    def saved(self, name: str) -> Path:
        path = self.folder / name
        if path.suffix == ".npy":
            np.save(path, self.run.xyz)
        elif path.suffix == ".h5":
            with h5py.File(path, "w") as file:
                file["coordinates"], file["time"] = self.run.xyz, self.run.time
        elif path.suffix == ".lammpstrj":
            path.write_text(dump(self.run.xyz * 10))
        else:
            self.run.save(str(path))
        return path

    def cut(self, name: str, lost: int) -> list[str]:
        path = self.saved(name)
        path.write_bytes(path.read_bytes()[:-lost])
        return ["-f", name]

    def bytes(self, name: str, content: bytes) -> list[str]:
        (self.folder / name).write_bytes(content)
        return ["-f", name]

    def top(self, name: str, text: str) -> list[str]:
        (self.folder / name).write_text(text)
        return ["-s", name]

    def array(self, name: str, values: np.ndarray, *option: str) -> list[str]:
        np.save(self.folder / name, values)
        return [*(option or ("-f",)), name]

    @property
    def lines(self) -> list[str]:
        return self.pdb.read_text().splitlines(keepends=True)


def dump(xyz: np.ndarray) -> str:
    rows = []
    for step, frame in enumerate(xyz):
        rows += ["ITEM: TIMESTEP", str(step * 500), "ITEM: NUMBER OF ATOMS", str(len(frame))]
        rows += ["ITEM: BOX BOUNDS ff ff ff", *["-50 50"] * 3, "ITEM: ATOMS id x y z"]
        rows += [f"{i + 1} {x:.4f} {y:.4f} {z:.4f}" for i, (x, y, z) in enumerate(frame)]
    return "\n".join(rows) + "\n"


def case(title: str, names: str) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        CASES[title] = (names, make)
        return make

    return add


def cases() -> None:
    for ending in ("xtc", "trr", "dcd", "nc", "h5", "npy", "pdb", "gro", "lammpstrj"):
        name = f"t.{ending}"
        more = ["--length-unit", "A"] if ending == "lammpstrj" else []
        case(f"{ending}: cut short", name)(lambda b, n=name, m=more: [*b.cut(n, 700), *m])
        case(f"{ending}: empty", name)(lambda b, n=name: b.bytes(n, b""))
        case(f"{ending}: another kind of file", name)(lambda b, n=name: b.bytes(n, b"no trajectory at all\n" * 50))
    for ending in ("pdb", "cif", "gro", "psf", "prmtop", "tpr", "what"):
        name = f"top.{ending}"
        case(f"topology {ending}: empty", name)(lambda b, n=name: b.top(n, ""))
        case(f"topology {ending}: another kind of file", name)(lambda b, n=name: b.top(n, "nothing\n" * 9))
    packers = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    for ending, pack in packers.items():
        name = f"t.xtc.{ending}"
        case(f"{ending}: cut short", name)(
            lambda b, n=name, p=pack: b.bytes(n, p(b.saved("t.xtc").read_bytes())[:-500]) + clean(b, "t.xtc")
        )
        case(f"{ending}: bomb of 1 GB", name)(lambda b, n=name, p=ending: bomb(b, n, p))
    _of_content()
    _of_topologies()
    _of_forces_and_weights()


def clean(bench: Bench, name: str) -> list[str]:
    (bench.folder / name).unlink()
    return []


def bomb(bench: Bench, name: str, ending: str) -> list[str]:
    """Many times the same packed zeros, one after the other, which all three formats allow."""
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[ending]
    return bench.bytes(name, pack(bytes(16 << 20)) * 64)


def changed(bench: Bench, where: object, value: float) -> np.ndarray:
    xyz = bench.run.xyz.copy()
    xyz[where] += value  # type: ignore[index]
    return xyz


def _of_content() -> None:
    rng = np.random.default_rng(0)
    case("npy: nan", "x.npy")(lambda b: b.array("x.npy", changed(b, (7, 4, 1), np.nan)))
    case("npy: Angstrom", "x.npy")(lambda b: b.array("x.npy", b.run.xyz * 10))
    case("npy: picometres", "x.npy")(lambda b: b.array("x.npy", b.run.xyz * 1000))
    case("npy: one atom too few", "x.npy")(lambda b: b.array("x.npy", b.run.xyz[:, 1:]))
    case("npy: atoms in another order", "x.npy")(
        lambda b: b.array("x.npy", b.run.xyz[:, rng.permutation(b.run.n_atoms)])
    )
    case("npy: one frame", "x.npy")(lambda b: b.array("x.npy", b.run.xyz[:1]))
    case("npy: no frames", "x.npy")(lambda b: b.array("x.npy", b.run.xyz[:0]))
    case("npy: two columns", "x.npy")(lambda b: b.array("x.npy", b.run.xyz[..., :2]))
    case("npy: integers", "x.npy")(lambda b: b.array("x.npy", b.run.xyz.astype(int)))
    case("npy: complex numbers", "x.npy")(lambda b: b.array("x.npy", b.run.xyz.astype(complex)))
    case("npy: text", "x.npy")(lambda b: b.array("x.npy", np.array(["a", "b"])))
    case("npy: all zero", "x.npy")(lambda b: b.array("x.npy", b.run.xyz * 0))
    case("npy: infinite", "x.npy")(lambda b: b.array("x.npy", changed(b, (0, 4, 0), np.inf)))
    case("npy: a molecule torn apart", "x.npy")(lambda b: b.array("x.npy", changed(b, (3, slice(30, None)), 4.0)))
    case("npz: no such array", "x.npz")(lambda b: npz(b, "x.npz:y"))
    case("npz: no zip", "x.npz")(lambda b: b.bytes("x.npz", b"PK\3\4 no"))
    case("npz: bomb that promises 1 TB", "b.npz")(npz_bomb)
    case("xtc: flipped bits", "t.xtc")(lambda b: flipped(b, "t.xtc"))
    case("trr: flipped bits", "t.trr")(lambda b: flipped(b, "t.trr"))
    case("dcd: flipped bits", "t.dcd")(lambda b: flipped(b, "t.dcd"))
    case("nc: flipped bits in the header", "t.nc")(lambda b: flipped(b, "t.nc"))
    case("dcd: promises more frames", "t.dcd")(lambda b: overstated(b))
    case("xtc: no time between frames", "t.xtc")(lambda b: timed(b, np.zeros(FRAMES)))
    case("xtc: uneven times", "t.xtc")(lambda b: timed(b, np.arange(FRAMES) ** 1.5))
    case("lammps: no unit of length", "t.lammpstrj")(lambda b: [*named(b.saved("t.lammpstrj"))])
    case("lammps: an id twice", "t.lammpstrj")(lambda b: edited(b, "\n2 ", "\n1 "))
    case("lammps: no ids", "t.lammpstrj")(lambda b: edited(b, "ATOMS id", "ATOMS type"))
    case("lammps: a word for a number", "t.lammpstrj")(lambda b: edited(b, "\n7 ", "\n7 x"))
    case("lammps: the wrong unit", "t.lammpstrj")(lambda b: [*named(b.saved("t.lammpstrj")), "--length-unit", "nm"])
    case("h5: link to another file", "l.h5")(linked)


def named(path: Path) -> list[str]:
    return ["-f", path.name]


def npz(bench: Bench, spec: str) -> list[str]:
    np.savez(bench.folder / "x.npz", x=bench.run.xyz)
    return ["-f", spec]


def npz_bomb(bench: Bench) -> list[str]:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 62, 3)})
    with zipfile.ZipFile(bench.folder / "b.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", head.getvalue() + bytes(1 << 20))
    return ["-f", "b.npz"]


def flipped(bench: Bench, name: str) -> list[str]:
    path = bench.saved(name)
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(3)
    early = name.endswith("nc")
    for place in rng.integers(0 if early else 300, 400 if early else len(data), 400):
        data[place] ^= 0xA5
    path.write_bytes(bytes(data))
    return ["-f", name]


def overstated(bench: Bench) -> list[str]:
    path = bench.saved("t.dcd")
    data = bytearray(path.read_bytes())
    data[8:12] = (500).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    return ["-f", "t.dcd"]


def timed(bench: Bench, times: np.ndarray) -> list[str]:
    mdtraj.Trajectory(bench.run.xyz, bench.run.topology, times).save(str(bench.folder / "t.xtc"))
    return ["-f", "t.xtc", "--no-dt"]


def edited(bench: Bench, old: str, new: str) -> list[str]:
    path = bench.saved("t.lammpstrj")
    path.write_text(path.read_text().replace(old, new))
    return ["-f", path.name, "--length-unit", "A"]


def linked(bench: Bench) -> list[str]:
    with h5py.File(bench.folder / "l.h5", "w") as file:
        file["coordinates"] = h5py.ExternalLink("/etc/passwd", "x")
    return ["-f", "l.h5"]


def _of_topologies() -> None:
    case("topology: missing CA", "m.pdb")(lambda b: b.top("m.pdb", "".join(x for x in b.lines if x[12:16] != " CA ")))
    case("topology: an atom twice", "m.pdb")(lambda b: b.top("m.pdb", "".join(twice(b.lines))))
    case("topology: no protein", "m.pdb")(
        lambda b: b.top("m.pdb", "".join(x.replace(x[17:20], "HOH") if x[:4] == "ATOM" else x for x in b.lines))
    )
    case("topology: cut short", "m.pdb")(lambda b: b.top("m.pdb", "".join(b.lines)[:1500]))
    case("topology: binary", "m.pdb")(lambda b: ["-s", b.bytes("m.pdb", os.urandom(4000))[1]])
    case("topology: a number that is none", "m.gro")(lambda b: b.top("m.gro", "x\nmany\n"))
    case("topology: in HDF5", "t.h5")(lambda b: ["-s", b.saved("t.h5").name])


def twice(lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield line.replace(" CB ", " CA ")


def _of_forces_and_weights() -> None:
    rng = np.random.default_rng(1)
    ways = {
        "all zero": lambda x: x * 0,
        "of another shape": lambda x: x[:, 1:],
        "of fewer frames": lambda x: x[1:],
        "in kcal/mol/A, not said": lambda x: x / 41.84,
        "nan": lambda x: np.where(np.arange(len(x))[:, None, None] == 3, np.nan, x),
        "impossible": lambda x: x * 1e9,
    }
    for what, change in ways.items():
        case(f"forces: {what}", "f.npy")(
            lambda b, c=change: b.array("f.npy", c(rng.normal(0, 700, b.run.xyz.shape)), "--forces")
        )
    weights = {
        "all zero": np.zeros(FRAMES),
        "negative": -np.ones(FRAMES),
        "nan": np.full(FRAMES, np.nan),
        "of more frames": np.ones(FRAMES + 1),
    }
    for what, values in weights.items():
        case(f"weights: {what}", "w.npy")(lambda b, v=values: b.array("w.npy", v, "--weights"))
    rows = [f"{2 * i:.1f} {i % 3}.5" for i in range(FRAMES)]
    tables = {
        "no header": "\n".join(rows),
        "a row cut short": "\n".join(["#! FIELDS time bias", *rows[:-1], "38"]),
        "no such column": "\n".join(["#! FIELDS time other", *rows]),
        "too few rows": "\n".join(["#! FIELDS time bias", *rows[:3]]),
        "a word": "\n".join(["#! FIELDS time bias", *rows[:-1], "38.0 x"]),
        "empty": "",
    }
    for what, text in tables.items():
        case(f"COLVAR: {what}", "COLVAR")(lambda b, t=text: colvar(b, t))


def colvar(bench: Bench, text: str) -> list[str]:
    (bench.folder / "COLVAR").write_text(text)
    return ["--weights", "COLVAR:bias:kJ/mol"]


def said(words: list[str]) -> tuple[int, str]:
    """Exit code and what is on standard error, of the command line in this process."""
    errors = io.StringIO()
    before, sys.argv = sys.argv, ["cgsurrogate", *words]
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            command_line()
    except SystemExit as end:
        return int(end.code or 0), errors.getvalue()
    except BaseException as error:  # what must not happen
        return -1, f"{errors.getvalue()}uncaught {type(error).__name__}: {error}"
    finally:
        sys.argv = before
    return 0, errors.getvalue()


def look(title: str) -> tuple[int, str, tuple[str, ...]]:
    """Exit code, what was said, and what is wrong with that."""
    names, make = CASES[title]
    entry = examples.find("pentalanine")
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as spare:
        folder, before = Path(name), tempfile.tempdir
        pdb = folder / "whole.pdb"
        pdb.write_bytes(entry.topology.read_bytes())
        one = mdtraj.load(str(pdb))
        rng = np.random.default_rng(1)
        xyz = (one.xyz[:1] + rng.normal(0, 0.003, (FRAMES, one.n_atoms, 3))).astype(np.float32)
        bench = Bench(folder, pdb, mdtraj.Trajectory(xyz, one.topology, np.arange(FRAMES) * 2.0))
        try:
            os.chdir(folder)
            tempfile.tempdir = spare
            given = make(bench)
            words = ["map", "-q", "--mapping", "ca", "-T", "300", "-o", "out", *given]
            words += [] if "-s" in given else ["-s", "whole.pdb"]
            words += [] if "-f" in given else ["-f", bench.saved("whole.xtc").name]
            words += [] if "--no-dt" in given or names == "COLVAR" else ["--dt", "2"]
            code, text = said([word for word in words if word != "--no-dt"])
            left = [*map(str, Path(spare).iterdir()), *(["out"] if Path("out").exists() else [])]
        finally:
            os.chdir(here)
            tempfile.tempdir = before
    lines = [line for line in text.splitlines() if line.startswith(("Error", "Stopped", "uncaught", "Usage", "Trace"))]
    wrong = []
    if code != 3:
        wrong.append(f"exit code {code}")
    if len(lines) != 1:
        wrong.append(f"{len(lines)} lines of error")
    if names not in text:
        wrong.append("does not name the file")
    if left:
        wrong.append(f"leaves {', '.join(left)}")
    return code, (lines or [text.strip() or "nothing"])[0], tuple(wrong)


cases()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="Inputs whose title holds this word.")
    only = parser.parse_args().only
    bad = 0
    for title in (title for title in CASES if only in title):
        code, line, wrong = look(title)
        bad += bool(wrong)
        print(f"{'WRONG: ' + '; '.join(wrong) + ' | ' if wrong else ''}{title} | {code} | {line}", flush=True)
    print(f"{len(CASES)} inputs, {bad} of them not as they should be")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
