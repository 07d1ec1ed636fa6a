"""``run``, ``resume``, ``status``, ``plan`` and ``doctor``: a study from question to records."""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethink_ray.spec.shipped import shipped_studies

if TYPE_CHECKING:
    from rethink_ray.records.directory import StudyDirectory
    from rethink_ray.search.time_limit import TimeLimit

StudyFile = Annotated[
    str,
    typer.Argument(help=f"a study file, or one that ships: {', '.join(shipped_studies())}"),
]
StudyDir = Annotated[str, typer.Argument(help="a study directory, or its URI")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="a key of the file, e.g. budget.trials=4; repeatable"
    ),
]
Address = Annotated[str | None, typer.Option(envvar="RAY_ADDRESS", help="address of a Ray cluster")]
Slots = Annotated[
    int | None, typer.Option(min=1, help="trials at once on this machine [all cores]")
]
Log = Annotated[
    str, typer.Option(help="trackers of single trials: tensorboard, mlflow, wandb, or none")
]
Hours = Annotated[
    float | None,
    typer.Option(
        help="end after so many hours: a job starts only if it should end in time, and running "
        "ones write checkpoints; run or resume goes on"
    ),
]


def register_study_commands(app: typer.Typer) -> None:
    """The command line has these commands."""
    app.command("run")(run_file)
    app.command("resume")(resume)
    app.command("status")(status)
    app.command("plan")(print_plan)
    app.command("doctor")(doctor)
    app.command("schema")(schema)


def run_file(
    study: StudyFile,
    out: Annotated[str | None, typer.Option(help="study directory or URI [studies/NAME]")] = None,
    settings: Settings = None,
    address: Address = None,
    slots: Slots = None,
    hours: Hours = None,
    log: Log = "tensorboard",
) -> None:
    """Run a study, or continue the one its directory holds."""
    limit = _limit_to(hours)
    from rethink_ray.cluster.trackers.factory import tracker_names
    from rethink_ray.records.directory import StudyDirectory
    from rethink_ray.session import load_study_input, start_or_continue

    trackers = tracker_names(log)
    given = load_study_input(study, settings or [])
    root = out or f"studies/{given.study.study}"
    is_continued = StudyDirectory.holds_study(root)
    directory = start_or_continue(root, given)
    if is_continued:
        print(f"continuing {directory.address}")
    _run_to_end(directory, address, slots, trackers, limit)


def resume(
    directory: StudyDir,
    trials: Annotated[int | None, typer.Option(help="search trials per cell, in all")] = None,
    replicates: Annotated[int | None, typer.Option(help="replicates per incumbent, in all")] = None,
    searches: Annotated[int | None, typer.Option(help="searches per cell, in all")] = None,
    lengths: Annotated[str | None, typer.Option(help="longer lengths, e.g. 9,12")] = None,
    edited: Annotated[
        str | None,
        typer.Option("--study", help="the study's file, with more arms, regimes or claims"),
    ] = None,
    address: Address = None,
    slots: Slots = None,
    hours: Hours = None,
    log: Log = "tensorboard",
) -> None:
    """Continue a study from its directory, also with a larger budget or with more arms."""
    limit = _limit_to(hours)
    from rethink_ray.cluster.resume import resume_lines
    from rethink_ray.cluster.trackers.factory import tracker_names
    from rethink_ray.records.directory import StudyDirectory
    from rethink_ray.session import (
        edit_study,
        extend_study,
        load_study_input,
        require_same_inputs,
    )
    from rethink_ray.spec.errors import SpecError, explain

    trackers = tracker_names(log)
    try:
        longer = [float(x) for x in lengths.split(",")] if lengths else None
    except ValueError:
        raise SpecError(explain("--lengths", "must read like 9,12", lengths)) from None
    opened = StudyDirectory.open(directory)
    before = opened.study
    if edited is not None:
        edit_study(opened, load_study_input(edited))
    extend_study(opened, trials=trials, replicates=replicates, searches=searches, lengths=longer)
    require_same_inputs(opened)
    for line in resume_lines(opened, before):
        print(line)
    _run_to_end(opened, address, slots, trackers, limit)


def status(
    directory: StudyDir,
    watch: Annotated[bool, typer.Option(help="keep showing it until interrupted")] = False,
    write_pace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write how fast this study ran, for plan --pace FILE"),
    ] = None,
) -> None:
    """Show how far a study is, from its directory: scores, running jobs, the expected end."""
    from rethink_ray.commands.status import show_status

    if write_pace is not None:
        from rethink_ray.search.known_paces import load_paces
        from rethink_ray.search.paces import write_paces

        write_paces(write_pace, load_paces(directory))
        print(f"paces are in {write_pace}")
    show_status(directory, watch=watch)


