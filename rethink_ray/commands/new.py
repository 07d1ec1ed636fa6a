"""``new``: a study file for a folder of labelled pictures, without a word of YAML typed."""

import textwrap
from pathlib import Path
from typing import Annotated

import typer

SCREEN_WIDTH, LABEL_COLUMN = 100, 11


def register_new_command(app: typer.Typer) -> None:
    """The command line has this command."""
    app.command("new")(draft_file)


def draft_file(
    folder: Annotated[Path, typer.Argument(help="folder of labelled pictures, or its data.yaml")],
    hours: Annotated[float, typer.Option(help="hours that the study may take")] = 8.0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="the study file [FOLDER.yaml]")
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="weights to start from, beside those in caches"),
    ] = None,
    arms: Annotated[
        str | None, typer.Option(metavar="A,B", help="compare these, e.g. scratch,finetuned")
    ] = None,
    pace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="paces of a machine [this machine is timed]"),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=0, help="GPUs on each node [those of this machine]")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="equal machines")] = 1,
) -> None:
    """Write a study for a folder of labelled pictures that fits your hours.

    Looks at the pictures, cuts missing splits, times this machine for some seconds, and says what
    the study will tell. Nothing is asked, downloaded or trained.
    """
    from rethink_ray.drafting.draft import DraftRequest, draft_study

    request = DraftRequest(
        folder=folder,
        hours=hours,
        out=out,
        weights=tuple(weights or ()),
        arms=tuple(arm.strip() for arm in arms.split(",")) if arms else (),
        pace=pace,
        gpus=gpus,
        nodes=nodes,
    )
    draft_study(request, say=print_wrapped)


def print_wrapped(line: str) -> None:
    """The line is on the screen, continued under its sentence."""
    indent = " " * LABEL_COLUMN
    print(
        textwrap.fill(
            line,
            SCREEN_WIDTH,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ),
        flush=True,
    )
