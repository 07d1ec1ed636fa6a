"""The ``rethink-ray`` command. Errors we foresaw print as one sentence and no traceback.

Exit codes: 0 done, 1 our mistake (of ``doctor`` and ``data check --strict``: something was found;
of ``report`` and ``findings``: a section is missing), 2 the user's mistake, 3 incomplete,
130/143 stopped.
"""

import errno
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from rethink_ray.commands import datasets, results, single, study
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
study.register(app)
results.register(app)
single.register(app)
app.add_typer(datasets.build(), name="data")


def _show_version(asked: bool) -> None:
    if asked:
        print(f"rethink-ray {version('rethink-ray')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """What stands before a command."""


def main() -> None:
    """Run the command line; the console script's entry point."""
    try:
        app()
    except RethinkError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, SpecError | DataError | RecordError) else 1)
    except OSError as error:
        said = _machine_fault(error)
        if said is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        sys.exit(3 if error.errno in FULL else 2)


FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT)


def _machine_fault(error: OSError) -> str | None:
    """A file that cannot be read or written, as a sentence; None for what nobody foresaw."""
    where = error.filename or "disk"
    if error.errno in FULL:
        return f"{where}: {error.strerror}. Free some space, then run the same command again."
    if error.errno in DENIED:
        return f"{where}: {error.strerror}. Name a path that can be read and written."
    return None


if __name__ == "__main__":
    main()
