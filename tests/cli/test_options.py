"""Every option of every command reaches the function behind it, and shows the default that it has in Python."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import shlex
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner

import cgsurrogate
from cgsurrogate.cli import group
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.data.generation.protocol import Protocol
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.training.settings import EnergySettings, StepperSettings
from cgsurrogate.workflows.inspection import Inspection
from cgsurrogate.workflows.settings import PredictionSettings, StudySettings

README = Path(__file__).parents[2] / "README.md"
for module in pkgutil.walk_packages(cgsurrogate.__path__, "cgsurrogate."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)  # one that is first imported under a stub would keep it for later tests
READING = ("data.read.read", "workflows.mapping_builder", "workflows.load_example", "cli._options.fresh")
LOADING = (
    *("core.frames.Frames.load", "models.model.Model.load", "workflows.starting_frames", "workflows.load_reference"),
    *("workflows.load_ensembles", "workflows.with_speed", "workflows.with_speeds", "testing.family_of"),
    *("core.registry.trust", "workflows.pretrained_model", "workflows.started"),
    *("workflows.predicted_models.chosen", "models.engines.potential.energy_of"),
)
BEHIND = {  # command -> the function behind it
    "run": "workflows.study.run",
    "example": "data.examples.write_example",
    "reference": "data.generation.campaign.make_reference",
    "predict": "workflows.predictions.predict_all",
    "map": "data.read.read",  # and then the method save of the frames
    "inspect": "workflows.inspect",
    "split": "workflows.make_split",
    "reweight": "workflows.make_reweighted",
    "train energy": "workflows.make_energy",
    "train stepper": "workflows.make_stepper",
    "simulate": "workflows.make_simulation",
    "extrapolation": "models.extrapolation_scores.add_extrapolation",
    "compare": "workflows.make_comparison",
    "report": "workflows.make_report",
    "export": "data.export.export",
    **{f"export --{name}": "workflows.make_deployment" for name in ("formats", "start", "device", "force", "quiet")},
    "view": "report.page.write_player",
    "kinds": "testing.outcomes",
    "campaign": "core.campaigns.run_tasks",
    "submit": "cli.submit.script",
    "status": "core.task_board.summary",
}
VALUES = {  # of options whose text is parsed before the function is called
    "--tempering": "300:450:6",
    "--processes": "2",
    "--executor": "local:workers=2",
    "--part": "2/3",
    "--pivot": "3:7",
    "--burn-in": "50",
    "--tolerance": "rates=3",
    "--weights": "a=b.npy",
    "--config": "system.toml",
    "--molecule": "second",
    "predict --caps": "ace-nme",
    "reference --every": "4",
    "reference --sequence": "GPAV",
    "reference --sequences": "peptides.txt",
    "reference --timestep": "0.002",
    "reference --solvent-every": "2",
}
BASES = {  # in place of the examples
    "run --example": ["run", "-o", "RUN"],
    "run --config": ["run", "-o", "RUN"],
    "run --molecule": ["run", "-o", "RUN", "--config", "system.toml", "--molecule", "first"],
    "map --config": ["map", "-o", "RUN", "--config", "another.toml"],
    "map --molecule": ["map", "-o", "RUN", "--config", "system.toml", "--molecule", "first"],
    "inspect --config": ["inspect", "--config", "another.toml"],
    "inspect --molecule": ["inspect", "--config", "system.toml", "--molecule", "first"],
    "reference --sequences": ["reference", "--sequence", "AK", "-o", "RUN"],
    "reference --sequence": ["reference", "--sequence", "AK", "-o", "RUN"],
    "reference --caps": ["reference", "--sequence", "AK", "-o", "RUN"],
    "predict": ["predict", "GPAV", "-o", "RUN", "--stepper", "mine"],
    "predict --from": ["predict", "GPAV", "-o", "RUN", "--stepper", "mine"],
    "kinds": ["kinds", "--check", "mine.py"],
    **{
        f"export --{name}": ["export", "mine", "--format", "ase", "-o", "RUN"]
        for name in ("formats", "start", "device", "force", "quiet")
    },
}
SYSTEM = """
topology = "peptide.pdb"
trajectories = "peptide.pdb"
temperature = 310
"""
TWO = f"[molecules.first]{SYSTEM}[molecules.second]{SYSTEM}dt = 2"
SETTINGS = {
    "reference": (Protocol,),
    "run": (StudySettings,),
    "predict": (PredictionSettings,),
    "train energy": (EnergySettings,),
    "train stepper": (StepperSettings,),
    "simulate": (SimulationSettings, SamplerSettings),
    "compare": (ComparisonSettings,),
}


class Reached(Exception):
    """The function behind a command was called."""


class Stub:
    """Stands for what a function gave: anything can be asked of it, and its text says where it came from."""

    def __init__(self, text: str):
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __getattr__(self, name: str) -> Stub:
        if name.startswith("__"):
            raise AttributeError(name)
        return Stub(f"{self}.{name}")

    def __call__(self, *args, **options) -> Stub:
        text = f"{self}{plain(args)}{plain(options)}"
        if self._text.endswith(".save"):
            raise Reached(text)
        return Stub(text)

    def __setitem__(self, key, value) -> None:
        pass

    def keys(self) -> tuple[()]:
        return ()

    def __iter__(self):
        return iter(())


def plain(value) -> str:
    """Text that is the same for the same arguments: functions have none."""
    if isinstance(value, dict):
        return str({key: plain(one) for key, one in value.items() if not callable(one) or isinstance(one, Stub)})
    if isinstance(value, (list, tuple)):
        return str([plain(one) for one in value])
    return "function" if callable(value) and not isinstance(value, Stub) else repr(value)


def commands(command=group, path=()):
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield " ".join(path), command


COMMANDS = dict(commands())
OPTIONS = [
    (path, option)
    for path, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def example(path: str) -> list[str]:
    """The words of a command's example after ``cgsurrogate``."""
    return shlex.split(COMMANDS[path].epilog.removeprefix("Example:"))[1:]


