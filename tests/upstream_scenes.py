"""Runs on the micro data that start from a detector of other figures, and those figures' scenes."""

from typing import Any

from rethink_ray.spec.regime import DataSpec, RegimeSpec, ShapesSpec
from rethink_ray.spec.resolve import TrialConfig, with_recipe
from tests.builders import MICRO_DATA, micro_recipe, micro_trial

GLYPH_SCENES = DataSpec(
    dataset="shapes",
    shapes=ShapesSpec(figures="glyphs", train=12, val=4, test=1, image_px=64),
    report_on="val",
)
UPSTREAM_DATA = MICRO_DATA.model_copy(update={"upstream_detection": GLYPH_SCENES})
UPSTREAM_START = {
    "init__source": "detector",
    "init__weights": "upstream_detector",
    "upstream_detector__steps": 6,
    "upstream_detector__batch_size": 4,
    "upstream_detector__warmup": 2,
    "upstream_detector__clip_norm": 10.0,
}


def upstream_trial(seed: int = 1, data: DataSpec = UPSTREAM_DATA, **settings: Any) -> TrialConfig:
    """A run of the micro recipe that starts from a detector of glyphs, as a study resolves it."""
    from rethink_ray.data.facts import gather_facts

    facts = gather_facts(data, {"full": RegimeSpec(images="all")})
    recipe = micro_recipe(**(UPSTREAM_START | settings))
    return with_recipe(micro_trial(seed=seed, data=data), recipe, facts)
