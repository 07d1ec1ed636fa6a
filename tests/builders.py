"""Small, complete things that tests of several rooms start from."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.regime import DataSpec, RegimeSpec, ShapesSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.settings import with_settings
from rethink_ray.spec.study import ResourceSpec

MICRO_DATA = DataSpec(
    dataset="shapes", shapes=ShapesSpec(train=12, val=4, test=4, image_px=64), subset_seed=0
)
MICRO_SETTINGS: dict[str, Any] = {
    "detector": {"width": 16, "neck_channels": 16, "head_convs": 1, "box_head_features": 32},
    "detector.min_side_px": 64,
    "detector.max_side_px": 64,
    "detector.score_threshold": 0.0,
    "schedule": {"unit": 4, "lengths": [2.0, 3.0, 4.0], "warmup": 2},
    "schedule.decay.before_end": [0.75, 0.25],
    "batch_size": 2,
    "upstream": {"classes": 4, "images": 60, "image_px": 32, "steps": 8, "batch_size": 8},
}
"""Milliseconds a step. 2x, 3x and 4x are 8, 12 and 16 updates and leave the trunk at 5, 9, 13."""


def made_up_facts(regime_sizes: Mapping[str, int], **changes: Any) -> DataFacts:
    """Facts as ``data`` would gather them, of a data set that nobody needs."""
    told = DataFacts(
        fingerprint="f",
        categories=("circle", "square"),
        regime_sizes=regime_sizes,
        regime_digests={name: f"digest of {name}" for name in regime_sizes},
        split_sizes={"train": max(regime_sizes.values()), "val": 80, "test": 200},
        upstream_fingerprint="u",
    )
    return replace(told, **changes)


def micro_recipe(name: str = "tiny_retinanet", **settings: Any) -> Recipe:
    """A base recipe small enough for a test; ``settings`` use ``__`` for the dots of a path."""
    dotted = {path.replace("__", "."): value for path, value in settings.items()}
    return with_settings(with_settings(build_recipe(name), MICRO_SETTINGS, "micro"), dotted, "test")


def micro_trial(
    recipe: Recipe | None = None,
    *,
    seed: int = 1,
    images: Any = "all",
    data: DataSpec = MICRO_DATA,
    **resources: Any,
) -> TrialConfig:
    """A trial on the micro data, which is made if it is not there."""
    from rethink_ray.data.facts import gather_facts

    facts = gather_facts(data, {"full": RegimeSpec(images=images)})
    return TrialConfig(
        study="micro",
        regime="full",
        arm="scratch",
        images=images,
        data=data,
        recipe=recipe or micro_recipe(),
        resources=ResourceSpec(**resources),
        seed=seed,
        data_fingerprint=facts.fingerprint,
        regime_digest=facts.regime_digests["full"],
        upstream_fingerprint=facts.upstream_fingerprint,
        num_categories=len(facts.categories),
        num_images=facts.regime_sizes["full"],
    )
