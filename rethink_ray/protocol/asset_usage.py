"""Which assets each trial started from; their cost is part of what an arm costs."""

import json

from rethink_ray.protocol.cell_view import CellView, StudyView
from rethink_ray.records.types import Member
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.older_ids import first_asset_keys
from rethink_ray.spec.resolve import Cell, TrialConfig, base_recipe

DECIDING = (
    *("detector.", "init.", "upstream.", "direct.", "upstream_detector.", "labels."),
    "precision",
)
"""Only these groups of a recipe decide what an asset is made from."""


class AssetUsage:
    """Looks up the assets of recorded trials; trials with the same values are resolved once."""

    def __init__(self, view: StudyView) -> None:
        self._view = view
        self._starts_plain: dict[Cell, bool] = {}
        self._keys: dict[tuple[Cell, str], tuple[str, ...]] = {}

    def keys_of(self, cell: Cell, member: Member) -> tuple[str, ...]:
        """Keys of the assets that this trial needed, in the order in which they were built.

        The trial's record lists them. Older records do not, so their trials are resolved again.
        """
        if member.assets is not None:
            return member.assets
        view = self._view.cell(cell)
        if self._is_plain(view):
            return ()
        params = {p: v for p, v in member.params.items() if p.startswith(DECIDING)}
        values = json.dumps([params, member.asset_seed, member.draw], sort_keys=True)
        if (cell, values) not in self._keys:
            config = view.resolve(params, 0, member.asset_seed, member.draw)
            self._keys[cell, values] = self._recorded_keys(config)
        return self._keys[cell, values]

    def _is_plain(self, view: CellView) -> bool:
        """Whether no trial of the cell can start from an asset."""
        if view.cell not in self._starts_plain:
            recipe = base_recipe(self._view.study, view.cell)
            needs_none = recipe.init.source not in ("upstream", "direct", "detector")
            searched = {"init.source", "labels.kind"} & view.rules.space.keys()
            is_plain = needs_none and recipe.labels.kind == "human" and not searched
            self._starts_plain[view.cell] = is_plain
        return self._starts_plain[view.cell]

    def _recorded_keys(self, config: TrialConfig) -> tuple[str, ...]:
        """The keys under which a run's assets were recorded, perhaps by an older identity."""
        recorded = self._view.state.assets
        keys = tuple(asset.key for asset in assets_of(config))
        older = keys if recorded.keys() >= {*keys} else first_asset_keys(config)
        return tuple(
            former if key not in recorded and former in recorded else key
            for key, former in zip(keys, older, strict=True)
        )
