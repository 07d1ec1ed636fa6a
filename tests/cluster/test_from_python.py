"""A study run from Python, as a notebook would: a tree goes in, tables and findings come out."""

from pathlib import Path

import pytest
from micro_study import micro_study

import rethink_ray

pytestmark = pytest.mark.ray


def test_a_study_runs_from_a_tree_and_calling_it_again_only_reads_it(
    tmp_path: Path, cluster: None
) -> None:
    study = micro_study(arms={"scratch": {}}, regimes={"full": {"images": "all"}})
    tree = study.model_dump(mode="json", exclude_unset=True)
    results = rethink_ray.run(tree, str(tmp_path / "study"), slots=1)
    assert results.status == "done"
    assert results.findings.missing == ""
    assert results.trials.num_rows >= 3  # two trials and at least one replicate
    assert results.report is not None
    assert "The study is unfinished: " not in results.report.read_text()
    again = rethink_ray.run(tree, str(tmp_path / "study"), slots=1)
    assert str(again.rungs.to_pylist()) == str(
        results.rungs.to_pylist()
    )  # NaN equals itself as text
    assert rethink_ray.read_study(tmp_path / "study").status == "done"
