"""Files are whole or absent, folders belong to one thing and one writer, and what changed is not read."""

import os
import subprocess
import sys

import pytest

from cgsurrogate.core import filesystem


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead, other = tmp_path / f".a.txt.{int(ended.stdout)}.tmp", tmp_path / f".b.txt.{int(ended.stdout)}.tmp"
    alive = tmp_path / f".a.txt.{os.getppid()}.tmp"
    for path in (dead, other, alive):
        path.touch()
    filesystem.write_text(tmp_path / "a.txt", "new")
    assert not dead.exists() and other.exists() and alive.exists()


def test_one_changed_bit_anywhere_is_refused(tmp_path):
    path = tmp_path / "state"
    filesystem.write_checked(path, b"some content")
    whole = path.read_bytes()
    assert filesystem.read_checked(path, "") == b"some content"
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="do this"):
            filesystem.read_checked(path, "do this")
    for count in range(len(whole)):
        path.write_bytes(whole[:count])
        with pytest.raises(ValueError, match="do this"):
            filesystem.read_checked(path, "do this")


def test_a_file_is_verified_again_when_it_has_changed(tmp_path):
    path = tmp_path / "block"
    path.write_bytes(b"numbers")
    digest = filesystem.sha256(path)
    filesystem.verify(path, digest, "")
    path.write_bytes(b"Numbers")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match="has changed since it was written"):
        filesystem.verify(path, digest, "")


@pytest.mark.parametrize("name", filesystem.OWNERS)
def test_a_folder_of_something_else_is_not_written_to(name, tmp_path):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=f"holds {filesystem.OWNERS[name]} .*not overwritten"):
        with filesystem.writing(tmp_path, "other.json"):
            pass
    with filesystem.writing(tmp_path, name):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_to_which_nothing_was_written_goes_again(tmp_path):
    with pytest.raises(RuntimeError), filesystem.writing(tmp_path / "new" / "deep"):
        raise RuntimeError
    assert not (tmp_path / "new" / "deep").exists()
    with filesystem.writing(tmp_path / "new") as folder:
        (folder / "result").touch()
        with pytest.raises(filesystem.Busy), filesystem.writing(folder):
            pass
    assert (tmp_path / "new" / "result").exists()


def test_folders_that_were_made_above_go_too_and_others_stay(tmp_path):
    with pytest.raises(ZeroDivisionError), filesystem.writing(tmp_path / "a" / "b" / "c"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").mkdir()
    with pytest.raises(ZeroDivisionError), filesystem.writing(tmp_path / "a" / "b" / "c"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_files_of_one_stem_have_one_writer_and_others_theirs(tmp_path):
    with filesystem.locked(tmp_path, "one"):
        with filesystem.locked(tmp_path, "other"), filesystem.locked(tmp_path):
            pass
        with pytest.raises(filesystem.Busy, match="one; wait for it or choose another name"):
            with filesystem.locked(tmp_path, "one"):
                pass
    assert not list(tmp_path.iterdir())
