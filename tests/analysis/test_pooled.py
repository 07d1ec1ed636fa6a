"""The usual way, one pool of all arms, on a study whose slow starter ends ahead."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.sections.pooled import PooledRegime, derive_pools
from rethink_ray.cli import app
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, build_study, noisy
from tests.golden_words import assert_says


def _crossing(cell: Cell, length: float) -> float:
    """Scratch gains 4 AP a unit of schedule, pre-training 1: 8 against 14 at 2x, 24 to 18 at 6x."""
    return 4.0 * length if cell.arm == "scratch" else 12.0 + length


def _findings(**changes: object) -> Findings:
    budget = {"trials": 4, "keep": [4, 4, 4], "replicates": 3} | changes
    study = build_study(budget=budget)
    return derive_findings(Planted(study, noisy(_crossing, 0.1, 1)).tables())


def _pools(findings: Findings) -> tuple[PooledRegime, ...]:
    return derive_pools(findings.section_input())


def test_a_pool_halved_at_2x_drops_the_arm_that_ends_ahead() -> None:
    (pool,) = _pools(_findings())
    assert dict(pool.proposed) == {"scratch": 4, "pretrained": 4}
    assert (pool.halved_at, pool.judged_at) == (2.0, 6.0)


def test_the_share_that_survives_is_that_of_the_study_s_own_first_step() -> None:
    (pool,) = _pools(_findings(trials=4, keep=[4, 2, 2]))
    assert dict(pool.kept) == {"scratch": 0, "pretrained": 4}
    assert pool.dropped == ("scratch",)
    assert pool.winner == "pretrained"
    assert round(pool.ends["scratch"].mean.value) == 24
    assert_says("analysis", "one pool that drops the later winner", pool.sentence)


def test_a_survivor_that_its_own_cell_stopped_could_still_have_won() -> None:
    planted = Planted(
        build_study(budget={"trials": 4, "keep": [4, 2, 2], "replicates": 3}),
        noisy(_crossing, 0.1, 1),
        ladders={("pretrained", "search", 3): (2.0,)},
    )
    (pool,) = _pools(derive_findings(planted.tables()))
    assert pool.unrecorded == 1


def test_one_arm_or_nothing_recorded_is_no_pool() -> None:
    alone = Planted(build_study(arms={"scratch": {}}), noisy(_crossing, 0.1, 1))
    (no_rival,) = _pools(derive_findings(alone.tables()))
    assert_says("analysis", "no pool of one arm", no_rival.sentence)
    ended = {(a, "search", i): "diverged" for a in ("scratch", "pretrained") for i in range(2)}
    none = Planted(build_study(), noisy(_crossing, 0.1, 1), ended=ended)
    (no_score,) = _pools(derive_findings(none.tables()))
    assert_says("analysis", "no pool without a score", no_score.sentence)
    assert (no_rival.proposed, no_score.proposed) == ({}, {})


def test_the_command_prints_the_pool_in_every_form(tmp_path: Path) -> None:
    study = build_study(budget={"trials": 4, "keep": [4, 2, 2], "replicates": 3})
    root = str(Planted(study, noisy(_crossing, 0.1, 1)).directory(tmp_path / "s"))
    for words in ([], ["--markdown"]):
        told = CliRunner().invoke(app, ["findings", root, "--as-if", "pooled", *words])
        assert told.exit_code == 0, told.output
        assert "scratch" in told.output
    told = CliRunner().invoke(app, ["findings", root, "--as-if", "pooled", "--json"])
    (pool,) = json.loads(told.output)["pools"]
    assert (pool["winner"], pool["dropped"]) == ("pretrained", ["scratch"])


@pytest.mark.parametrize("words", [["--as-if", "pool"], ["--as-if", "pooled", "--from", "t.csv"]])
def test_another_word_or_a_table_of_numbers_is_refused(words: list[str], tmp_path: Path) -> None:
    where = [] if "--from" in words else [str(tmp_path)]
    told = CliRunner().invoke(app, ["findings", *where, *words])
    assert told.exit_code != 0
    assert "must be pooled, for a study directory" in str(told.exception)
