"""Data goes one way: a file imports only from lower layers, and the heavy packages stay where they belong."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "cgsurrogate"

# Every module of the package with its layer; a folder speaks for its files.
LAYERS = {
    "__init__": 0,
    "units": 0,
    "files": 1,
    "stopping": 1,
    "beadtypes": 1,
    "choose": 1,
    "correlation": 1,
    "frames": 2,
    "packing": 2,
    "analytic": 2,
    "native": 2,
    "mapping": 3,
    "energy": 3,
    "propagator": 3,
    "cv": 3,
    "recipe": 3,
    "bondgraph": 3,
    "blocks": 3,
    "ensemble": 3,
    "kernel": 3,
    "ladder": 3,
    "assembly": 3,
    "tempering": 4,
    "turning": 7,
    "windows": 6,
    "hidden": 5,
    "jumping": 8,
    "turns": 5,
    "internal": 4,
    "zmatrix": 4,
    "corrected": 4,
    "fast": 4,
    "chunks": 4,
    "comparison_files": 4,
    "fes": 4,
    "msm": 4,
    "mappings": 5,
    "priors": 5,
    "networks": 5,
    "integrators": 5,
    "steppers": 5,
    "cvs": 5,
    "health": 5,
    "novelty": 5,
    "uncertainty": 6,
    "measures": 5,
    "named": 5,
    "biased": 5,
    "reweight": 6,
    "verdict": 5,
    "rates": 5,
    "distances": 6,
    "kinetics": 6,
    "metastable": 6,
    "sampling": 6,
    "fold": 6,
    "reference": 6,
    "training": 6,
    "plan": 6,
    "simulate": 7,
    "processes": 8,
    "parts": 9,
    "starts": 6,
    "structure": 6,
    "comparison": 6,
    "recipes": 7,
    "markov": 7,
    "landscapes": 7,
    "dynamics": 7,
    "compare": 8,
    "store": 8,
    "report": 8,
    "workflow": 10,
    "pipeline": 11,
    "cli": 12,
    "__main__": 13,
}
FAMILIES = ("mappings", "priors", "networks", "integrators", "steppers", "cvs", "recipes")
# Package -> the only places that may import it.
CONFINED = {
    "pytorch_lightning": {"training"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "click": {"cli"},
    "rich": {"cli"},
    "openmm": {"reference"},
    "safetensors": {"store", "chunks", "simulate"},
}
# The only places that may import torch: whatever learns or moves, and what drives it.
WITH_TORCH = {
    *(
        "energy",
        "analytic",
        "fast",
        "propagator",
        "internal",
        "zmatrix",
        "chunks",
        "health",
        "novelty",
        "priors",
        "networks",
        "integrators",
    ),
    *("steppers", "training", "corrected", "tempering", "turns", "turning", "jumping", "windows", "hidden"),
    *("plan", "simulate", "processes", "parts", "starts", "store", "workflow", "pipeline", "cli"),
}


def modules():
    return sorted(path for path in ROOT.rglob("*.py") if "vendor" not in path.parts)


def place(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def imports(path):
    """Dotted names imported anywhere in a file, also inside functions; TYPE_CHECKING imports count as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_from_lower_layers(path):
    here = place(path)
    assert here in LAYERS, f"give {here} a layer in this test"
    for name in imports(path):
        if not name.startswith("cgsurrogate."):
            continue
        there = name.split(".")[1]
        if there not in LAYERS or there == "__version__":
            continue
        same_folder = there == here and (ROOT / here).is_dir()
        assert LAYERS[there] < LAYERS[here] or same_folder, f"{path.name} (layer {LAYERS[here]}) imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_packages_stay_where_they_belong(path):
    here = place(path)
    for name in imports(path):
        top = name.split(".")[0]
        assert here in CONFINED.get(top, {here}), f"{path.name} imports {top}"
        assert top != "torch" or here in WITH_TORCH, f"{path.name} imports torch"


@pytest.mark.parametrize("family", FAMILIES)
def test_kinds_do_not_import_each_other(family):
    kinds = {p.stem for p in (ROOT / family).glob("*.py") if not p.stem.startswith("_")}
    assert kinds
    for path in (ROOT / family).glob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            assert not (parts[:2] == ["cgsurrogate", family] and len(parts) > 2 and parts[2] in kinds - {path.stem})


def test_no_file_imports_a_kind_by_name():
    """Kinds are reached through ``choose``; only shared helpers (leading underscore) may be imported directly."""
    for path in modules():
        for name in imports(path):
            parts = name.split(".")
            if len(parts) > 2 and parts[1] in FAMILIES and place(path) != parts[1]:
                assert parts[2].startswith("_"), f"{path.relative_to(ROOT)} imports the kind {name}"


def test_no_pickle_and_no_unsafe_loading():
    for path in modules():
        text = path.read_text()
        assert not {"pickle", "cPickle", "dill", "joblib"} & set(imports(path)), path
        assert "weights_only=False" not in text and "allow_pickle=True" not in text, path
