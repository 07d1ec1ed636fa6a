"""One sampled learning rate at every station it passes, under one name and with the same bits."""

import json
from pathlib import Path

import pyarrow.compute as pc
import pytest
import yaml

from rethink_ray.analysis.export import export_best
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import RoundProposed
from rethink_ray.search.observations import distribution_of
from rethink_ray.spec.load import load_config
from rethink_ray.spec.resolve import Cell, CellResolver, space_of
from rethink_ray.training.run import train_config
from tests.cluster.micro_study import run_inline, start_micro

PATH = "optimizer.lr"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyDirectory:
    directory = start_micro(
        tmp_path_factory.mktemp("path") / "study",
        regimes={"small": {"images": 6}},
        arms={"scratch": {}},
    )
    run_inline(directory)
    return directory


def test_the_rate_has_one_name_and_one_value_at_every_station(finished: StudyDirectory) -> None:
    study, cell = finished.study, Cell("small", "scratch")
    parameter = space_of(study, cell)[PATH]
    assert (distribution_of(parameter).low, distribution_of(parameter).high) == (0.002, 0.05)
    [proposed] = [
        e for e in finished.log.read() if isinstance(e, RoundProposed) and e.purpose == "search"
    ]
    rates = []
    for member in proposed.members:
        asked = member.params[PATH]
        assert isinstance(asked, float)
        rates.append(asked)
        config = CellResolver(study, cell, finished.facts).resolve(member.params, member.seed)
        assert config.trial_id == member.trial_id
        assert config.recipe.optimizer.lr == asked
        effective = json.loads((finished.trial_dir(member.trial_id) / "effective.json").read_text())
        assert effective["effective"][PATH] == asked
        trials = read_tables(finished).trials
        row = trials.filter(pc.equal(trials["trial_id"], member.trial_id))
        assert row[f"param.{PATH}"].to_pylist() == [asked]
    assert len(set(rates)) == 2, "two trials with one rate would hide a value that never arrived"


def test_an_exported_file_carries_the_rate_and_reproduces_its_number(
    finished: StudyDirectory, tmp_path: Path
) -> None:
    files = {file.name: file for file in export_best(finished, tmp_path / "best").files}
    assert list(files) == ["small-scratch-2x.yaml", "small-scratch-3x.yaml", "small-best.yaml"]
    longest = files["small-scratch-3x.yaml"]
    config = load_config(longest)
    tree = yaml.safe_load(longest.read_text())
    assert tree["recipe"]["optimizer"]["lr"] == config.recipe.optimizer.lr
    assert config.recipe.schedule.lengths == (3.0,)
    [rung] = train_config(config, tmp_path / "run")
    assert {k: rung.metrics[k] for k in config.expected} == config.expected
    assert list(config.expected) == ["val/ap"]
