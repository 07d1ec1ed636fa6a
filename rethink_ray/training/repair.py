"""Runs that survive a damaged asset: the asset is built again, then the run starts again.

An asset is a pure function of its spec, so the second build is the same to the last bit. Jobs and
single runs call the ladder through ``Repair.run``, and build assets through ``Repair.build``.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch

from rethink_ray.records.types import AssetDone
from rethink_ray.spec.assets import AssetSpec
from rethink_ray.spec.regime import DataSpec
from rethink_ray.training.assets import build_asset, rebuild_asset
from rethink_ray.training.starting import DamagedAsset
from rethink_ray.training.stopping import UNINTERRUPTED, Interrupts
from rethink_ray.training.worker_context import WorkerContext

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Builds damaged assets again, on behalf of a run that cannot read them."""

    data: DataSpec
    """Where upstream images come from."""
    assets: Path
    """Folder of all assets' folders."""
    ctx: WorkerContext | None = None
    """This worker, if several share the run; they build again together."""
    interrupts: Interrupts = UNINTERRUPTED

    def run(self, attempt: Callable[[], Iterator[_T]]) -> Iterator[_T]:
        """Each item of ``attempt()``, once.

        If ``attempt`` raises ``DamagedAsset`` it is called again after the asset was built again.
        It then yields the same items from the beginning; those that were passed on are skipped.

        Raises:
            DamagedAsset: an asset is damaged for the second time.
        """
        rebuilt: set[str] = set()
        num_yielded = 0
        while True:
            try:
                for item in islice(attempt(), num_yielded, None):
                    num_yielded += 1
                    yield item
                return
            except DamagedAsset as error:
                if error.asset.key in rebuilt:
                    raise
                damaged = error.asset
            rebuilt.add(damaged.key)
            self.rebuild(damaged)

    def build(self, asset: AssetSpec) -> AssetDone:
        """The asset is built; assets that it needs are built again if they are damaged."""

        def attempt() -> Iterator[AssetDone]:
            yield build_asset(
                asset, self.data, self.assets, ctx=self.ctx, interrupts=self.interrupts
            )

        [done] = self.run(attempt)
        return done

    def rebuild(self, asset: AssetSpec) -> None:
        """The asset's files are whole again; the process's thread count and determinism stay."""
        _log.warning("asset %s is damaged and built again", asset.key)
        threads = torch.get_num_threads()
        is_deterministic = torch.are_deterministic_algorithms_enabled()
        try:
            self._rebuild(asset)
        finally:
            torch.use_deterministic_algorithms(is_deterministic)
            torch.set_num_threads(threads)

    def _rebuild(self, asset: AssetSpec) -> None:
        def attempt() -> Iterator[None]:
            rebuild_asset(asset, self.data, self.assets, self.ctx, self.interrupts)
            yield

        for _ in self.run(attempt):
            pass
