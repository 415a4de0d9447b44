"""Where a result comes from: versions, machine, command, and the sha256 of what went in."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cgsurrogate import __version__
from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import MANIFEST

PACKAGES = ("torch", "pytorch-lightning", "numpy", "mdtraj", "deeptime")


def provenance() -> dict[str, Any]:
    """Versions, machine, command and time."""
    import importlib.metadata as metadata

    return {
        "cgsurrogate": __version__,
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "command": " ".join(sys.argv),
        "began": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def hashes(paths: Iterable[Path]) -> dict[str, str]:
    """sha256 of files, and of the manifest of a folder of frames, which holds those of its arrays."""
    named = [path / MANIFEST if path.is_dir() else path for path in dict.fromkeys(paths)]
    return {str(path): filesystem.sha256(path) for path in named if path.is_file()}
