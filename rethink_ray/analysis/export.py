"""The incumbent of every cell and length, as files that run on their own.

A file is the whole configuration, so ``rethink-ray train`` needs no study to repeat its number. A
regime's best is the arm that the study's answer recommends, never the luckiest trial.
"""

import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rethink_ray.analysis.answer import Recommendation, RegimeAnswer
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.judge.statistics import mean_of
from rethink_ray.protocol.cell_rules import searches_of_cell
from rethink_ray.protocol.cell_view import CellView, StudyView
from rethink_ray.protocol.incumbents import (
    WORST_SCORE,
    rank_key,
    report_metric,
    selection_metric,
)
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import Member
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.hashing import FIRST_IDENTITY
from rethink_ray.spec.older_records import with_first_detector
from rethink_ray.spec.resolve import Cell, ExportedConfig, cells_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The files that were written, and the lengths without one."""

    files: Mapping[Path, int]
    """File -> replicates that were scored at its length."""
    missing: tuple[str, ...]
    """``full/scratch 6x``: no search trial has finished there yet."""
    made_of: Mapping[Path, "RungOrigin"]
    """File -> what it repeats; a regime's best repeats one of the others."""
    not_recommended: Mapping[str, str]
    """Regime without a file of its best -> why, as the study's answer says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RungOrigin:
    """The rung that an exported file repeats."""

    cell: Cell
    """The cell; of several searches of it, the one that found this."""
    member: Member
    length: float


def export_best(directory: StudyDirectory, out: Path) -> Exported:
    """One YAML file per cell and length stands in ``out``, and one per regime, its best.

    Raises:
        RecordError: no trial of the study has finished a rung.
    """
    study = directory.study
    view = StudyView(study, directory.load_state(), directory.facts)
    made_of: dict[Path, RungOrigin] = {}
    missing = []
    for cell in cells_of(study):
        bests = list(_bests(view, cell))
        first = view.cell(cell)
        end = (first.source or first).convergence
        for length in first.ladder.lengths:
            at_length = [origin for origin in bests if origin.length == length]
            if not at_length:
                if end is None or length <= end.length:
                    missing.append(f"{cell.name} {length:g}x")
                continue
            path = _path_of(out, cell.regime, cell.arm, length)
            made_of[path] = min(at_length, key=lambda o: _merit(view, o))
    if not made_of:
        must, remedy = "must have a finished rung", "Let the study run, then export."
        raise RecordError(explain(str(directory.root), must, "none yet", remedy))
    answers = derive_findings(read_tables(directory)).answer.regimes
    heads: dict[Path, str] = {}
    for answer in answers:
        best, path = answer.recommended, out / f"{answer.regime}-best.yaml"
        origin = made_of.get(_path_of(out, answer.regime, best.arm, best.length)) if best else None
        if best is None or origin is None:
            path.unlink(missing_ok=True)  # of an earlier answer
        else:
            made_of[path], heads[path] = origin, _head_of(answer, best)
    written = {
        path: _write(directory, view, path, origin, heads.get(path, ""))
        for path, origin in made_of.items()
    }
    return Exported(
        files=written,
        missing=tuple(missing),
        made_of=made_of,
        not_recommended={
            a.regime: a.paragraph for a in answers if out / f"{a.regime}-best.yaml" not in heads
        },
    )


def _path_of(out: Path, regime: str, arm: str, length: float) -> Path:
    return out / f"{regime}-{arm}-{length:g}x.yaml"


def _head_of(answer: RegimeAnswer, best: Recommendation) -> str:
    """The comment over a regime's best: the answer, and the arms that may be as good."""
    tied = f" May be as good: {', '.join(answer.tied)}." if answer.tied else ""
    texts = (f"The recommended arm of {answer.regime}: {best.arm}.{tied}", answer.paragraph)
    return "".join(f"# {line}\n" for text in texts for line in textwrap.wrap(text, 98))


def _bests(view: StudyView, cell: Cell) -> Iterator[RungOrigin]:
    """The incumbent of each search of a cell, length by length."""
    for search in searches_of_cell(view.study, cell):
        for length, member in view.cell(search).incumbents.items():
            # an arm that copies its values may not have come this far
            if (member.trial_id, length) in view.state.rungs:
                yield RungOrigin(cell=search, member=member, length=length)


def _merit(view: StudyView, origin: RungOrigin) -> tuple[float, float, str]:
    """Sorts the best first by the select split; of equals the shorter."""
    metric = selection_metric(view.study)
    value = view.state.metric(origin.member.trial_id, origin.length, metric)
    merit, trial_id = rank_key(value, origin.member.trial_id)
    return (merit, origin.length, trial_id)


