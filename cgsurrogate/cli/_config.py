"""``--config FILE``: a system file, or the ``run.json`` of an earlier run; options given on the command line win."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cgsurrogate.cli import _options
from cgsurrogate.workflows.settings import StudySettings

if TYPE_CHECKING:
    from cgsurrogate.data.molecules import Molecule

SYSTEM, EARLIER, ORIGIN = "cgsurrogate.system", "cgsurrogate.earlier", "cgsurrogate.origin"  # in a context's ``meta``
FILES = {"topology": "-s", "trajectories": "-f", "force_files": "--forces", "weight_files": "--weights"}
KINDS = {"float": "number", "int": "whole number", "str": "text", "bool": "true or false", "tuple[str, ...]": "texts"}
RUN = {field.name: KINDS[str(field.type).removesuffix(" | None")] for field in dataclasses.fields(StudySettings)}
RUN |= {"ns_per_day": "number"}


def config_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--config`` and ``--molecule``."""
    for option in (
        click.option(
            "--molecule", metavar="NAME", help="Of a system file with several molecules this one. [default: all]"
        ),
        click.option(
            "--config",
            type=_options.PATH,
            is_eager=True,
            expose_value=False,
            callback=_loaded,
            help="System file (TOML) that describes one or many molecules and their trajectories, in place of -s and "
            "-f; or the run.json of an earlier run. Options given here win over it.",
        ),
    ):
        function = option(function)
    return function


def trusted(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a command, where those of ``--config`` name no Python file that the user has not named.

    Raises:
        ValueError: they do.
    """
    from cgsurrogate.core import registry

    context = click.get_current_context()

    def known(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(known, value))
        return registry.stored(value, context.meta[ORIGIN]) if isinstance(value, str) else value

    stored = {key for key in options if context.get_parameter_source(key) is ParameterSource.DEFAULT_MAP}
    return {key: known(value) if key in stored else value for key, value in options.items()}


def molecules(options: dict[str, Any], name: str | None) -> tuple[Molecule, ...]:
    """What the system file describes, with the options of the command line; nothing where there is no such file.

    Raises:
        ValueError: it names a Python file that the user has not named.
    """
    context = click.get_current_context()
    system = context.meta.get(SYSTEM)
    if system is None:
        if name is not None:
            raise click.UsageError("--molecule chooses from a system file; give it with --config")
        return ()
    from cgsurrogate.core import registry
    from cgsurrogate.data import system_file

    given = {key for key in options if context.get_parameter_source(key) is ParameterSource.COMMANDLINE}
    if twice := [flag for key, flag in {**FILES, "example": "--example"}.items() if key in given]:
        raise click.UsageError(f"give the input either with --config or with {twice[0]}, not both")
    wanted = {key: options[key] for key in given & set(_options.INPUTS)}
    described = tuple(system_file.with_options(one, wanted) for one in system.chosen(name))
    if "mapping" in wanted:
        return described
    origin = context.meta[ORIGIN]
    return tuple(dataclasses.replace(one, mapping=registry.stored(one.mapping, origin)) for one in described)


def only(described: Sequence[Molecule]) -> Molecule | None:
    """The one molecule of ``molecules``; None where there is no system file."""
    if len(described) > 1:
        names = ", ".join(one.name for one in described)
        raise click.UsageError(
            f"the system file describes {len(described)} molecules ({names}) and run takes one: choose it with "
            "--molecule NAME; or, for one model of all, map --config FILE -o FRAMES and then train stepper FRAMES "
            "--stepper graph"
        )
    return described[0] if described else None


def identity(inputs: dict[str, Any], described: Molecule | None) -> dict[str, Any]:
    """What the input is, as it is recorded: the options of the command line, or the molecule of a system file."""
    from cgsurrogate.data import system_file

    if described is not None:
        return {"molecule": described.name, **system_file.described(described)}
    return {name: _plain(value) for name, value in inputs.items() if value not in (None, ())}


def _plain(value: Any) -> Any:
    """Paths as text, tuples as lists: what JSON can hold."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | str) else str(value)


def files(inputs: dict[str, Any], described: Molecule | None) -> list[Path]:
    """The input files."""
    from cgsurrogate.data import system_file
    from cgsurrogate.data.frame_weights import file_of

    if described is not None:
        return system_file.files(described)
    named = (inputs["topology"], *inputs["trajectories"], *inputs["force_files"], *inputs["weight_files"])
    return [file_of(item) for item in named if item is not None]


def warn_of_changes(sources: Sequence[Path]) -> None:
    """Name the files that are no longer those that the earlier run of ``--config run.json`` read."""
    from cgsurrogate.core import filesystem

    _, known = click.get_current_context().meta.get(EARLIER, (None, {}))
    for path in sources:
        if path in known and path.is_file() and filesystem.sha256(path) != known[path]:
            click.echo(f"warning: {path} has changed since the earlier run read it (another sha256)", err=True)


def _loaded(context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    """Read the file; its settings become defaults of the command."""
    if path is None or context.resilient_parsing:
        return
    from cgsurrogate.data import system_file

    context.meta[ORIGIN] = path
    if path.suffix.lower() == ".json":
        defaults = _earlier(context, path)
    else:
        system = system_file.load(path)
        context.meta[SYSTEM] = system
        run = system_file.checked(dict(system.run), RUN, f"{path}, [run]")
        defaults = {key: [run[key]] if RUN[key] == "texts" and isinstance(run[key], str) else run[key] for key in run}
    context.default_map = {**(context.default_map or {}), **defaults}


def _earlier(context: click.Context, path: Path) -> dict[str, Any]:
    """The options of an earlier run, from its record."""
    from cgsurrogate.core import filesystem
    from cgsurrogate.data import system_file
    from cgsurrogate.workflows.study_folder import renamed

    record = filesystem.read_json(path)
    try:
        given, settings, hashes = dict(record["input"]), renamed(record["settings"]), dict(record.get("sha256", {}))
        base = Path(record.get("directory", ""))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"expected the run.json of a run in {path}, which has no input and settings") from None
    context.meta[EARLIER] = (path, {_found(name, base): digest for name, digest in hashes.items()})
    defaults = {key: value for key, value in settings.items() if key in RUN and value is not None}
    defaults |= {key: given.pop(key) for key in ("ns_per_day",) if key in given}
    if "molecule" in given:
        name = given.pop("molecule")
        one = system_file.molecule(name, given, base, str(path))
        context.meta[SYSTEM] = system_file.System((one,), {})
        return defaults
    for key in FILES.keys() & given.keys():
        listed = given[key] if isinstance(given[key], list) else [given[key]]
        moved = [_moved(spec, base) for spec in listed]
        given[key] = moved if isinstance(given[key], list) else moved[0]
    return {**defaults, **given}


def _found(name: str, base: Path) -> Path:
    return base / name if (base / name).exists() else Path(name)


def _moved(spec: str, base: Path) -> str:
    """A file with what stands behind it, ``:name:unit``, from the folder in which the earlier run was started."""
    head, colon, rest = spec.partition(":")
    return f"{_found(head, base)}{colon}{rest}"
