"""A whole study of seconds: two regimes, two arms, two search trials and one replicate a cell."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.cluster.dispatch import Dispatcher
from rethink_ray.cluster.recorder import Recorder
from rethink_ray.cluster.work import run_job
from rethink_ray.data.facts import gather_facts
from rethink_ray.protocol.columns import MACHINE_COLUMNS
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Job
from rethink_ray.session import start_study
from rethink_ray.spec.check import check_study
from rethink_ray.spec.study import Study
from rethink_ray.training.stopping import never_stop
from tests.builders import MICRO_DATA, MICRO_SETTINGS

ONE_REGIME: dict[str, Any] = {"regimes": {"small": {"images": 6}}}
"""Half of the micro study's cells, where one regime shows what is to be shown."""

SHORT_SCHEDULE: dict[str, Any] = {
    "unit": 2,
    "lengths": [2.0, 3.0],
    "warmup": 1,
    "decay": {"kind": "step", "before_end": [0.5]},
}
"""Half of the updates, for studies of which nothing is stopped in the middle of a rung."""


def micro_study(**changes: Any) -> Study:
    """Three lengths of 8, 12 and 16 updates; ``changes`` replace top-level keys."""
    settings = {k: v for k, v in MICRO_SETTINGS.items() if not k.startswith("schedule")}
    tree = {
        "study": "micro",
        "data": MICRO_DATA.model_dump(mode="json"),
        "regimes": {"full": {"images": "all"}, "small": {"images": 6}},
        "recipe": "tiny_retinanet",
        "settings": settings | {"upstream.labels": "shuffled"},
        "arms": {"scratch": {}, "pretrained": {"set": {"init.source": "upstream"}}},
        "search": {"optimizer.lr": {"log_uniform": [0.002, 0.05]}},
        "schedule": {
            "unit": 4,
            "lengths": [2.0, 3.0],
            "warmup": 2,
            "decay": {"kind": "step", "before_end": [0.75, 0.25]},
        },
        "budget": {"trials": 2, "keep": [2, 1], "replicates": 1},
        **changes,
    }
    study = Study.model_validate_json(json.dumps(tree))
    check_study(study, "micro")
    return study


def start_micro(root: Path, **changes: Any) -> StudyDirectory:
    """A study directory that was never run."""
    study = micro_study(**changes)
    facts = gather_facts(study.data, study.regimes)
    return start_study(root, study, "study: micro\n", facts, {"torch": "any"})


def results(directory: StudyDirectory) -> dict[str, list[dict[str, Any]]]:
    """Every row of the three tables, without what depends on time and machine."""
    tables = read_tables(directory)
    named = {"trials": tables.trials, "rungs": tables.rungs, "assets": tables.assets}
    return {name: _plain(table) for name, table in named.items()}


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    kept = [name for name in table.column_names if name not in MACHINE_COLUMNS]
    rows: list[dict[str, Any]] = json.loads(json.dumps(table.select(kept).to_pylist()))
    return [{k: "nan" if v != v else v for k, v in row.items()} for row in rows]


def run_inline(directory: StudyDirectory) -> None:
    """The study from its first job to its last, one after another in this process."""
    recorder = Recorder(directory)
    dispatcher = Dispatcher(
        recorder=recorder,
        decider=Decider(directory.study, directory.facts),
        has_room=lambda running, job: not running,
        is_stopping=never_stop,
    )
    while isinstance(job := dispatcher.next_job(), Job):
        for event in run_job(job, directory.study.data, directory.root, never_stop):
            dispatcher.record(event)
        dispatcher.end_job(job.job_id)
    recorder.refresh_views(now=True)
