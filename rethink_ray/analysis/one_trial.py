"""Any one trial of a study as files that run on their own, to repeat the number of a replicate.

A replicate differs from its incumbent's file in everything that it draws again: its seed, the seeds
of its classifier and its teacher, and perhaps its images.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import yaml

from rethink_ray.analysis.export import build_config
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.incumbents import report_metric, selection_metric
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member, Purpose
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.resolve import Cell, searches_of
from rethink_ray.spec.study import Study

PURPOSES: tuple[Purpose, ...] = ("search", "replicate")


def export_trial(directory: StudyDirectory, trial_id: str, out: Path) -> tuple[Path, ...]:
    """``out/<trial>-<length>x.yaml`` stands for every length that the trial finished.

    Raises:
        RecordError: the study has no such trial, or it finished nothing.
    """
    state = directory.load_state()
    cell, member = _find(directory, state, trial_id)
    view = StudyView(directory.study, state, directory.facts).cell(cell)
    lengths = sorted(length for of, length in state.rungs if of == trial_id)
    if not lengths:
        must = "must have finished a length"
        raise RecordError(explain(f"trial {trial_id}", must, "none yet", "Let the study run."))
    written = []
    for length in lengths:
        config = build_config(directory, view, member, length)
        expected = _expected(directory.study, state, trial_id, length)
        tree = config.model_copy(update={"expected": expected}).model_dump(mode="json")
        body = yaml.safe_dump(tree, sort_keys=False, width=100)
        path = out / f"{trial_id}-{length:g}x.yaml"
        write_atomically(path, f"{_header(directory, cell, member, length)}{body}")
        written.append(path)
    return tuple(written)


def _find(directory: StudyDirectory, state: StudyState, trial_id: str) -> tuple[Cell, Member]:
    for cell, member in _members(directory.study, state):
        if member.trial_id == trial_id:
            return cell, member
    must, remedy = f"must be a trial of {directory.address}", "trials.parquet has all of them."
    raise RecordError(explain("--trial", must, trial_id, remedy))


def _members(study: Study, state: StudyState) -> Iterator[tuple[Cell, Member]]:
    for cell in searches_of(study):
        for purpose in PURPOSES:
            for _, member in state.members(cell, purpose):
                yield cell, member


def _expected(study: Study, state: StudyState, trial_id: str, length: float) -> dict[str, float]:
    """Its scores in the objective, on every split that it was scored on."""
    names = dict.fromkeys((selection_metric(study), report_metric(study)))
    scores = {name: state.metric(trial_id, length, name) for name in names}
    return {k: v for k, v in scores.items() if v is not None and math.isfinite(v)}


def _header(directory: StudyDirectory, cell: Cell, member: Member, length: float) -> str:
    kind = "A search trial" if member.of is None else f"A repeat of trial {member.of}"
    images = f", on draw {member.draw} of its images" if member.draw else ""
    lines = [
        f"{kind} of {cell.name} at {length:g}x in study {directory.study.study}{images}.",
        f"trial id:    {member.trial_id}",
        f"fingerprint: {directory.fingerprint}",
        "run:         rethink-ray train THIS_FILE --out DIR",
        "train says whether it repeated the scores below (expected), on both splits.",
    ]
    return "".join(f"# {line}\n" for line in lines)
