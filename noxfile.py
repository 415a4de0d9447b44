"""The commands of a developer: ``nox -s lint types test``, in the environment that is active.

``nox -s setup`` first, once, in a fresh virtual environment.
"""

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "test"]


@nox.session
def setup(session: nox.Session) -> None:
    """Install the package as it stands here, with all that developing needs, and the hooks of commits."""
    session.run("python", "-m", "pip", "install", "-e", ".[dev,docs]")
    session.run("pre-commit", "install")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the limits on arguments."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy on the whole package."""
    session.run("mypy")


@nox.session
def test(session: nox.Session) -> None:
    """The quick tests; further words go to pytest: ``nox -s test -- tests/models``."""
    session.run("pytest", "-q", *session.posargs)


@nox.session(name="test-all")
def test_all(session: nox.Session) -> None:
    """All tests, the slow ones and the notebook as well."""
    session.run("pytest", "-q", "-m", "", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, in docs/_build; a warning is an error."""
    session.run("sphinx-build", "-W", "-b", "html", "docs", "docs/_build")


@nox.session
def bench(session: nox.Session) -> None:
    """Steps a second of force fields; docs/experiments say what others measure."""
    session.run("python", "benchmarks/force_field.py", *session.posargs)
