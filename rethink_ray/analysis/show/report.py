"""The report directory: findings.json, findings.md, figures, and one HTML page with all of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

from rethink_ray.analysis.containment import (
    Containment,
    MissingSection,
    missing_summary,
    stories,
)
from rethink_ray.analysis.findings import (
    CAVEATS,
    FINDINGS,
    RECOMMENDED,
    Findings,
    derive_findings,
)
from rethink_ray.analysis.read.kept_boxes import LoadImages
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.analysis.sections.registry import NEW_IMAGES, PRICES
from rethink_ray.analysis.sheet import Sheet, missing_sheet
from rethink_ray.analysis.show.answer import family_note, reading_note, single_findings
from rethink_ray.analysis.show.detections_part import (
    DETECTIONS,
    DetectionsPart,
    build_detections,
    list_precision_kinds,
    write_doubts,
)
from rethink_ray.analysis.show.figures import (
    draw_figures,
    figure_name,
    inlined,
    standing_alone,
    stem_of,
)
from rethink_ray.analysis.show.image_figures import BY_IMAGES, STUDY, draw_by_images
from rethink_ray.analysis.show.on_request import quick_new_images
from rethink_ray.analysis.show.optional_sheets import (
    best_sheets,
    caveat_sheets,
    claim_sheets,
    cost_sheets,
    curve_sheets,
    difference_sheets,
    one_sheet,
    replicate_table,
    search_sheets,
)
from rethink_ray.analysis.show.price_figures import draw_prices
from rethink_ray.analysis.show.recommended import arms_sheet, next_lines, use_lines
from rethink_ray.analysis.show.render import ANSWERS, as_json_text, as_markdown
from rethink_ray.analysis.show.sheets import needed_text
from rethink_ray.analysis.show.trial_figures import draw_trials
from rethink_ray.analysis.show.trials_table import ALL_TRIALS, all_trials_sheet
from rethink_ray.judge.wording import times, unit_name
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.failures import FAILURE_FILE
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.study import Study

TEMPLATES = Path(__file__).parent / "templates"
ALL_FINDINGS, WHOLE_PAGE = "All findings", "The page"
REPRODUCE = "How to reproduce each number"
INTERVAL = re.compile(r"\[[^\[\] ]+, [^\[\] ]+\]")
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report that was written."""

    page: Path
    """The HTML page, on this machine."""
    missing_sections: tuple[MissingSection, ...]
    """Sections that failed; each left a sentence instead."""
    unfinished: str
    """A sentence on what is still to run, or on cells without a score; else empty."""


def write_report(where: Path | str) -> Path:
    """Write the findings of the study at a path or URI into its ``report/``, in every format.

    Returns:
        The HTML page, on this machine.

    Raises:
        RecordError: there is no study, or not as this program wrote it.
    """
    return build_report(StudyDirectory.open(where), where).page


def build_report(
    directory: StudyDirectory, where: Path | str, load_images: LoadImages | None = None
) -> Report:
    """Write the report. A section that fails is missing, and all others are there.

    Args:
        directory: the study's directory.
        where: the path or URI as the reader gave it, for the commands on the page.
        load_images: opens the images that the study reports on; None: the page has no pictures.

    Raises:
        RecordError: there is no study, or not as this program wrote it.
    """
    tables = read_tables(directory)
    out = directory.report_page.parent
    page, unfinished = directory.report_page, ""
    try:
        findings = derive_findings(tables)
    except RethinkError:
        raise
    except Exception as error:  # nothing can be shown, and a page still says so
        kept = Containment()
        kept.note(ALL_FINDINGS, error)
        for stale in (out / "findings.json", out / "findings.md"):
            stale.unlink(missing_ok=True)
        write_atomically(page, _bare_page(directory.study, kept))
    else:
        kept = Containment(findings.missing_sections)
        unfinished = findings.missing or findings.incomplete
        detections = kept.attempt(
            DETECTIONS,
            lambda: build_detections(findings, directory, load_images, kept),
            DetectionsPart(),
        )
        _write_all(findings, detections, directory, _named(directory, where), kept)
    failures = out / FAILURE_FILE
    if kept.missing:
        write_atomically(failures, stories(kept.missing))
    else:
        failures.unlink(missing_ok=True)
    directory.publish()
    return Report(page=page, missing_sections=kept.missing, unfinished=unfinished)


