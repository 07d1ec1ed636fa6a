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
    ("optimizer.lr", {"log_uniform": (0.001, 0.1)}, 0.02, 3),
    ("optimizer.lr", {"uniform": (0.001, 0.1)}, (0.02, 0.05), 4),
    ("batch_size", {"int_uniform": (1, 100)}, 16, 3),
    ("batch_size", {"int_uniform": (1, 4)}, 2, 4),
    ("batch_size", {"int_uniform": (1, 100)}, 100, 2),
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
