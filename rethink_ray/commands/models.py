"""``export --format``: models for use elsewhere, each with its card and its thresholds."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rethink_ray.analysis.export import Exported, RungOrigin
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.model_card import fill_card, model_card
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.session import collect_versions
from rethink_ray.spec.card import ONNX_FILE, CardScore, ModelCard
from rethink_ray.spec.errors import DataError, SpecError, explain
from rethink_ray.spec.load import load_config
from rethink_ray.spec.resolve import ExportedConfig, TrialConfig

if TYPE_CHECKING:
    from rethink_ray.training.model_files import TrainedModel

FORMATS = ("safetensors", "onnx")
SIZE = re.compile(r"([1-9][0-9]*)x([1-9][0-9]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormats:
    """The formats in which models are written."""

    names: tuple[str, ...] = ()
    """Of ``FORMATS``."""
    onnx_hw: tuple[int, int] | None = None
    """The only size that the ONNX file takes; None: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardedModel:
    """A model with its card."""

    model: "TrainedModel"
    card: ModelCard
    note: str = ""
    """Why the card has no thresholds."""


def read_formats(names: Sequence[str], size: str | None = None) -> ExportFormats:
    """The formats that a command names, and the size of the ONNX file's picture.

    Raises:
        SpecError: this program cannot write a format, its libraries are missing, or the size is
            none or of another format.
    """
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        must = f"must be {' or '.join(FORMATS)}"
        raise SpecError(explain("--format", must, unknown[0]))
    if size is not None and "onnx" not in names:
        must = "must come with --format onnx, whose pictures have this size"
        shown = f"--format {names[0]}" if names else "no format"
        raise SpecError(explain("--size", must, shown))
    sides = None if size is None else SIZE.fullmatch(size)
    if size is not None and sides is None:
        must = "must be height x width in pixels, such as 480x640"
        raise SpecError(explain("--size", must, size))
    if "onnx" in names:
        from rethink_ray.detection.onnx_file import require_onnx

        require_onnx()
    fixed_hw = None if sides is None else (int(sides[1]), int(sides[2]))
    return ExportFormats(names=tuple(names), onnx_hw=fixed_hw)


def write_study_models(
    study: StudyDirectory, written: Exported, formats: ExportFormats
) -> Iterator[str]:
    """Each exported file whose weights were kept has a folder with its model; yields lines."""
    findings = derive_findings(read_tables(study))
    carded: dict[tuple[str, float], CardedModel] = {}
    for path, origin in written.made_of.items():
        folder = path.with_suffix("")
        config = load_config(path)
        key = (origin.member.trial_id, origin.length)
        if key not in carded:
            model = read_kept_model(study, origin, config)
            if model is None:
                train = f"rethink-ray train {path} --out {folder}"
                yield f"no weights kept: {path.name}; {train}, then export that folder"
                continue
            carded[key] = add_card(model, findings, origin)
        yield from write_formats(carded[key], folder, formats)
        readme = folder / "README.md"
        write_atomically(readme, model_card(findings, path.name, config, origin))
        yield str(readme)


def read_kept_model(
    study: StudyDirectory, origin: RungOrigin, config: ExportedConfig
) -> "TrainedModel | None":
    """The model of a rung, if the study kept its weights."""
    from rethink_ray.data.levels import LevelRange
    from rethink_ray.training.checkpoint import load_checkpoint
    from rethink_ray.training.model_files import build_trained
    from rethink_ray.training.trial_files import model_path

    source = model_path(study.trial_dir(origin.member.trial_id) / "models", origin.length)
    if not source.exists():
        return None
    content = load_checkpoint(source)
    return build_trained(
        config.plain(),
        lambda detector: detector.load_state_dict(content["model"]),
        length=origin.length,
        categories=study.facts.categories,
        keypoints=content.get("keypoints", ()),
        level_ranges={
            kind: LevelRange(lowest=lowest, highest=highest)
            for kind, (lowest, highest) in study.facts.level_ranges.items()
        },
    )


def add_card(model: "TrainedModel", findings: Findings, origin: RungOrigin) -> CardedModel:
    """The model with the scores and caveats of its study, and thresholds."""
    from rethink_ray.training.shared_model import describe_model

    card = fill_card(describe_model(model, collect_versions()), findings, origin)
    return _with_thresholds(model, card)


def _with_thresholds(model: "TrainedModel", card: ModelCard) -> CardedModel:
    """The card with thresholds, if the pictures that choose them are there."""
    from rethink_ray.training.thresholds import add_thresholds

    if card.trained_on_all:
        return CardedModel(model=model, card=card)
    try:
        return CardedModel(model=model, card=add_thresholds(model, card))
    except DataError as error:
        split = model.config.data.select_split
        return CardedModel(model=model, card=card, note=f"no thresholds, without {split}: {error}")


def write_formats(carded: CardedModel, folder: Path, formats: ExportFormats) -> Iterator[str]:
    """``folder`` has the model in each format, with its card; yields a line for each file."""
    from rethink_ray.training.shared_model import write_model_card, write_shared

    model, card = carded.model, carded.card
    if "safetensors" in formats.names:
        yield str(write_shared(model, card, folder))
    if "onnx" in formats.names:
        from rethink_ray.detection.onnx_file import write_onnx
        from rethink_ray.training.onnx_check import check_onnx

        path, fixed_hw = folder / ONNX_FILE, formats.onnx_hw
        write_onnx(model.detector, model.config.recipe, card.classes, path, fixed_hw)
        pixels = card.input.model_copy(update={"onnx_hw": fixed_hw})
        card = card.model_copy(update={"input": pixels})
        yield f"{path}: {check_onnx(model, path).sentence}"
        if model.config.recipe.precision == "bf16":
            yield f"{path}: it computes in float32, the study in bf16, so scores differ slightly"
    yield str(write_model_card(card, folder))
    if carded.note:
        yield carded.note


def export_run(run: Path, out: Path | None, formats: ExportFormats) -> Iterator[str]:
    """The model in the folder of one run is in ``out`` (by default that folder) in each format."""
    from rethink_ray.spec.card import read_card
    from rethink_ray.training.run import load_model
    from rethink_ray.training.shared_model import describe_model

    model = load_model(run)
    known = read_card(run)
    if known is not None:
        carded = CardedModel(model=model, card=known)
    else:
        card = describe_model(model, collect_versions())
        scores = _read_scores(run, model.config, model.length)
        carded = _with_thresholds(model, card.model_copy(update={"scores": scores}))
    yield from write_formats(carded, out or run, formats)


def _read_scores(run: Path, config: TrialConfig, length: float) -> tuple[CardScore, ...]:
    """What the run scored in its objective, on every split it was scored on."""
    from rethink_ray.training.trial_files import TrialFiles

    rung = TrialFiles(run, config.trial_id).rung(length)
    metric = config.objective.metric
    scores = {} if rung is None else rung.metrics
    return tuple(
        CardScore(metric=metric, split=name.partition("/")[0], value=value)
        for name, value in sorted(scores.items())
        if name.endswith(f"/{metric}") and value == value
    )
