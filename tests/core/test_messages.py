"""What an operating system refuses is a sentence with the file and the remedy."""

import errno
import os

import pytest

from cgsurrogate import cli
from cgsurrogate.core import filesystem, messages
from cgsurrogate.data.export import export


@pytest.mark.parametrize("number", messages.REFUSED)
def test_an_error_of_the_system_names_the_file_and_no_number(number):
    said = messages.of_system(OSError(number, os.strerror(number), "place/file"))
    assert "place/file" in said and "Errno" not in said and ";" in said + ";"


def test_a_name_that_is_too_long_is_not_repeated_whole():
    said = messages.of_system(OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000))
    assert "x..." in said and len(said) < 200


def test_a_full_disk_names_the_file_that_was_being_written(tmp_path):
    with pytest.raises(OSError, match="No space") as caught, filesystem.replacing(tmp_path / "a.npy"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_name_is_not_shown(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught, filesystem.replacing(tmp_path / "none" / "a.npy"):
        pass
    assert caught.value.filename == str(tmp_path / "none" / "a.npy")


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    (tmp_path / "a.xtc").write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError) as caught:
        filesystem.existing(tmp_path / "a.xtc", "a trajectory")
    assert messages.of_system(caught.value).startswith(f"no permission for {tmp_path / 'a.xtc'}; ")
    assert filesystem.first_line(caught.value).startswith("no permission")


def test_a_trajectory_that_cannot_be_written_is_named(peptide_frames, tmp_path, monkeypatch):
    import mdtraj

    def fail(*_, **__):
        raise RuntimeError("XTC write error: 7")

    class Full:
        write = fail

        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(mdtraj, "open", Full)
    with pytest.raises(OSError, match=r"a.xtc cannot be written \(XTC write error: 7\); is the disk full"):
        export(peptide_frames, tmp_path / "a.xtc")
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_whose_name_is_too_long_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr("cgsurrogate.cli._options.log_folder", "x" * 5000)
    assert cli._explain(OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000)) == 1
    assert capsys.readouterr().err.startswith("Error: the name x")
