"""What a start is worth in labelled images, from the records of a study to its sheet."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.show.optional_sheets import difference_sheets
from rethink_ray.analysis.show.render import as_json_text
from rethink_ray.protocol.tables import build_tables
from rethink_ray.search.simulate import replay
from rethink_ray.spec.resolve import Cell, TrialConfig
from tests.analysis.planted import Planted, build_study
from tests.builders import made_up_facts
from tests.golden_words import assert_says

REGIMES: dict[str, Any] = {
    "full": {"images": "all"},
    "few": {"images": 100, "set": {"schedule.unit": 40}},
    "half": {"images": 200},
}
"""400, 100 and 200 images."""
SCRATCH = {"few": 10.0, "half": 20.0, "full": 30.0}
PRETRAINED = {"few": 15.0, "half": 30.0, "full": 40.0}


def _score(cell: Cell, length: float, purpose: str, number: int) -> float:
    """Replicates at -0.1, 0 and +0.1 around what is written for the longest length."""
    by_regime = SCRATCH if cell.arm == "scratch" else PRETRAINED
    return by_regime.get(cell.regime, 10.0) + length - 6.0 + 0.1 * (number % 3 - 1)


def _derive(**changes: Any) -> Findings:
    return derive_findings(Planted(build_study(**{"regimes": REGIMES} | changes), _score).tables())


def test_regimes_are_the_scale_from_the_fewest_images_to_the_most() -> None:
    rows = _derive().sections["label_worth"]
    assert [(row.regime, row.arm) for row in rows] == [
        ("few", "scratch"),
        ("few", "pretrained"),
        ("half", "scratch"),
        ("half", "pretrained"),
        ("full", "scratch"),
        ("full", "pretrained"),
    ]
    few = rows[1].worth
    assert few is not None
    assert (few.images, few.length, few.score) == (100, 6.0, pytest.approx(15.0))
    assert (few.more_images.low, few.more_images.high) == (0.0, 100.0)
    assert few.more_images.estimate == pytest.approx(41.4, abs=0.1)  # 100 x sqrt(2)
    assert [row.kind for row in rows] == [None, "interval", None, "at least", None, "at least"]


def test_every_arm_is_told_what_the_next_regime_brings() -> None:
    gains = {(row.regime, row.arm): row.gain for row in _derive().sections["label_worth"]}
    step = gains["few", "pretrained"]
    assert step is not None
    assert (step.more_images, step.next_regime) == (100, "half")
    assert step.effect.value == pytest.approx(15.0)
    assert gains["full", "pretrained"] is None


def test_two_regimes_have_no_such_section() -> None:
    two = {name: REGIMES[name] for name in ("full", "half")}
    findings = _derive(regimes=two)
    assert findings.sections["label_worth"] == ()
    assert len(difference_sheets(findings, Containment())) == 1


def test_regimes_of_other_settings_are_no_points_of_one_curve() -> None:
    other = {**REGIMES, "half": {"images": 200, "set": {"augment.color": 0.4}}}
    assert _derive(regimes=other).sections["label_worth"] == ()


def _of_its_draw(config: TrialConfig, length: float) -> Mapping[str, float]:
    """A draw of images is worth 9 points more or less than another, to every arm and regime."""
    by_regime = SCRATCH if config.arm == "scratch" else PRETRAINED
    ap = by_regime[config.regime] + 9.0 * (config.draw % 3 - 1) + 0.1 * (config.seed % 3)
    return {"val/ap": ap, "test/ap": ap}


def test_arms_that_have_their_own_draws_of_images_are_compared_draw_by_draw() -> None:
    sizes = {"few": 100, "half": 200, "full": 400}
    study = build_study(
        regimes={name: {"images": num} for name, num in sizes.items()},
        replicate={"vary": ["seed", "subset"]},
        budget={"trials": 1, "replicates": 3},
    )
    facts = made_up_facts(sizes, split_sizes={"train": 800, "val": 60, "test": 600})
    findings = derive_findings(build_tables(study, replay(study, facts, _of_its_draw), facts))
    rows = findings.sections["label_worth"]
    (few,) = [row.worth for row in rows if (row.regime, row.arm) == ("few", "pretrained")]
    assert few is not None
    assert (few.more_images.low, few.more_images.high) == (0.0, 100.0)
    sheet = difference_sheets(findings, Containment())[1]
    assert_says("analysis", "what a start is worth: note on draws", sheet.note)


def test_an_added_regime_counts_as_a_later_look() -> None:
    rows = _derive(edits=[{"regimes": ["half"]}]).sections["label_worth"]
    step = next(row.gain for row in rows if (row.regime, row.arm) == ("few", "scratch"))
    assert step is not None
    assert step.effect.looks == 2


def test_the_sheet_and_findings_json_say_it_in_words() -> None:
    findings = _derive()
    sheet = difference_sheets(findings, Containment())[1]
    assert_says("analysis", "what a start is worth: note", sheet.note)
    for row in sheet.rows:
        assert_says("analysis", f"what a start is worth: {row[0]} {row[1]}", " | ".join(row))
    rows = json.loads(as_json_text(findings))["label_worth"]
    assert rows[1]["worth"]["more_images"] == {
        "estimate": 41.4214,
        "low": 0.0,
        "high": 100.0,
        "is_empty": False,
    }
    assert rows[1]["sentence"] == sheet.rows[1][-1]
    assert rows[1]["gain"]["estimate"] == pytest.approx(15.0)
