"""The command line. A command is a file of this folder; each reads, calls one function of the library, and writes.

Exit codes: 0 done, 1 error, 2 usage, 3 input that cannot be used, 4 completed with quarantined replicas,
5 stopped at a limit and resumable, 130 and 143 stopped by SIGINT and SIGTERM (saved where the message says so).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from cgsurrogate import __version__
from cgsurrogate.cli import (
    campaign,
    compare,
    example,
    export,
    extrapolation,
    inspect,
    kinds,
    map,
    predict,
    reference,
    report,
    reweight,
    run,
    simulate,
    split,
    status,
    submit,
    train,
    view,
)
from cgsurrogate.core import interrupts, messages

BAD_DATA, QUARANTINED, RESUMABLE = 3, 4, 5
LONGEST_USAGE = 500  # characters, where an argument is repeated
AGAIN = "what was finished is kept, the same command does the rest"


class _Ordered(click.Group):
    """Lists commands in the order of the data, and guesses what was meant."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.commands, 1)
            if not near or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", context) from None


@click.group(cls=_Ordered, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="cgsurrogate")
def group() -> None:
    """Learned coarse-grained surrogates of protein dynamics, compared with their all-atom reference.

    Start with:  cgsurrogate run -o RUN
    """


for _module in (
    run,
    predict,
    example,
    reference,
    inspect,
    map,
    split,
    reweight,
    train,
    simulate,
    extrapolation,
    compare,
    report,
    export,
    view,
    kinds,
    campaign,
    submit,
    status,
):
    group.add_command(_module.command)


def main() -> None:
    """Run the command line; a fault of the input is one line on standard error."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on a busy machine are slower than one
    messages.plain_warnings()
    if lifeline := os.environ.pop(interrupts.LIFELINE, ""):  # of a campaign
        interrupts.end_with(int(lifeline))
    raised = interrupts.Raised()
    try:
        with interrupts.raising() as raised:  # what can be continued notes a signal instead, and saves
            group.main(standalone_mode=False)
        code = 0
    except click.exceptions.Exit as end:
        code = end.exit_code
    except interrupts.Terminated:
        code = _stopped(signal.SIGTERM)
    except (click.exceptions.Abort, KeyboardInterrupt) as end:
        if isinstance(end.__context__, EOFError):  # click takes the end of any file for the end of its own input
            code = _fail("a file is empty or cut short", BAD_DATA)
        else:
            code = _stopped(raised.signal or signal.SIGINT)
    except click.ClickException as error:
        vars(error).update(message=messages.clean(error.message)[:LONGEST_USAGE])
        error.show()
        code = error.exit_code
    except BrokenPipeError:
        code = 1
    except Exception as error:
        if raised.signal is None or isinstance(error, interrupts.Stopped):
            code = _explain(error)
        else:  # it came of clearing up
            code = _stopped(raised.signal)
    for number in (signal.SIGTERM, signal.SIGINT):  # from here on they end the process without a traceback
        signal.signal(number, signal.SIG_DFL)
    sys.exit(code)


def _stopped(number: int) -> int:
    return _fail(f"stopped by {signal.Signals(number).name}; {AGAIN}", 128 + number, "Stopped")


def _explain(error: Exception) -> int:
    from cgsurrogate.core.filesystem import Busy
    from cgsurrogate.core.interrupts import Stopped

    if isinstance(error, Stopped):
        return _fail(str(error), RESUMABLE if error.signal is None else 128 + error.signal, "Stopped")
    said = messages.of_system(error) if isinstance(error, OSError) else str(error)
    text = said.strip() or type(error).__name__
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError | ValueError):
        return _fail(text, BAD_DATA)
    _log_traceback()
    if "can't allocate memory" in text:  # as torch says it
        return _fail("there is not enough memory for this; ask for a smaller model, or for fewer replicas", 1)
    expected = isinstance(error, Busy | FloatingPointError | RuntimeError | OSError | MemoryError)
    return _fail(text if expected else f"unexpected {type(error).__name__}: {text}; this is a fault of cgsurrogate", 1)


def _fail(text: str, code: int, word: str = "Error") -> int:
    print(f"{word}: {messages.clean(' '.join(text.split()))}", file=sys.stderr)
    return code


def _log_traceback() -> None:
    """Where a run folder was being written, its log gets the whole traceback; CGSURROGATE_DEBUG prints it."""
    import traceback

    if os.environ.get("CGSURROGATE_DEBUG"):
        traceback.print_exc()
    from cgsurrogate.cli import _options

    folder = _options.log_folder
    with contextlib.suppress(OSError):  # the folder may be the fault
        if folder is not None and Path(folder).is_dir():
            with open(Path(folder) / "log.txt", "a") as log:
                traceback.print_exc(file=log)
