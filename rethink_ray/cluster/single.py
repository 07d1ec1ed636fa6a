"""One configuration on several Ray Train workers, outside any study: ``train --workers N``."""

from collections.abc import Callable
from pathlib import Path

from rethink_ray.cluster.group import run_by_workers
from rethink_ray.cluster.ray_session import ray_session
from rethink_ray.cluster.work import StopFile
from rethink_ray.records.types import AssetDone, RungDone, TrialEnded
from rethink_ray.search.jobs import Job, asset_job
from rethink_ray.spec.assets import AssetSpec, assets_of
from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.assets import build_asset
from rethink_ray.training.run import conclude_run, require_fit, require_same_data, scored_splits


def train_on_workers(
    config: TrialConfig, out: Path, workers: int, *, on_rung: Callable[[RungDone], None]
) -> list[RungDone]:
    """``workers`` processes train every length on one global batch; ``out`` has ``model.pt``.

    Args:
        config: the run; ``workers`` replaces its own number of workers.
        out: folder of the run, laid out like a study directory.
        workers: number of processes; they share the batch evenly.
        on_rung: called with each rung when it is finished.

    Raises:
        SpecError: the batch does not divide.
        RethinkError: the method failed, with its reason.
    """
    resources = config.resources.model_copy(update={"workers": workers})
    shared = config.model_copy(update={"resources": resources})
    check_recipe(shared.recipe, "--workers", resources)
    out = out.absolute()
    require_same_data(shared)
    job = Job(
        job_id=f"{shared.trial_id}-workers{workers}",
        purpose="search",
        cell=f"{shared.regime}/{shared.arm}",
        trial_id=shared.trial_id,
        config=shared,
        lengths=shared.recipe.schedule.lengths,
        splits=scored_splits(shared),
        models="models",
    )
    rungs = []
    with ray_session(resources, None, None):
        for asset in assets_of(shared):
            _build(asset, shared, out)
        for event in run_by_workers(job, out, StopFile(out / "stop")):
            if isinstance(event, TrialEnded):
                raise RethinkError(f"{shared.trial_id}: {event.outcome}: {event.reason}")
            if isinstance(event, RungDone):
                on_rung(event)
                rungs.append(event)
    conclude_run(shared, out, rungs)
    return rungs


def _build(asset: AssetSpec, config: TrialConfig, out: Path) -> None:
    """Build an asset with the workers of the run, or in this process if it is a classifier."""
    if asset.run is None:
        require_fit(build_asset(asset, config.data, out / "assets"))
        return
    job = asset_job(asset, asset.key, f"{config.regime}/{config.arm}")
    for event in run_by_workers(job, out, StopFile(out / "stop")):
        if isinstance(event, AssetDone):
            require_fit(event)
