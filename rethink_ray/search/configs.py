"""The complete configurations of a cell's members, resolved once each.

``resolve`` builds the base recipe anew for every trial; here it is built once per cell, because a
study of 100,000 trials asks for it 100,000 times.
"""

from collections.abc import Mapping

from rethink_ray.protocol.teachers import Teacher
from rethink_ray.records.types import Member
from rethink_ray.spec.assets import AssetSpec, assets_of
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import (
    Cell,
    TrialConfig,
    file_teacher,
    resolve,
    with_draw,
    with_recipe,
    with_seeds,
)
from rethink_ray.spec.settings import with_settings
from rethink_ray.spec.space import Value
from rethink_ray.spec.study import Study


class CellConfigs:
    """Member -> configuration and assets of one cell; forgets what is no longer in use."""

    def __init__(self, study: Study, cell: Cell, facts: DataFacts) -> None:
        self._cell = cell
        self._facts = facts
        self._base = resolve(study, cell, {}, 0, facts)
        self._in_file = file_teacher(study, cell, facts)
        self._known: dict[str, tuple[TrialConfig, dict[str, AssetSpec]]] = {}
        self.teacher: Teacher | None = None
        """Of the cell, once it is known; without one nobody here is taught."""

    def resolve(
        self,
        params: Mapping[str, Value],
        seed: int,
        asset_seed: int | None = None,
        draw: int = 0,
    ) -> TrialConfig:
        """Equal to ``spec.resolve`` of the same cell, values, seeds and draw."""
        where = f"{self._cell.name} (sampled)"
        recipe = with_settings(self._base.recipe, params, where)
        config = with_draw(with_recipe(self._base, recipe, self._facts), draw, self._facts)
        teacher = self._in_file if self.teacher is None else self.teacher.config
        return with_seeds(config, seed, asset_seed, teacher)

    def member(
        self,
        params: Mapping[str, Value],
        seed: int,
        asset_seed: int,
        of: str | None = None,
        draw: int = 0,
    ) -> Member:
        """A new member of a round, under the id of its configuration.

        ``asset_seed`` is recorded only if the configuration learns an asset from its regime.
        """
        config = self.resolve(params, seed, asset_seed, draw)
        trial_id = config.trial_id
        self._remember(trial_id, config)
        teacher = None if config.teacher is None else self.teacher
        return Member(
            trial_id=trial_id,
            params=dict(params),
            seed=seed,
            of=of,
            asset_seed=config.asset_seed,
            teacher=None if teacher is None else teacher.trial_id,
            teacher_length=None if teacher is None else teacher.length,
            draw=draw,
            assets=tuple(self._known[trial_id][1]),
        )

    def of(self, member: Member) -> tuple[TrialConfig, dict[str, AssetSpec]]:
        """A recorded member's configuration, and what must stand before it (key -> asset).

        Raises:
            RecordError: the recorded id is not the one this study gives the recorded values.
        """
        if member.trial_id not in self._known:
            config = self.resolve(member.params, member.seed, member.asset_seed, member.draw)
            if config.trial_id != member.trial_id:
                where = f"records: trial {member.trial_id} of {self._cell.name}"
                must = "must have the id of its configuration"
                remedy = "The records belong to another study or program version."
                raise RecordError(explain(where, must, config.trial_id, remedy))
            self._remember(member.trial_id, config)
        return self._known[member.trial_id]

    def forget(self, trial_ids: frozenset[str]) -> None:
        """Drop what these trials needed; ``of`` would resolve it again."""
        for trial_id in trial_ids:
            self._known.pop(trial_id, None)

    def _remember(self, trial_id: str, config: TrialConfig) -> None:
        self._known[trial_id] = (config, {asset.key: asset for asset in assets_of(config)})
