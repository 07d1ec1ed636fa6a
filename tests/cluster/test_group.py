"""Several workers train one trial through Ray Train, into the same records."""

from pathlib import Path

import pytest
from micro_study import results, start_micro

from rethink_ray.cluster.run import run_study

pytestmark = pytest.mark.ray


def test_a_trial_of_two_workers_reaches_the_records_like_any_other(
    tmp_path: Path, cluster: None
) -> None:
    directory = start_micro(
        tmp_path / "study",
        regimes={"full": {"images": "all"}},
        arms={"scratch": {}},
        schedule={"unit": 4, "lengths": [2.0], "warmup": 2, "decay": {"before_end": [0.75]}},
        budget={"trials": 1, "keep": [1], "replicates": 0},
        resources={"workers": 2},
    )
    told: list[float] = []
    outcome = run_study(
        directory,
        listeners=[lambda e: told.append(e.length) if hasattr(e, "length") else None],
    )
    assert outcome.status == "done", outcome
    assert told == [2.0]
    rungs = results(directory)["rungs"]
    assert [row["steps"] for row in rungs] == [8]
    assert 0.0 <= rungs[0]["val/ap"] <= 100.0
    folder = directory.trial_dir(rungs[0]["trial_id"])
    assert (folder / "effective.json").exists()
    assert not list(folder.glob("mailbox*"))
