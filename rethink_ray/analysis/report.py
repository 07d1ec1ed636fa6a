"""The report directory: findings.json, findings.md, figures, and one HTML page with all of it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rethink_ray.analysis.figures import draw_figures, inlined, standing_alone, stem_of
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.new_images import fetch_detections, new_images_sheets
from rethink_ray.analysis.price_figures import draw_prices
from rethink_ray.analysis.render import as_json_text, as_markdown, family_note
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.sheets import (
    claim_sheets,
    configurations_sheet,
    cost_sheets,
    curve_sheet,
    differences_sheet,
    lengths_sheet,
    needed_text,
    replicates_sheet,
    search_sheets,
    trials_sheet,
)
from rethink_ray.analysis.wording import times, unit_name
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.views import read_views
from rethink_ray.records.whole_files import write_atomically

TEMPLATES = Path(__file__).parent / "templates"


def write_report(where: Path | str) -> Path:
    """``report/`` of the study at a path or URI holds its findings in every form.

    Returns:
        The HTML page, on this machine.

    Raises:
        RecordError: there is no study, or not as this program wrote it.
    """
    directory = StudyDirectory.open(where)
    findings = derive_findings(read_views(directory))
    figures = draw_figures(findings) | draw_prices(findings)
    out = directory.report_dir
    write_atomically(out / "findings.json", as_json_text(findings) + "\n")
    write_atomically(out / "findings.md", as_markdown(findings))
    for stale in (out / "figures").glob("*.svg"):
        if stale.stem not in figures:
            stale.unlink()
    for stem, svg in figures.items():
        write_atomically(out / "figures" / f"{stem}.svg", standing_alone(svg))
    page = out / "report.html"
    fetch_detections(findings, directory)
    anew = new_images_sheets(findings, directory.root)
    write_atomically(page, as_html(findings, figures, _named(directory, where), anew))
    directory.publish()
    return page


def _named(directory: StudyDirectory, where: Path | str) -> str:
    """The study as commands on the page name it: no machine's own folders."""
    if directory.copy:
        return directory.shown
    root = Path(where)
    return root.name if root.is_absolute() else root.as_posix()


def as_html(
    findings: Findings, figures: dict[str, str], directory: str, anew: Sequence[Sheet] = ()
) -> str:
    """One self-contained page: no script, no font, no picture from anywhere else."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    in_order = (*findings.study.regimes,)
    return environment.get_template("report.html").render(
        f=findings,
        study=findings.study,
        shown=[g for g in findings.findings if g.family != "descriptive" or g.kind != "arms"],
        caveats={c.key: c for c in findings.caveats},
        general=[c for c in findings.caveats if c.regime is None and c.arm is None],
        special=[c for c in findings.caveats if c.regime is not None or c.arm is not None],
        family=family_note(findings),
        needed=needed_text,
        unit=unit_name(findings.study),
        figures={
            name: [inlined(svg) for stem, svg in figures.items() if _belongs(stem, name)]
            for name in in_order
        },
        price_figures=_of_kind(figures, in_order, "hours", "memory"),
        curves={regime.name: curve_sheet(findings, regime) for regime in findings.regimes},
        differences=(differences_sheet(findings), *anew),
        claims=claim_sheets(findings),
        drift_figures=_of_kind(figures, in_order, "drift"),
        best=[lengths_sheet(findings), configurations_sheet(findings)],
        cost=cost_sheets(findings),
        search=search_sheets(findings),
        trials=[trials_sheet(findings, cell) for cell in findings.search],
        replicates=replicates_sheet(findings),
        example=_example(findings),
        directory=directory,
    )


def _belongs(stem: str, regime: str) -> bool:
    return stem in (stem_of(regime, "curves"), stem_of(regime, "differences"))


def _of_kind(figures: Mapping[str, str], regimes: Iterable[str], *kinds: str) -> list[str]:
    stems = [stem_of(regime, kind) for regime in regimes for kind in kinds]
    return [inlined(figures[stem]) for stem in stems if stem in figures]


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
