"""Caveats are found where they were planted, and only there."""

import itertools
from dataclasses import replace

from rethink_ray.analysis.cell_caveats import find_range_end, find_shared_start
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.show.render import as_markdown, as_terminal
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import RungDone
from rethink_ray.spec.facts import CutFacts
from rethink_ray.spec.space import Parameter
from tests.analysis.planted import TREE, Planted, build_study, noisy, written

ROWS = {
    (arm, length): [9.0, 10.0, 11.0] for arm in ("scratch", "pretrained") for length in (2, 4, 6)
}


def _findings(planted: Planted) -> Findings:
    return derive_findings(planted.tables())


def _keys(findings: Findings) -> set[str]:
    return {c.key for c in findings.caveats}


def test_a_value_within_5_percent_of_a_log_range_is_at_its_edge() -> None:
    parameter = Parameter(log_uniform=(0.001, 1.0))
    assert find_range_end(parameter, 0.0014) == "lower"
    assert find_range_end(parameter, 0.0015) is None
    assert find_range_end(parameter, 0.71) == "upper"
    assert find_range_end(Parameter(uniform=(0.0, 10.0)), 9.6) == "upper"
    assert find_range_end(Parameter(choice=("gn", "bn")), "gn") is None


def test_an_incumbent_at_the_edge_is_named_with_its_lengths() -> None:
    found = _findings(Planted(build_study(), written(ROWS), lr=(0.0051, 0.03)))
    (edge,) = [c for c in found.caveats if c.key == "edge:optimizer.lr:full/scratch"]
    assert "0.0051 at 2x, 4x and 6x (lower end)" in edge.text


def test_one_upstream_classifier_for_all_replicates_reads_with_this_checkpoint() -> None:
    found = _findings(Planted(build_study(), written(ROWS)))
    (shared,) = [c for c in found.caveats if c.key.startswith("shared-start")]
    assert shared.arm == "pretrained"
    assert "one upstream classifier (classifier-" in shared.text


def test_one_upstream_detector_for_all_replicates_is_shown_with_its_ap() -> None:
    data = TREE["data"] | {
        "upstream_detection": {"dataset": "shapes", "shapes": {"figures": "glyphs"}}
    }
    start = {"init.source": "detector", "init.weights": "upstream_detector"}
    study = build_study(data=data, arms={"scratch": {}, "detector": {"set": start}})
    found = _findings(Planted(study, lambda cell, *_: 20.0))
    (shared,) = [c for c in found.caveats if c.key.startswith("shared-start")]
    assert "one upstream detector (upstream_detector-" in shared.text
    [asset] = found.cost.assets
    assert (asset.kind, asset.ap, asset.accuracy) == ("upstream_detector", 12.5, None)
    assert found.cost.of("full", "detector").asset_seconds == 100.0
    assert found.cost.of("full", "scratch").asset_seconds == 0.0


def test_a_first_stage_of_its_own_is_no_shared_start() -> None:
    """Direct pre-training is repeated with each replicate's seed; a classifier is not."""
    found = _findings(Planted(build_study(), written(ROWS)))
    (result,) = [r for regime in found.regimes for r in regime.cells if r.arm == "pretrained"]
    assert [c.key for c in find_shared_start(found.study, result, found.cost)] == [
        "shared-start:full/pretrained"
    ]
    assert not list(find_shared_start(found.study, replace(result, source="direct"), found.cost))


def test_labels_from_one_file_read_with_these_labels() -> None:
    labels = {"kind": "imported", "file": "detections.json"}
    study = build_study(arms={"scratch": {}, "pretrained": {"set": {"labels": labels}}})
    found = _findings(Planted(build_study(), written(ROWS)))
    (result,) = [r for regime in found.regimes for r in regime.cells if r.arm == "pretrained"]
    (caveat,) = find_shared_start(study, replace(result, source="random"), found.cost) or ()
    assert caveat.key == "shared-labels:full/pretrained"
    assert "one file of labels (detections.json)" in caveat.text


def test_selecting_and_reporting_on_one_split_is_named() -> None:
    data = {"dataset": "shapes", "select_on": "test", "report_on": "test"}
    assert "select-is-report" in _keys(_findings(Planted(build_study(data=data), written(ROWS))))
    assert "select-is-report" not in _keys(_findings(Planted(build_study(), written(ROWS))))


def test_499_report_images_are_few_and_500_are_not() -> None:
    few = _findings(Planted(build_study(), written(ROWS), report_images=499))
    enough = _findings(Planted(build_study(), written(ROWS), report_images=500))
    assert "few-report-images" in _keys(few)
    assert "few-report-images" not in _keys(enough)
    assert "test-set-noise" in _keys(enough)


