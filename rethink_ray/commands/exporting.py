"""Carries out ``export``: files of a study, models in the formats asked for, one final model."""

from dataclasses import replace
from pathlib import Path

from rethink_ray.analysis.export import export_best
from rethink_ray.analysis.one_trial import export_trial
from rethink_ray.commands.models import (
    FORMATS,
    ExportFormats,
    export_run,
    write_study_models,
)
from rethink_ray.commands.weights import write_models
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.spec.errors import SpecError, explain


def export_study(
    study: StudyDirectory, out: Path, formats: ExportFormats, *, with_weights: bool
) -> None:
    """The best configurations of a study are in ``out``, and their models if asked for.

    Raises:
        SpecError: a model cannot be written in a format.
        RecordError: no trial has finished a length.
    """
    written = export_best(study, out)
    for path in written.files:
        print(path)
    if with_weights:
        for line in write_models(study, written):
            print(line)
    if formats.names:
        for line in write_study_models(study, written, formats):
            print(line)
    single = [path.name for path, replicates in written.files.items() if not replicates]
    if single:
        print(f"single runs, chosen because they were best, not replicated: {', '.join(single)}")
    if written.missing:
        print(f"missing, nothing has finished there: {', '.join(written.missing)}")
    for regime, why in written.not_recommended.items():
        print(f"no {regime}-best.yaml: {why}")


def export_one_run(run: Path, out: Path | None, formats: ExportFormats, *, is_final: bool) -> None:
    """The model in the folder of one run is in ``out`` in the formats asked for.

    Raises:
        SpecError: no format is named, or an option that only a study has.
        RecordError: the folder holds no model.
    """
    if is_final or not formats.names:
        must = f"must come with --format {' or '.join(FORMATS)} for the folder of one run"
        shown = "--final or --weights" if is_final else "no format"
        remedy = "A study directory has resolved.json; its other exports need no format."
        raise SpecError(explain(f"export {run}", must, shown, remedy))
    for line in export_run(run, out, formats):
        print(line)


def export_one_trial(study: StudyDirectory, trial_id: str, out: Path, *, is_alone: bool) -> None:
    """A file for each length of one trial is in ``out``. ``is_alone``: no model is asked for.

    Raises:
        SpecError: a model is asked for.
        RecordError: the study has no such trial, or it finished nothing.
    """
    if not is_alone:
        must = "must come without --weights, --format, --size and --final"
        remedy = "Train the trial's file with rethink-ray train, then export that folder."
        raise SpecError(explain("export --trial", must, "one of them", remedy))
    for path in export_trial(study, trial_id, out):
        print(path)


def export_final(study: StudyDirectory, out: Path, formats: ExportFormats) -> None:
    """The recommended configuration is trained on all labelled pictures, in ``out/final``.

    Raises:
        SpecError: it cannot be trained so, or not be written in a format.
        RecordError: no trial has finished a length.
    """
    from rethink_ray.commands.final import train_final

    names = formats.names or ("safetensors",)
    for line in train_final(study, out, replace(formats, names=names)):
        print(line, flush=True)
