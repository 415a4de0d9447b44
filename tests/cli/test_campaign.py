"""Commands as tasks: each is done once, a fault is named and ends no other, and an array does them all."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cgsurrogate.cli import group
from cgsurrogate.cli._command_task import CommandTask
from cgsurrogate.cli.campaign import read
from cgsurrogate.core.interrupts import Stopped
from cgsurrogate.core.task_board import Board, Diary, Note

ROOT = Path(__file__).parents[2]
THREADS = "from concurrent.futures import ThreadPoolExecutor\n\n\ndef build(tasks):\n    return ThreadPoolExecutor(2)\n"
LINES = "# two good ones\ncgsurrogate example alanine-dipeptide -o a\nexample alanine-dipeptide -o b\n\n"
SBATCH = '#!/bin/bash\necho "$@" >> sbatch.words\ncat > "job-$(wc -l < sbatch.words).sh"\necho "17;cluster"\n'


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Path("threads.py").write_text(THREADS)
    return tmp_path


def said(*words):
    result = CliRunner().invoke(group, words)
    assert not result.exception, (result.output, result.exception)
    return result.output


def test_a_fault_ends_no_other_command_and_is_tried_again():
    Path("list.txt").write_text(LINES + "example alanine-dipeptid -o c\n")
    words = ("campaign", "list.txt", "-o", "all", "-q", "--executor", "./threads.py")
    result = CliRunner().invoke(group, words)
    assert isinstance(result.exception, RuntimeError)
    assert "1 of 3 tasks failed, c: expected" in str(result.exception)
    table = said("status", "all")
    assert table.startswith("3 tasks: 2 done, 1 failed") and "expected" in table
    before = {name: Path(name, "run0.xtc").stat().st_mtime_ns for name in "ab"}
    with pytest.raises(ValueError, match="another task c"):  # its line has changed
        Path("list.txt").write_text(LINES + "example pentalanine -o c\n")
        CliRunner().invoke(group, words, catch_exceptions=False)
    Path("list.txt").write_text(LINES + "example alanine-dipeptide -o d\n")
    assert "3 of 3 commands are done" in said(*words)
    assert before == {name: Path(name, "run0.xtc").stat().st_mtime_ns for name in "ab"}, "done again"
    assert said("status", "all").startswith("3 tasks: 3 done")


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "expected commands, one a line, got none"),
        ("mapp -o a", "line 1: expected a command as after cgsurrogate, got 'mapp -o a'"),
        ("map -o a\ncampaign x -o b", "line 2: expected a command"),
        ("map -o a\nmap --out=a", "line 2: an earlier command writes to a as well"),
        ("map -o 'a", "line 1: No closing quotation"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        read(text, group.commands)


def test_the_jobs_of_an_array_do_all_commands(monkeypatch):
    """As SLURM would run the script that ``submit`` gave to a stand-in of it."""
    Path("list.txt").write_text(LINES)
    Path("bin").mkdir()
    Path("bin/sbatch").write_text(SBATCH)
    Path("bin/sbatch").chmod(0o755)
    command = ("campaign", "list.txt", "-o", "all", "-q", "--executor", "./threads.py")
    shown = said("submit", "--array", "2", "--sbatch=--time=1:00:00", "--setup", "true", "--dry-run", *command)
    assert not Path("sbatch.words").exists()
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}:{os.environ['PATH']}")
    submitted = ("submit", "--array", "2", "--sbatch=--time=1:00:00", "--setup", "true", *command)
    assert said(*submitted) == "submitted 2 jobs: 17\n"
    script = Path("job-1.sh").read_text()
    assert script == shown and "#SBATCH --array=1-2\n" in script and "#SBATCH --time=1:00:00\n" in script
    for job, made in (("1", {"a"}), ("2", {"a", "b"})):
        subprocess.run(["bash", "job-1.sh"], env=os.environ | {"SLURM_ARRAY_TASK_ID": job}, check=True)
        assert {name for name in "ab" if Path(name, "example.json").exists()} == made


def test_what_is_joined_waits_for_the_array(monkeypatch):
    Path("sbatch").write_text(SBATCH)
    Path("sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path.cwd()}:{os.environ['PATH']}")
    command = shlex.split("simulate 'my model' --start frames --time 1 --processes 64 -o out")
    output = said("submit", "--array", "4", *command)
    assert output == "submitted 4 jobs: 17\nsubmitted the job that joins: 17\n"
    assert Path("sbatch.words").read_text().splitlines() == ["--parsable", "--parsable --dependency=afterok:17"]
    assert '"$SLURM_ARRAY_TASK_ID/4"' in Path("job-1.sh").read_text() and "'my model'" in Path("job-1.sh").read_text()
    assert Path("job-2.sh").read_text().endswith("-o out --join\n")


@pytest.mark.parametrize(
    "words, message",
    [("compare a b -o c", "a command with parts"), ("simulate m --start f --part 1/2 -o o", "leave out --part")],
)
def test_what_has_no_parts_is_not_submitted(words, message):
    result = CliRunner().invoke(group, ["submit", *words.split()])
    assert result.exit_code == 2 and message in result.output


def test_a_table_of_what_runs(place):
    board = Board(place)
    board.plan({f"part {k}": "" for k in range(30)})
    for k in range(10):
        board.write(f"part {k}", Note("done"))
    board.write("part 10", Note("failed", "out of luck\x1b[2J"))
    with board.held("part 11"):
        diary = Diary(board, "part 11")
        diary.tell("simulating", 0.0)
        diary.tell("simulating", 0.5, "", 12.0, 300.0)
        diary.note.heard = diary.note.since + 60.0
        board.write("part 11", diary.note)
        lines = said("status", ".").splitlines()
    assert lines[0] == "30 tasks: 10 done, 1 running, 1 failed, 18 waiting; 12 ns/day; 37:00 left"
    assert len(lines) == 4
    assert lines[2].split()[:4] == ["part", "10", "failed", "0"] and "out of luck[2J" in lines[2]
    assert lines[3].split()[:7] == ["part", "11", "running", "50", "%", "12", "1:00"]


def test_of_what_is_no_campaign_it_says_so(place):
    said("example", "alanine-dipeptide", "-o", "a")
    result = CliRunner().invoke(group, ["status", "a"])
    assert isinstance(result.exception, ValueError) and "a campaign" in str(result.exception)


def test_a_command_that_is_killed_is_not_taken_for_done(place, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    Path("python").write_text('#!/bin/bash\necho "simulating: 34 %, 0:20 left, 12 ns/day, 301 K" >&2\nkill -9 $$\n')
    Path("python").chmod(0o755)
    told = []
    task = CommandTask(("simulate",), place, place / "said.txt")
    with pytest.raises(Stopped, match="killed") as stopped:
        task(lambda *words: told.append(words))
    assert stopped.value.signal == signal.SIGKILL
    assert told[-1] == ("simulating", 0.34, "12 ns/day, 301 K", 12.0)


@pytest.mark.slow
def test_a_command_ends_with_its_campaign(place):
    """The campaign is killed; the pipe to the command is cut, which has its end as if SIGTERM had come."""
    words = f"predict {'A' * 12} --jumps 100000000 -o long"
    Path("list.txt").write_text(words)
    begun = subprocess.Popen([sys.executable, "-m", "cgsurrogate", "campaign", "list.txt", "-o", "all", "-q"])
    log, until = Path("all/tasks/long.txt"), time.monotonic() + 100
    while not Path("all/tasks/long.json").exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(3)

    def alive() -> bool:
        found = subprocess.run(["ps", "axww", "-o", "command"], capture_output=True, text=True).stdout
        return words in found

    assert alive(), log.read_text()
    begun.kill()
    begun.wait()

    while alive() and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(), log.read_text()
