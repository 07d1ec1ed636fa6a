"""Sections that a reader asks for: the headlines on new images, and the study as if pooled."""

from collections.abc import Callable

from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.read.detected import fetch_detections
from rethink_ray.analysis.sections.registry import NEW_IMAGES, POOLED
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.show.as_json import json_text
from rethink_ray.analysis.show.render import FINDINGS_SCHEMA, aligned, piped
from rethink_ray.records.directory import StudyDirectory

WHY_POOLED = (
    "A pool ranks all arms together at the first rung, where an arm that starts slowly ranks low "
    "however well it ends. It answers which arm starts fast, not which arm ends best."
)


def new_images_sheet(findings: Findings, directory: StudyDirectory) -> Sheet:
    """Each headline on these images, and on data like these.

    Args:
        findings: the study's findings.
        directory: holds the detections of its replicates, or fetches them.
    """
    fetch_detections(findings.findings, directory)
    given = findings.section_input(directory.root)
    return NEW_IMAGES.build_sheet(given, NEW_IMAGES.derive_rows(given))


def quick_new_images(findings: Findings, directory: StudyDirectory) -> tuple[Sheet, ...]:
    """The same sheet for the report; none if it takes long or no headline can be resampled."""
    if not NEW_IMAGES.applies(findings.section_input()):
        return ()
    sheet = new_images_sheet(findings, directory)
    return (sheet,) if sheet.rows else ()


def pooled_terminal(findings: Findings) -> str:
    """Regime by regime: a sentence and a table."""
    return _pooled_text(findings, f"{findings.study.study}, as if pooled", aligned)


def pooled_markdown(findings: Findings) -> str:
    """The same in Markdown."""
    return _pooled_text(findings, f"# {findings.study.study}, as if pooled", piped)


def _pooled_text(findings: Findings, title: str, table_text: Callable[[Sheet], str]) -> str:
    given, parts = findings.section_input(), [title]
    for pool in POOLED.derive_rows(given):
        parts.append(pool.sentence)
        if pool.proposed:
            parts.append(table_text(POOLED.build_sheet(given, (pool,))))
    return "\n\n".join([*parts, WHY_POOLED]) + "\n"


def pooled_json(findings: Findings) -> str:
    """The same as JSON; regimes that cannot be pooled have a sentence only."""
    pools = POOLED.derive_rows(findings.section_input())
    study = findings.study.study
    return json_text({"schema_version": FINDINGS_SCHEMA, "study": study, "pools": pools})
