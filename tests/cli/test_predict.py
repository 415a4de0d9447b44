"""Bad input of ``cgsurrogate predict`` is one clear line that leaves nothing behind."""

import pytest
from click.testing import CliRunner

from cgsurrogate.cli import group

pytest.importorskip("PeptideBuilder")
CASES = {
    "GPXV": "residue 3 is 'X'",
    "GPAV" * 26: "1 to 100 residues",
    "empty.fasta": "holds no sequence",
    "twice.txt": "given twice",
    "letters.fasta": "residue 2 is 'B'",
    "missing.pdb": "there is none",
    "missing.fasta": "there is none",
    "folder/missing": "there is none",
    "damaged.pdb": "cannot be read",
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Run in a folder with a few bad files; a model that is none is never looked into."""
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("empty.fasta", ">a\n"),
        ("twice.txt", "GAV\nGAV\n"),
        ("letters.fasta", ">a\nGBV\n"),
        ("damaged.pdb", "ATOM      1  N   ALA A   1      xx\n"),
    ):
        (tmp_path / name).write_text(text)
    (tmp_path / "nothing").mkdir()
    return tmp_path


def refused(*words):
    """The error that the command line prints in one line with exit code 3."""
    result = CliRunner().invoke(group, ["predict", *words, "-o", "out", "-q"])
    assert isinstance(result.exception, ValueError | FileNotFoundError), result.exception
    return str(result.exception)


@pytest.mark.parametrize("molecule", CASES)
def test_what_is_no_molecule(molecule, files, monkeypatch):
    monkeypatch.setattr("cgsurrogate.workflows.predicted_models.load", lambda folders: {"time-stepper": _Model()})
    error = refused(molecule, "--stepper", "nothing")
    assert CASES[molecule] in error and "\n" not in error
    assert not (files / "out").exists()


class _Model:
    """As much of a model as is asked for before the molecule is read."""

    temperature, info = 300.0, {}


@pytest.mark.parametrize(
    "words, said",
    [
        (["--from", "nowhere"], "nowhere is no folder"),
        (["--from", "nothing"], "to hold a model in stepper or force-field"),
        (["--stepper", "nothing"], "holds no model.json"),
        (["--stepper", "nothing", "--time", "nan"], "--time"),
        (["--stepper", "nothing", "--pivot", "a:b"], "--pivot"),
        (["--stepper", "nothing", "--reference", "nowhere"], "there is none"),
    ],
)
def test_what_is_no_model_or_no_number(words, said, files):
    error = refused("GAV", *words)
    assert said in error and "\n" not in error
    assert not (files / "out").exists()