def print_plan(
    study: StudyFile,
    settings: Settings = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="trials at once [those of the paces, or 1]")
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="future study directory or URI [studies/NAME]")
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="SD",
            help="standard deviation between replicates, in AP, or measured (by the study so far): "
            "adds the differences to be found",
        ),
    ] = None,
    pace: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="paces of a machine, or a study that ran there: adds the hours"
        ),
    ] = None,
) -> None:
    """Show what a study will run and what it costs; nothing runs.

    Cells, assets, trials, passes over the images, updates, disk and, where paces are known, hours;
    with --noise the differences it can find.
    """
    from rethink_ray.records.store import is_uri
    from rethink_ray.records.working_copy import working_folder
    from rethink_ray.search.known_paces import choose_paces, load_paces
    from rethink_ray.session import load_study_input

    measured = None if pace is None else load_paces(pace)
    given = load_study_input(study, settings or [], is_planned_only=True)
    # imported here, because it takes a while and a typo in the study is reported first
    from rethink_ray.commands.planning import plan_lines

    where = out or f"studies/{given.study.study}"
    folder = working_folder(where) if is_uri(where) else Path(where)
    measured = measured or choose_paces(where, study)
    slots = slots or (1 if measured is None else measured.slots)
    for line in plan_lines(given.study, given.facts, slots, folder, measured):
        print(line)
    if noise is not None:
        from rethink_ray.analysis.power import plan_power, power_lines

        sd = read_noise(noise, where)
        print()
        for line in power_lines(plan_power(given.study, given.facts, sd), sd, given.study):
            print(line)


def read_noise(words: str, where: str) -> float:
    """The standard deviation that ``--noise`` gives, or that the study at ``where`` has shown.

    Raises:
        SpecError: it is neither a number nor ``measured``, or the study has shown none yet.
    """
    from rethink_ray.analysis.power import measure_noise
    from rethink_ray.records.directory import StudyDirectory
    from rethink_ray.spec.errors import SpecError, explain

    if words != "measured":
        try:
            return float(words)
        except ValueError:
            must, remedy = "must be a number of points, or measured", "For instance --noise 1."
            raise SpecError(explain("plan --noise", must, words, remedy)) from None
    if not StudyDirectory.holds_study(where):
        must, remedy = "must follow a study that has begun", "Give a number, such as --noise 1."
        raise SpecError(explain("plan --noise measured", must, f"none at {where}", remedy))
    directory = StudyDirectory.open(where)
    return measure_noise(directory.study, directory.facts, directory.load_state())


def doctor(
    study: Annotated[str | None, typer.Argument(help="a study file to check as well")] = None,
    settings: Settings = None,
    address: Address = None,
    out: Annotated[str | None, typer.Option(help="future study directory or URI [.]")] = None,
) -> None:
    """Check machine, cluster and data before a study runs.

    Each line that is not ok says what to do. Weights and disk are checked too.
    """
    from rethink_ray.cluster.doctor.checkup import examine
    from rethink_ray.spec.load import find_study, load_study

    checked = load_study(find_study(study), settings or [])[0] if study else None
    all_ok = True
    for check in examine(checked, address=address, where=out):
        all_ok = all_ok and check.ok
        print(f"{'ok  ' if check.ok else 'FIX'}  {check.name:<22} {check.detail}", flush=True)
    if not all_ok:
        raise typer.Exit(1)


def schema() -> None:
    """Print the JSON Schema of the study file, for editors."""
    import json

    from rethink_ray.spec.study import Study

    print(json.dumps(Study.model_json_schema(), indent=1))


def _limit_to(hours: float | None) -> "TimeLimit | None":
    """The limit of a run whose hours begin now; None without a number of hours."""
    if hours is None:
        return None
    began = time.monotonic()
    from rethink_ray.search.time_limit import TimeLimit, require_hours

    return TimeLimit(hours=require_hours(hours), clock=time.monotonic, began=began)


def _run_to_end(
    directory: "StudyDirectory",
    address: str | None,
    slots: int | None,
    trackers: Sequence[str],
    limit: "TimeLimit | None",
) -> None:
    """Run the study as far as it can, and show it live; the exit code says how it ended."""
    from rethink_ray.cluster.run import Observers, run_study
    from rethink_ray.cluster.trackers.factory import build_feed
    from rethink_ray.commands.endings import final_lines
    from rethink_ray.commands.live import LiveView
    from rethink_ray.commands.status import header_lines

    feed = build_feed(directory, trackers)
    state = directory.load_state()
    for line in header_lines(directory, state):
        print(line, flush=True)
    with LiveView(directory.study, state) as view:
        outcome = run_study(
            directory,
            address=address,
            slots=slots,
            observers=Observers(
                listeners=(view.on_event, feed),
                on_progress=view.on_progress,
                on_run_progress=view.on_run_progress,
                on_notice=view.show_notice,
            ),
            limit=limit,
        )
    feed.close(*([1.0] if outcome.status == "stopped" else []))
    for line in final_lines(directory, outcome):
        print(line, flush=True)
    if outcome.status != "done" and outcome.hours is None:
        incomplete = outcome.status == "incomplete"
        raise typer.Exit(3 if incomplete else 128 + (outcome.signal or signal.SIGTERM))
