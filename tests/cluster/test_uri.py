"""A study in an object store, killed with its whole machine, goes on on another one."""

from pathlib import Path
from typing import Any

import pytest
from micro_study import ONE_REGIME, micro_study, results
from processes import after_lines, family_of, kill_all, resumed

from rethink_ray.data.facts import gather_facts
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.store import Store
from rethink_ray.session import start_study
from tests.object_store import object_store


@pytest.mark.ray
def test_a_study_at_a_uri_outlives_the_machine_that_ran_it(
    tmp_path: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = micro_study(**ONE_REGIME)
    facts = gather_facts(study.data, study.regimes)
    with object_store() as pattern:
        uri = pattern.format("micro")
        monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "one"))
        start_study(uri, study, "study: micro\n", facts, {"torch": "any"})
        with resumed(uri, "--slots=2") as driver:
            after_lines(driver, "/ap ", 3)
            kill_all(family_of(driver.pid))
            driver.communicate()
        kept = StudyDirectory.open(uri).log.read()
        monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "two"))
        with resumed(uri, "--slots=2") as driver:
            said, complaint = driver.communicate()
        assert driver.returncode == 0, complaint
        assert "rethink-ray report s3://studies/micro" in said.splitlines()[-1]
        assert "word" not in said + complaint  # of the credentials
        done = StudyDirectory.open(uri)
        assert done.log.read()[: len(kept)] == kept
        assert results(done) == expected
        assert {"rungs.parquet", "trials.parquet", "optuna.journal"} <= set(Store(uri).list(""))
        assert not Store(uri).exists("records/writer.lock")
        assert not Store(uri).exists("records/stop")
