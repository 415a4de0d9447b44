"""Templates to one offline file: every script and style inline, and a policy that forbids the network."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

from cgsurrogate.core import filesystem

_HERE = Path(__file__).parent
TEMPLATES = _HERE / "templates"
VENDOR = _HERE / "vendor"


def write(out: str | Path, template: str, **values: Any) -> Path:
    """Render a template into the file ``out``, whole or not at all. Returns its path."""
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    filesystem.write_text(out, render(template, **values))
    return out


def render(template: str, **values: Any) -> str:
    """One self-contained page. Values are escaped; only the package's own scripts may run, each named by its hash."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    scripts = {}
    if values.get("player"):
        scripts = {"viewer": _script(VENDOR / "3Dmol-min.js"), "player_script": _script(TEMPLATES / "player.js")}
    marked = {name: jinja2.utils.markupsafe.Markup(text) for name, text in scripts.items()}
    css = jinja2.utils.markupsafe.Markup((TEMPLATES / "style.css").read_text())
    return environment.get_template(template).render(policy=policy(*scripts.values()), css=css, **marked, **values)


def _script(path: Path) -> str:
    text = path.read_text()
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError(f"{path.name} cannot be put into a page: it holds </script or <!--; take the published build")
    return text.replace("\r\n", "\n")


def policy(*scripts: str) -> str:
    """Content-Security-Policy: no network, no frames, no forms; scripts by sha256 only."""
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts]
    return (
        f"default-src 'none'; script-src {' '.join(hashes) or chr(39) + 'none' + chr(39)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; connect-src 'none'; form-action 'none'; base-uri 'none'"
    )


def small_png(content: bytes, scale: float = 1.0) -> bytes:
    """The same PNG with a palette of 256 colours and ``scale`` times the pixels a side, where that is smaller."""
    from PIL import Image

    memory = io.BytesIO()
    image = Image.open(io.BytesIO(content)).convert("RGB")
    if scale < 1:
        image = image.resize([max(1, round(scale * side)) for side in image.size], Image.Resampling.LANCZOS)
    image.quantize(256, dither=Image.Dither.NONE).save(memory, format="png", optimize=True)
    return min(content, memory.getvalue(), key=len)


def data_image(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
