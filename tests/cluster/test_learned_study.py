"""A study whose arms learn their own beginnings, from the first decision to an exported file.

Everything is real but the cluster: one job at a time runs in this process.
"""

from pathlib import Path
from typing import Any

import pytest
from micro_study import SHORT_SCHEDULE

from rethink_ray.analysis.export import export_best
from rethink_ray.cluster.work import decode_job, encode_job, run_job
from rethink_ray.data.facts import gather_facts
from rethink_ray.judge.read.costs import study_cost
from rethink_ray.judge.read.trials import read_cells
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.search.decide import Decider
from rethink_ray.session import start_study
from rethink_ray.spec.load import load_config, validate
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study
from rethink_ray.training.run import scored_splits, train_config
from rethink_ray.training.stopping import never_stop
from tests.builders import MICRO_SETTINGS

TREE: dict[str, Any] = {
    "study": "learned",
    "data": {
        "dataset": "shapes",
        "shapes": {"train": 12, "val": 4, "test": 4, "unlabelled": 6, "image_px": 64},
    },
    "regimes": {"full": {"images": "all"}},
    "recipe": "tiny_retinanet",
    "settings": {
        **{k: v for k, v in MICRO_SETTINGS.items() if not k.startswith("schedule")},
        "direct": {"passes": 1.0, "batch_size": 4, "warmup": 1, "norm": "gn", "resolution": 0.5},
        "labels.threshold": 0.005,
    },
    "arms": {
        "scratch": {},
        "direct": {"set": {"init.source": "direct"}},
        "student": {"set": {"labels.kind": "self_training"}, "teacher": "direct"},
        "continued": {"set": {"labels.kind": "continued"}, "teacher": "scratch"},
    },
    "search": {"optimizer.lr": {"log_uniform": [0.01, 0.1]}},
    "schedule": SHORT_SCHEDULE,
    "budget": {"trials": 2, "keep": [2, 1], "replicates": 2},
}


def run_here(study: Study, directory: StudyDirectory) -> StudyState:
    """Every job of the study, one after another, as a slot of the cluster would run it."""
    state = directory.load_state()
    decider = Decider(study, directory.facts)
    while not (decision := decider.next_jobs(state)).done:
        for event in (*decision.rounds, *decision.ends):
            directory.log.append(event)
            state.add(event)
        for job in decision.jobs[:1]:
            crossed = decode_job(encode_job(job))
            assert crossed == job
            for told in run_job(crossed, study.data, directory.root, never_stop):
                directory.log.append(told)
                state.add(told)
    return state


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyDirectory, StudyState]:
    study = validate(Study, TREE, "learned.yaml")
    root = tmp_path_factory.mktemp("learned") / "study"
    facts = gather_facts(study.data, study.regimes)
    directory = start_study(str(root), study, "", facts, {})
    return directory, run_here(study, directory)


def test_every_arm_comes_to_its_replicates(
    finished: tuple[StudyDirectory, StudyState],
) -> None:
    _, state = finished
    assert not state.ended
    for arm in TREE["arms"]:
        replicates = state.members(Cell("full", arm), "replicate")
        assert len(replicates) >= 2
        assert all((m.trial_id, 2.0) in state.rungs for _, m in replicates)
    kinds = sorted(asset.kind for asset in state.assets.values())
    assert set(kinds) == {"direct", "teacher", "pseudo_labels"}
    labels = next(a for a in state.assets.values() if a.kind == "pseudo_labels")
    assert labels.metrics["images"] == 6
    teacher = next(a for a in state.assets.values() if a.kind == "teacher")
    assert "val/ap" in teacher.metrics


def test_each_arm_pays_for_what_it_started_from(
    finished: tuple[StudyDirectory, StudyState],
) -> None:
    directory, state = finished
    tables = build_tables(directory.study, state, directory.facts)
    cost = study_cost(tables, read_cells(tables))
    assert cost.of("full", "scratch").asset_seconds == 0.0
    booked = {key for arm in TREE["arms"] for key in cost.of("full", arm).assets}
    assert booked == set(state.assets)
    for arm in ("direct", "student", "continued"):
        assert cost.of("full", arm).asset_seconds > 0


def test_an_exported_run_rebuilds_what_it_starts_from_and_repeats_its_number(
    finished: tuple[StudyDirectory, StudyState], tmp_path: Path
) -> None:
    directory, state = finished
    exported = export_best(directory, tmp_path / "best")
    assert not exported.missing
    for arm in ("direct", "student", "continued"):
        config = load_config(tmp_path / "best" / f"full-{arm}-3x.yaml")
        [rung] = train_config(config.plain(), tmp_path / arm, splits=scored_splits(config)[:1])
        assert rung.metrics["val/ap"] == config.expected["val/ap"]
        recorded = state.rungs[config.source["trial_id"], 3.0].metrics
        assert rung.metrics["val/ap"] == recorded["val/ap"]
        assert rung.metrics["train/loss"] == recorded["train/loss"]
