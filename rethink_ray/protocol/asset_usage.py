"""Which assets each trial started from: what an arm's cost is booked by."""

import json
from collections.abc import Mapping

from rethink_ray.protocol.teachers import Teacher, recorded_teacher
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.assets import AssetSpec, assets_of
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.older_ids import first_asset_key
from rethink_ray.spec.resolve import Cell, base_recipe, resolve, space_of
from rethink_ray.spec.space import Value
from rethink_ray.spec.study import Study

DECIDING = ("detector.", "init.", "upstream.", "direct.", "labels.", "precision")
"""Only these groups of a recipe decide what an asset is made from."""


class AssetUsage:
    """Keys of the assets of recorded trials; those with the same values are resolved once."""

    def __init__(self, study: Study, facts: DataFacts, state: StudyState) -> None:
        self._study, self._facts, self._state = study, facts, state
        self._teachers: dict[Cell, Teacher | None] = {}
        self._plain: dict[Cell, bool] = {}
        self._known: dict[tuple[Cell, str], tuple[str, ...]] = {}

    def keys_of(self, cell: Cell, member: Member) -> tuple[str, ...]:
        """Every asset that had to stand before this trial, in the order they were built.

        As the trial's record says; trials of before it did are resolved again.
        """
        if member.assets is not None:
            return member.assets
        if self._is_plain(cell):
            return ()
        part = {p: v for p, v in member.params.items() if p.startswith(DECIDING)}
        told = json.dumps([part, member.asset_seed, member.draw], sort_keys=True)
        if (cell, told) not in self._known:
            self._known[cell, told] = self._resolved(cell, part, member.asset_seed, member.draw)
        return self._known[cell, told]

    def _is_plain(self, cell: Cell) -> bool:
        """No trial of the cell can start from an asset."""
        if cell not in self._plain:
            recipe, space = base_recipe(self._study, cell), space_of(self._study, cell)
            plain = recipe.init.source not in ("upstream", "direct")
            searched = {"init.source", "labels.kind"} & space.keys()
            self._plain[cell] = plain and recipe.labels.kind == "human" and not searched
        return self._plain[cell]

    def _resolved(
        self, cell: Cell, params: Mapping[str, Value], asset_seed: int | None, draw: int
    ) -> tuple[str, ...]:
        if cell not in self._teachers:
            self._teachers[cell] = recorded_teacher(self._study, self._facts, self._state, cell)
        teacher = self._teachers[cell]
        given = None if teacher is None else teacher.config
        config = resolve(self._study, cell, params, 0, self._facts, asset_seed, given, draw)
        return tuple(self._recorded_key(asset) for asset in assets_of(config))

    def _recorded_key(self, asset: AssetSpec) -> str:
        """The name that the records have for an asset, which may be an older identity's."""
        recorded = self._state.assets
        if asset.key not in recorded and (older := first_asset_key(asset)) in recorded:
            return older
        return asset.key
