"""The command line as a user meets it: every example in the help, the whole chain, bad input, stop and continue."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest

from cgsurrogate.cli import group, main

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def commands(command=group, path=()):
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, command


def call(capsys, *arguments):
    """Exit code, standard output and error of one command, run in this process."""
    old, handlers = sys.argv, {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    sys.argv = ["cgsurrogate", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        sys.argv = old
        for one, handler in handlers.items():
            signal.signal(one, handler)
    captured = capsys.readouterr()
    return end.value.code or 0, captured.out, captured.err


def test_help_loads_nothing_heavy():
    code = """
import sys
from cgsurrogate.cli import main
sys.argv = ["cgsurrogate", "--help"]
try:
    main()
except SystemExit:
    pass
print(sorted(set(sys.modules) & {"torch", "numpy", "mdtraj", "matplotlib", "pytorch_lightning", "deeptime"}))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert out.stdout.strip().endswith("[]")


def test_python_cli_py_is_the_same_command():
    both = [
        subprocess.run([sys.executable, *how, "--version"], capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT)
        for how in (["cli.py"], ["-m", "cgsurrogate"])
    ]
    assert both[0].stdout == both[1].stdout and both[0].returncode == 0


@pytest.mark.parametrize("path, command", list(commands()), ids=lambda x: " ".join(x) if isinstance(x, tuple) else "")
def test_every_command_has_help_and_an_example_that_parses(path, command):
    assert command.help and all(p.help for p in command.params if isinstance(p, click.Option))
    words = shlex.split(command.epilog.removeprefix("Example:"))
    assert words[: len(path) + 1] == ["cgsurrogate", *path]
    command.make_context("example", words[len(path) + 1 :]).close()


