"""``run``, ``resume``, ``status``, ``plan`` and ``doctor``: a study from question to records."""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethink_ray.spec.shipped import shipped_studies

if TYPE_CHECKING:
    from rethink_ray.cluster.run import StudyOutcome
    from rethink_ray.records.directory import StudyDirectory

StudyFile = Annotated[
    str,
    typer.Argument(help=f"a study file, or one that ships: {', '.join(shipped_studies())}"),
]
StudyDir = Annotated[str, typer.Argument(help="a study directory, or its URI")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="path=value, e.g. budget.trials=4")
]
Address = Annotated[str | None, typer.Option(envvar="RAY_ADDRESS", help="of a running Ray cluster")]
Slots = Annotated[
    int | None, typer.Option(min=1, help="trials at once on this machine [all cores]")
]
Log = Annotated[
    str, typer.Option(help="trackers of single trials: tensorboard, mlflow, wandb, or none")
]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(run)
    app.command()(resume)
    app.command()(status)
    app.command()(plan)
    app.command()(doctor)
    app.command()(schema)


def run(
    study: StudyFile,
    out: Annotated[str | None, typer.Option(help="study directory or URI [studies/NAME]")] = None,
    settings: Settings = None,
    address: Address = None,
    slots: Slots = None,
    log: Log = "tensorboard",
) -> None:
    """Run a study, or continue the one its directory holds."""
    from rethink_ray.cluster.trackers.factory import tracker_names
    from rethink_ray.commands.inputs import started_or_continued, study_with_facts
    from rethink_ray.records.directory import StudyDirectory

    trackers = tracker_names(log)
    asked, text, facts, _ = study_with_facts(study, settings or [])
    root = out or f"studies/{asked.study}"
    known = StudyDirectory.holds_study(root)
    directory = started_or_continued(root, asked, text, facts)
    if known:
        print(f"continuing {directory.shown}")
    _go(directory, address, slots, trackers)


def resume(
    directory: StudyDir,
    trials: Annotated[int | None, typer.Option(help="search trials per cell, in all")] = None,
    replicates: Annotated[int | None, typer.Option(help="replicates per incumbent, in all")] = None,
    searches: Annotated[int | None, typer.Option(help="searches per cell, in all")] = None,
    lengths: Annotated[str | None, typer.Option(help="longer lengths, e.g. 9,12")] = None,
    address: Address = None,
    slots: Slots = None,
    log: Log = "tensorboard",
) -> None:
    """Continue a study from its directory alone, with a larger budget if you say so."""
    from rethink_ray.cluster.resume import extend_study
    from rethink_ray.cluster.trackers.factory import tracker_names
    from rethink_ray.records.directory import StudyDirectory
    from rethink_ray.spec.errors import SpecError, explain

    trackers = tracker_names(log)
    try:
        longer = [float(x) for x in lengths.split(",")] if lengths else None
    except ValueError:
        raise SpecError(explain("--lengths", "must read like 9,12", lengths)) from None
    study = StudyDirectory.open(directory)
    grown = extend_study(
        study, trials=trials, replicates=replicates, searches=searches, lengths=longer
    )
    for line in grown:
        print(line)
    _go(study, address, slots, trackers)


def status(
    directory: StudyDir,
    watch: Annotated[bool, typer.Option(help="keep showing it until interrupted")] = False,
) -> None:
    """Show how far a study is, from its directory."""
    from rethink_ray.commands.status import show_status

    show_status(directory, watch=watch)


def plan(
    study: StudyFile,
    settings: Settings = None,
    slots: Annotated[int, typer.Option(min=1, help="trials at once")] = 1,
    out: Annotated[str | None, typer.Option(help="where it is to live [studies/NAME]")] = None,
    noise: Annotated[
        float | None, typer.Option(help="sd between replicates, in AP: adds what can be found")
    ] = None,
) -> None:
    """Dry run: cells, assets, trials, iterations, disk, and what sharing trunks saves."""
    from rethink_ray.commands.inputs import study_with_facts
    from rethink_ray.records.store import is_uri
    from rethink_ray.records.working_copy import working_folder

    asked, _, facts, _ = study_with_facts(study, settings or [], starts=False)
    from rethink_ray.commands.planning import plan_lines  # after what a typo would stop

    where = out or f"studies/{asked.study}"
    folder = working_folder(where) if is_uri(where) else Path(where)
    for line in plan_lines(asked, facts, slots, folder):
        print(line)
    if noise is not None:
        from rethink_ray.analysis.power import plan_power, power_lines

        print()
        for line in power_lines(plan_power(asked, facts, noise), noise, asked):
            print(line)


