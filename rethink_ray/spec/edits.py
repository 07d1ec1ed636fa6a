"""What was there when a study began, and what was added after its first result."""

from rethink_ray.spec.claim import Claim
from rethink_ray.spec.study import Study


def count_looks_before(study: Study, regime: str, arm: str) -> int:
    """How often results could be read before a cell was added; 0 for a cell of the first file."""
    added_by = (
        number
        for number, edit in enumerate(study.edits, start=1)
        if regime in edit.regimes or arm in edit.arms
    )
    return max(added_by, default=0)


def has_added_cells(study: Study) -> bool:
    """Whether some arm or regime was added after the first result."""
    return any(edit.arms or edit.regimes for edit in study.edits)


def select_first_arms(study: Study) -> tuple[str, ...]:
    """The arms that the study began with, in the order of its file."""
    added = {arm for edit in study.edits for arm in edit.arms}
    return tuple(arm for arm in study.arms if arm not in added)


def select_post_hoc(study: Study) -> frozenset[str]:
    """Names of the claims that were written after the first result."""
    return frozenset(name for edit in study.edits for name in edit.claims)


def select_declared_claims(study: Study) -> dict[str, Claim]:
    """The claims that were written before the first result."""
    post_hoc = select_post_hoc(study)
    return {name: claim for name, claim in study.claims.items() if name not in post_hoc}
