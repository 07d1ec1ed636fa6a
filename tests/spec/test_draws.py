"""Replicates on other draws of their regime's images: who has them, and what they are called."""

import json
from dataclasses import replace
from typing import Any

import pytest

from rethink_ray.protocol.extension import fingerprint_of
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.check import check_regimes, check_study
from rethink_ray.spec.draws import draw_of, list_planned_draws, num_drawable, redraws
from rethink_ray.spec.resolve import Cell, CellResolver, ExportedConfig, TrialConfig, digest_of_draw
from rethink_ray.spec.study import Study
from tests.builders import made_up_facts
from tests.spec.refusals import refused

FACTS = made_up_facts({"full": 400, "small": 60}, train_digest="t")
REGIMES = {"full": {"images": "all"}, "small": {"images": 60}}
STUDENT = {"labels.kind": "self_training", "labels.pool": "rest"}


def study(vary: Any = ("seed", "subset"), regimes: Any = None, **changes: Any) -> Study:
    tree = {
        "study": "drawn",
        "data": {"dataset": "shapes"},
        "regimes": regimes or REGIMES,
        "recipe": "tiny_retinanet",
        "arms": {
            "scratch": {},
            "direct": {"set": {"init.source": "direct", "direct.norm": "gn"}},
            "student": {"set": STUDENT, "teacher": "direct"},
        },
        **({"replicate": {"vary": list(vary)}} if vary else {}),
        **changes,
    }
    return Study.model_validate_json(json.dumps(tree))


def trial(arm: str, draw: int, seed: int = 1, teacher: TrialConfig | None = None) -> TrialConfig:
    return CellResolver(study(), Cell("small", arm), FACTS).resolve({}, seed, 7, teacher, draw)


def test_only_a_regime_that_leaves_images_out_is_drawn_again() -> None:
    asked = study()
    assert redraws(asked, FACTS, "small")
    assert not redraws(asked, FACTS, "full")
    assert not redraws(study(vary=("seed",)), FACTS, "small")
    held_out = study(data={"dataset": "shapes", "select_on": {"holdout": 340}})
    facts = replace(FACTS, split_sizes=FACTS.split_sizes | {"holdout": 340})
    assert num_drawable(held_out, facts) == 60
    assert not redraws(held_out, facts, "small")  # all sixty that the hold-out leaves


def test_each_search_of_a_study_has_a_draw_for_each_of_its_replicates() -> None:
    assert list_planned_draws(study(budget={"replicates": 3})) == (1, 2, 3)
    several = study(budget={"replicates": 2, "searches": 2})
    assert list_planned_draws(several) == (1, 2, 10_001, 10_002)
    assert list_planned_draws(study(vary=("seed",))) == ()


def test_a_study_that_says_nothing_is_the_study_it_was() -> None:
    assert fingerprint_of(study(vary=None)) == fingerprint_of(study(vary=("seed",)))
    assert fingerprint_of(study()) != fingerprint_of(study(vary=("seed",)))


@pytest.mark.parametrize(
    "vary", [["subset"], ["subset", "seed"], ["seed", "seed"], ["seed", "subset", "subset"]]
)
def test_seeds_always_vary_and_nothing_twice(vary: list[str]) -> None:
    with pytest.raises(ValueError, match=r"must be \[seed\] or \[seed, subset\]"):
        study(vary=vary)


def test_a_study_of_all_images_alone_cannot_draw_again() -> None:
    whole = study(regimes={"full": {"images": "all"}, "too": {"images": "100%"}})
    with refused("draws of all images", ["s.yaml: replicate.vary", "[seed]"]):
        check_study(whole, "s.yaml")
    check_study(study(), "s.yaml")
    numbered = study(regimes={"full": {"images": 400}})
    check_study(numbered, "s.yaml")  # how many images there are is known once the data are
    check_regimes(numbered, 401, "s.yaml")
    with refused("draws of 400 of 400 images", ["replicate.vary"]):
        check_regimes(numbered, 400, "s.yaml")


def test_draw_0_is_the_regime_itself_and_leaves_no_trace_in_an_id() -> None:
    own = trial("scratch", 0)
    assert own == CellResolver(study(vary=None), Cell("small", "scratch"), FACTS).resolve({}, 1, 7)
    older = replace(FACTS, train_digest="")
    before = CellResolver(study(vary=None), Cell("small", "scratch"), older).resolve({}, 1, 7)
    assert own.trial_id == before.trial_id
    assert (own.draw, own.regime_digest) == (0, "digest of small")


def test_each_draw_has_a_digest_of_all_that_determines_it() -> None:
    ids = {trial("scratch", draw).trial_id for draw in range(3)}
    assert len(ids) == 3
    drawn = trial("scratch", 2)
    assert drawn.regime_digest == digest_of_draw("t", 0, 60, 2)
    others = [("s", 0, 60, 2), ("t", 1, 60, 2), ("t", 0, 61, 2), ("t", 0, 60, 3)]
    assert drawn.regime_digest not in {digest_of_draw(*parts) for parts in others}
    again = ExportedConfig.model_validate_json(drawn.model_dump_json()).plain()
    assert again == drawn


def test_all_that_is_learned_from_the_regime_follows_the_draw() -> None:
    teacher = trial("direct", 0)
    for draw in (0, 2):
        config = trial("student", draw, teacher=teacher)
        assert config.teacher is not None
        assert {config.draw, config.teacher.draw} == {draw}
        assert config.teacher.regime_digest == config.regime_digest
        learned = {a.kind: a for a in assets_of(config)}
        assert set(learned) == {"direct", "teacher", "pseudo_labels"}
        for kind in ("direct", "teacher"):
            asset = learned[kind]
            assert asset.run is not None
            assert asset.run.draw == draw
    keys = [
        {a.key for a in assets_of(trial("student", draw, teacher=teacher))} for draw in range(3)
    ]
    assert len(set.union(*keys)) == 9  # three each, none in common


def test_no_two_replicates_of_a_regime_share_a_draw() -> None:
    draws = [draw_of(search, number) for search in range(3) for number in range(40)]
    assert draws[:3] == [1, 2, 3]
    assert len(set(draws)) == 120
