"""What each cell cost: its search, its replicates, and the assets it started from.

An asset that several cells share counts in full for each of them, because each would have needed it
alone; the study's total counts it once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rethink_ray.judge.read.trials import Asset, CellRecord, read_assets
from rethink_ray.protocol.tables import StudyTables
from rethink_ray.spec.resolve import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCost:
    """Wall seconds of one cell's slots."""

    regime: str
    arm: str
    num_search: int
    num_replicates: int
    search_updates: int
    """Updates of its search trials."""
    search_seconds: float
    replicate_seconds: float
    asset_seconds: float
    assets: tuple[str, ...]
    """Keys of the assets this cell's trials started from, sorted."""

    @property
    def trial_seconds(self) -> float:
        """Without assets."""
        return self.search_seconds + self.replicate_seconds

    @property
    def total_seconds(self) -> float:
        """With assets."""
        return self.trial_seconds + self.asset_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCost:
    """Every cell, every asset, and the whole."""

    cells: tuple[CellCost, ...]
    assets: tuple[Asset, ...]
    renamed: Mapping[str, str]
    """Key of an asset -> its key in the records, where an older version gave it another."""

    def seconds_of(self, keys: Iterable[str]) -> float:
        """What these assets took together, each once."""
        recorded_keys = {self.renamed.get(key, key) for key in keys}
        return sum(asset.seconds for asset in self.assets if asset.key in recorded_keys)

    @property
    def asset_seconds(self) -> float:
        """Each asset counted once."""
        return sum(asset.seconds for asset in self.assets)

    @property
    def total_seconds(self) -> float:
        """Slot seconds of all trials and assets."""
        return sum(c.trial_seconds for c in self.cells) + self.asset_seconds

    def of(self, regime: str, arm: str) -> CellCost:
        """One cell's cost."""
        return next(c for c in self.cells if (c.regime, c.arm) == (regime, arm))


def study_cost(tables: StudyTables, records: Mapping[Cell, CellRecord]) -> StudyCost:
    """Seconds that were spent, per cell and in all."""
    assets = read_assets(tables.assets)
    named = {cell: asset_keys(record) for cell, record in records.items()}
    renamed = _renamed(assets, {key for keys in named.values() for key in keys})
    seconds = {asset.key: asset.seconds for asset in assets}
    cells = []
    for cell, record in records.items():
        keys = tuple(renamed.get(key, key) for key in named[cell])
        cells.append(
            CellCost(
                regime=cell.regime,
                arm=cell.arm,
                num_search=len(record.search),
                num_replicates=len(record.replicates),
                search_updates=sum(record.updates.get(t.trial_id, 0) for t in record.search),
                search_seconds=sum(t.seconds for t in record.search),
                replicate_seconds=sum(t.seconds for t in record.replicates),
                asset_seconds=sum(seconds.get(key, 0.0) for key in keys),
                assets=keys,
            )
        )
    return StudyCost(cells=tuple(cells), assets=assets, renamed=renamed)


def _renamed(assets: Iterable[Asset], named: Iterable[str]) -> dict[str, str]:
    """Key of an asset in this version -> in an older one, if only one can be meant."""
    recorded, current = {asset.key for asset in assets}, set(named)
    unused, unknown = recorded - current, current - recorded
    renamed: dict[str, str] = {}
    for key in unknown:
        kind = key.partition("-")[0]
        ours = [other for other in unknown if other.partition("-")[0] == kind]
        theirs = [other for other in unused if other.partition("-")[0] == kind]
        if len(ours) == len(theirs) == 1:
            renamed[key] = theirs[0]
    return renamed


def asset_keys(record: CellRecord) -> tuple[str, ...]:
    """Keys of every asset that a trial of this cell started from, replicates included."""
    trials = (*record.search, *record.replicates)
    return tuple(sorted({key for trial in trials for key in trial.assets}))