def test_two_replicates_are_too_few_and_unfinished_where_three_were_asked_for() -> None:
    found = _keys(_findings(Planted(build_study(), written(ROWS), replicates=2)))
    assert {"few-replicates:full/scratch", "unfinished:full/scratch"} <= found


def test_an_arm_that_tunes_more_parameters_is_named() -> None:
    arms = {"scratch": {}, "pretrained": {"search": {"augment.flip": {"uniform": [0.0, 0.9]}}}}
    found = _findings(Planted(build_study(arms=arms), written(ROWS)))
    (unequal,) = [c for c in found.caveats if c.key == "unequal-space:full"]
    assert "scratch 1 and pretrained 2" in unequal.text


def test_an_arm_whose_asset_makes_it_dearer_is_named() -> None:
    found = _findings(Planted(build_study(), written(ROWS)))
    (dear,) = [c for c in found.caveats if c.key == "unequal-cost:full"]
    assert "searching pretrained took 2.5 times the updates of scratch" in dear.text


def test_a_slow_machine_makes_no_arm_dear() -> None:
    study = build_study(arms={"scratch": {}, "again": {}})
    planted = Planted(study, lambda cell, length, purpose, number: 10.0 + number)
    slow = {
        m.trial_id
        for e in planted.events()
        if getattr(e, "arm", "") == "again"
        for m in getattr(e, "members", ())
    }
    events = [
        replace(e, seconds_train=90.0) if isinstance(e, RungDone) and e.trial_id in slow else e
        for e in planted.events()
    ]
    tables = build_tables(study, StudyState(events), planted.facts)
    assert "unequal-cost:full" not in _keys(derive_findings(tables))


def test_gpus_of_two_kinds_are_named() -> None:
    planted = Planted(build_study(), written(ROWS))

    def keys_with(*gpus: str) -> dict[str, str]:
        kinds = itertools.cycle(gpus)
        events = [
            replace(e, gpu=next(kinds)) if isinstance(e, RungDone) else e for e in planted.events()
        ]
        tables = build_tables(planted.study, StudyState(events), planted.facts)
        return {c.key: c.text for c in derive_findings(tables).caveats}

    assert "mixed-gpus" not in keys_with("")
    assert "mixed-gpus" not in keys_with("H200, driver 1", "")  # an older version named none
    mixed = keys_with("H200, driver 2", "H200, driver 1")["mixed-gpus"]
    assert "(H200, driver 1; H200, driver 2)" in mixed


def test_a_headline_carries_its_twins_difference_at_its_own_length() -> None:
    # Welch, 3 against 3, sd 1: 2.776 x 0.8165 = 2.27 to either side of one point
    arms = {"scratch": {}, "again": {}, "pretrained": {"set": {"init.source": "upstream"}}}
    low = {"scratch": 9.0, "again": 10.0, "pretrained": 19.0}
    rows = {(a, n): [v, v + 1.0, v + 2.0] for a, v in low.items() for n in (2.0, 4.0, 6.0)}
    found = _findings(Planted(build_study(arms=arms), written(rows)))
    (headline,) = [f for f in found.findings if f.family == "primary"]
    twins = [key for key in headline.caveats if key.startswith("twins:")]
    assert twins == ["twins:full/scratch=again@6x"]
    said = (
        "scratch and again, one contender under two names, differ by +1.0 AP [-1.3, +3.3] on full "
        "at 6x by chance: distrust differences of that size."
    )
    assert said in found.cautions_of(headline)
    assert said in found.answer_cautions[0]
    (check,) = [f for f in found.findings if f.kind == "same"]
    assert check.sentence.endswith("the data still allow them to be apart by up to 3.3 AP (6x).")
    assert not any(key.startswith("twins:") for key in check.caveats)
    assert f"    caveat: {said}" in as_terminal(found)
    assert said in as_markdown(found)


def test_what_undoes_a_number_stands_before_what_narrows_it() -> None:
    two = _findings(Planted(build_study(), written(ROWS), replicates=2))
    (headline,) = [f for f in two.findings if f.family == "primary"]
    assert "fewer than 3 replicates" in two.cautions_of(headline)[0]
    none = _findings(Planted(build_study(), written(ROWS), replicates=0))
    assert none.answer_cautions == ((),)


def test_a_score_below_one_point_has_learned_hardly_anything() -> None:
    rows = {key: [0.0, 0.1, 0.2] for key in ROWS}
    assert "nothing-learned:full/scratch" in _keys(_findings(Planted(build_study(), written(rows))))


