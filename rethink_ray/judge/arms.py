"""What else two arms differ in: a difference of several things at once is nobody's alone."""

from collections.abc import Iterator, Mapping

from rethink_ray.analysis.pairs import reference_arm, twins
from rethink_ray.analysis.read.curves import CellResult
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import listed
from rethink_ray.spec.claim import as_text
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, space_of
from rethink_ray.spec.settings import flatten
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study

START = "what they start from"
STARTS = ("init", "upstream", "direct")
"""Groups of a recipe that say where weights come from."""
NO_METHOD = ("schedule.lengths",)
"""At a length that both arms have, the other lengths change nothing."""


def recipe_texts(recipe: Recipe, space: Mapping[str, Parameter]) -> dict[str, str]:
    """Dotted path -> value, or ``tuned``."""
    texts = {path: as_text(value) for path, value in flatten(recipe).items()}
    return texts | {path: "tuned" for path in space if path in texts}


def differing(study: Study, regime: str, one: str, other: str) -> dict[str, list[str]]:
    """Group of the recipe -> paths in which two arms differ there; ``init`` and whatever else says
    where weights come from are one group."""
    left, right = (
        recipe_texts(base_recipe(study, cell), space_of(study, cell))
        for cell in (Cell(regime, one), Cell(regime, other))
    )
    found: dict[str, list[str]] = {}
    for path, value in left.items():
        if value != right[path] and (group := group_of(path)):
            found.setdefault(group, []).append(path)
    return found


def group_of(path: str) -> str:
    """``augment`` of ``augment.level``; empty for what changes nothing between two arms."""
    group = path.partition(".")[0]
    return "" if path in NO_METHOD else START if group in STARTS else group


def start_alone(study: Study, regime: str, one: str, other: str) -> bool:
    """Whether two arms differ in what they start from and in nothing else."""
    return set(differing(study, regime, one, other)) == {START}


def confounded_pairs(study: Study, results: Mapping[Cell, CellResult]) -> Iterator[Caveat]:
    """One per regime and arm that differs from the reference in more than one respect."""
    second_names = twins(study)
    for regime in study.regimes:
        cells = {arm: results[Cell(regime, arm)] for arm in study.arms}
        reference = reference_arm(study, cells)
        for arm in cells:
            groups = differing(study, regime, reference, arm)
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
