"""What detectors learn from must be in the training annotations: masks, keypoints."""

from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.meaning import reachable_recipes
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS, Recipe
from rethink_ray.spec.resolve import base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study

LEARNT_PATHS = (
    *("detector.family", "detector.num_keypoints", "augment.copy_paste"),
    *("init.source", "direct.augment.copy_paste"),
)
BOXES_ALONE = "The training annotations hold boxes alone"


def check_annotations(study: Study, facts: DataFacts, where: str) -> None:
    """Whatever a search can reach finds in the annotations what it learns from.

    Facts from before that was looked at refuse nothing.

    Raises:
        SpecError: masks or keypoints are needed and not there, or there are other keypoints.
    """
    for cell in cells_of(study):
        for recipe in reachable_recipes(
            base_recipe(study, cell), space_of(study, cell), LEARNT_PATHS
        ):
            _check_masks(recipe, facts, f"{where}: {cell.name}")
            _check_keypoints(recipe, facts, f"{where}: {cell.name}")


def _check_masks(recipe: Recipe, facts: DataFacts, where: str) -> None:
    if facts.has_masks is not False:
        if recipe.detector.family in WITH_MASKS and facts.scored_masks is False:
            must, came = "must be a family without masks", recipe.detector.family
            remedy = "A split that scores has boxes alone: what masks are worth would be unknown."
            raise SpecError(explain(f"{where}: detector.family", must, came, remedy))
        return
    if recipe.detector.family in WITH_MASKS:
        must = "must be a family without masks"
        remedy = f"{BOXES_ALONE} (no `segmentation`); such as faster_rcnn or cascade_rcnn."
        raise SpecError(explain(f"{where}: detector.family", must, recipe.detector.family, remedy))
    pasting = {"augment.copy_paste": recipe.augment.copy_paste}
    if recipe.init.source == "direct":
        pasting["direct.augment.copy_paste"] = recipe.direct.augment.copy_paste
    for path, often in pasting.items():
        if often:
            remedy = f"{BOXES_ALONE} (no `segmentation`), and objects are pasted by their masks."
            raise SpecError(explain(f"{where}: {path}", "must be 0 without masks", often, remedy))


def _check_keypoints(recipe: Recipe, facts: DataFacts, where: str) -> None:
    asked, found = recipe.detector, facts.num_keypoints
    if asked.family not in WITH_KEYPOINTS or found is None:
        return
    if found == asked.num_keypoints and facts.scored_keypoints in (None, found):
        return
    if not found or found == asked.num_keypoints:
        must = "must be a family without keypoints"
        who = "Objects of a split that scores" if found else "Training objects"
        remedy = f"{who} have none, or others: all of them must share the same."
        raise SpecError(explain(f"{where}: detector.family", must, asked.family, remedy))
    must = f"must be the {found} keypoints that the training objects have"
    raise SpecError(explain(f"{where}: detector.num_keypoints", must, asked.num_keypoints))
