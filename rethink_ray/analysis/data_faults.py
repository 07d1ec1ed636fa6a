"""Faults of the data that more than one in a hundred images, boxes or masks of a study have."""

from collections.abc import Iterator

from rethink_ray.judge.read.trials import read_faults_met_in_runs
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.protocol.tables import StudyTables
from rethink_ray.spec.fault_kinds import FaultShare, describe_kind
from rethink_ray.spec.met_faults import MetFault, list_met_faults
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS
from rethink_ray.spec.resolve import base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study

PATHS = ("detector.family", "augment.copy_paste")
"""Recipe paths that decide whether a run learns masks or keypoints."""
FEW_PERCENT = 1
"""A kind of fault is a caveat if more percent than this have it."""


def find_data_caveats(tables: StudyTables) -> Iterator[Caveat]:
    """One for each frequent kind of fault: of a regime, of all of train, or of a scoring split."""
    learned = _list_learned(tables.study)
    for met in (*list_met_faults(tables.facts), *_list_met_in_runs(tables)):
        is_felt = describe_kind(met.kind).learned in (None, *learned)
        if is_felt and 100 * met.share.count > FEW_PERCENT * met.share.total:
            key = f"data-faults:{met.regime or met.split}/{met.kind}"
            yield Caveat(key=key, regime=met.regime, text=f"{met.sentence}.")


def _list_learned(study: Study) -> set[str]:
    """``masks`` and ``keypoints``, if a run of the study may learn them."""
    recipes = [
        recipe
        for cell in cells_of(study)
        for recipe in reachable_recipes(base_recipe(study, cell), space_of(study, cell), PATHS)
    ]
    needs_masks = any(r.detector.family in WITH_MASKS or r.augment.copy_paste for r in recipes)
    needs_keypoints = any(r.detector.family in WITH_KEYPOINTS for r in recipes)
    needs = {"masks": needs_masks, "keypoints": needs_keypoints}
    return {name for name, is_needed in needs.items() if is_needed}


def _list_met_in_runs(tables: StudyTables) -> Iterator[MetFault]:
    for (regime, kind), count in read_faults_met_in_runs(tables).items():
        num_images = max(count, tables.facts.regime_sizes.get(regime, 0))
        share = FaultShare(count=count, total=num_images)
        yield MetFault(kind=kind, split="train", regime=regime, share=share)
