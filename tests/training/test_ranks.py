"""Several ranks: the curve of one rank with all their batches, one writer, one stop; and what a Trainer is told."""

import csv
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_ranks

from cgsurrogate.core import checked_files
from cgsurrogate.training import ranks
from cgsurrogate.training.loop import fit
from cgsurrogate.training.settings import TrainingSettings
from cgsurrogate.training.state import TrainingState


def run(folder, *more, devices=2):
    """Exit code, and the rows of the metrics."""
    root = Path(__file__).parents[2]
    places = os.pathsep.join([str(root), *filter(None, sys.path)])
    plain = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, two_ranks.__file__, str(devices), str(folder), *map(str, more)],
        env={**plain, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode in (0, 143, -signal.SIGTERM), done.stderr
    with (folder / "metrics.csv").open() as file:
        return done.returncode, [{name: float(x) for name, x in row.items()} for row in csv.DictReader(file)]


def curve(rows):
    return [(row["step"], *(pytest.approx(row[name], rel=1e-4) for name in ("train", "held_out"))) for row in rows]


def plain(rows):
    return [(row["step"], row["train"], row["held_out"]) for row in rows]


@pytest.mark.slow
def test_two_ranks_learn_as_one_with_the_batches_of_both_and_a_stop_of_one_stops_both(tmp_path):
    code, together = run(tmp_path / "two")
    alone = fit(two_ranks.network(), two_ranks.Parabola(2), two_ranks.settings())
    assert code == 0 and plain(together) == curve(alone.rows)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["metrics.csv", "training.pt"]

    code, some = run(tmp_path / "parts", 25)  # SIGTERM comes to the second rank alone
    assert code != 0 and [row["step"] for row in some] == [10, 20]
    code, rest = run(tmp_path / "parts")
    assert code == 0 and plain(rest) == curve(together)


@pytest.mark.slow
def test_a_batch_that_is_bad_on_one_rank_is_skipped_on_all(tmp_path):
    code, rows = run(tmp_path / "bad", "-", 7)
    assert code == 0 and rows[-1]["step"] == two_ranks.STEPS
    assert all(row["held_out"] == row["held_out"] for row in rows)
    content = checked_files.read_checked(tmp_path / "bad" / "training.pt", "")
    stored = torch.load(io.BytesIO(content), weights_only=True)
    assert stored["progress"]["bad"] == 1


def test_every_rank_draws_its_own_batches_and_the_first_those_of_one_alone():
    def state(rank):
        return TrainingState(two_ranks.network(), two_ranks.Parabola(), two_ranks.settings(), None, "", rank)

    alone, first, second, third = (state(rank).batch_rng().initial_seed() for rank in (0, 0, 1, 2))
    assert alone == first == state(0).rng(0).initial_seed() and len({first, second, third}) == 3


def test_only_the_first_rank_writes(tmp_path):
    for rank, files in ((1, []), (0, ["metrics.csv", "training.pt"])):
        state = TrainingState(two_ranks.network(), two_ranks.Parabola(), two_ranks.settings(), tmp_path, "", rank)
        state.validate()
        state.save(None)
        assert sorted(path.name for path in tmp_path.glob("*.*") if "sha" not in path.name) == files


def test_callbacks_and_loggers_of_lightning_see_the_training(tmp_path):
    lightning = pytest.importorskip("pytorch_lightning")
    from pytorch_lightning.loggers import CSVLogger

    seen = []

    class Sees(lightning.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            seen.append(dict(trainer.callback_metrics))

    trainer = {"callbacks": [Sees()], "logger": CSVLogger(tmp_path), "precision": "bf16-mixed"}
    settings = TrainingSettings(steps=20, every=10, trainer=trainer)
    history = fit(two_ranks.network(), two_ranks.Parabola(), settings)
    assert len(seen) == 20 and len(history.rows) == 2
    (path,) = tmp_path.rglob("metrics.csv")
    with path.open() as file:
        logged = [float(row["held_out"]) for row in csv.DictReader(file)]
    assert logged == pytest.approx([row["held_out"] for row in history.rows], rel=1e-5)


@pytest.mark.parametrize("name", ["max_steps", "accelerator", "devices"])
def test_what_the_training_sets_is_refused(name):
    with pytest.raises(ValueError, match=name):
        TrainingSettings(trainer={name: 1})
    with pytest.raises(ValueError, match="one or more devices"):
        TrainingSettings(devices=0)


def test_several_devices_have_a_strategy_and_one_has_none():
    assert ranks.options(TrainingSettings()) == {}
    assert ranks.options(TrainingSettings(devices=2)) == {"devices": 2, "strategy": ranks.STRATEGY}
    assert ranks.options(TrainingSettings(devices=2, trainer={"strategy": "ddp"}))["strategy"] == "ddp"
    assert ranks.several(TrainingSettings(trainer={"num_nodes": 2})) and not ranks.several(TrainingSettings())