def test_what_the_recipe_fixes_is_one_line_on_every_finding() -> None:
    found = _findings(Planted(build_study(), written(ROWS)))
    (fixed,) = [c for c in found.caveats if c.key == "fixed-recipe"]
    assert "tuned: optimizer.lr." in fixed.text
    assert "tiny_retinanet" in fixed.text
    assert all("fixed-recipe" in f.caveats for f in found.findings)


def test_a_caveat_of_one_arm_touches_only_findings_about_that_arm() -> None:
    found = _findings(Planted(build_study(), written(ROWS)))
    for finding in found.findings:
        touched = any(key.startswith("shared-start:full/pretrained") for key in finding.caveats)
        assert touched == ("pretrained" in finding.arms)


def test_three_replicates_are_said_to_know_little_of_their_spread_and_five_are_not() -> None:
    """Chi-squared with 2 degrees of freedom: sqrt(0.0506 / 2) = 0.159, sqrt(7.378 / 2) = 1.921."""

    def told(replicates: int) -> list[str]:
        study = build_study(budget={"trials": 2, "keep": [2, 2, 2], "replicates": replicates})
        planted = Planted(study, noisy(lambda c, n: 10.0 + n, 0.5, 3))
        found = derive_findings(planted.tables()).caveats
        return [c.text for c in found if c.key == "thin-spread"]

    (text,) = told(3)
    assert text.startswith("the spread over 3 replicates is 0.16 to 1.9 times the true spread")
    assert told(5) == told(2) == []


FIRST = {"try_first": [{"optimizer.lr": 0.04}]}
THREE = {
    (arm, length): [9.0, 10.0, 11.0]
    for arm in ("scratch", "tried", "pretrained")
    for length in (2, 4, 6)
}


def test_arms_with_more_values_to_try_first_are_named_in_findings_that_compare_them() -> None:
    arms = {"scratch": {}, "tried": FIRST, "pretrained": {"set": {"init.source": "upstream"}}}
    claim = {
        "says": "it ends higher",
        "side": {"arm": "tried"},
        "against": {"arm": "pretrained"},
        "where": {"metric": "ap"},
        "match": ["regime"],
        "rung": "longest",
    }
    study = build_study(arms=arms, claims={"higher": claim})
    found = _findings(Planted(study, written(THREE)))
    (unequal,) = [c for c in found.caveats if c.key.startswith("unequal-first")]
    assert "full: the arms' searches began" in unequal.text
    assert "scratch 1, tried 2 and pretrained 1" in unequal.text
    touched = {f.arms for f in found.findings if unequal.key in f.caveats}
    pairs = {("scratch", "tried"), ("tried", "pretrained")}
    assert touched == {*pairs, ("pretrained", "tried")}
    assert any("higher" in f.key for f in found.findings if unequal.key in f.caveats)


def test_equal_numbers_of_values_to_try_first_carry_no_caveat() -> None:
    for study in (build_study(**FIRST), build_study()):
        found = _keys(_findings(Planted(study, written(ROWS))))
        assert not any(key.startswith("unequal-first") for key in found)


def test_first_values_that_another_study_chose_on_the_report_split_are_named() -> None:
    points = {"full/scratch": [{"optimizer.lr": 0.04}], "full/pretrained": [{"optimizer.lr": 0.04}]}

    def keys(data: str, split: str) -> set[str]:
        copied = {"study": "other", "data": data, "select_on": split, "points": points}
        study = build_study(try_first={"from": "studies/other", "copied": copied})
        return _keys(_findings(Planted(study, written(ROWS))))

    assert "first-chosen-on-report" in keys("d" * 16, "test")
    assert "first-chosen-on-report" not in keys("d" * 16, "val") | keys("e" * 16, "test")


def test_pictures_that_look_alike_on_both_sides_of_a_cut_are_named() -> None:
    cut = CutFacts(
        grouping="near_duplicates",
        shares={"test": 0.2},
        split_sizes={"train": 80, "test": 20},
        num_groups=4,
        num_together=2,
        num_images_together=98,
        largest=50,
    )
    tables = Planted(build_study(), written(ROWS)).tables()
    whole, parted = (
        derive_findings(replace(tables, facts=replace(tables.facts, cut=one)))
        for one in (cut, replace(cut, num_parted=1, num_images_parted=98, num_pieces=4))
    )
    assert "parted-chain" not in _keys(whole)
    [caveat] = [one for one in parted.caveats if one.key == "parted-chain"]
    assert "98 pictures that look alike" in caveat.text
