"""The preflight proposes bf16 where AMX computes it, and changes nothing by itself."""

from typing import Any

import pytest
from micro_study import micro_study

from rethink_ray.cluster.doctor.bf16 import propose_bf16
from rethink_ray.spec.study import Study
from tests.golden_words import assert_says


def study_in(precision: str = "fp32", **resources: Any) -> Study:
    settings = {"precision": precision}
    study: Study = micro_study(arms={"scratch": {}}, resources=resources, settings=settings)
    return study


@pytest.mark.parametrize(
    ("study", "has_amx", "is_proposed"),
    [
        (study_in(), True, True),
        (None, True, True),
        (study_in(), False, False),
        (study_in("bf16"), True, False),
        (study_in(gpus_per_worker=1), True, False),
    ],
    ids=["fp32", "any study", "no AMX", "bf16 already", "on GPUs"],
)
def test_bf16_is_proposed_where_fp32_would_run_beside_amx(
    study: Study | None, has_amx: bool, is_proposed: bool
) -> None:
    checks = list(propose_bf16(study, has_amx=has_amx))
    assert bool(checks) == is_proposed
    for check in checks:
        assert check.ok
        assert_says("cluster", "doctor: bf16 on a CPU with AMX", check.detail)
