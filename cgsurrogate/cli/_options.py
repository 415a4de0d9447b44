"""Options that several commands share, and the small things around a command."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cgsurrogate.core.limits import DEVICES, MOST_SEED

if TYPE_CHECKING:
    from cgsurrogate.core.campaigns import Executors, Share
    from cgsurrogate.core.frames import Frames
    from cgsurrogate.data.molecules import Molecule

log_folder: Path | None = None  # where a traceback is logged, once a run folder exists

PATH = click.Path(path_type=Path)

out_folder = click.option("-o", "--out", required=True, type=PATH, help="Folder to write.")
seed = click.option("--seed", default=0, show_default=True, type=click.IntRange(0, MOST_SEED), help="Random seed.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress.")
device = click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Where to compute; auto: an NVIDIA GPU where there is one, else the processor.",
)
recover = click.option(
    "--recover",
    is_flag=True,
    default=None,
    help="Of a trajectory file that is cut short take the whole frames; by default it is refused.",
)
force = click.option("--force", is_flag=True, help="Overwrite what is there.")


def _trusted(_context: click.Context, _option: click.Parameter, files: tuple[Path, ...]) -> None:
    from cgsurrogate.core import registry

    for path in files:
        registry.trust(path)


trust = click.option(
    "--trust",
    multiple=True,
    type=PATH,
    metavar="FILE.py",
    expose_value=False,
    callback=_trusted,
    help="Run this Python file where a stored model, stored frames or a --config name it as their kind.",
)


def _executors(_context: click.Context, _option: click.Parameter, text: str | None) -> Executors | None:
    from cgsurrogate.core import campaigns

    return None if text is None else campaigns.executors(text)


def _share(_context: click.Context, _option: click.Parameter, text: str | None) -> Share | None:
    from cgsurrogate.core.campaigns import Share

    try:
        return None if text is None else Share.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


executor = click.option(
    "--executor",
    metavar="KIND",
    callback=_executors,
    help="Who works: local:workers=N processes of this machine, dask for a cluster, or a .py file of your own "
    "(cgsurrogate kinds executors). [default: local, a worker a core]",
)
part = click.option(
    "--part",
    metavar="k/K",
    callback=_share,
    help="Do the k-th of K shares only, from 1, for the jobs of an array; cgsurrogate submit makes these.",
)


def commands() -> Mapping[str, click.Command]:
    """All of the command line, within a command."""
    root = click.get_current_context().find_root().command
    assert isinstance(root, click.Group)
    return root.commands


def finite(options: dict[str, Any]) -> None:
    """Refuse numbers that are none, which comparisons would let pass."""
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise click.UsageError(f"--{name.replace('_', '-')} must be a finite number, got {value}")


def setting(settings: type[Any], *flags: str, **more: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option for the field of a settings dataclass that its flag names; the default is that of the field."""
    named = [flag for flag in flags if not flag.startswith("-")] or [flag for flag in flags if flag.startswith("--")]
    name = named[0].split("/")[0].removeprefix("--").replace("-", "_")
    default = {field.name: field.default for field in dataclasses.fields(settings)}[name]
    return click.option(*flags, default=default, show_default=default is not None, **more)


def settings_from(settings: type[Any], options: dict[str, Any]) -> Any:
    """The settings dataclass from a command's options, every field of it."""
    return settings(**{field.name: options[field.name] for field in dataclasses.fields(settings)})


