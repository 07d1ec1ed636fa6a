"""Lines at the end of a run: its outcome, the answer, the report, and the next command to type."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rethink_ray.cluster.run import StudyOutcome
    from rethink_ray.records.directory import StudyDirectory

UNUSED_FROM = 0.8
"""A cut run that ended before this share of its hours says that they were too short for a job."""


def final_lines(directory: "StudyDirectory", outcome: "StudyOutcome") -> Iterator[str]:
    """All that the end of a run prints; a run that is over, or that was cut, has its report."""
    yield from end_lines(directory, outcome)
    if outcome.is_report_due:
        yield from closing_lines(directory)
        yield from report_lines(directory)


def end_lines(directory: "StudyDirectory", outcome: "StudyOutcome") -> Iterator[str]:
    """The outcome of a run with its reason, and the next command to type."""
    from rethink_ray.commands.status import incomplete_lines, local_root, quote_address
    from rethink_ray.records.failures import failure_lines

    root = quote_address(directory)
    match outcome.status:
        case "done":
            if outcome.empty:
                yield from incomplete_lines(directory, outcome.empty)
            yield f"done after {outcome.seconds:.0f} s: {root}"
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
        case "stopped" if outcome.hours is not None:
            yield f"cut: {_describe_cut(outcome.hours, outcome.seconds)}; nothing is lost"
            yield from cut_lines(directory)
            yield f"go on with: rethink-ray resume {root}"
        case "stopped":
            yield f"stopped; nothing is lost. Go on with: rethink-ray resume {root}"


def _describe_cut(hours: float, seconds: float) -> str:
    """Why a run of so many hours ended after so many seconds, before its study did."""
    if seconds < UNUSED_FROM * 3600 * hours:
        return f"after {seconds / 60:.1f} min the next job would not end within {hours:g} h"
    return f"{hours:g} h are over before the study is done"


def cut_lines(directory: "StudyDirectory") -> Iterator[str]:
    """The cells that are missing, and the hours after which each would be ready."""
    from rethink_ray.commands.hours import missing_lines
    from rethink_ray.commands.more_hours import more_hours_lines
    from rethink_ray.protocol.remaining import progress_of

    state = directory.load_state()
    progress = progress_of(directory.study, state)
    yield "what is missing:"
    yield from missing_lines(progress)
    yield from (f"looks: {sentence}" for sentence in progress.looks)
    yield from more_hours_lines(directory, state)


def closing_lines(directory: "StudyDirectory") -> Iterator[str]:
    """The answer of the study, and the next commands to type.

    The records are whole, so an error here does not make the run a failure.
    """
    from rethink_ray.analysis.findings import derive_findings
    from rethink_ray.analysis.read.study_tables import read_tables
    from rethink_ray.analysis.show.recommended import next_lines
    from rethink_ray.commands.status import quote_address

    root = quote_address(directory)
    try:
        findings = derive_findings(read_tables(directory))
        lines = [f"answer: {one.paragraph}" for one in findings.answer.regimes]
        lines += [] if findings.missing else next_lines(findings, root)  # else: go on with
    except Exception as error:
        lines = [f"answer: not derived ({error!r}). The records are whole"]
    yield from (*lines, f"next: rethink-ray answer {root}")


def report_lines(directory: "StudyDirectory") -> Iterator[str]:
    """Write the report; yield its path, and which of its sections are missing.

    The records are whole, so an error here does not make the run a failure.
    """
    from rethink_ray.commands.status import local_root, quote_address
    from rethink_ray.reporting import report_study

    root = quote_address(directory)
    try:
        where = directory.address if directory.copy else str(local_root(directory))
        report = report_study(directory, where)
    except Exception as error:
        yield f"report: not written ({error!r}). The records are whole: rethink-ray report {root}"
        return
    again = f" (again: rethink-ray report {root})" if directory.copy else ""
    yield f"report: {report.page}{again}"
    for section in report.missing_sections:
        yield f"report: {section.sentence}"
