"""Rules see every run that a search can reach, those under a rare condition too."""

from collections.abc import Mapping
from typing import Any

import pytest

from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.space import Parameter
from tests.search.search_builders import small_study
from tests.spec.refusals import refused

WARMUP = "schedule.warmup"
RANGES: list[tuple[str, Mapping[str, Any], Any, int]] = [
    ("optimizer.lr", {"log_uniform": (0.001, 0.1)}, 0.02, 4),
    ("optimizer.lr", {"uniform": (0.001, 0.1)}, (0.02, 0.05), 5),
    ("batch_size", {"int_uniform": (1, 100)}, 16, 4),
    ("batch_size", {"int_uniform": (1, 4)}, 2, 4),
    ("batch_size", {"int_uniform": (1, 100)}, 100, 3),
    ("batch_size", {"choice": (8, 16)}, 16, 2),
]


@pytest.mark.parametrize(("path", "options", "condition", "num_values"), RANGES)
def test_a_condition_inside_a_range_is_looked_at(
    path: str, options: Mapping[str, Any], condition: Any, num_values: int
) -> None:
    space = {
        path: Parameter(**options),
        WARMUP: Parameter(choice=(20, 30), when={path: condition}),
    }
    recipes = [*reachable_recipes(Recipe(), space, (WARMUP,))]
    assert len(recipes) == 2 * num_values
    assert {20, 30} <= {recipe.schedule.warmup for recipe in recipes}


def test_a_value_outside_the_range_is_no_condition_that_can_hold() -> None:
    space = {
        "batch_size": Parameter(int_uniform=(1, 100)),
        WARMUP: Parameter(choice=(20, 30), when={"batch_size": 200}),
    }
    recipes = [*reachable_recipes(Recipe(), space, (WARMUP,))]
    assert {recipe.schedule.warmup for recipe in recipes} == {Recipe().schedule.warmup}


def test_what_workers_cannot_run_is_refused_under_a_condition_too() -> None:
    search = {
        "optimizer.lr": {"log_uniform": [0.001, 0.2]},
        "precision": {"choice": ["fp32", "tf32"], "when": {"optimizer.lr": 0.05}},
    }
    with refused("tf32 at one learning rate", ["precision", "tf32"]):
        small_study(search=search)


def test_what_holds_at_both_ends_of_a_range_may_fail_between() -> None:
    """Two workers share 8 and 128 images, but not 9."""
    search = {"batch_size": {"int_uniform": [8, 128]}}
    two = {"workers": 2, "cpus_per_worker": 1}
    with refused("a range of batches that workers cannot share", ["batch_size", "9"]):
        small_study(search=search, resources=two)
    small_study(search=search)


def test_a_range_of_shares_has_no_whole_parts() -> None:
    """A quarter and a half of 8 images are 2 and 4; 0.4045 of them are 3.236."""
    arms = {"scratch": {}, "student": {"set": {"labels.kind": "self_training"}}}
    search = {"labels.share": {"uniform": [0.25, 0.5]}}
    arms["student"] |= {"teacher": "scratch", "search": search}
    with refused("a range of shares", ["labels.share", "0.4045"]):
        small_study(arms=arms, data={"dataset": "shapes", "shapes": {"unlabelled": 20}})


GAMMA = "detector.focal_gamma"


@pytest.mark.parametrize(
    ("kind", "ends"),
    [("uniform", [0, 3]), ("uniform", [0, 1]), ("uniform", [0.5, 3]), ("log_uniform", [0.1, 3])],
)
def test_a_range_across_values_that_its_field_refuses_is_refused(
    kind: str, ends: list[float]
) -> None:
    with refused(f"a {kind} range of gamma {ends}", [f"search.{GAMMA}", "between 0 and 1"]):
        small_study(search={GAMMA: {kind: ends}})


@pytest.mark.parametrize("options", [{"uniform": [1, 3]}, {"choice": [0.0, 1.5, 2.0]}])
def test_a_range_beside_such_values_is_searched(options: dict[str, Any]) -> None:
    assert small_study(search={GAMMA: options}).search