def _expanded(context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[Path, ...]:
    """Paths, with patterns in quotes expanded in the order of their numbers."""
    from cgsurrogate.core import filesystem

    found: list[Path] = []
    for text in given:
        matches = filesystem.matching(text)
        if not matches:
            raise click.UsageError(f"no file matches {text!r}", context)
        if matches != [text]:
            click.echo(f"{text}: {len(matches)} file(s), {matches[0]} to {matches[-1]}", err=True)
        found += map(Path, matches)
    return tuple(found)


def _more(context: click.Context, argument: click.Parameter, given: tuple[str, ...]) -> None:
    """A shell turns ``-f *.xtc`` into ``-f a.xtc b.xtc``: what follows belongs to -f."""
    if not given:
        return
    before = context.params.get("trajectories") or ()
    if not before:
        raise click.UsageError(f"unexpected argument {given[0]!r}; trajectories follow -f", context)
    context.params["trajectories"] = (*before, *_expanded(context, argument, given))


def input_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What describes reference data: topology, trajectories, mapping, temperature, and what goes with them."""
    for option in reversed(
        (
            click.option("-s", "--topology", type=PATH, help="Topology: PDB, mmCIF, GRO, PSF, prmtop, TPR, ..."),
            click.option(
                "-f",
                "--traj",
                "trajectories",
                multiple=True,
                callback=_expanded,
                help="Trajectory, one run each: -f a.xtc -f b.xtc, -f *.xtc, or -f 'run*.xtc'.",
            ),
            click.argument("more", nargs=-1, metavar="", expose_value=False, callback=_more),
            click.option(
                "--mapping",
                default="backbone",
                show_default=True,
                help="ca, backbone, heavy, custom:file=BEADS.txt, or a .py file.",
            ),
            click.option("--selection", help="Map only residues with an atom of this selection (MDTraj's language)."),
            click.option("-T", "--temperature", type=float, help="Temperature in K."),
            click.option("--dt", type=float, help="Time between frames in ps; overrides what the files state."),
            click.option(
                "--forces",
                "force_files",
                multiple=True,
                help="All-atom forces, .npy or .npz:name (kJ/mol/nm), TRR, NetCDF or H5MD; one a trajectory, or one "
                "array for all. Without, those in the trajectory files.",
            ),
            click.option("--no-forces", is_flag=True, default=None, help="Leave out forces of the trajectory files."),
            click.option("--force-unit", help="Of forces whose file does not say it: kJ/mol/nm, kcal/mol/A, eV/A, ..."),
            recover,
            click.option("--length-unit", help="Of positions whose file does not say it: nm, A. [default: nm]"),
            click.option(
                "--weights",
                "weight_files",
                multiple=True,
                help="Frame weights, .npy, .npz:name or COLVAR:column; append :kJ/mol for a bias energy b, then "
                "exp(b/kT).",
            ),
            click.option("-b", "--begin", type=float, help="First time to read, ps."),
            click.option("-e", "--end", type=float, help="Last time to read, ps."),
            click.option(
                "--stride", default=1, show_default=True, type=click.IntRange(min=1), help="Every n-th frame."
            ),
            click.option(
                "--aggregate",
                default="auto",
                show_default=True,
                type=click.Choice(["auto", "basic", "optimal"]),
                help="Force aggregation: basic, over rigid groups only, or optimal, the least noisy; auto: optimal "
                "where there are forces and it gains something.",
            ),
        )
    ):
        function = option(function)
    return function


def _probe() -> None: ...


_GIVEN = reversed(input_options(_probe).__click_params__)  # type: ignore[attr-defined]
INPUTS = tuple(option.name for option in _GIVEN if isinstance(option, click.Option))


def read_input(
    topology: Path | None,
    trajectories: tuple[Path, ...],
    mapping: str,
    temperature: float | None,
    report: Callable[..., None],
    **options: Any,
) -> Frames:
    """Frames from the options of ``input_options``."""
    from cgsurrogate.data.molecules import Molecule
    from cgsurrogate.data.read import Input

    if topology is None or not trajectories:
        raise click.UsageError("give a topology with -s and at least one trajectory with -f")
    if temperature is None:
        raise click.UsageError("give the temperature of the simulation in kelvin with -T")
    forces, weights = options.pop("force_files"), options.pop("weight_files")
    options |= {name: bool(options[name]) for name in ("no_forces", "recover")}
    selection = options.pop("selection")
    given = Input(topology, trajectories, temperature, forces=forces, weights=weights, **options)
    return read_molecule(Molecule(topology.stem, mapping, temperature, (given,), selection), report)


def read_molecule(molecule: Molecule, report: Callable[..., None]) -> Frames:
    """Frames of a molecule, which know what of it is mapped; that is said on standard error."""
    from cgsurrogate import workflows
    from cgsurrogate.data import contents, molecules

    make, said = workflows.mapping_builder(molecule.mapping, molecule.selection), list[str]()

    def build(structure: Any) -> Any:
        made = make(structure)
        said.extend(line for line in contents.words(structure, made) if line not in said)
        return made

    frames = molecules.read(molecule, build, report)
    said.extend([*contents.mirror_words(frames), *frames.provenance.left_out])
    for line in said:
        click.echo(line, err=True)
    return frames.with_provenance(mapping=molecule.mapping, contents=tuple(said))


def fresh(
    folder: Path, manifest: str, force: bool, made: Path | None = None, record: dict[str, Any] | None = None
) -> None:
    """Refuse to overwrite a finished result unless told to, and what is no result of this command in any case.

    A result that this command has made of the same is not refused: what it is made of is the ``record``, which is in
    the file ``made``.
    """
    from cgsurrogate.core import filesystem
    from cgsurrogate.core.differences import differences, words

    filesystem.refuse_foreign(folder, manifest, "training.json" if manifest == "model.json" else manifest)
    if force or not (folder / manifest).exists():
        return
    if made is None or record is None or not made.exists():
        raise click.ClickException(f"{folder} is already complete; give --force to replace it, or another folder")
    if changes := differences(filesystem.read_json(made), record):
        raise ValueError(f"{folder} was made differently ({words(changes)}); choose another folder, or give --force")


def one_thread() -> None:
    """One thread per process: two on a busy machine are slower."""
    import torch

    torch.set_num_threads(1)


def computing_on(device: str, quiet: bool) -> None:
    """Check the device of ``--device`` before anything is written, and say what is used."""
    from cgsurrogate.core import devices

    used = devices.chosen(device)
    if not quiet:
        click.echo(f"computing on {devices.words(used)}", err=True)
