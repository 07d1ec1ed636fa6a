"""What an edited study file adds to the study that began: arms, regimes and claims of new names.

Added arms and regimes are cells of their own behind the old ones, whose trials, seeds and order do
not depend on them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rethink_ray.spec.claim import Claim
from rethink_ray.spec.regime import RegimeSpec
from rethink_ray.spec.study import ArmSpec, Study, StudyEdit


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """Name -> what a file says of it, for all names that the study does not have."""

    arms: Mapping[str, ArmSpec]
    regimes: Mapping[str, RegimeSpec]
    claims: Mapping[str, Claim]

    @property
    def is_empty(self) -> bool:
        """The file adds nothing."""
        return not (self.arms or self.regimes or self.claims)

    @property
    def words(self) -> str:
        """``arms.frozen, regimes.tenth``: the keys of all that is added."""
        return ", ".join(self._keys())

    def _keys(self) -> Iterator[str]:
        yield from (f"arms.{name}" for name in self.arms)
        yield from (f"regimes.{name}" for name in self.regimes)
        yield from (f"claims.{name}" for name in self.claims)

    def take_out_of(self, from_file: Study) -> Study:
        """The file's study without what it adds."""
        return from_file.model_copy(
            update={
                "arms": {k: v for k, v in from_file.arms.items() if k not in self.arms},
                "regimes": {k: v for k, v in from_file.regimes.items() if k not in self.regimes},
                "claims": {k: v for k, v in from_file.claims.items() if k not in self.claims},
            }
        )

    def put_into(self, study: Study, *, has_results: bool) -> Study:
        """The study with everything that is added, behind what it has.

        Args:
            study: without the additions.
            has_results: a score was recorded, so the additions count as made after a look.
        """
        update: dict[str, Any] = {
            "arms": {**study.arms, **self.arms},
            "regimes": {**study.regimes, **self.regimes},
        }
        if self.claims:
            update["claims"] = {**study.claims, **self.claims}
        if has_results:
            edit = StudyEdit(
                arms=tuple(self.arms), regimes=tuple(self.regimes), claims=tuple(self.claims)
            )
            update["edits"] = (*study.edits, edit)
        return study.model_copy(update=update)


def find_additions(current: Study, from_file: Study) -> Additions:
    """What a file adds to a study that has started."""
    return Additions(
        arms={k: v for k, v in from_file.arms.items() if k not in current.arms},
        regimes={k: v for k, v in from_file.regimes.items() if k not in current.regimes},
        claims={k: v for k, v in from_file.claims.items() if k not in current.claims},
    )
