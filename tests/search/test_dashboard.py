"""``optuna.journal`` through ``optuna-dashboard``'s own web interface, called without a socket."""

import io
import json
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from rethink_ray.search.optuna_journal import write_optuna_journal
from rethink_ray.search.simulate import replay
from rethink_ray.spec.resolve import cells_of
from tests.search.search_builders import diverging_above, facts_of, small_study

dashboard = pytest.importorskip("optuna_dashboard")


def get(app: Any, path: str) -> Any:
    environ: dict[str, Any] = {"PATH_INFO": path, "wsgi.input": io.BytesIO()}
    setup_testing_defaults(environ)
    statuses: list[str] = []
    body = b"".join(app(environ, lambda status, headers, *rest: statuses.append(status)))
    assert statuses == ["200 OK"], (statuses, body)
    return json.loads(body)


def test_the_dashboard_shows_one_study_per_cell_and_true_states(tmp_path: Path) -> None:
    study = small_study(budget={"trials": 4, "keep": [4, 2, 1], "replicates": 1})
    path = tmp_path / "optuna.journal"
    write_optuna_journal(path, study, replay(study, facts_of(study), diverging_above(0.05)))
    app = dashboard.wsgi(JournalStorage(JournalFileBackend(str(path))))
    listed = get(app, "/api/studies")["study_summaries"]
    names = [f"small/{cell.name}" for cell in cells_of(study)]
    assert [summary["study_name"] for summary in listed] == names
    shown = get(app, f"/api/studies/{listed[0]['study_id']}")
    states = sorted(trial["state"] for trial in shown["trials"])
    assert len(states) == 4
    assert set(states) <= {"Complete", "Pruned", "Fail"}
    assert "Pruned" in states, "halving stopped some, and the dashboard says so"