def _write(
    directory: StudyDirectory, study_view: StudyView, path: Path, origin: RungOrigin, head: str
) -> int:
    """Writes one file, and returns how many replicates were scored at its length.

    Args:
        directory: the study's.
        study_view: of its records.
        path: of the file.
        origin: the rung that it repeats.
        head: a comment that stands above all others.
    """
    view = study_view.cell(origin.cell)
    header = head + build_header(directory, view, origin.member, origin.length)
    body = yaml.safe_dump(
        _tree(build_config(directory, view, origin.member, origin.length)),
        sort_keys=False,
        width=100,
    )
    write_atomically(path, f"{header}{body}")
    return len(_replicate_scores(view, origin.member, origin.length))


def build_config(
    directory: StudyDirectory, view: CellView, member: Member, length: float
) -> ExportedConfig:
    """A trial of a cell as a run of exactly one length, with the numbers it got there."""
    config = view.config_of(member)
    if directory.identity == FIRST_IDENTITY:
        config = with_first_detector(config)
    schedule = config.recipe.schedule.model_copy(update={"lengths": (length,)})
    tree = config.model_dump() | {
        "recipe": config.recipe.model_copy(update={"schedule": schedule}),
        "expected": _expected(view, member, length),
        "source": {
            "fingerprint": directory.fingerprint,
            "trial_id": member.trial_id,
            "identity": str(directory.identity),
            **{f"version_{k}": v for k, v in sorted(directory.versions.items())},
        },
    }
    return ExportedConfig.model_validate(tree, strict=False)


def build_header(directory: StudyDirectory, view: CellView, member: Member, length: float) -> str:
    """The comment at the top of an exported file: what it is, its scores and their intervals."""
    study, state = view.study, view.state
    searches = searches_of_cell(study, view.cell)
    tried = sum(len(state.members(search, "search")) for search in searches)
    lines = [
        f"The best of {tried} configurations of {searches[0].name} at {length:g}x "
        f"in study {study.study}.",
        f"score:       {selection_metric(study)} "
        f"{state.metric(member.trial_id, length, selection_metric(study)):.2f}, which train "
        "repeats (the best of several: biased upwards)",
        f"replicates:  {_replicates(view, member, length)}",
        f"values:      {_origin_of(view, member)}",
        f"trial id:    {member.trial_id}",
        f"fingerprint: {directory.fingerprint}",
        f"data:        {directory.facts.fingerprint}",
        f"versions:    {_versions(directory)}",
        "run:         rethink-ray train THIS_FILE --out DIR",
    ]
    return "".join(f"# {line}\n" for line in lines)


def _origin_of(view: CellView, member: Member) -> str:
    """Whether the values were tried first or proposed by the search."""
    tuned = view if view.source is None else view.source
    recipes, *chosen = tuned.rules.first_values
    if member.params == recipes:
        return "the recipe's own, which the search tries first"
    return "chosen by the study (try_first)" if member.params in chosen else "found by the search"


def _versions(directory: StudyDirectory) -> str:
    versions = [f"{name} {version}" for name, version in sorted(directory.versions.items())]
    return ", ".join(versions) or "not recorded"


def _replicates(view: CellView, member: Member, length: float) -> str:
    metric = report_metric(view.study)
    scores = _replicate_scores(view, member, length)
    if not scores:
        return "none at this length: one run, chosen because it was the best"
    estimate = mean_of(scores)
    assert estimate is not None, "there are scores"
    interval = estimate.interval()
    if interval is None:
        return f"{metric} {estimate.value:.2f} ({len(scores)}: too few for an interval)"
    low, high = interval
    return f"{metric} {estimate.value:.2f} [{low:.2f}, {high:.2f}] over {len(scores)} new seeds"


def _replicate_scores(view: CellView, member: Member, length: float) -> list[float]:
    metric = report_metric(view.study)
    repeats = [m for m in view.members("replicate") if m.of == member.trial_id]
    scores = []
    for member in repeats:
        value = view.state.metric(member.trial_id, length, metric)
        if value is None and member.trial_id in view.state.ended:
            value = WORST_SCORE  # a diverged replicate is never dropped
        scores += [] if value is None or not math.isfinite(value) else [value]
    return scores


def _expected(view: CellView, member: Member, length: float) -> Mapping[str, float]:
    metric = selection_metric(view.study)
    value = view.state.metric(member.trial_id, length, metric)
    return {} if value is None or not math.isfinite(value) else {metric: value}


def _tree(config: ExportedConfig) -> dict[str, Any]:
    tree: dict[str, Any] = config.model_dump(mode="json")
    return tree
