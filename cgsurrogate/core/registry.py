"""From a name to what it builds: a kind is a file in its family's folder; the signature of ``build`` is the schema."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import math
import pkgutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from cgsurrogate.core.limits import LARGEST_OPTION

FAMILIES = {  # stored models name families, never folders, so that folders can move
    "mappings": "cgsurrogate.data.mappings",
    "priors": "cgsurrogate.models.priors",
    "networks": "cgsurrogate.models.networks",
    "integrators": "cgsurrogate.simulation.integrators",
    "steppers": "cgsurrogate.models.steppers",
    "cvs": "cgsurrogate.analysis.cvs",
    "published": "cgsurrogate.comparison.published",
    "executors": "cgsurrogate.core.executors",
}
PLAIN = (bool, int, float, str, type(None))  # defaults that can be stored


@dataclasses.dataclass(frozen=True)
class Spec:
    """How something was built: its family, the name of its kind there, and all of its options."""

    family: str
    name: str
    options: Mapping[str, Any]

    def build(self, *arguments: Any) -> Any:
        """Another one, of these arguments."""
        return build(self.family, self.name, *arguments, **self.options)


_user_modules: dict[Path, tuple[tuple[int, int], ModuleType]] = {}
_trusted: set[Path] = set()


def kinds(family: str) -> tuple[str, ...]:
    """The names of one family: the files of its folder."""
    if family not in FAMILIES:
        raise ValueError(f"expected a family out of {', '.join(FAMILIES)}, got {family!r}")
    package = importlib.import_module(FAMILIES[family])
    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")))


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """``name:key=value,key=value`` -> name and options; values are numbers, true, false, or text.

    >>> parse("baoab:timestep=0.002,centre=false")
    ('baoab', {'timestep': 0.002, 'centre': False})
    >>> parse("backbone")
    ('backbone', {})
    """
    name, _, rest = text.partition(":")
    if not rest:
        return text, {}
    items = [item.partition("=") for item in rest.split(",")]
    if not all(equals for _, equals, _ in items):
        raise ValueError(f"expected name:key=value,key=value, got {text[:100]!r}")
    return name, {key.strip(): _value(value.strip()) for key, _, value in items}


def trust(text: str | Path) -> None:
    """The user names this kind: where it is a Python file, stored models and frames that name it may run it too."""
    name, _ = parse(str(text))
    if name.endswith(".py"):
        _trusted.add(Path(name).resolve())


def stored(text: str, origin: str | Path) -> str:
    """A kind that a stored file names, as this process may build it.

    A Python file is run only if the user has named it too (``trust``, or by using it). It may have moved since: one of
    the same name is taken for it.

    Raises:
        ValueError: it has not; ``origin`` is the stored file.
    """
    name, colon, options = text.partition(":")
    if not name.endswith(".py"):
        return text
    known, wanted = _trusted | set(_user_modules), Path(name)
    same = [path for path in known if path.name == wanted.name]
    if wanted.resolve() in known:
        same = [wanted.resolve()]
    if len(same) != 1:
        raise ValueError(
            f"{origin} names the Python file {name}, which is not run unless you say so; if you trust it, add "
            f"--trust {name} (in Python, cgsurrogate.core.registry.trust)"
        )
    return f"{same[0]}{colon}{options}"


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _module(family: str, name: str) -> ModuleType:
    if name.endswith(".py"):
        return _user_module(Path(name))
    known = kinds(family)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"expected one of the {family} {', '.join(known)}, or a path to a .py file, got {name[:100]!r}{hint}"
        )
    return importlib.import_module(f"{FAMILIES[family]}.{name}")


def _user_module(path: Path) -> ModuleType:
    """The module of a user's file, run again only if the file has changed, so that its classes stay the same ones."""
    if not path.is_file():
        raise ValueError(f"expected a Python file at {path}, there is none")
    path = path.resolve()
    mark = (path.stat().st_mtime_ns, path.stat().st_size)
    if path in _user_modules and _user_modules[path][0] == mark:
        return _user_modules[path][1]
    name = f"cgsurrogate_user_{path.stem}"
    if any(module.__name__ == name for other, (_, module) in _user_modules.items() if other != path):
        name += f"_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"  # two files of one name
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _user_modules[path] = mark, module
    sys.modules[name] = module  # where a process that is handed an object of the file looks for its class
    return module


class UserFiles:
    """The users' files in use; a process that is handed this has them, and may then be handed objects of them."""

    def __reduce__(self) -> tuple[Callable[..., UserFiles], tuple[list[str], list[str]]]:
        return _with_files, ([str(path) for path in _user_modules], [str(path) for path in _trusted])


def _with_files(paths: list[str], trusted: list[str]) -> UserFiles:
    _trusted.update(map(Path, trusted))
    for path in paths:
        _user_module(Path(path))
    return UserFiles()


def builder(family: str, name: str) -> Callable[..., Any]:
    """The ``build`` of a kind. For a user's file without one, what its family makes of that file (``adapt``)."""
    module = _module(family, name)
    made: Callable[..., Any] | None = getattr(module, "build", None)
    adapt = getattr(importlib.import_module(FAMILIES[family]), "adapt", None)
    if made is None and adapt is not None:
        made = adapt(module)
    if made is None:
        raise ValueError(f"{name} has no function build; see cgsurrogate kinds {family} for what it must take")
    return made


def build(family: str, name: str, *arguments: Any, **options: Any) -> Any:
    """Build a kind by name; what is built remembers its ``spec`` so that it can be stored, also the options left out.

    Raises:
        ValueError: no such kind, or an option that its ``build`` does not have.
    """
    make = builder(family, name)
    known = inspect.signature(make)
    _refuse_absurd(f"{family} {name!r}", options, known)
    try:
        bound = known.bind(*arguments, **options)
    except TypeError as error:
        names = [p.name for p in list(known.parameters.values())[len(arguments) :]]
        raise ValueError(f"{family} {name!r}: {error}; its options are: {', '.join(names) or 'none'}") from None
    built = make(*arguments, **options)
    if not hasattr(built, "spec"):
        bound.apply_defaults()
        defaults = list(bound.arguments.items())[len(arguments) :]
        whole = {key: value for key, value in defaults if isinstance(value, PLAIN)} | options
        object.__setattr__(built, "spec", Spec(family, name, whole))
    return built


def check(family: str, text: str) -> None:
    """Refuse a kind that there is none of, or options that it cannot have, without building it.

    Raises:
        ValueError: see ``build``.
    """
    name, options = parse(text)
    known = inspect.signature(builder(family, name))
    _refuse_absurd(f"{family} {name!r}", options, known)


def _refuse_absurd(what: str, options: Mapping[str, Any], known: inspect.Signature) -> None:
    """Numbers that are not finite, and sizes (options that are whole numbers) that no machine can build."""
    for key, value in options.items():
        size = key in known.parameters and type(known.parameters[key].default) is int
        if size and isinstance(value, float) and math.isfinite(value):
            raise ValueError(f"{what}: {key} must be a whole number, got {value}")
        most = LARGEST_OPTION if size else sys.float_info.max
        if isinstance(value, int | float) and not abs(value) <= most:
            raise ValueError(f"{what}: {key} must be finite and at most {most:,.6g}, got {value}")
