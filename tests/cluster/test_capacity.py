"""Room in the cluster, counted place by place and node by node."""

from dataclasses import replace
from typing import Any

import pytest

from rethink_ray.cluster.capacity import Capacity, Nodes, gpus_to_reserve, has_driver_nodes
from rethink_ray.search.jobs import Job, asset_job
from rethink_ray.spec.assets import ClassifierAsset
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.study import ResourceSpec
from tests.golden_words import assert_says

TWO_SMALL = ({"CPU": 2.0}, {"CPU": 2.0})


def capacity(nodes: Nodes, limit: int | None = None, **resources: Any) -> Capacity:
    return Capacity(ResourceSpec(**resources), limit, lambda: nodes)


def job(number: int) -> Job:
    return Job(job_id=f"{number}-2x", purpose="search", cell="full/scratch", trial_id=str(number))


def asset() -> Job:
    recipe = build_recipe("tiny_retinanet")
    spec = ClassifierAsset(
        kind="classifier",
        detector=recipe.detector,
        upstream=recipe.upstream,
        upstream_source="glyphs",
        upstream_fingerprint="u",
        threads=1,
        gpus=0.0,
    )
    return asset_job(spec, spec.key, "full/pretrained")


@pytest.mark.parametrize(
    ("nodes", "resources", "trials"),
    [
        (TWO_SMALL, {}, 4),
        (({"CPU": 3.5},), {}, 3),
        (TWO_SMALL, {"cpus_per_worker": 4}, 0),  # four CPUs in the sum, on no node
        (({"CPU": 4.0}, {"CPU": 7.0}), {"cpus_per_worker": 4}, 2),
        (TWO_SMALL, {"workers": 2, "cpus_per_worker": 2}, 1),  # its workers may span two nodes
        (({"CPU": 3.0}, {"CPU": 3.0}), {"workers": 3, "cpus_per_worker": 2}, 0),
        (({"CPU": 8.0}, {"CPU": 1.0}), {"workers": 2}, 4),
        (({"CPU": 8.0, "GPU": 1.0},), {"gpus_per_worker": 0.5}, 2),
        (
            ({"CPU": 8.0, "GPU": 2.0},),
            {"gpus_per_worker": 0.6},
            2,
        ),  # 1.2 GPUs are two
        (({"CPU": 8.0, "GPU": 2.0},), {"gpus_per_worker": 0.25}, 8),
        (({"CPU": 8.0, "GPU": 4.0}, {"CPU": 64.0}), {"gpus_per_worker": 1}, 4),
        (({"CPU": 8.0},), {"gpus_per_worker": 1}, 0),
        (({"memory": 1e9}, {}), {}, 0),
        ((), {}, 0),
    ],
)
def test_as_many_trials_fit_as_nodes_have_whole_places(
    nodes: Nodes, resources: dict[str, Any], trials: int
) -> None:
    assert capacity(nodes, **resources).count_trials() == trials


def test_an_asset_takes_one_place_where_a_trial_takes_one_for_each_worker() -> None:
    five = capacity(({"CPU": 5.0},), workers=2)
    assert five.count_trials() == 2
    assert five.has_room([job(1)], job(2))
    assert not five.has_room([job(1), job(2)], job(3))
    assert five.has_room([job(1), job(2)], asset())
    assert not five.has_room([job(1), job(2), asset()], asset())
    assert not five.has_room([job(1), asset(), asset()], job(2))


def test_a_job_alone_on_a_shared_gpu_takes_every_place_of_it() -> None:
    alone = replace(job(1), alone=True)
    two_gpus = capacity(({"CPU": 16.0, "GPU": 2.0},), gpus_per_worker=0.25)
    assert two_gpus.count_trials() == 8
    assert two_gpus.has_room([job(n) for n in range(4)], alone)
    assert not two_gpus.has_room([job(n) for n in range(5)], alone)
    assert two_gpus.has_room([alone, *(job(n) for n in range(3))], job(3))
    assert not two_gpus.has_room([alone, *(job(n) for n in range(4))], job(4))
    assert gpus_to_reserve(alone, two_gpus.resources) == 1.0
    assert gpus_to_reserve(job(1), two_gpus.resources) == 0.25


def test_the_users_limit_counts_jobs_of_either_kind() -> None:
    limited = capacity(({"CPU": 64.0},), limit=2)
    assert limited.count_trials() == 2
    assert limited.has_room([job(1)], asset())
    assert not limited.has_room([job(1), asset()], job(2))


def test_a_job_without_room_does_not_hold_back_a_smaller_one() -> None:
    one = capacity(({"CPU": 3.0},), workers=2)
    fitting = [other for other in (job(2), asset()) if one.has_room([job(1)], other)]
    assert [found.asset is not None for found in fitting] == [True]


def test_safe_nodes_are_known_by_their_custom_resource() -> None:
    assert not has_driver_nodes(TWO_SMALL)
    assert has_driver_nodes(({"CPU": 2.0}, {"CPU": 0.0, "rethink_driver": 1.0}))


def test_a_cluster_that_does_not_answer_has_what_it_had(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rethink_ray.cluster.capacity.RECOUNT_SECONDS", 0.0)
    answers = iter([TWO_SMALL])
    asked = Capacity(ResourceSpec(), None, lambda: next(answers))
    assert asked.count_trials() == 4
    assert asked.count_trials() == 4
    [text] = caplog.messages
    assert_says("cluster", "cluster that does not answer", text)
