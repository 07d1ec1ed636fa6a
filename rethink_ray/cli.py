"""The ``rethink-ray`` command. Expected errors print as one sentence, without a traceback.

Exit codes: 0 done; 1 a fault of this program, of ``doctor`` and ``data check --strict`` a problem,
of ``report`` and ``findings`` a missing section; 2 the user's mistake; 3 incomplete; 130 and 143
stopped.
"""

import errno
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from rethink_ray.commands import datasets, new, own_detectors, results, single, study
from rethink_ray.spec.errors import DataError, RecordError, RethinkError, SpecError

app = typer.Typer(
    name="rethink-ray",
    help="Does pre-training pay on your data, and in which form? Tunes every contender with the "
    "same effort on a Ray cluster and writes findings with intervals.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
new.register_new_command(app)
study.register_study_commands(app)
results.register_result_commands(app)
single.register_run_commands(app)
own_detectors.register_detector_commands(app)
app.add_typer(datasets.build_data_group(), name="data")


def _print_version(is_given: bool) -> None:
    if is_given:
        print(f"rethink-ray {version('rethink-ray')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """Options before a command."""


def main() -> None:
    """The command line has run, and the process exits by its result."""
    try:
        app()
    except RethinkError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, SpecError | DataError | RecordError) else 1)
    except OSError as error:
        sentence = _explain_refusal(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(3 if error.errno in FULL else 2)


FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT)


def _explain_refusal(error: OSError) -> str | None:
    """Why a file cannot be read or written, as a sentence; None for any other error."""
    where = error.filename or "disk"
    if error.errno in FULL:
        return f"{where}: {error.strerror}. Free some space, then run the same command again."
    if error.errno in DENIED:
        return f"{where}: {error.strerror}. Name a path that can be read and written."
    return None


if __name__ == "__main__":
    main()