def _write_all(
    findings: Findings,
    detections: DetectionsPart,
    directory: StudyDirectory,
    named: str,
    kept: Containment,
) -> None:
    """Figures, page, Markdown, then JSON: it comes last because it names every failed section."""
    out = directory.report_page.parent
    figures = draw_figures(findings, kept) | draw_prices(findings, kept)
    figures |= draw_trials(findings, kept) | draw_by_images(findings, kept)
    figures |= dict(detections.figures)
    write_doubts(out, detections.all_doubts)
    for stale in (out / "figures").glob("*.svg"):
        if stale.stem not in figures:
            stale.unlink()
    for stem, svg in figures.items():
        write_atomically(out / "figures" / f"{stem}.svg", standing_alone(svg))
    title = NEW_IMAGES.title
    new_images = kept.attempt(title, lambda: quick_new_images(findings, directory), None)
    if new_images is None:
        new_images = (missing_sheet(title, kept.sentence_of(title)),)
    page = as_html(findings, figures, named, new_images, kept, detections)
    write_atomically(directory.report_page, page)
    write_atomically(out / "findings.md", as_markdown(findings, kept))
    write_atomically(out / "findings.json", as_json_text(findings, kept) + "\n")


def _named(directory: StudyDirectory, where: Path | str) -> str:
    """The study's name in the commands on the page: without the folders of this machine."""
    if directory.copy:
        return directory.address
    root = Path(where)
    return root.name if root.is_absolute() else root.as_posix()


def as_html(
    findings: Findings,
    figures: dict[str, str],
    directory: str,
    new_images: Sequence[Sheet] = (),
    contained: Containment | None = None,
    detections: DetectionsPart | None = None,
) -> str:
    """One self-contained page: no script, no font, no picture from anywhere else."""
    kept = contained or Containment(findings.missing_sections)
    part = detections or DetectionsPart()
    shown = _shown(findings, figures, directory, kept)
    shown |= {
        "detections": part,
        "detections_missing": kept.sentence_of(DETECTIONS),
        "precision_figures": _of_kinds(figures, kept, [part.regime], *list_precision_kinds()),
        "differences": (*shown["differences"], *new_images),
        "example": kept.attempt(REPRODUCE, lambda: _example(findings), {}),
        "directory": directory,
        "missing_sections": missing_summary(kept.missing),
    }
    page = kept.attempt(WHOLE_PAGE, lambda: _rendered(shown), "")
    return page or _bare_page(findings.study, kept)


def _rendered(shown: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = unbroken
    return environment.get_template("report.html").render(**shown)


def unbroken(text: str) -> str:
    """The text with ``95 %`` and ``[-0.4, +0.6]`` each kept on one line."""
    kept = INTERVAL.sub(lambda ends: ends[0].replace(" ", NO_BREAK), text)
    return kept.replace(" %", f"{NO_BREAK}%")


def _bare_page(study: Study, kept: Containment) -> str:
    """A page that only lists the sections that are missing."""
    texts = "\n".join(f"<p>{escape(section.sentence)}</p>" for section in kept.missing)
    title = escape(study.question or study.study)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(study.study)}: findings</title>\n<h1>{title}</h1>\n{texts}\n</html>\n"
    )


