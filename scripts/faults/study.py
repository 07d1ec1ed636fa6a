"""The study that is disturbed: small, but with halving, replicates, an asset and two bad arms.

``wild`` diverges and ``huge`` fits no memory, in every run of it: results, never to be retried.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.protocol.columns import MACHINE_COLUMNS
from rethink_ray.protocol.tables import StudyTables, build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import RungDone

Tables = dict[str, list[dict[str, Any]]]

_HEAD = """\
study: {name}
data: {{dataset: shapes, shapes: {{train: 12, val: 4, test: 4, image_px: 48}}}}
regimes: {{full: {{images: all}}}}
recipe: tiny_retinanet
settings:
  detector: {{width: 16, neck_channels: 16, head_convs: 1, box_head_features: 32}}
  detector.min_side_px: 48
  detector.max_side_px: 48
  detector.score_threshold: 0.0
  batch_size: 2
  upstream: {{classes: 4, images: 60, image_px: 32, steps: 30, batch_size: 8, labels: shuffled}}
"""

PLAIN = (
    _HEAD.format(name="chaos")
    + """\
arms:
  scratch: {}
  pretrained: {set: {init.source: upstream}}
  wild: {set: {optimizer.lr: 1.0e+9, optimizer.clip_norm: null}}
  huge: {set: {detector.min_side_px: 300000, detector.max_side_px: 300000}}
search:
  optimizer.lr: {log_uniform: [0.002, 0.05]}
  optimizer.weight_decay: {log_uniform: [1.0e-5, 1.0e-3]}
schedule: {unit: 20, warmup: 4, decay: {kind: step, before_end: [0.7, 0.2]}, lengths: %LENGTHS}
budget: %BUDGET
"""
)
SIZES = {
    "full": ("[2, 3, 4]", "{trials: 4, keep: [4, 2, 1], replicates: 2}"),
    "small": ("[2, 3]", "{trials: 2, keep: [2, 1], replicates: 1}"),
}
"""Lengths and budget: about 35 or 15 jobs of 40 to 80 updates."""

BY_WORKERS = (
    _HEAD.format(name="chaos_train")
    + """\
arms: {scratch: {}}
search: {optimizer.lr: {log_uniform: [0.002, 0.05]}}
schedule: {unit: 60, lengths: [2, 3], warmup: 4, decay: {kind: step, before_end: [0.7, 0.2]}}
budget: {trials: 2, keep: [2, 1], replicates: 0}
resources: {workers: 2}
"""
)
"""Three jobs, each a Ray Train run of two workers."""

BAD_ARMS = {"wild": "diverged", "huge": "infeasible"}


def write_studies(folder: Path, size: str) -> dict[str, Path]:
    """The study files by setting: ``plain`` (of this size) and ``train``."""
    lengths, budget = SIZES[size]
    folder.mkdir(parents=True, exist_ok=True)
    files = {"plain": folder / "chaos.yaml", "train": folder / "chaos_train.yaml"}
    files["plain"].write_text(PLAIN.replace("%LENGTHS", lengths).replace("%BUDGET", budget))
    files["train"].write_text(BY_WORKERS)
    return files


def finished_rungs(root: Path) -> dict[tuple[str, float], RungDone]:
    """Every recorded rung of a study directory; none if there is no study yet."""
    if not StudyDirectory.holds_study(root):
        return {}
    return dict(StudyDirectory.open(root).load_state().rungs)


def same_numbers(one: RungDone, other: RungDone) -> bool:
    """Whether two records of a rung agree in everything but time and machine."""
    return (one.metrics, one.steps, one.steps_new) == (other.metrics, other.steps, other.steps_new)


def results(root: Path) -> Tables:
    """Every row of the three tables as everybody reads them, without time and machine."""
    return plain_rows(read_tables(StudyDirectory.open(root)))


def results_of_log(root: Path) -> Tables:
    """The same, made from the log."""
    directory = StudyDirectory.open(root)
    return plain_rows(build_tables(directory.study, directory.load_state(), directory.facts))


def plain_rows(tables: StudyTables) -> Tables:
    """Rows that compare with ``==``: no machine columns, NaN as text."""
    named = {"trials": tables.trials, "rungs": tables.rungs, "assets": tables.assets}
    return {name: _rows(table) for name, table in named.items()}


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    kept = [name for name in table.column_names if name not in MACHINE_COLUMNS]
    rows: list[dict[str, Any]] = json.loads(json.dumps(table.select(kept).to_pylist()))
    return [{k: "nan" if v != v else v for k, v in row.items()} for row in rows]
