"""Runs with every augmentation on: stopped and continued they end as they would have."""

import json
from pathlib import Path

import pytest

from tests.builders import micro_recipe, micro_trial
from tests.training.runs import climb, climb_with_stops, digests, numbers

RECIPES = {
    "levels and pasting": micro_recipe(
        augment__level="s4",
        augment__copy_paste=1.0,
        evaluation__scales=[0.75, 1.0],
        evaluation__flip=True,
    ),
    "short side": micro_recipe(augment__short_side_px=[24, 48], augment__policy="autoaugment"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_stops_change_nothing_and_the_keys_are_read_back(tmp_path: Path, name: str) -> None:
    config = micro_trial(RECIPES[name])
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"frequency": "thirds"})}
    )
    whole = climb(config, tmp_path / "whole", (2.0,))
    stopped, stops = climb_with_stops(config, tmp_path / "stopped", (2.0,), 7)
    assert stops > 0
    assert numbers(stopped) == numbers(whole)
    assert digests(tmp_path / "stopped", (2.0,)) == digests(tmp_path / "whole", (2.0,))
    assert {"val/ap_rare", "val/ap_common", "val/ap_frequent"} <= set(whole[0].metrics)
    found = json.loads((tmp_path / "whole" / "effective.json").read_text())["effective"]
    asked = config.recipe.augment.model_dump(mode="json")
    assert {key: found[f"augment.{key}"] for key in asked} == asked
