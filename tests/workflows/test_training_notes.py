"""What training warned of goes with the frames of a simulation into the warnings of a comparison."""

import comparison_example
import numpy as np
from known_chains import calphas
from known_molecule import BEADS, KELVIN, exact, known
from walks import asked

from cgsurrogate import workflows
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.core.frames import Frames
from cgsurrogate.models.model import Model

FAST = "one-step check, jumps of 2 ps from training frames: the slowest process is 1.9 times as fast as in these data"
NOTES = (FAST, "the training runs never connect 2 groups of states", "overfitting: the loss rose")


def test_frames_of_a_simulation_know_what_the_training_of_their_model_warned_of(tmp_path):
    model = Model(known(), BEADS, KELVIN, {"training": {"notes": list(NOTES)}})
    assert model.training_notes == NOTES and Model(known(), BEADS, KELVIN).training_notes == ()
    start = Frames(BEADS, exact(10).float().numpy(), (10,), 1.0, KELVIN)
    how = asked(time=0.02, replicas=2, integrator="baoab:timestep=0.002,friction=20")[0]
    workflows.make_simulation(model, start, tmp_path / "s", how)
    assert Frames.load(tmp_path / "s").provenance.training_notes == NOTES


def test_warnings_of_training_are_warnings_of_the_comparison_and_do_not_contradict_it(tmp_path, monkeypatch):
    made = comparison_example.comparison()
    monkeypatch.setattr("cgsurrogate.comparison.compare.compare", lambda *args, **more: made)
    frames = Frames(calphas(4), np.zeros((5, 4, 3), np.float32), (5,), 1.0, 300.0)
    rows = {"force field": frames, "stepper": frames.with_provenance(training_notes=NOTES)}
    workflows.make_comparison(frames, rows, tmp_path / "c")
    said = Comparison.load(tmp_path / "c").warnings
    assert sum(": training: " in line for line in said) == 3 and set(made.warnings) <= set(said)
    (line,) = [line for line in said if "1.9 times as fast" in line]
    assert line.startswith("stepper: training: one-step check") and "rates of the whole rollout are judged" in line
    assert "stepper: training: overfitting: the loss rose" in said
