"""A system file: one or many molecules with their trajectories, and what ``run`` is to do with them, as TOML.

What is said further up holds for all that stands below it: for the file, for a molecule, for a group of trajectories.
Paths are relative to the file, and may be patterns.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgsurrogate.core import filesystem
from cgsurrogate.data.frame_weights import file_of
from cgsurrogate.data.molecules import Molecule
from cgsurrogate.data.read import Input

KINDS = {  # of values: what TOML gives for them, and what they are called
    "text": (str,),
    "texts": (str, list),
    "number": (int, float),
    "whole number": (int,),
    "whole numbers": (list,),
    "true or false": (bool,),
    "table": (dict,),
    "tables": (list,),
}
FILES = {"trajectories": "texts", "forces": "texts", "weights": "texts", "energies": "texts", "bias": "texts"}
GROUP = {  # fields of ``Input``
    "topology": "text",
    "temperature": "number",
    "dt": "number",
    "begin": "number",
    "end": "number",
    "stride": "whole number",
    "length_unit": "text",
    "force_unit": "text",
    "no_forces": "true or false",
    "recover": "true or false",
    "aggregate": "text",
    "windows": "whole numbers",
    **FILES,
}
MOLECULE = {**GROUP, "mapping": "text", "selection": "text", "groups": "tables"}
FILE = {**MOLECULE, "molecules": "table", "run": "table"}
OWN = ("windows", *FILES)  # belong to one group, and are not handed down beside groups
MAPPING = "backbone"


@dataclasses.dataclass(frozen=True)
class System:
    """What a file says.

    Attributes:
        molecules: at least one.
        run: settings of ``run``, not looked at.
    """

    molecules: tuple[Molecule, ...]
    run: Mapping[str, Any]

    def chosen(self, name: str | None) -> tuple[Molecule, ...]:
        """The molecule of that name, or all without a name.

        Raises:
            ValueError: there is none of that name.
        """
        names = [molecule.name for molecule in self.molecules]
        if name is not None and name not in names:
            raise ValueError(f"expected a molecule out of {', '.join(names)}, got {name!r}")
        return tuple(molecule for molecule in self.molecules if name in (None, molecule.name))


def load(path: Path) -> System:
    """Read a file.

    Raises:
        FileNotFoundError: no such file, or none of those that it names.
        ValueError: no TOML, an unknown key, a value of another kind; the line names the place.
    """
    path = filesystem.existing(path, "a system file")
    try:
        table = tomllib.loads(path.read_text())
    except (ValueError, RecursionError) as error:  # among them numbers of too many digits, and text that is none
        raise ValueError(f"{path} is no TOML ({filesystem.first_line(error)})") from None
    checked(table, FILE, str(path))
    common = {key: value for key, value in table.items() if key in MOLECULE}
    named = table.get("molecules")
    if named is None:
        return System((molecule(path.stem, common, path.parent, str(path)),), table.get("run", {}))
    if given := [key for key in (*OWN, "groups") if key in common]:
        raise ValueError(f"{path}: {given[0]} stands outside of [molecules.NAME]; put it into that of a molecule")
    if not named:
        raise ValueError(f"{path}: [molecules] is empty; describe one as [molecules.NAME]")
    found = []
    for name, own in named.items():
        where = f"{path}, [molecules.{name}]"
        if not isinstance(own, dict):
            raise ValueError(f"{where}: expected a table of its own, got {own!r}")
        if Path(name).name != name or name.startswith("."):
            raise ValueError(f"{where}: the name becomes a folder, so it cannot hold / or begin with a dot")
        found.append(molecule(name, {**common, **checked(own, MOLECULE, where)}, path.parent, where))
    return System(tuple(found), table.get("run", {}))


def molecule(name: str, table: dict[str, Any], base: Path, where: str) -> Molecule:
    """A molecule from the keys of ``MOLECULE``, or from what ``described`` gave.

    Args:
        base: folder that paths are relative to.
        where: for messages.
    """
    checked(table, MOLECULE, where)
    common = {key: value for key, value in table.items() if key in GROUP}
    groups = table.get("groups")
    if groups is None:
        groups = [{}]
    elif given := [key for key in OWN if key in common]:
        raise ValueError(f"{where}: {given[0]} stand beside [[groups]]; put them into one of these")
    if not groups or not all(isinstance(group, dict) for group in groups):
        raise ValueError(f"{where}: expected groups as [[groups]], a table each")
    several = "groups" in table
    made = []
    for number, own in enumerate(groups, 1):
        here = f"{where}, group {number}" if several else where
        made.append(_group({**common, **checked(own, GROUP, here)}, base, here))
    kelvins = {group.temperature for group in made}
    wanted = table.get("temperature", made[0].temperature)
    if "temperature" not in table and len(kelvins) > 1:
        listed = ", ".join(f"{kelvin:g}" for kelvin in sorted(kelvins))
        raise ValueError(f"{where}: groups are at {listed} K; say which is wanted, temperature = ..., above the groups")
    mapping = _mapping(table.get("mapping", MAPPING), base)
    return Molecule(name, mapping, float(wanted), tuple(made), table.get("selection"))


def described(one: Molecule) -> dict[str, Any]:
    """A molecule as plain values, with its files by name, which ``molecule`` takes."""
    usual = {field.name: field.default for field in dataclasses.fields(Input)}
    groups = []
    for group in one.groups:
        values = {name: getattr(group, name) for name in GROUP}
        groups.append({name: _plain(value) for name, value in values.items() if value != usual[name]})
    made: dict[str, Any] = {"mapping": one.mapping, "temperature": one.temperature, "groups": groups}
    return made if one.selection is None else {**made, "selection": one.selection}


def files(one: Molecule) -> list[Path]:
    """All that is read."""
    found = []
    for group in one.groups:
        named = (group.topology, *(spec for name in FILES for spec in getattr(group, name)))
        found += [file_of(spec) for spec in named]
    return list(dict.fromkeys(found))


def with_options(one: Molecule, options: Mapping[str, Any]) -> Molecule:
    """With other values of fields: of all groups, or of the molecule.

    Another temperature is that of the simulation as well, unless there are groups at several temperatures.
    """
    changed = {name: value for name, value in options.items() if name in GROUP}
    own = {name: value for name, value in options.items() if name in ("mapping", "selection", "temperature")}
    if len({one.temperature, *(group.temperature for group in one.groups)}) > 1:
        changed.pop("temperature", None)
    return dataclasses.replace(one, **own, groups=tuple(dataclasses.replace(group, **changed) for group in one.groups))


def checked(table: dict[str, Any], expected: Mapping[str, str], where: str) -> dict[str, Any]:
    """The table itself.

    Raises:
        ValueError: a key that is not expected, or a value that is not of the kind that is.
    """
    for key, value in table.items():
        if key not in expected:
            near = difflib.get_close_matches(key, expected, 1)
            more = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(expected)}"
            raise ValueError(f"{where}: unknown key {key!r}; {more}")
        kind = expected[key]
        right = isinstance(value, KINDS[kind]) and (bool in KINDS[kind] or not isinstance(value, bool))
        items = value if isinstance(value, list) else []
        inside = {"texts": str, "whole numbers": int, "tables": dict}.get(kind, object)
        if not right or not all(isinstance(item, inside) for item in items):
            called = {"texts": "a text or a list of texts", "true or false": kind, "whole numbers": f"a list of {kind}"}
            raise ValueError(f"{where}: expected {called.get(kind, f'a {kind}')} for {key}, got {value!r}")
    return table


def _group(table: dict[str, Any], base: Path, where: str) -> Input:
    for key, meaning in (("topology", "a file"), ("trajectories", "files"), ("temperature", "a number of kelvin")):
        if not table.get(key):
            raise ValueError(f"{where}: {key} is missing; expected {key} = ..., {meaning}")
    values = dict(table)
    (values["topology"],) = _paths("topology", [table["topology"]], base, where)
    for key in FILES.keys() & table.keys():
        given = table[key]
        values[key] = tuple(_paths(key, given if isinstance(given, list) else [given], base, where))
    if "windows" in values:
        values["windows"] = tuple(values["windows"])
    try:
        return Input(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _paths(key: str, given: list[str], base: Path, where: str) -> list[str]:
    """Files with what stands behind them (``:name:unit``), patterns expanded."""
    found = []
    for text in given:
        head, colon, rest = text.partition(":")
        matches = filesystem.matching(str(base / Path(head).expanduser()))
        for match in matches:
            if not Path(match).is_file():
                raise FileNotFoundError(f"{where}: expected {key} at {match}, there is none")
        if not matches:
            raise FileNotFoundError(f"{where}: no file matches {base / head}, as {key}")
        found += [f"{match}{colon}{rest}" for match in matches]
    return found


def _mapping(text: str, base: Path) -> str:
    """With the file that it names, ``custom:file=beads.txt`` or ``mine.py``, from the folder of the system file."""
    name, colon, rest = text.partition(":")
    if name.endswith(".py"):
        name = str(base / name)
    items = [item.partition("=") for item in rest.split(",")]
    moved = [f"{key}={base / value}" if key.strip() == "file" else key + equals + value for key, equals, value in items]
    return f"{name}{colon}{','.join(moved)}"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else str(value)