def changed(path: str, option: click.Option) -> list[str]:
    """The words that give an option another value than its default."""
    flag = next(name for name in option.opts if name.startswith("--"))
    if option.is_flag:
        return [*option.secondary_opts] if option.default is True else [flag]
    value = VALUES.get(f"{path} {flag}", VALUES.get(flag))
    if value is not None:
        return [flag, value]
    if isinstance(option.type, click.Choice):
        return [flag, next(one for one in option.type.choices if one != option.default)]
    if isinstance(option.type, (click.types.FloatParamType, click.types.IntParamType)):
        return [flag, "0.77" if isinstance(option.type, click.types.FloatParamType) else "7"]
    return [flag, *(f"other{k}" for k in range(option.nargs))]


def record(path: str, words: list[str], monkeypatch, behind: str | None) -> str:
    """All that a command called and wrote, up to the function behind it."""
    calls: list[str] = []

    def replace(place: str) -> None:
        *where, name = place.split(".")
        owner = importlib.import_module(".".join(["cgsurrogate", *(p for p in where if p.islower())]))
        owner = getattr(owner, where[-1]) if not where[-1].islower() else owner

        def recorder(*args, **options):
            if place == "workflows.study.run":
                args[0](None)  # it reads the input
            calls.append(f"{place}{plain(args)}{plain(options)}")
            if place == behind and path != "map":
                raise Reached
            return Stub(calls[-1])

        monkeypatch.setattr(owner, name, recorder)

    for place in {*READING, *LOADING} - {behind}:
        replace(place)
    monkeypatch.setattr("cgsurrogate.data.contents.mirror_words", lambda _: ())  # it looks at the frames
    if behind == "workflows.inspect":  # which files without faults reach
        monkeypatch.setattr("cgsurrogate.workflows.inspect_files", lambda *_: Inspection({}))
    if behind == "models.extrapolation_scores.add_extrapolation":  # then its figures are listed
        scored = SimpleNamespace(extrapolation=np.ones((9, 2)), beads=SimpleNamespace(residues=(0, 0), names="AB"))
        monkeypatch.setattr("cgsurrogate.models.extrapolation_scores.add_extrapolation", lambda *_: scored)
        monkeypatch.setattr("cgsurrogate.models.extrapolation_scores.words", lambda _: None)
        monkeypatch.setattr("cgsurrogate.models.extrapolation_scores.bead_name", lambda *_: "A")
    elif behind is not None:
        replace(behind)
    for module in {m for m in importlib.import_module("cgsurrogate.cli").__dict__.values() if hasattr(m, "progress")}:
        monkeypatch.setattr(module, "progress", told(calls, module.progress))
    result = CliRunner().invoke(group, words)
    reached = isinstance(result.exception, Reached) or (result.exit_code == 0 and path == "extrapolation")
    assert reached, f"{' '.join(words)}: {result.output} {result.exception!r}"
    return "\n".join([*calls, result.output, str(result.exception)])


def told(calls: list[str], progress):
    def recorder(quiet: bool = False):
        calls.append(f"progress{quiet}")
        return progress(True)

    return recorder


@pytest.mark.parametrize("path, option", OPTIONS, ids=lambda x: x if isinstance(x, str) else x.opts[-1])
def test_an_option_reaches_the_function_behind_its_command(path, option, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "peptide.pdb").touch()
    (tmp_path / "peptides.txt").write_text("GPAV")
    (tmp_path / "commands.txt").write_text("map -o a\nmap -o b\nmap -o c\n")
    (tmp_path / "another.toml").write_text(SYSTEM)
    (tmp_path / "system.toml").write_text(f"{SYSTEM}dt = 2" if option.name == "config" else TWO)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.json").touch()
    behind = BEHIND.get(f"{path} --{option.name}", BEHIND.get(path))
    base = BASES.get(f"{path} --{option.name}", BASES.get(path, example(path)))
    with monkeypatch.context() as patch:
        before = record(path, base, patch, behind)
    with monkeypatch.context() as patch:
        after = record(path, [*base, *changed(path, option)], patch, behind)
    assert before != after, f"{option.opts} of {path} makes no difference to what is called"


@pytest.mark.parametrize("path", SETTINGS)
def test_an_option_has_the_default_of_the_setting(path):
    options = {option.name: option for option in COMMANDS[path].params}
    for field in (field for settings in SETTINGS[path] for field in dataclasses.fields(settings)):
        if field.name in options and not options[field.name].multiple and field.default is not dataclasses.MISSING:
            assert options[field.name].to_info_dict()["default"] == field.default, field.name
    assert path != "run" or {field.name for field in dataclasses.fields(StudySettings)} <= set(options)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_readme_mentions_every_command(path):
    assert f"cgsurrogate {path}" in README.read_text()
