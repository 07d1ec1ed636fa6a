"""The table of rules about runs, in the order in which they are looked at.

Each rule is checked for every combination of its own paths that a search can reach, so that no
trial is lost hours later to a combination that could have been refused at once.
"""

from rethink_ray.spec.reach import Run
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS
from rethink_ray.spec.rules.batches import (
    BATCH_RULES,
    DIRECT_BATCH_RULES,
    JOINT_BATCH_RULES,
    UPSTREAM_DETECTOR_BATCH_RULES,
)
from rethink_ray.spec.rules.labels import LABEL_RULES
from rethink_ray.spec.rules.networks import HEAD_NORM_RULES, HEAD_RULES, NETWORK_RULES
from rethink_ray.spec.rules.own_families import OWN_FAMILY_RULES
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.rules.schedules import SCHEDULE_RULES
from rethink_ray.spec.rules.starts import DIRECT_NORM_RULES, FROZEN_RULES, WEIGHT_RULES

RECIPE_RULES: tuple[Rule[Run], ...] = (
    *OWN_FAMILY_RULES,
    *DIRECT_NORM_RULES,
    *DIRECT_BATCH_RULES,
    *UPSTREAM_DETECTOR_BATCH_RULES,
    *WEIGHT_RULES,
    *HEAD_NORM_RULES,
    *NETWORK_RULES,
    *FROZEN_RULES,
    *BATCH_RULES,
    *JOINT_BATCH_RULES,
    *LABEL_RULES,
    *HEAD_RULES,
    *SCHEDULE_RULES,
)
"""What must hold of any run, inside a study or on its own."""


def _finds_nothing_to_score(run: Run) -> bool | Breach:
    """The family finds boxes alone, and the study decides on masks or keypoints."""
    kind, _, _ = run.metric.partition("_")
    families = {"mask": WITH_MASKS, "keypoint": WITH_KEYPOINTS}.get(kind)
    family = run.recipe.detector.family
    if families is None or family in families:
        return False
    return Breach(came=family, words={"families": sorted(families)})


IN_STUDY_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="detector.family",
        broken=_finds_nothing_to_score,
        must="must be one of {families} for {metric}",
        remedy="Or choose objective ap.",
    ),
    Rule(
        key="precision",
        broken=lambda run: run.recipe.precision == "tf32" and not run.resources.gpus_per_worker,
        must="must be fp32 or bf16 where workers have no GPU",
        remedy="Set resources.gpus_per_worker, or another precision.",
    ),
)
"""What must hold of a study's runs beside ``RECIPE_RULES``."""
