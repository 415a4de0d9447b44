"""A system file of what was generated, for ``map --config`` and ``run --config``."""

from __future__ import annotations

import json
from pathlib import Path

from cgsurrogate.core import filesystem
from cgsurrogate.data.generation.protocol import Protocol

NAME = "system.toml"


def write_system_file(out: Path, names: list[str], protocol: Protocol) -> Path:
    """Of all molecules, whose folders in ``out`` have these names; an empty name is ``out`` itself."""
    lines = [f"temperature = {protocol.temperature:g}"]
    for name in names:
        place = f"{name}/" if name else ""
        key = f"molecules.{json.dumps(name)}" if name else ""
        lines += ["", f"[{key}]"] if key else []
        lines.append(f"topology = {json.dumps(place + 'topology.pdb')}")
        if not protocol.tempering:
            lines += _files(place, "")
        for kelvin in protocol.tempering or ():
            lines += ["", f"[[{'.'.join(filter(None, (key, 'groups')))}]]", f"temperature = {kelvin:g}"]
            lines += _files(place, f"-{kelvin:g}K", energies=True)
    path = out / NAME
    filesystem.write_text(path, "\n".join(lines) + "\n")
    return path


def _files(place: str, ending: str, *, energies: bool = False) -> list[str]:
    found = {"trajectories": ".xtc", "forces": ".forces.npy"}
    if energies:
        found["energies"] = ".potential.npy:kJ/mol"
    named = [f"{key} = {json.dumps(f'{place}run*{ending}{suffix}')}" for key, suffix in found.items()]
    return [*named, 'force_unit = "kJ/mol/nm"']
