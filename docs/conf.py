"""Settings of the documentation, and what is made at build time: the pages of the API and of the commands.

Build with ``sphinx-build -W -b html docs docs/_build``. Modules are found by walking the package, and commands by
walking the command line, so that neither is listed by hand.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent.resolve()
ROOT = HERE.parent
PACKAGE = "cgsurrogate"
MADE = HERE / "_generated"
sys.path.insert(0, str(ROOT))

project = PACKAGE
author = "the authors of cgsurrogate"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
extensions.append("sphinx-mathjax-offline")  # formulas need no network
exclude_patterns = ["_build", "_generated/commands.md", "_generated/api.md"]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

default_role = "code"  # single backticks in docstrings stand for code
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_default_options["ignore-module-all"] = True  # what a module re-exports is documented where it is defined
autodoc_mock_imports = ["openmm"]
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 100
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # two classes of one name: an annotation then gets no link

html_theme = "furo"
html_title = "cgsurrogate"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
pygments_style = "friendly"


# --- the API: a page for each module -------------------------------------------------------------------------------


def modules(folder: Path) -> list[Path]:
    """Public modules and packages of a package, by name; what begins with an underscore is left out."""
    found = [p for p in folder.glob("*.py") if not p.name.startswith("_")]
    found += [p for p in folder.iterdir() if (p / "__init__.py").is_file() and not p.name.startswith("_")]
    return sorted(found, key=lambda p: (p.suffix == ".py", p.stem))


def first_sentence(path: Path) -> str:
    """Of the docstring of a module or package, read without importing it."""
    source = path if path.suffix == ".py" else path / "__init__.py"
    text = ast.get_docstring(ast.parse(source.read_text())) or ""
    sentence = re.split(r"(?<=\.)\s", " ".join(text.split("\n\n")[0].split()), maxsplit=1)[0]
    return escaped(sentence.replace("``", "`"))


def write_api(path: Path, name: str) -> list[Path]:
    """The page of a package or module, and the pages of all that is in it; all their files."""
    package = path.suffix != ".py"
    inside = modules(path) if package else []
    lines = [f"# {name.removeprefix(PACKAGE + '.')}", ""]
    lines += ["```{eval-rst}", f".. automodule:: {name}", *(["   :no-members:"] if package else []), "```", ""]
    page = MADE / "api" / f"{name}.md"
    rewrite(page, "\n".join(lines + contents(inside, name)))
    return [page, *(below for one in inside for below in write_api(one, f"{name}.{one.stem}"))]


def contents(inside: list[Path], name: str) -> list[str]:
    """A list of what is in a package, with a sentence each, and the same for the bar at the side."""
    if not inside:
        return []
    at = f"/_generated/api/{name}"
    lines = [f"- [`{one.stem}`]({at}.{one.stem}.md): {first_sentence(one)}".rstrip(": ") for one in inside]
    return [*lines, "", "```{toctree}", ":hidden:", "", *(f"{one.stem} <{at}.{one.stem}>" for one in inside), "```", ""]


# --- the commands --------------------------------------------------------------------------------------------------


def command_lines(command, words: str, above) -> list[str]:
    """Heading, usage, help and options of a command and of those below it."""
    import click

    context = click.Context(command, parent=above, info_name=words.split()[-1], max_content_width=88)
    usage = command.get_usage(context).removeprefix("Usage: ")
    inside = getattr(command, "commands", {})
    lines = [f"## `{words}`", "", *tidy(command.help or ""), "", "```text", usage, "```", ""]
    options = [p for p in command.get_params(context) if isinstance(p, click.Option) and not inside]
    rows = [record for p in options if (record := p.get_help_record(context))]
    if rows:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| `{cell(a)}` | {escaped(cell(b))} |" for a, b in rows] + [""]
    if command.epilog:
        lines += ["Example:", "", "```text", command.epilog.removeprefix("Example:").strip(), "```", ""]
    for name, one in inside.items():
        lines += command_lines(one, f"{words} {name}", context)
    return lines


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def escaped(text: str) -> str:
    """Text for people: nothing of it is markup but what stands in backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([*_<>\[\]$])", r"\\\1", p) for p in parts)


def tidy(text: str) -> list[str]:
    return [line for part in text.replace("\b", "").split("\n\n") for line in (escaped(" ".join(part.split())), "")]


def write_commands() -> None:
    import click

    from cgsurrogate.cli import group

    above = click.Context(group, info_name=PACKAGE, **group.context_settings)
    pages = [command_lines(one, f"{PACKAGE} {name}", above) for name, one in group.commands.items()]
    rewrite(MADE / "commands.md", "\n".join(line for lines in pages for line in lines))


def rewrite(path: Path, text: str) -> None:
    """Only where it differs, so that a second build reads what changed and no more."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


# --- docstrings ----------------------------------------------------------------------------------------------------


SECTION = re.compile(r"(Args|Returns|Raises|Attributes|Yields):\s*")


def prepare(app, what, name, thing, options, lines: list[str]) -> None:
    """Docstrings as they are written here -> reST: indented formulas stay as they are; stars and bars are no markup."""
    out: list[str] = []
    section = literal = False
    if lines and SECTION.fullmatch(lines[0]) and not lines[1].startswith(" "):  # dedented with the first line
        lines[1:] = ["    " + line for line in lines[1:]]
    for line in lines:
        indented, blank = line.startswith(" "), not line.strip()
        if blank:
            out.append("")
            continue
        if not indented:
            section, literal = bool(SECTION.fullmatch(line)), False
        elif not section and not literal and out and out[-1] == "" and not re.search(r"::\s*$", text_before(out)):
            out += ["::", ""]
            literal = True
        out.append(line if literal and indented else plain(line))
    lines[:] = out


def text_before(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")


def plain(line: str) -> str:
    """Escape what reST would take for markup outside of backticks; *emphasis* and **weight** stay."""
    parts = re.split(r"(``.*?``|`[^`]*`)", line)
    return "".join(p if p.startswith("`") else escape(p) for p in parts)


def escape(text: str) -> str:
    text = re.sub(r"(?<=\w)_(?!\w)|\|", lambda m: "\\" + m.group(), text)
    kept = re.split(r"(?<![\w*\\])(\*{1,2}(?=\w)[^*\n]*\w\*{1,2})(?![\w*])", text)
    return "".join(p if i % 2 else p.replace("*", r"\*") for i, p in enumerate(kept))


def skip(app, what, name, thing, skipped, options):
    """Fields of named tuples have no words of their own."""
    return True if str(getattr(thing, "__doc__", "")).startswith("Alias for field number") else None


def setup(app) -> None:
    (MADE / "api").mkdir(parents=True, exist_ok=True)
    rooms = modules(ROOT / PACKAGE)
    rewrite(MADE / "api.md", "\n".join(contents(rooms, PACKAGE)))
    pages = {page for one in rooms for page in write_api(one, f"{PACKAGE}.{one.stem}")}
    for page in set((MADE / "api").glob("*.md")) - pages:  # of a module that is gone
        page.unlink()
    write_commands()
    app.connect("autodoc-process-docstring", prepare, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", skip)
