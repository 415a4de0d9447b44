"""Data goes one way: rooms import downwards, files never in a circle, and heavy packages stay where they belong."""

import ast
import graphlib
from pathlib import Path

import pytest

from cgsurrogate.core.registry import FAMILIES

ROOT = Path(__file__).parents[1] / "cgsurrogate"
PHYSICS = ("core", "geometry")
ROOMS = {  # from the ground up: what each room may import
    "core": (),
    "geometry": ("core",),
    "data": PHYSICS,
    "models": PHYSICS,
    "analysis": PHYSICS,
    "simulation": (*PHYSICS, "models"),
    "comparison": (*PHYSICS, "analysis"),
    "training": (*PHYSICS, "models", "analysis", "simulation"),
    "report": (*PHYSICS, "analysis", "comparison"),
    "workflows": (*PHYSICS, "data", "models", "analysis", "simulation", "comparison", "training", "report"),
    "testing": (*PHYSICS, "data", "models", "analysis", "simulation", "comparison"),
    "cli": ("core", "data", "models", "simulation", "comparison", "training", "report", "workflows", "testing"),
}
CONFINED = {  # package -> the only rooms or files that may import it
    "pytorch_lightning": ("training",),
    "matplotlib": ("report",),
    "jinja2": ("report",),
    "click": ("cli",),
    "rich": ("cli",),
    "openmm": ("data/generation", "models/engines"),
    "ase": ("models/engines",),
    "safetensors": ("models/model.py", "simulation/checkpoint.py"),
    "torch": (
        "core",
        "geometry",
        "models",
        "analysis/kinetics",
        "simulation",
        "training",
        "workflows",
        "testing",
        "cli",
    ),
}
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py") if "vendor" not in path.parts)


def imports(path):
    """Dotted names imported anywhere in a file, also inside functions; TYPE_CHECKING imports count as well."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(path):
    """The files of the package that a file imports."""
    for name in imports(path):
        parts = name.split(".")[1:] if name.startswith("cgsurrogate.") else []
        found = next((f for n in (len(parts), len(parts) - 1) if (f := Path(*parts[:n], "x").parent) in MODULES), None)
        if found is not None:
            yield MODULES[found]


MODULES = {path.parent if path.name == "__init__.py" else path.with_suffix(""): path for path in FILES}


def test_the_root_holds_no_module_but_the_doors():
    assert {p.name for p in FILES if len(p.parts) == 1} <= {"__init__.py", "__main__.py"}
    assert {p.parts[0] for p in FILES if len(p.parts) > 1} == set(ROOMS)


@pytest.mark.parametrize("path", [p for p in FILES if len(p.parts) > 1], ids=str)
def test_a_room_imports_only_what_lies_below_it(path):
    here = path.parts[0]
    for other in own(path):
        assert other.parts[0] in (here, "__init__.py", *ROOMS[here]), f"{path} imports {other}"
    for name in imports(path):
        allowed = CONFINED.get(name.split(".")[0])
        assert allowed is None or any(str(path).startswith(place) for place in allowed), f"{path} imports {name}"


def test_no_files_import_one_another_in_a_circle():
    graphlib.TopologicalSorter({path: set(own(path)) - {path} for path in FILES}).prepare()


def test_no_file_imports_a_kind_by_name():
    """Kinds are reached through the registry; only what a family shares (a leading underscore) is imported directly."""
    folders = [Path(*package.split(".")[1:]) for package in FAMILIES.values()]
    for path in FILES:
        for other in own(path):
            assert other.parent not in folders or other.name.startswith("_"), f"{path} imports the kind {other}"


def test_no_pickle_and_no_unsafe_loading():
    for path in FILES:
        text = (ROOT / path).read_text()
        assert not {"pickle", "cPickle", "dill", "joblib"} & set(imports(path)), path
        assert "weights_only=False" not in text and "allow_pickle=True" not in text, path
