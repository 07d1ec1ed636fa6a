"""``export --final``: the recommended configuration, trained on all labelled pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from rethink_ray.analysis.export import RungOrigin, build_config
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.model_card import fill_card
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.analysis.recommended import choose_recommended
from rethink_ray.commands.models import (
    CardedModel,
    ExportFormats,
    add_card,
    read_kept_model,
    write_formats,
)
from rethink_ray.judge.wording import times
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.session import collect_versions
from rethink_ray.spec.card import ModelCard
from rethink_ray.spec.regime import HOLDOUTS
from rethink_ray.spec.resolve import TrialConfig

if TYPE_CHECKING:
    from rethink_ray.training.ladder import Progress

FINAL = "final"
"""The folder of the run, and the stem of its configuration."""
SHOWN_SHARES = 10
"""How often progress is printed."""


def train_final(study: StudyDirectory, out: Path, formats: ExportFormats) -> Iterator[str]:
    """``out/final`` has the model; yields lines while it is trained.

    It can be stopped and started again: it goes on from its newest checkpoint.
    """
    from rethink_ray.training.final_run import resolve_final
    from rethink_ray.training.run import load_model, train_config
    from rethink_ray.training.shared_model import describe_model

    findings = derive_findings(read_tables(study))
    origin = choose_recommended(study, findings)
    view = StudyView(study.study, study.load_state(), study.facts).cell(origin.cell)
    exported = build_config(study, view, origin.member, origin.length)
    folder = out / FINAL
    config = resolve_final(exported.plain(), folder)
    path = out / f"{FINAL}.yaml"
    write_atomically(path, _render(study, origin, config))
    yield str(path)
    yield (
        f"training {origin.cell.name} at {times(origin.length)} on all {config.num_images} "
        f"labelled pictures of {_name_splits(study)}"
    )
    train_config(config, folder, splits=(), progress=_print_progress)
    model = load_model(folder)
    known = fill_card(describe_model(model, collect_versions()), findings, origin)
    before = read_kept_model(study, origin, exported)
    if before is not None:
        known = add_card(before, findings, origin).card
    card = _say_final(describe_model(model, collect_versions()), known, exported.num_images)
    yield from write_formats(CardedModel(model=model, card=card), folder, formats)
    yield from card.caveats[:1]


def _say_final(card: ModelCard, known: ModelCard, num_before: int | None) -> ModelCard:
    """The card of the final model.

    Args:
        card: without what its study knows.
        known: of the model that its configuration had in the study.
        num_before: pictures that this one was trained on.
    """
    sentence = (
        f"This model has no score: it learned from all {card.config.num_images} labelled pictures, "
        f"so none is left to measure it."
    )
    if known.scores:
        score = known.scores[0]
        interval = score.interval
        span = "" if interval is None else f" [{interval[0]:.1f}, {interval[1]:.1f}]"
        runs = f"{score.replicates} runs" if score.replicates else "one run"
        sentence += (
            f" {runs.capitalize()} of its configuration on {num_before} of them had "
            f"{score.split}/{score.metric} {score.value:.1f}{span}."
        )
    origin = f"{known.thresholds_from}, by the model of its study"
    update = {
        "trained_on_all": True,
        "scores": (),
        "caveats": (sentence, *known.caveats),
        "score_thresholds": known.score_thresholds,
        "thresholds_from": origin if known.score_thresholds else "",
    }
    return card.model_copy(update=update)


def _name_splits(study: StudyDirectory) -> str:
    data = study.study.data
    splits = dict.fromkeys(("train", data.select_split, data.report_split))
    return " and ".join(split for split in splits if split not in HOLDOUTS)


def _render(study: StudyDirectory, origin: RungOrigin, config: TrialConfig) -> str:
    lines = [
        f"The configuration of {origin.cell.name} at {times(origin.length)} in study "
        f"{study.study.study},",
        f"on all labelled pictures of {_name_splits(study)}. No score: nothing is left to measure.",
        f"trial of the study: {origin.member.trial_id}",
    ]
    body = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, width=100)
    return "".join(f"# {line}\n" for line in lines) + body


def _print_progress(progress: "Progress") -> None:
    """Prints every tenth of the run."""
    every = max(progress.total_steps // SHOWN_SHARES, 1)
    if progress.step % every == 0:
        print(f"update {progress.step} of {progress.total_steps}, loss {progress.loss:.3f}")
