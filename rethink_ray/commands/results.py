"""``answer``, ``findings``, ``report``, ``export``: what a study means, read from its directory."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rethink_ray.commands.study import StudyDir


def register_result_commands(app: typer.Typer) -> None:
    """The command line has these commands."""
    app.command("answer")(answer)
    app.command("findings")(findings)
    app.command("compare")(print_comparisons)
    app.command("report")(report)
    app.command("export")(export)


def answer(
    directory: StudyDir,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead")] = False,
) -> None:
    """Say what to train with, how sure that is, and what would decide what is open.

    The study need not be finished.
    """
    from rethink_ray.analysis.findings import derive_findings
    from rethink_ray.analysis.read.study_tables import read_tables
    from rethink_ray.analysis.show.as_json import json_text
    from rethink_ray.analysis.show.recommended import answer_terminal
    from rethink_ray.commands.status import quote_address
    from rethink_ray.records.directory import StudyDirectory

    study = StudyDirectory.open(directory)
    derived = derive_findings(read_tables(study))
    text = answer_terminal(derived, quote_address(study))
    print(json_text(derived.answer) if as_json else text.rstrip())
    for section in derived.missing_sections:
        print(section.sentence, file=sys.stderr)
    if not derived.answer.regimes:
        raise typer.Exit(1)


def findings(
    directory: Annotated[str | None, typer.Argument(help="a study directory, or its URI")] = None,
    table: Annotated[
        str | None,
        typer.Option("--from", help="a table of published numbers: FILE.csv or published:he_2018"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print findings.json instead")] = False,
    markdown: Annotated[bool, typer.Option(help="print findings.md instead")] = False,
    as_if: Annotated[
        str | None,
        typer.Option(help="pooled: decide again as if all trials were one round of halving"),
    ] = None,
    new_images: Annotated[
        bool,
        typer.Option(help="headlines with intervals for new images too, not only for new seeds"),
    ] = False,
    claims: Annotated[
        str | None, typer.Option(help="papers: the papers' claims, tested on this study")
    ] = None,
    with_all: Annotated[
        bool, typer.Option("--all", help="every table: all lengths, costs, the search")
    ] = False,
) -> None:
    """Print the findings of a study or of published numbers.

    The study need not be finished.
    """
    from rethink_ray.spec.errors import SpecError, explain

    if claims is not None:
        if claims != "papers" or directory is None or table or as_if or new_images or as_json:
            must = "must be papers, for a study directory, with no other option but --markdown"
            raise SpecError(explain("findings --claims", must, claims, "--json has all claims."))
        print(_render_claims(directory, markdown=markdown), end="")
        return

    if new_images:
        if directory is None or table is not None or as_if is not None or as_json:
            must = "must come with a study directory, and with no other option but --markdown"
            raise SpecError(explain("findings --new-images", must, "something else"))
        print(_render_new_images(directory, markdown=markdown))
        return

    if as_if is not None and (as_if != "pooled" or table is not None):
        must = "must be pooled, for a study directory"
        raise SpecError(explain("findings --as-if", must, as_if if table is None else table))

    if (directory is None) == (table is None):
        must = "must name a study directory or --from TABLE"
        got = "neither" if directory is None else "both"
        remedy = "To set them side by side: rethink-ray compare DIR published:he_2018."
        if directory is None:
            remedy = "A study directory is what 'run' wrote, such as studies/quickstart."
        raise SpecError(explain("findings", must, got, remedy))
    if table is not None:
        print(_render_published(table, as_json=as_json, markdown=markdown))
    elif directory is not None and as_if is not None:
        print(_render_pooled(directory, as_json=as_json, markdown=markdown))
    elif directory is not None:
        _print_study(directory, as_json=as_json, markdown=markdown, is_short=not with_all)


def _render_published(name: str, *, as_json: bool, markdown: bool) -> str:
    from rethink_ray.analysis.read.published_tables import load_published
    from rethink_ray.analysis.show.reported import (
        derive_reported,
        reported_json,
        reported_markdown,
        reported_terminal,
    )

    render = reported_json if as_json else reported_markdown if markdown else reported_terminal
    return render(derive_reported(load_published(name)))


def _render_pooled(directory: str, *, as_json: bool, markdown: bool) -> str:
    from rethink_ray.analysis.findings import derive_findings
    from rethink_ray.analysis.read.study_tables import read_tables
    from rethink_ray.analysis.show.on_request import pooled_json, pooled_markdown, pooled_terminal
    from rethink_ray.records.directory import StudyDirectory

    render = pooled_json if as_json else pooled_markdown if markdown else pooled_terminal
    return render(derive_findings(read_tables(StudyDirectory.open(directory))))


def _print_study(directory: str, *, as_json: bool, markdown: bool, is_short: bool) -> None:
    """The findings of a study are printed; exit code 1 if a section is missing."""
    from rethink_ray.analysis.containment import Containment
    from rethink_ray.analysis.findings import derive_findings
    from rethink_ray.analysis.read.study_tables import read_tables
    from rethink_ray.analysis.show.render import as_json_text, as_markdown, as_terminal
    from rethink_ray.records.directory import StudyDirectory

    derived = derive_findings(read_tables(StudyDirectory.open(directory)))
    containment = Containment(derived.missing_sections)
    if as_json:
        print(as_json_text(derived, containment))
    else:
        render = as_markdown if markdown else as_terminal
        print(render(derived, containment, is_short=is_short))
    if containment.missing:
        raise typer.Exit(1)


def _render_claims(directory: str, *, markdown: bool) -> str:
    from rethink_ray.analysis.findings import derive_findings
    from rethink_ray.analysis.read.study_tables import read_tables
    from rethink_ray.analysis.show.render import claims_text
    from rethink_ray.records.directory import StudyDirectory

    derived = derive_findings(read_tables(StudyDirectory.open(directory)))
    return claims_text(derived, markdown=markdown)


def _render_new_images(directory: str, *, markdown: bool) -> str:
    from rethink_ray.analysis.findings import derive_findings
    from rethink_ray.analysis.read.study_tables import read_tables
    from rethink_ray.analysis.show.on_request import new_images_sheet
    from rethink_ray.analysis.show.render import aligned, piped
    from rethink_ray.records.directory import StudyDirectory

    study = StudyDirectory.open(directory)
    sheet = new_images_sheet(derive_findings(read_tables(study)), study)
    return piped(sheet) if markdown else aligned(sheet)


def print_comparisons(
    sources: Annotated[
        list[str], typer.Argument(help="study directories, FILE.csv, published:he_2018")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead")] = False,
    markdown: Annotated[bool, typer.Option(help="print Markdown instead")] = False,
) -> None:
    """Set effects of studies and published tables side by side.

    An effect is one arm minus another, never plain AP.
    """
    from rethink_ray.analysis.compare import compare_sources, read_source
    from rethink_ray.analysis.show.compare_words import (
        comparisons_json,
        comparisons_markdown,
        comparisons_terminal,
    )

    comparisons = compare_sources([read_source(name) for name in sources])
    render = comparisons_terminal
    if as_json or markdown:
        render = comparisons_json if as_json else comparisons_markdown
    print(render(comparisons))


def report(
    directory: StudyDir,
    pictures: Annotated[
        bool, typer.Option(help="show pictures, and what needs the data set beside them")
    ] = True,
) -> None:
    """Write report.html, findings.json, findings.md and the figures.

    Likely label errors are in label_errors.csv, too. A section that fails is replaced by a
    sentence, and the exit code is 1.
    """
    from rethink_ray.records.directory import StudyDirectory
    from rethink_ray.reporting import report_study

    written = report_study(StudyDirectory.open(directory), directory, has_pictures=pictures)
    print(written.page)
    if written.unfinished:
        print(written.unfinished)
    for section in written.missing_sections:
        print(section.sentence, file=sys.stderr)
    if written.missing_sections:
        raise typer.Exit(1)


def export(
    directory: Annotated[
        str, typer.Argument(help="a study directory, or its URI; or the folder of one run")
    ],
    out: Annotated[Path | None, typer.Option(help="folder of the files [DIR/best]")] = None,
    weights: Annotated[
        bool,
        typer.Option(help="also write the weights that were kept, with a card for each model"),
    ] = False,
    trial: Annotated[
        str | None, typer.Option(help="this one trial only, a replicate for example")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="safetensors or onnx: models for use elsewhere; repeatable"),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="with --format onnx: the one size of its pictures, height x width [any size]",
        ),
    ] = None,
    final: Annotated[
        bool, typer.Option(help="train the recommended configuration on all labelled pictures")
    ] = False,
) -> None:
    """Write the best configurations as files that run on their own, and their models.

    Each cell and length has one YAML; rethink-ray train repeats its number.
    """
    from rethink_ray.commands.exporting import (
        export_final,
        export_one_run,
        export_one_trial,
        export_study,
    )
    from rethink_ray.commands.models import read_formats
    from rethink_ray.records.directory import StudyDirectory
    from rethink_ray.spec.card import holds_model

    if not StudyDirectory.holds_study(directory) and holds_model(Path(directory)):
        chosen = read_formats(formats or [], size)
        export_one_run(Path(directory), out, chosen, is_final=final or weights)
        return
    study = StudyDirectory.open(directory)
    if trial is not None:
        is_alone = not (weights or final or formats or size)
        export_one_trial(study, trial, out or study.best_dir, is_alone=is_alone)
    elif final:
        export_final(study, out or study.best_dir, read_formats(formats or [], size))
    else:
        chosen = read_formats(formats or [], size)
        export_study(study, out or study.best_dir, chosen, with_weights=weights)
    study.publish()
