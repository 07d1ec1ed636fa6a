"""A study whose replicates draw their own images: trained, read and repeated, to the last bit.

Everything is real but the cluster: one job at a time runs in this process.
"""

from pathlib import Path
from typing import Any

import pytest
from micro_study import run_inline

from rethink_ray.analysis.export import build_config
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.one_trial import export_trial
from rethink_ray.commands.reruns import verdict_lines
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.regimes import holdout_image_ids, regime_image_ids
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.session import start_study
from rethink_ray.spec.errors import RecordError
from rethink_ray.spec.load import load_config, validate
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study
from rethink_ray.training.inputs import open_trial_data
from rethink_ray.training.run import train_config
from tests.builders import MICRO_SETTINGS

TREE: dict[str, Any] = {
    "study": "redrawn",
    "data": {
        "dataset": "shapes",
        "shapes": {"train": 16, "val": 4, "test": 4, "image_px": 64},
        "select_on": {"holdout": 4},
    },
    "regimes": {"few": {"images": 5}},
    "recipe": "tiny_retinanet",
    "settings": {
        **{k: v for k, v in MICRO_SETTINGS.items() if not k.startswith("schedule")},
        "labels.threshold": 0.005,
        "labels.pool": "rest",
    },
    "arms": {
        "scratch": {},
        "student": {"set": {"labels.kind": "self_training"}, "teacher": "scratch"},
    },
    "search": {"optimizer.lr": {"log_uniform": [0.01, 0.1]}},
    "schedule": {
        "unit": 4,
        "lengths": [2.0],
        "warmup": 2,
        "decay": {"before_end": [0.75, 0.25]},
    },
    "budget": {"trials": 1, "replicates": 2},
    "replicate": {"vary": ["seed", "subset"]},
}
Finished = tuple[StudyDirectory, StudyState]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    study = validate(Study, TREE, "redrawn.yaml")
    root = tmp_path_factory.mktemp("redrawn") / "study"
    facts = gather_facts(study.data, study.regimes)
    directory = start_study(str(root), study, "", facts, {})
    run_inline(directory)
    return directory, directory.load_state()


def members(state: StudyState, arm: str, purpose: Any) -> list[Member]:
    return [m for _, m in state.members(Cell("few", arm), purpose)]


def test_each_replicate_trains_on_its_draw_and_never_on_the_hold_out(finished: Finished) -> None:
    directory, state = finished
    data = directory.study.data
    view = StudyView(directory.study, state, directory.facts)
    for arm in ("scratch", "student"):
        for member, draw in zip(members(state, arm, "replicate"), (1, 2), strict=True):
            config = build_config(directory, view.cell(Cell("few", arm)), member, 2.0).plain()
            seen = open_trial_data(config).image_ids
            assert seen == regime_image_ids(data, 5, draw)
            assert not set(seen) & set(holdout_image_ids(data))
        [searched] = members(state, arm, "search")
        config = build_config(directory, view.cell(Cell("few", arm)), searched, 2.0).plain()
        assert open_trial_data(config).image_ids == regime_image_ids(data, 5)


def test_a_students_teacher_learns_its_draw_and_labels_what_it_leaves(finished: Finished) -> None:
    """Of 16 pictures 4 are held out and 5 are learned from: 7 are left to be labelled."""
    _, state = finished
    assert not state.ended
    labelled = [a for a in state.assets.values() if a.kind == "pseudo_labels"]
    assert [a.metrics["images"] for a in labelled] == [7, 7, 7]


def test_an_exported_replicate_repeats_its_number_to_the_last_bit(
    finished: Finished, tmp_path: Path
) -> None:
    directory, state = finished
    for arm in ("scratch", "student"):
        for member in members(state, arm, "replicate"):
            [path] = export_trial(directory, member.trial_id, tmp_path / "files")
            assert f"on draw {member.draw} of its images" in path.read_text()
            config = load_config(path)
            assert config.plain().trial_id == member.trial_id
            rungs = train_config(config, tmp_path / member.trial_id)
            told = list(verdict_lines(config, rungs, exact=True))
            repeated = [line for line in told if line.endswith("reproduced to the last bit")]
            assert len(repeated) == 2  # on the hold-out, and on the report split
            recorded = state.rungs[member.trial_id, 2.0].metrics
            assert repr(rungs[0].metrics["train/loss"]) == repr(recorded["train/loss"])


def test_a_trial_that_is_none_is_named(finished: Finished, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="--trial: must be a trial of .*, but got 'abc'"):
        export_trial(finished[0], "abc", tmp_path)


def test_findings_say_that_intervals_cover_the_draw(finished: Finished) -> None:
    directory, state = finished
    found = derive_findings(build_tables(directory.study, state, directory.facts))
    [caveat] = [c for c in found.caveats if c.key == "redrawn:few"]
    assert "5 of 12 training images" in caveat.text
    assert "intervals cover" in caveat.text
