"""Effects across studies and published tables; scores only where fingerprints agree."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rethink_ray.analysis.compare import Comparisons, compare_sources, read_source
from rethink_ray.analysis.show.compare_words import (
    comparisons_json,
    comparisons_markdown,
    comparisons_terminal,
)
from rethink_ray.cli import app
from rethink_ray.spec.errors import RecordError, SpecError
from tests.analysis.planted import Planted, build_study, noisy
from tests.analysis.tables_by_hand import write_table
from tests.golden_words import assert_says

FIVE = {"trials": 2, "keep": [2, 2, 2], "replicates": 5}


def _study(root: Path, lead: float, seed: int = 1, **changes: Any) -> str:
    study = build_study(budget=FIVE, **changes)

    def truth(cell: Any, length: float) -> float:
        return 20 + length + (lead if cell.arm == "pretrained" else 0.0)

    return str(Planted(study, noisy(truth, 0.1, seed)).directory(root))


def _words(text: str) -> str:
    """The notes of a comparison, without its tables."""
    return "\n".join(line for line in text.splitlines() if line.endswith("."))


def _compare(*names: str) -> Comparisons:
    return compare_sources([read_source(name) for name in names])


def test_a_study_s_effects_stand_beside_those_of_he_2018_at_the_same_length(tmp_path: Path) -> None:
    name = _study(tmp_path / "mine", 3.0)
    found = _compare(name, "published:he_2018")
    at_2x = [e for e in found.effects if e.schedule == "2x"]
    assert [(e.contrast, e.source) for e in at_2x] == [
        ("fine-tuned - scratch", name),
        ("fine-tuned - scratch", "published:he_2018"),
        ("fine-tuned - scratch", "published:he_2018"),
    ]
    own, r50, r101 = (e.estimate for e in at_2x)
    assert own is not None
    assert r50 is not None
    assert r101 is not None
    assert own.value == pytest.approx(3.0, abs=0.2)
    assert own.interval() is not None
    assert (r50.value, r101.value) == pytest.approx((3.5, 3.6))
    assert (r50.interval(), r101.interval()) == (None, None)
    assert found.scores == ()
    assert_says("analysis", "effects of two sources", _words(comparisons_terminal(found)))
    for render in (comparisons_terminal, comparisons_markdown):
        told = render(found)
        assert "as reported" in told
        assert "36.8" not in told


def test_frozen_against_fine_tuned_is_never_mixed_over_two_classifiers() -> None:
    found = _compare("published:vasconcelos_2022", "published:he_2018")
    freezing = [e for e in found.effects if e.contrast == "frozen - fine-tuned"]
    assert len(freezing) == 8  # four detectors and backbones, two upstream sets
    values = [round(e.estimate.value, 1) for e in freezing if e.estimate]
    assert values == [-6.5, -5.6, 0.1, 1.0, 0.7, 1.7, 0.7, 1.7]


def test_the_same_effect_in_two_studies_is_compared_over_four_groups(tmp_path: Path) -> None:
    one = _study(tmp_path / "one", 3.0)
    other = _study(tmp_path / "other", 5.0, seed=2)
    gaps = {g.schedule: g for g in _compare(one, other).gaps}
    assert set(gaps) == {"2x", "4x", "6x"}
    gap = gaps["6x"].estimate
    assert gap is not None
    assert gap.value == pytest.approx(2.0, abs=0.3)
    low, high = gap.interval() or (0.0, 0.0)
    assert low < 2.0 < high
    assert sum(gap.nums) == 20


def test_scores_are_set_side_by_side_only_where_fingerprints_agree(tmp_path: Path) -> None:
    one, again = _study(tmp_path / "one", 3.0), _study(tmp_path / "again", 3.0, seed=2)
    other = _study(tmp_path / "other", 3.0, margin=0.7)
    found = _compare(one, again, other)
    assert {s.source for s in found.scores} == {one, again}
    assert {(s.arm, s.schedule) for s in found.scores} == {
        (a, s) for a in ("scratch", "pretrained") for s in ("2x", "4x", "6x")
    }
    assert _compare(one, other).scores == ()
    tree = json.loads(comparisons_json(found))
    assert (tree["schema_version"], len(tree["sources"])) == (2, 3)


def test_contenders_that_share_no_schedule_have_no_effect(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "t.csv",
        {"init": "random", "schedule": "2x"},
        {"init": "imagenet", "schedule": "3x"},
    )
    other = write_table(tmp_path / "u.csv", {"init": "random"})
    told = comparisons_terminal(_compare(str(path), str(other)))
    assert_says("analysis", "no effect", _words(told).replace(f"{tmp_path}/", ""))


@pytest.mark.parametrize("names", [["published:he_2018"], ["published:he_2018"] * 2])
def test_one_source_or_one_twice_is_refused(names: list[str]) -> None:
    with pytest.raises(SpecError, match="must name two or more different studies or tables"):
        _compare(*names)


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="must hold a study"):
        _compare(str(tmp_path), "published:he_2018")


def test_the_command_prints_tables_and_json() -> None:
    words = ["compare", "published:he_2018", "published:zoph_2020"]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert "self-trained - scratch" in told.output
    tree = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert {e["reported"] for e in tree["effects"]} == {True}
