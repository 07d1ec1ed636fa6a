"""The configurations of a cell's trials, resolved once each and kept while they are in use."""

from collections.abc import Mapping

from rethink_ray.protocol.cell_view import CellView
from rethink_ray.records.types import Member
from rethink_ray.spec.assets import AssetSpec, assets_of
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.space import Value


class CellConfigs:
    """Trial -> configuration and assets, for one cell."""

    def __init__(self, view: CellView) -> None:
        self._view = view
        self._kept: dict[str, tuple[TrialConfig, dict[str, AssetSpec]]] = {}

    def build_member(
        self,
        params: Mapping[str, Value],
        seed: int,
        asset_seed: int,
        of: str | None = None,
        draw: int = 0,
    ) -> Member:
        """A new trial of a round; its id is the hash of its configuration.

        Args:
            params: dotted path -> value.
            seed: the trial's seed.
            asset_seed: recorded only if the trial learns an asset from its regime's images.
            of: the trial that this one repeats or copies.
            draw: which draw of the regime's images it trains on; 0 is the regime itself.
        """
        config = self._view.resolve(params, seed, asset_seed, draw)
        trial_id = config.trial_id
        self._keep(trial_id, config)
        teacher = None if config.teacher is None else self._view.teacher
        return Member(
            trial_id=trial_id,
            params=dict(params),
            seed=seed,
            of=of,
            asset_seed=config.asset_seed,
            teacher=None if teacher is None else teacher.trial_id,
            teacher_length=None if teacher is None else teacher.length,
            draw=draw,
            assets=tuple(self._kept[trial_id][1]),
        )

    def config_of(self, member: Member) -> tuple[TrialConfig, dict[str, AssetSpec]]:
        """The configuration of a recorded trial, and the assets that it needs (key -> asset).

        Raises:
            RecordError: the recorded id is not the one this study gives the recorded values.
        """
        if member.trial_id not in self._kept:
            config = self._view.config_of(member)
            if config.trial_id != member.trial_id:
                where = f"records: trial {member.trial_id} of {self._view.cell.name}"
                must = "must have the id of its configuration"
                remedy = "The records belong to another study or program version."
                raise RecordError(explain(where, must, config.trial_id, remedy))
            self._keep(member.trial_id, config)
        return self._kept[member.trial_id]

    def forget(self, trial_ids: frozenset[str]) -> None:
        """Free the memory of these trials; ``config_of`` resolves them again."""
        for trial_id in trial_ids:
            self._kept.pop(trial_id, None)

    def _keep(self, trial_id: str, config: TrialConfig) -> None:
        self._kept[trial_id] = (config, {asset.key: asset for asset in assets_of(config)})