def doctor(
    study: Annotated[str | None, typer.Argument(help="a study file to check as well")] = None,
    settings: Settings = None,
    address: Address = None,
    out: Annotated[str | None, typer.Option(help="where the study is to live [.]")] = None,
) -> None:
    """Check this machine, a cluster and a study's data, weights and disk before it costs."""
    from rethink_ray.cluster.doctor.checkup import examine
    from rethink_ray.spec.load import find_study, load_study

    asked = load_study(find_study(study), settings or [])[0] if study else None
    well = True
    for check in examine(asked, address=address, where=out):
        well = well and check.ok
        print(f"{'ok  ' if check.ok else 'FIX'}  {check.name:<22} {check.detail}", flush=True)
    if not well:
        raise typer.Exit(1)


def schema() -> None:
    """Print the JSON Schema of the study file, for editors."""
    import json

    from rethink_ray.spec.study import Study

    print(json.dumps(Study.model_json_schema(), indent=1))


def _go(
    directory: "StudyDirectory",
    address: str | None,
    slots: int | None,
    trackers: Sequence[str],
) -> None:
    """Run what is left of a study, show it live, and exit by how it ended."""
    from rethink_ray.cluster.run import Observers, run_study
    from rethink_ray.cluster.trackers.factory import build_feed
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
                listeners=(view.on_event, feed), on_progress=view.on_progress, on_notice=view.tell
            ),
        )
    feed.close(*([1.0] if outcome.status == "stopped" else []))
    for line in end_lines(directory, outcome):
        print(line)
    if outcome.status == "done" or outcome.empty:  # every cell ran to its end
        for line in report_lines(directory):
            print(line)
    if outcome.status != "done":
        incomplete = outcome.status == "incomplete"
        raise typer.Exit(3 if incomplete else 128 + (outcome.signal or signal.SIGTERM))


def end_lines(directory: "StudyDirectory", outcome: "StudyOutcome") -> Iterator[str]:
    """How a run ended, why, and the command that comes next."""
    from rethink_ray.commands.status import as_typed, incomplete_lines, local_root
    from rethink_ray.records.failures import failure_lines

    root = as_typed(directory)
    match outcome.status:
        case "done":
            if outcome.empty:
                yield from incomplete_lines(directory, outcome.empty)
            yield f"done after {outcome.seconds:.0f} s: {root}"
            yield f"next: rethink-ray findings {root}"
        case "incomplete" if outcome.empty:
            yield from incomplete_lines(directory, outcome.empty)
        case "incomplete":
            reasons = {
                job: outcome.failures.get(job, "failed too often") for job in outcome.blocked
            }
            for line in failure_lines(reasons, local_root(directory)):
                yield f"failed: {line}"
            why = outcome.fault or "some jobs failed too often"
            yield f"incomplete: {why}. Nothing is lost; try again: rethink-ray resume {root}"
        case "stopped":
            yield f"stopped; nothing is lost. Go on with: rethink-ray resume {root}"


def report_lines(directory: "StudyDirectory") -> Iterator[str]:
    """The report is written; where it stands, and which of its sections are missing.

    The study is over and its records are whole, so nothing here makes its run a failed one.
    """
    from rethink_ray.analysis.show.report import build_report
    from rethink_ray.commands.status import as_typed, local_root

    root = as_typed(directory)
    try:
        where = directory.shown if directory.copy else str(local_root(directory))
        report = build_report(directory, where)
    except Exception as error:
        yield f"report: not written ({error!r}). The records are whole: rethink-ray report {root}"
        return
    again = f" (again: rethink-ray report {root})" if directory.copy else ""
    yield f"report: {report.page}{again}"
    for section in report.missing_sections:
        yield f"report: {section.sentence}"
