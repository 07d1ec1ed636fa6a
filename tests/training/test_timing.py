"""Timing a few updates: what is timed once, and that processes side by side agree in form."""

from rethink_ray.training.timing import time_runs
from tests.builders import micro_recipe, micro_trial


def test_runs_that_differ_in_their_weights_alone_are_timed_once() -> None:
    scratch = micro_trial(micro_recipe())
    pretrained = micro_trial(micro_recipe(init__source="upstream"))
    frozen = micro_trial(micro_recipe(init__source="upstream", init__frozen="backbone"))
    times = time_runs([scratch, pretrained, frozen], side_by_side=2)
    assert times[0] is times[1]
    assert times[2] is not times[0]
    for one in times:
        assert min(one.update, one.scored_image, one.start) > 0.0
