"""A training goes on only with its own settings and data, alone in its folder, and repeats itself to the byte."""

import dataclasses

import numpy as np
import pytest

from cgsurrogate import workflows
from cgsurrogate.core import filesystem
from cgsurrogate.models.model import MODEL, WEIGHTS
from cgsurrogate.training.settings import EnergySettings, StepperSettings
from cgsurrogate.training.state import CHECKPOINT
from cgsurrogate.workflows.study_folder import grow
from cgsurrogate.workflows.training_folder import RECORD, claimed, finished

SHORT = EnergySettings(steps=12, every=4, network="residues:width=8", fine_tune=False)


def stopped(folder, settings, frames):
    """A training that was begun and not finished."""
    with claimed(folder, settings, [frames]):
        (folder / CHECKPOINT).write_bytes(b"")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"priors": ("bonds",)}, {"fine_tune": True}, {"objective": "denoise"}, {"rate": 1e-4}]
)
def test_another_setting_is_refused_and_nothing_touched(change, peptide_frames, tmp_path):
    before = stopped(tmp_path / "m", SHORT, peptide_frames)
    with pytest.raises(ValueError, match=f"{next(iter(change))}.* there, .* now"):
        workflows.make_energy(peptide_frames, tmp_path / "m", dataclasses.replace(SHORT, **change))
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}


def test_other_frames_are_refused(peptide_frames, tmp_path):
    moved = np.array(peptide_frames.positions)
    moved[3, 2, 1] += 1e-6
    others = (
        dataclasses.replace(peptide_frames, temperature=310.0),
        dataclasses.replace(peptide_frames, positions=moved),
        dataclasses.replace(peptide_frames, weights=np.ones(len(peptide_frames))),
    )
    stopped(tmp_path / "m", SHORT, peptide_frames)
    for other in others:
        with pytest.raises(ValueError, match=r"another one .*frames"):
            workflows.make_energy(other, tmp_path / "m", SHORT)
    with pytest.raises(ValueError, match="kind: energy there, stepper now"):
        workflows.make_stepper(peptide_frames, tmp_path / "m", StepperSettings(steps=3))


def test_a_state_of_training_without_its_record_is_not_continued(peptide_frames, tmp_path):
    stopped(tmp_path / "m", SHORT, peptide_frames)
    (tmp_path / "m" / RECORD).unlink()
    with pytest.raises(ValueError, match=f"{CHECKPOINT} is of a training that is not known"):
        workflows.make_energy(peptide_frames, tmp_path / "m", SHORT)
    assert [path.name for path in (tmp_path / "m").iterdir()] == [CHECKPOINT]


def test_a_second_training_in_the_folder_is_turned_away(peptide_frames, tmp_path):
    (tmp_path / "m").mkdir()
    with filesystem.locked(tmp_path / "m"), pytest.raises(filesystem.Busy):
        workflows.make_energy(peptide_frames, tmp_path / "m", SHORT)


def test_a_finished_training_is_known_by_settings_budget_and_frames(peptide_frames, tmp_path):
    assert not finished(tmp_path / "m", SHORT, [peptide_frames])
    stopped(tmp_path / "m", SHORT, peptide_frames)
    assert not finished(tmp_path / "m", SHORT, [peptide_frames])
    (tmp_path / "m" / MODEL).write_text("{}")
    assert finished(tmp_path / "m", SHORT, [peptide_frames])
    for other in ({"seed": 1}, {"steps": 13}):
        assert not finished(tmp_path / "m", dataclasses.replace(SHORT, **other), [peptide_frames])
    assert not finished(tmp_path / "m", SHORT, [dataclasses.replace(peptide_frames, temperature=310.0)])


def test_more_steps_go_on_in_the_folder_of_a_stopped_training(peptide_frames, tmp_path):
    stopped(tmp_path / "m", SHORT, peptide_frames)
    with claimed(tmp_path / "m", dataclasses.replace(SHORT, steps=20), [peptide_frames]):
        pass
    assert (tmp_path / "m" / CHECKPOINT).exists()


def test_more_minutes_of_a_run_go_on_in_the_training_of_its_stepper(peptide_frames, tmp_path):
    stepper = tmp_path / "RUN" / "stepper"
    stopped(stepper, StepperSettings(minutes=1.0), peptide_frames)
    (stepper / MODEL).write_text("{}")
    filesystem.write_json(tmp_path / "RUN" / "run.json", {"settings": {"minutes": 1.0}})
    grow(tmp_path / "RUN", 1.0, 2.0)
    assert not (stepper / MODEL).exists() and (tmp_path / "RUN" / "earlier" / "1-minutes" / "stepper" / MODEL).exists()
    with claimed(stepper, StepperSettings(minutes=2.0), [peptide_frames]):
        assert (stepper / CHECKPOINT).exists()


def test_what_is_refused_leaves_nothing(peptide_frames, tmp_path):
    with pytest.raises(ValueError, match="did you mean"):
        workflows.make_energy(peptide_frames, tmp_path / "m", dataclasses.replace(SHORT, network="residue"))
    assert not (tmp_path / "m").exists()
    frames = peptide_frames.save(tmp_path / "frames")
    with pytest.raises(ValueError, match=r"holds frames \(frames.json\), which is not overwritten"):
        workflows.make_energy(peptide_frames, frames, SHORT)


def test_the_same_steps_give_the_same_bytes_and_a_damaged_state_is_refused(peptide_frames, tmp_path):
    for name in ("one", "two"):
        workflows.make_energy(peptide_frames, tmp_path / name, SHORT)
    for name in (MODEL, WEIGHTS, RECORD):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    (tmp_path / "one" / MODEL).unlink()
    state = tmp_path / "one" / CHECKPOINT
    content = bytearray(state.read_bytes())
    content[-100] ^= 1
    state.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=rf"{CHECKPOINT} has changed since it was written"):
        workflows.make_energy(peptide_frames, tmp_path / "one", SHORT)