def _shown(
    findings: Findings, figures: Mapping[str, str], root: str, kept: Containment
) -> dict[str, Any]:
    """The template's values. All are computed here, so that nothing fails inside the template."""
    in_order = (*findings.study.regimes,)
    return {
        "study": findings.study,
        "unfinished": findings.missing or findings.incomplete,
        "regimes": [regime.name for regime in findings.regimes],
        "unit": unit_name(findings.study),
        "answers": kept.attempt(ANSWERS, lambda: _answers(findings), []),
        "recommended": kept.attempt(RECOMMENDED, lambda: _recommended(findings, root), []),
        "arms": _arms_table(findings, kept),
        "image_figures": _of_kinds(figures, kept, [STUDY], BY_IMAGES),
        "next": kept.attempt(RECOMMENDED, lambda: [*next_lines(findings, root)], []),
        "reading": kept.attempt(ANSWERS, lambda: reading_note(findings), ""),
        "findings": kept.attempt(FINDINGS, lambda: _findings_shown(findings), []),
        "findings_missing": kept.sentence_of(FINDINGS),
        "family": kept.attempt(FINDINGS, lambda: family_note(findings), ""),
        "caveats_missing": kept.sentence_of(CAVEATS),
        "general": [c for c in findings.caveats if c.regime is None and c.arm is None],
        "special": [c for c in findings.caveats if c.regime is not None or c.arm is not None],
        "caveat_tables": caveat_sheets(findings, kept),
        "figures": {
            name: _of_kinds(figures, kept, [name], "curves", "differences") for name in in_order
        },
        "ranked_by_time": kept.attempt(PRICES.title, lambda: _is_ranked_by_time(findings), True),
        "price_figures": _of_kinds(figures, kept, in_order, "hours", "memory"),
        "drift_figures": _of_kinds(figures, kept, in_order, "drift"),
        "curves": curve_sheets(findings, kept),
        "differences": difference_sheets(findings, kept),
        "claims": claim_sheets(findings, kept),
        "best": best_sheets(findings, kept),
        "cost": cost_sheets(findings, kept),
        "search": search_sheets(findings, kept),
        "trial_figures": _of_kinds(figures, kept, in_order, "trials"),
        "all_trials": one_sheet(kept, ALL_TRIALS, lambda: all_trials_sheet(findings)),
        "replicates": replicate_table(findings, kept),
    }


def _is_ranked_by_time(findings: Findings) -> bool:
    return any(priced.best_for_hours for priced in findings.sections[PRICES.key])


def _answers(findings: Findings) -> list[tuple[str, tuple[str, ...]]]:
    """Each regime's answer, and its cautions."""
    return list(zip(findings.answers, findings.answer_cautions, strict=True))


def _recommended(findings: Findings, root: str) -> list[dict[str, Any]]:
    """Each regime's answer, and the commands that train what it recommends."""
    return [
        {
            "headline": one.headline,
            "more": one.paragraph.removeprefix(one.headline).strip(),
            "commands": use_lines(one, root),
        }
        for one in findings.answer.regimes
    ]


def _arms_table(findings: Findings, kept: Containment) -> Sheet | None:
    """Every arm at its best length; None if there is no answer."""
    if not findings.answer.regimes:
        return None
    return one_sheet(kept, RECOMMENDED, lambda: arms_sheet(findings.study, findings.answer))


def _findings_shown(findings: Findings) -> list[dict[str, Any]]:
    """Each finding that is printed with a sentence, and its caveats."""
    caveats = {c.key: c for c in findings.caveats if c.regime is not None or c.arm is not None}
    return [
        {
            "finding": one,
            "cautions": findings.cautions_of(one),
            "caveats": [caveats[key].text for key in one.caveats if key in caveats],
            "needed": needed_text(one),
        }
        for one in single_findings(findings)
    ]


def _of_kinds(
    figures: Mapping[str, str], kept: Containment, regimes: Iterable[str], *kinds: str
) -> list[dict[str, str]]:
    """Each figure of these regimes and kinds, or the sentence that replaces it."""
    entries = []
    for regime, kind in product(regimes, kinds):
        svg = figures.get(stem_of(regime, kind), "")
        sentence = kept.sentence_of(figure_name(regime, kind))
        if svg or sentence:
            entries.append({"svg": inlined(svg) if svg else "", "missing": sentence})
    return entries


def _example(findings: Findings) -> dict[str, str]:
    """One replicate to show the commands with; empty before the first is scored."""
    for regime in findings.regimes:
        for cell in regime.cells:
            for point in (p.of_incumbent for p in reversed(cell.points)):
                scored = zip(point.values.values(), point.trial_ids, strict=True)
                for value, trial_id in scored:
                    if trial_id not in point.failed:
                        return {
                            "cell": f"{cell.regime}/{cell.arm} at {times(point.length)}",
                            "length": times(point.length),
                            "trial": trial_id,
                            "value": f"{value:.2f}",
                        }
    return {}
