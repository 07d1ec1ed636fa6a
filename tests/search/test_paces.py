"""Paces: their file, which one holds for a cell, and how a study's own records give them."""

import math
from pathlib import Path

import pytest

from rethink_ray.records.state import StudyState
from rethink_ray.records.types import AssetDone, JobStarted, RoundProposed, RungDone
from rethink_ray.search.measured_paces import PaceMeter
from rethink_ray.search.paces import (
    MeasuredPaces,
    Pace,
    pace_of,
    read_paces,
    write_paces,
)
from rethink_ray.spec.errors import SpecError
from tests.search.search_builders import facts_of, member, small_study


def pace(seconds_per_update: float) -> Pace:
    return Pace(
        seconds_per_update=seconds_per_update, seconds_per_scored_image=0.01, seconds_to_start=2.0
    )


def timed_rung(trial_id: str, length: float, at: float, **numbers: float) -> RungDone:
    """A rung of 20 updates in 10 s, scored in 4 s, unless ``numbers`` say otherwise."""
    seconds = {"seconds_train": 10.0, "seconds_score": 4.0} | numbers
    steps = int(seconds.pop("steps_new", 20))
    return RungDone(
        trial_id=trial_id, length=length, steps=20, metrics={}, steps_new=steps, at=at, **seconds
    )


def proposed(*trial_ids: str, arm: str = "scratch") -> RoundProposed:
    members = tuple(member(trial_id) for trial_id in trial_ids)
    return RoundProposed(regime="few", arm=arm, number=0, purpose="search", members=members)


def started(job_id: str, at: float) -> JobStarted:
    trial_id = job_id.partition("-")[0]
    return JobStarted(job_id=job_id, trial_id=trial_id, asset=None, host="h", at=at)


def test_a_file_of_paces_holds_what_was_written(tmp_path: Path) -> None:
    measured = MeasuredPaces(machine="a laptop", slots=2, arms={"scratch": pace(0.5), "": pace(1)})
    write_paces(tmp_path / "p.json", measured)
    assert read_paces(tmp_path / "p.json") == measured


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"machine": "m", "slots": 1}', "arms"),
        ('{"machine": "m", "slots": 1, "arms": {}, "gpus": 1}', "gpus"),
        ('{"machine": "m", "slots": 0, "arms": {}}', "slots"),
        ('{"machine": "m", "slots": 1, "arms": {"a": {"seconds_per_update": -1}}}', "arms.a"),
        ("study: x", "JSON"),
    ],
)
def test_a_file_that_holds_no_paces_is_refused_with_the_key(
    tmp_path: Path, text: str, word: str
) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(SpecError, match=word):
        read_paces(tmp_path / "p.json")
    with pytest.raises(SpecError, match=r"gone\.json"):
        read_paces(tmp_path / "gone.json")


def test_a_cell_has_its_own_pace_or_its_arms_or_that_of_any_arm() -> None:
    paces = {"few/scratch": pace(1), "scratch": pace(2), "": pace(3)}
    assert pace_of(paces, "few", "scratch") == pace(1)
    assert pace_of(paces, "full", "scratch") == pace(2)
    assert pace_of(paces, "full", "other") == pace(3)
    assert pace_of({"scratch": pace(2)}, "full", "other") is None


def test_records_give_seconds_per_update_per_scored_image_and_to_start() -> None:
    # a job begins at 100; 3 s later 20 updates begin that take 10 s, and 200 images that take 4 s
    study = small_study()
    state = StudyState([proposed("a"), started("a-2x", 100.0), timed_rung("a", 2.0, 117.0)])
    paces = PaceMeter(study, facts_of(study)).paces(state)
    assert set(paces) == {"few/scratch", "scratch", ""}
    measured = paces["scratch"]
    assert measured.seconds_per_update == 0.5
    assert measured.seconds_per_scored_image == 0.02
    assert measured.seconds_to_start == pytest.approx(3.0)
    assert measured.spread == 0.1, "one measurement has no spread of its own"


def test_a_job_of_two_rungs_starts_once() -> None:
    # 3 s, then 14 s for 2x and 14 s for 4x
    study = small_study()
    rungs = [timed_rung("a", 2.0, 117.0), timed_rung("a", 4.0, 131.0)]
    state = StudyState([proposed("a"), started("a-4x", 100.0), *rungs])
    measured = PaceMeter(study, facts_of(study)).paces(state)["scratch"]
    assert measured.seconds_to_start == pytest.approx(3.0)


def test_a_job_that_went_on_from_a_checkpoint_tells_nothing_about_starting() -> None:
    # its rung counts 10 s of updates, but this attempt began 8 s before the end
    study = small_study()
    state = StudyState([proposed("a"), started("a-2x", 109.0), timed_rung("a", 2.0, 117.0)])
    measured = PaceMeter(study, facts_of(study)).paces(state)["scratch"]
    assert (measured.seconds_per_update, measured.seconds_to_start) == (0.5, 0.0)


def test_the_spread_is_that_of_the_logarithms() -> None:
    # 1, e and e^2 seconds an update: logarithms 0, 1, 2 have a standard deviation of 1
    study = small_study()
    rungs = [
        timed_rung(name, 2.0, 1.0, seconds_train=20 * math.e**power)
        for power, name in enumerate("abc")
    ]
    state = StudyState([proposed("a", "b", "c"), *rungs])
    assert PaceMeter(study, facts_of(study)).paces(state)["scratch"].spread == pytest.approx(1.0)


def test_a_meter_reads_new_rungs_and_assets_only_and_starts_anew_on_other_records() -> None:
    study = small_study()
    meter = PaceMeter(study, facts_of(study))
    state = StudyState([proposed("a", "b"), timed_rung("a", 2.0, 1.0)])
    assert meter.paces(state)["scratch"].seconds_per_update == 0.5
    state.add(timed_rung("b", 2.0, 1.0, seconds_train=20.0))
    asset = AssetDone(key="k", kind="classifier", metrics={}, seconds=60.0)
    state.add(asset)
    paces = meter.paces(state)
    assert paces["scratch"].seconds_per_update == 0.75
    assert paces["asset classifier"].seconds_to_start == 60.0
    assert meter.paces(StudyState()) == {}


def test_a_replicate_is_scored_on_both_splits() -> None:
    study = small_study()
    repeats = RoundProposed(
        regime="few", arm="scratch", number=0, purpose="replicate", members=(member("r"),)
    )
    state = StudyState([repeats, timed_rung("r", 2.0, 1.0)])
    measured = PaceMeter(study, facts_of(study)).paces(state)["scratch"]
    assert measured.seconds_per_scored_image == 4.0 / (200 + 600)
