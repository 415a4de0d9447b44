"""A run that ends at any instant of its beginning goes on with the same command, and one process works in a folder."""

import pytest

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Frames
from cgsurrogate.workflows import study
from cgsurrogate.workflows.settings import StudySettings

BEGUN = ["held-out", "log.txt", "reference", "run.json", "split.txt", "training"]


class Killed(BaseException):
    """Nothing is done any more."""


@pytest.fixture
def begin(peptide_frames, tmp_path, monkeypatch):
    """The part of a run before the training, in ``tmp_path/RUN``, and how often the input was read."""
    monkeypatch.setattr(study, "_before", lambda *_: ["a line"])
    monkeypatch.setattr(study, "_train_and_simulate", lambda *_: None)
    monkeypatch.setattr(study, "_compare", lambda *_: None)
    monkeypatch.setattr(study, "draw", lambda *_: None)
    monkeypatch.setattr(study.Comparison, "load", lambda folder: None)

    def load(_report):
        begin.read += 1
        return peptide_frames

    def begin():
        study.run(load, {"example": "none"}, tmp_path / "RUN", StudySettings(), sources=[])

    begin.read = 0
    return begin


@pytest.mark.parametrize("number", range(6))
def test_killed_while_its_input_is_stored_it_goes_on(number, begin, tmp_path, monkeypatch):
    left = [number]

    def until_killed(write):
        def one(*arguments):
            if not left[0]:
                raise Killed
            left[0] -= 1
            return write(*arguments)

        return one

    with monkeypatch.context() as patch:
        patch.setattr(Frames, "save", until_killed(Frames.save))
        patch.setattr(filesystem, "write_text", until_killed(filesystem.write_text))
        with pytest.raises(Killed):
            begin()
    begin()
    assert sorted(path.name for path in (tmp_path / "RUN").iterdir()) == BEGUN
    begin()
    assert begin.read == 2


def test_killed_before_all_it_goes_on(begin, tmp_path):
    (tmp_path / "RUN").mkdir()
    for name in (filesystem.LOCK, ".run.json.999999999.tmp"):
        (tmp_path / "RUN" / name).touch()
    begin()
    assert sorted(path.name for path in (tmp_path / "RUN").iterdir()) == BEGUN


def test_a_second_one_is_turned_away_before_it_reads(begin, tmp_path):
    (tmp_path / "RUN").mkdir()
    with filesystem.locked(tmp_path / "RUN"), pytest.raises(filesystem.Busy):
        begin()
    assert not begin.read