@pytest.mark.slow
def test_the_whole_chain_of_commands(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def ok(*arguments):
        code, out, err = call(capsys, *arguments)
        assert code == 0, err
        return out

    assert "alanine-dipeptide" in ok("example") and "pentalanine" in ok("example")
    ok("example", "alanine-dipeptide", "-o", "data")
    runs = sorted(Path("data").glob("run*.xtc"))
    forces = [str(run.with_suffix("")) + ".forces.npy" for run in runs]
    files = [word for run in runs for word in ("-f", run)] + [word for force in forces for word in ("--forces", force)]
    out = ok("map", "-s", "data/topology.pdb", *files, "--mapping", "backbone", "-T", 300, "-o", "frames")
    assert "mean squared mapped force" in out and "(slice)" in out and "basic is used" in out
    ok("train", "energy", "frames", "-o", "force-field", "--minutes", 0.1, "-q")
    ok("train", "stepper", "frames", "-o", "stepper", "--minutes", 0.1, "-q")
    ok("simulate", "force-field", "--start", "frames", "--replicas", 8, "--time", 2, "--every", 0.2, "-o", "ff", "-q")
    assert np.load("ff/extrapolation.npy").shape == (80, 10)
    out = ok("extrapolation", "force-field", "frames", "--worst", 3, "-q")
    assert "held-out frames" in out and out.count("  frame ") == 3
    tempered = ["--tempering", "300:400:2", "--replicas", 4, "--time", 0.4, "--every", 0.2, "-o", "pt", "-q"]
    out = ok("simulate", "force-field", "--start", "frames", *tempered)
    assert "2 ladders at 300 K" in out and "pt/all-temperatures" in out
    code, _, err = call(
        capsys, "simulate", "force-field", "--start", "frames", "--time", 1, "--tempering", "300", "-o", "no"
    )
    assert code == 3 and err.startswith("Error: expected temperatures") and err.count("\n") == 1
    assert not Path("no").exists()
    lag = json.loads(Path("stepper/model.json").read_text())["lag"]
    ok(
        "simulate",
        "stepper",
        "--start",
        "frames",
        "--replicas",
        8,
        "--time",
        50 * lag,
        "--every",
        lag,
        "-o",
        "roll",
        "-q",
    )
    out = ok("compare", "frames", "ff", "roll", "--training", "frames", "--draws", "-o", "comparison", "-q")
    assert all(row in out for row in ("ff", "roll", "Markov state model", "independent draws"))
    metrics = json.loads(Path("comparison/metrics.json").read_text())
    assert metrics
    ok("report", "comparison")
    assert Path("comparison/report.html").stat().st_size > 100_000
    ok("export", "roll", "-o", "roll.xtc")
    import mdtraj

    again = mdtraj.load("roll.xtc", top="roll.pdb")
    frames = np.load("roll/positions.npy")
    assert np.abs(again.xyz - frames).max() < 2e-3  # XTC keeps a picometre
    ok("compare", "frames", "back=roll.xtc", "-s", "roll.pdb", "--dt", lag, "-o", "comparison2", "-q")
    Path("mine.py").write_text("def cv(positions):\n    return positions[:, 0, 0] ** 2 + positions[:, 1, 1]\n")
    count = (
        mdtraj.load(runs[1], top="data/topology.pdb").n_frames + mdtraj.load(runs[2], top="data/topology.pdb").n_frames
    )
    np.save("weights.npy", np.linspace(0.5, 1.5, count))
    out = ok(
        *(
            "compare",
            runs[0],
            f"other={runs[1]},{runs[2]}",
            "-s",
            "data/topology.pdb",
            "-T",
            300,
            "-o",
            "comparison3",
            "-q",
        ),
        *("--weights", "other=weights.npy", "--cv", "./mine.py", "--published", "two_for_one"),
        *("--state", "alpha=psi 2<60&psi 2>-100", "--state", "beta=psi 2>100"),
    )
    assert (
        "weighted" in out and "mine changes when the molecule is turned" in Path("comparison3/metrics.json").read_text()
    )
    other = json.loads(Path("comparison3/metrics.json").read_text())["ensembles"][1]
    assert set(other["published"]) == {"Two-for-One"} and other["states"]["named"]["names"] == ["alpha", "beta"]
    assert other["frames_count"] == count and 0 < other["states"]["named"]["populations"]["value"][0] < 1
    code, _, err = call(capsys, "compare", "frames", "ff", "--state", "alpha=psi 9<60", "-o", "none", "-q")
    assert code == 3 and err.count("\n") == 1 and "psi 2" in err and not Path("none").exists()
    ok("view", "roll", "-o", "movie.html")
    ok("kinds")


def test_bad_input_is_one_clear_line_and_leaves_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call(capsys, "example", "alanine-dipeptide", "-o", "data")
    other = tmp_path / "other"
    call(capsys, "example", "pentalanine", "-o", other)
    x = np.zeros((1, 22, 3), np.float32)
    np.save("one.npy", x)
    good = np.repeat(np.asarray(__import__("mdtraj").load("data/topology.pdb").xyz), 5, 0)
    np.save("angstrom.npy", good * 10)
    broken = good.copy()
    broken[3, 4, 1] = np.nan
    np.save("nan.npy", broken)
    Path("none.txt").write_text("bead = name ZZ\n")
    top, run = "data/topology.pdb", "data/run0.xtc"
    cases = {
        "there is none": ["-s", top, "-f", "missing.xtc", "-T", "300"],
        "62": ["-s", other / "topology.pdb", "-f", run, "-T", "300"],
        "at least two": ["-s", top, "-f", "one.npy", "-T", "300", "--dt", "1"],
        "ngstr": ["-s", top, "-f", "angstrom.npy", "-T", "300", "--dt", "1"],
        "frame 3": ["-s", top, "-f", "nan.npy", "-T", "300", "--dt", "1"],
        "ZZ": ["-s", top, "-f", run, "-T", "300", "--mapping", "custom:file=none.txt"],
        "did you mean": ["-s", top, "-f", run, "-T", "300", "--mapping", "bakbone"],
        "kelvin": ["-s", top, "-f", run],
        "above 0 K": ["-s", top, "-f", run, "-T", "-5"],
    }
    for expected, arguments in cases.items():
        for verb in ("map", "run"):
            code, _, err = call(capsys, verb, *arguments, "-o", "out", "-q")
            lines = [line for line in err.splitlines() if line.startswith("Error")]
            assert code != 0, (verb, expected)
            assert len(lines) == 1 and expected in lines[0], (verb, expected, err)
            assert "Traceback" not in err
            assert not Path("out").exists(), (verb, expected)
    code, _, err = call(capsys, "train", "energy", "nowhere", "-o", "out")
    assert code == 3 and "nowhere" in err and not Path("out").exists()
    code, _, err = call(capsys, "simulat")
    assert code == 2 and "simulate" in err


@pytest.mark.slow
def test_run_stops_continues_and_refuses_other_settings(tmp_path):
    out = tmp_path / "RUN"
    command = [sys.executable, "-m", "cgsurrogate", "run", "--example", "alanine-dipeptide", "--minutes", "0.6",
               "--replicas", "20", "-o", str(out)]  # fmt: skip
    first = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(1200):
        if (out / "stepper" / "metrics.csv").exists() or first.poll() is not None:
            break
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 143, err
    assert "continues" in err
    second = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert (out / "report.html").exists() and (out / "figures").is_dir()
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    third = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert third.returncode == 0 and "done" in third.stderr
    other = subprocess.run([*command, "--seed", "9"], env=ENVIRONMENT, capture_output=True, text=True)
    assert other.returncode == 3 and "seed: 0 there, 9 now" in other.stderr
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
