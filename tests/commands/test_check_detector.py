"""``check-detector``: one line for each rule, and an exit code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rethink_ray.cli import app
from rethink_ray.detection.own_checks import CHECKS
from rethink_ray.spec.errors import SpecError
from tests.detection.own_example import EXAMPLE, MODULE, importable

BROKEN = """

class Silent(Cells):
    def losses(self, images, targets, *, seed, step):
        return {}


def build_silent(spec, num_classes):
    return Silent(spec, num_classes)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path) -> Iterator[None]:
    with importable(tmp_path, BROKEN):
        yield


def check(family: str) -> Result:
    return CliRunner().invoke(app, ["check-detector", family, "--side-px", "64"])


def test_a_detector_that_keeps_the_contract_ends_with_zero() -> None:
    result = check(EXAMPLE)
    passed = [f"pass  {rule}" for rule in CHECKS]
    assert result.stdout.splitlines() == [*passed, f"{EXAMPLE} keeps the contract."]
    assert result.exit_code == 0


def test_a_broken_rule_fails_by_name_and_ends_with_one() -> None:
    result = check(f"{MODULE}:build_silent")
    lines = result.stdout.splitlines()
    assert "FAIL  losses are finite scalars: no losses" in lines
    assert "pass  weights follow from the seed" in lines
    broken = sum(line.startswith("FAIL") for line in lines)
    assert lines[-1].startswith(f"{MODULE}:build_silent breaks {broken} rules.")
    assert result.exit_code == 1


def test_a_detector_that_cannot_be_built_is_refused_once() -> None:
    result = check("no_such_package:build")
    assert isinstance(result.exception, SpecError)
    assert "No module named 'no_such_package'" in str(result.exception)
    assert result.stdout == ""


def test_a_family_of_ours_is_not_blamed_for_rules_of_others() -> None:
    result = check("retinanet")
    assert isinstance(result.exception, SpecError)
    assert "check-detector: must be a detector of your own" in str(result.exception)


def test_a_name_of_no_family_is_refused() -> None:
    result = check("nonsense")
    assert isinstance(result.exception, SpecError)
    assert "detector.family: must be a family" in str(result.exception)
