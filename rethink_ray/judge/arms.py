"""Which arms a study compares, and in which settings two arms differ.

If two arms differ in several settings at once, no single one of them explains their difference.
"""

from collections.abc import Iterator, Mapping

from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import listed
from rethink_ray.spec.claim import as_text
from rethink_ray.spec.edits import select_first_arms
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, space_of
from rethink_ray.spec.settings import flatten
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study

START = "what they start from"
STARTS = ("init", "upstream", "direct", "upstream_detector")
"""Groups of a recipe that say where weights come from. ``find_differences`` joins them to START."""
IGNORED_PATHS = ("schedule.lengths",)
"""Paths that ``find_differences`` ignores: at a length that both arms have, the other lengths of
their ladders change nothing."""


def find_twins(study: Study) -> dict[str, str]:
    """Arm -> the earlier arm with exactly the same settings (an A/A check)."""
    first_names: dict[str, str] = {}
    arms = list(study.arms.items())
    for index, (name, spec) in enumerate(arms):
        same = [other for other, earlier in arms[:index] if earlier == spec]
        if same:
            first_names[name] = same[0]
    return first_names


def find_reference_arm(study: Study, regime: str) -> str:
    """The arm that the others are compared with: the first one with random weights, if there is
    one, else the first. An arm that was added after the first result is none."""
    arms = select_first_arms(study)
    return next((arm for arm in arms if _is_random(study, regime, arm)), arms[0])


def has_own_start(study: Study, regime: str, reference: str, arm: str) -> bool:
    """Whether the reference starts from random weights and the arm from trained ones."""
    return _is_random(study, regime, reference) and not _is_random(study, regime, arm)


def _is_random(study: Study, regime: str, arm: str) -> bool:
    return base_recipe(study, Cell(regime, arm)).init.source == "random"


def recipe_texts(recipe: Recipe, space: Mapping[str, Parameter]) -> dict[str, str]:
    """Dotted path -> value, or ``tuned``."""
    texts = {path: as_text(value) for path, value in flatten(recipe).items()}
    return texts | {path: "tuned" for path in space if path in texts}


def find_differences(study: Study, regime: str, one: str, other: str) -> dict[str, list[str]]:
    """Group of the recipe -> paths in that group in which two arms differ.

    The settings of where weights come from (``init.*``, ...) are one group, ``START``.
    """
    left, right = (
        recipe_texts(base_recipe(study, cell), space_of(study, cell))
        for cell in (Cell(regime, one), Cell(regime, other))
    )
    groups: dict[str, list[str]] = {}
    for path, value in left.items():
        if value != right[path] and (group := group_of(path)):
            groups.setdefault(group, []).append(path)
    return groups


def group_of(path: str) -> str:
    """``augment`` of ``augment.level``; empty for a path that changes nothing between two arms."""
    group = path.partition(".")[0]
    return "" if path in IGNORED_PATHS else START if group in STARTS else group


def differ_in_start_alone(study: Study, regime: str, one: str, other: str) -> bool:
    """Whether two arms differ in what they start from and in nothing else."""
    return set(find_differences(study, regime, one, other)) == {START}


def find_confounded_pairs(study: Study) -> Iterator[Caveat]:
    """A caveat for each regime and arm that differs from the reference in two groups or more."""
    second_names = find_twins(study)
    for regime in study.regimes:
        reference = find_reference_arm(study, regime)
        for arm in study.arms:
            groups = find_differences(study, regime, reference, arm)
            if len(groups) < 2 or arm in second_names:
                continue
            named = [g if g == START else ", ".join(paths) for g, paths in groups.items()]
            yield Caveat(
                key=f"confounded:{regime}/{arm}-{reference}",
                regime=regime,
                pair=(reference, arm),
                text=(
                    f"{regime}: {arm} and {reference} differ in {listed(named)} at once, and so "
                    "their difference is of all of these together."
                ),
            )
