"""Small C files of the package, compiled on first use where there is a compiler; None where there is none.

What is compiled is kept in the user's cache folder under a name made of the source, its constants, the compiler and the
processor. ``CGSURROGATE_NATIVE=0`` in the environment turns this off.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

# not -ffast-math: it would switch denormal numbers off in the whole process
LOOSE = ("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math", "-freciprocal-math")
FLAGS = ("-std=c11", "-O3", "-march=native", *LOOSE, "-shared", "-fPIC")
COMPILERS = ("cc", "gcc", "clang")
SECONDS = 120


@functools.cache
def library(source: Path, **constants: int) -> ctypes.CDLL | None:
    """The compiled file, with ``constants`` as macros."""
    compiler = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if compiler is None or os.environ.get("CGSURROGATE_NATIVE") == "0":
        return None
    macros = [f"-D{name}={value}" for name, value in sorted(constants.items())]
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, timeout=SECONDS, check=True).stdout
        parts = (source.read_bytes(), repr((FLAGS, macros)).encode(), version, _processor())
        built = _folder() / f"{source.stem.strip('_')}-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:24]}.so"
        if not built.exists():
            _compile([compiler, *FLAGS, *macros], source, built)
        return ctypes.CDLL(str(built))
    except (
        OSError,
        RuntimeError,
        subprocess.SubprocessError,
    ):  # a machine where this does not work is one without a compiler
        return None


def _compile(command: list[str], source: Path, path: Path) -> None:
    """Under another name first, so that another process never finds half a file."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = [*command, str(source), "-o", str(made), "-lm"]
        subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
        made.replace(path)


def _folder() -> Path:
    """The user's own cache folder, which nobody else may write to."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cgsurrogate"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid") and (root.stat().st_uid != os.getuid() or root.stat().st_mode & 0o022):
        raise PermissionError(f"{root} belongs to another user or is open to others")
    return root


def _processor() -> bytes:
    """What code for this machine's processor depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        kinds = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    except OSError:
        kinds = []
    return "|".join((platform.machine(), platform.processor(), *kinds)).encode()
