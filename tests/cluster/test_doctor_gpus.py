"""What the preflight asks of GPU machines: a compiler, shared memory, one kind of GPU."""

from typing import Any

import pytest
from micro_study import micro_study

from rethink_ray.cluster.doctor.compiler import check_compiler, describe_compiler, is_compiled
from rethink_ray.cluster.doctor.shared_memory import check_shared_memory, estimate_shared_memory
from rethink_ray.spec.study import Study
from tests.golden_words import assert_says

STORE = 200_000_000


def study_on(family: str = "tiny_retinanet", **resources: Any) -> Study:
    study: Study = micro_study(recipe=family, arms={"scratch": {}}, resources=resources)
    return study


@pytest.mark.parametrize(
    ("family", "resources", "compiles"),
    [
        ("tiny_faster_rcnn", {"deterministic": True, "gpus_per_worker": 1}, True),
        ("tiny_cascade_mask_rcnn", {"deterministic": True, "gpus_per_worker": 0.5}, True),
        ("tiny_retinanet", {"deterministic": True, "gpus_per_worker": 1}, False),
        ("tiny_faster_rcnn", {"gpus_per_worker": 1}, False),
        ("tiny_faster_rcnn", {"deterministic": True}, False),
    ],
)
def test_only_deterministic_runs_of_two_stages_on_gpus_compile(
    family: str, resources: dict[str, Any], compiles: bool
) -> None:
    assert is_compiled(study_on(family, **resources)) == compiles


def test_a_machine_without_triton_or_a_c_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert describe_compiler().endswith("and no C compiler")
    assert check_compiler(("a", "triton 3.5.0 and cc")).ok
    checked = check_compiler(
        ("b", "no triton and gcc"),
        ("a", "triton 3.5.0 and cc"),
        ("c", "triton 3.5.0 and no C compiler"),
    )
    assert not checked.ok
    assert_says("cluster", "doctor: no compiler for deterministic runs", checked.detail)


def test_shared_memory_holds_the_batches_of_all_loader_processes() -> None:
    """Batches of 2 pictures; 2 jobs x (2 x 4 + 1) = 18 batches of 2 x 100 x 200 x 12 bytes."""
    assert estimate_shared_memory(study_on(), 2, (100, 200)) == STORE
    read = study_on(loader_workers=4)
    assert estimate_shared_memory(read, 2, (100, 200)) == STORE + 18 * 480_000
    shared = study_on(loader_workers=4, workers=2)  # each of two workers loads one picture
    assert estimate_shared_memory(shared, 2, (100, 200)) == STORE + 36 * 240_000


def test_jitter_sends_pictures_of_the_detectors_size() -> None:
    jittered = micro_study(
        arms={"scratch": {}},
        resources={"loader_workers": 1},
        settings={"augment.scale": [0.1, 2.0], "augment.canvas": "square", "batch_size": 2}
        | {"detector.min_side_px": 64, "detector.max_side_px": 64},
    )
    one_job = STORE + 3 * 2 * 64 * 64 * 12
    assert estimate_shared_memory(jittered, 1, (3000, 4000)) == one_job


def test_too_little_shared_memory_comes_with_its_size() -> None:
    study = study_on(loader_workers=4)
    checked = check_shared_memory(study, 64 * 2**20, 1, (3000, 4000))
    assert not checked.ok
    assert_says("cluster", "doctor: too little shared memory", checked.detail)
    assert check_shared_memory(study_on(), 2**30, 1, (1, 1)).ok
