"""MLflow: one experiment per study, one run per trial, recognized by the trial's id.

``MLFLOW_TRACKING_URI`` says where; without it, a database file in the study directory.
"""

import os
from pathlib import Path
from typing import Any

from rethink_ray.cluster.trackers.points import Point, TrialCard, drop_none, drop_undefined
from rethink_ray.records.types import RungDone

TRIAL_TAG = "rethink_ray.trial_id"
POINT_TAG = "rethink_ray.point."
"""Prefix of a tag for each point of a run, written in one request with the point."""
PAGE = 1000


class MlflowRuns:
    """Runs of one experiment."""

    def __init__(self, study: str, root: Path) -> None:
        from mlflow.tracking import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=uri)
        self._study = study
        self._experiment: str | None = None
        self._runs: dict[str, str] = {}
        """Trial id -> run id."""

    def logged_keys(self) -> set[str]:
        """Keys of the points that the experiment's runs have."""
        keys: set[str] = set()
        for run in self._all_runs():
            tags = run.data.tags
            if TRIAL_TAG in tags:
                self._runs[tags[TRIAL_TAG]] = run.info.run_id
                keys |= {t.removeprefix(POINT_TAG) for t in tags if t.startswith(POINT_TAG)}
        return keys

    def log(self, point: Point) -> None:
        """The point's metrics and its tag are in the trial's run, written in one request."""
        from mlflow.entities import Metric, RunTag

        event, at = point.event, round(point.event.at * 1000)
        run_id = self._runs.get(event.trial_id) or self._start(point.card, at)
        metrics, tags = [], [RunTag(POINT_TAG + point.key, "logged")]
        if isinstance(event, RungDone):
            metrics = [
                Metric(k, v, at, event.steps) for k, v in drop_undefined(event.metrics).items()
            ]
        else:
            tags.append(RunTag("rethink_ray.ended", f"{event.outcome}: {event.reason}"[:5000]))
        self._client.log_batch(run_id, metrics=metrics, tags=tags)
        status = "FINISHED" if isinstance(event, RungDone) else "FAILED"
        self._client.set_terminated(run_id, status, end_time=at)

    def _start(self, card: TrialCard, at: int) -> str:
        from mlflow.entities import Param

        trial_id = card.member.trial_id
        tags = {TRIAL_TAG: trial_id, "regime": card.regime, "arm": card.arm}
        run = self._client.create_run(
            self._experiment_id(),
            start_time=at,
            run_name=f"{card.regime}/{card.arm} {trial_id}",
            tags={**tags, "purpose": card.purpose, "mlflow.source.name": "rethink-ray"},
        )
        values = {"seed": card.member.seed, **drop_none(card.member.params)}
        params = [Param(path, str(value)) for path, value in values.items()]
        self._client.log_batch(run.info.run_id, params=params)
        self._runs[trial_id] = run.info.run_id
        return str(run.info.run_id)

    def _experiment_id(self) -> str:
        if self._experiment is None:
            experiment = self._client.get_experiment_by_name(self._study)
            if experiment is None:
                self._experiment = str(self._client.create_experiment(self._study))
            else:
                self._experiment = str(experiment.experiment_id)
        return self._experiment

    def _all_runs(self) -> list[Any]:
        runs: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id()], max_results=PAGE, page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs
