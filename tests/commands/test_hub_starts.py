"""Studies that start from timm's weights or a hub's: what plan, doctor and the start of run say."""

from pathlib import Path
from typing import Any

import pytest

from rethink_ray.cluster.doctor.cluster_checks import describe_node
from rethink_ray.cluster.doctor.study_checks import check_weights
from rethink_ray.commands.planning import plan_lines
from rethink_ray.session import load_study_input
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.load import load_study
from rethink_ray.spec.resolve import CellResolver, cells_of
from tests.commands.test_refused_first import arm, refusal_of_run, refusals_of_doctor, study_file
from tests.hub_cache import put_repository, use_cache, vit_files

pytest.importorskip("timm", reason="an extra: pip install 'rethink-ray[timm]'")
OURS = "our-lab/vit"
VIT = {"detector__backbone": "timm:test_vit", "detector__neck": "simple", "detector__norm": "gn"}
FROM_HUB = VIT | {"init__source": "hub", "init__weights": OURS}
WHOLE = {
    **{"detector__backbone": "resnet50", "detector__norm": "frozen_bn"},
    **{"init__source": "detector", "init__weights": "RetinaNet_ResNet50_FPN_Weights.COCO_V1"},
}
FROM_TIMM = VIT | {"init__source": "timm", "init__weights": "r160_in1k"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_cache(tmp_path, monkeypatch)


def written(folder: Path, settings: dict[str, Any]) -> Path:
    return study_file(folder, **arm(**settings))


def plan_text(path: Path) -> list[str]:
    given = load_study_input(str(path), is_planned_only=True)
    return [*plan_lines(given.study, given.facts, 1, path.parent)]


@pytest.mark.parametrize(
    ("settings", "key", "repository", "licence"),
    [
        (FROM_HUB, "hub:our-lab/vit", OURS, "mit"),
        (FROM_TIMM, "timm:test_vit.r160_in1k", "timm/test_vit.r160_in1k", "apache-2.0"),
    ],
)
def test_plan_shows_the_licence_and_run_knows_the_digest(
    cache: Path, tmp_path: Path, settings: dict[str, Any], key: str, repository: str, licence: str
) -> None:
    card = {"README.md": b"---\nlicense: mit\n---\n"}
    put_repository(cache, repository, vit_files() | card)
    path = written(tmp_path, settings)

    [line] = [line for line in plan_text(path) if line.startswith("weights: ")]
    given = load_study_input(str(path))

    assert line == f"weights: {key} ({repository}): licence {licence}"
    digest = given.facts.files[key]
    assert len(digest) == 16
    [cell] = cells_of(given.study)
    trial = CellResolver(given.study, cell, given.facts).resolve({}, seed=1)
    assert trial.weights_digest == digest
    node = describe_node(given.study.model_dump_json(exclude_unset=True), None)
    assert node["weights"] == f"all there; {key} {digest}"


def test_doctor_loads_weights_of_a_hub_and_names_their_digest(cache: Path, tmp_path: Path) -> None:
    put_repository(cache, OURS, vit_files())
    study, _ = load_study(written(tmp_path, FROM_HUB))

    checks = {check.name: check for check in check_weights(study)}

    [detail] = [c.detail for name, c in checks.items() if name.endswith("model.safetensors")]
    assert detail.startswith("80 tensors, which fit; digest ")
    assert checks["input of weights"].ok


@pytest.mark.parametrize("settings", [FROM_HUB, FROM_TIMM])
def test_what_is_missing_offline_is_refused_with_the_command(
    cache: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    path = written(tmp_path, settings)
    repository = OURS if settings is FROM_HUB else "timm/test_vit.r160_in1k"
    command = f"hf download {repository}"

    [line] = [line for line in plan_text(path) if "NOT THERE" in line]

    assert line.endswith(f"because HF_HUB_OFFLINE is set: {command}")
    assert command in refusal_of_run(path)
    assert command in refusals_of_doctor(path)
    study = load_study(path)[0].model_dump_json(exclude_unset=True)
    assert str(describe_node(study, None)["weights"]).startswith("no weights ")


def test_weights_that_do_not_fit_are_refused_before_a_run(cache: Path, tmp_path: Path) -> None:
    files = vit_files()
    put_repository(cache, OURS, files | {"model.safetensors": files["model.safetensors"][:-100]})
    path = written(tmp_path, FROM_HUB)

    assert "must be a file of tensors that loads" in refusal_of_run(path)
    assert "must be a file of tensors that loads" in refusals_of_doctor(path)


@pytest.mark.parametrize(
    "settings",
    [
        FROM_TIMM | {"init__input": "imagenet"},
        VIT
        | {"detector__backbone": "timm:test_vit.r160_in1k", "init__source": "file"}
        | {"init__weights": "w.pt", "init__input": "imagenet"},
        {"detector__backbone": "resnet18", "init__source": "torchvision"}
        | {"init__weights": "IMAGENET1K_V1"}
        | {"init__input": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}},
        WHOLE | {"init__input": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}},
    ],
    ids=["a tag of timm's", "a file of a tag", "torchvision's", "a detector of torchvision's"],
)
def test_a_stated_input_that_contradicts_known_weights_is_refused_by_plan_doctor_and_run(
    cache: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    path = written(tmp_path, settings)
    refusal = refusal_of_run(path)

    assert "full/a: init.input: must be that of the weights it starts from" in refusal
    with pytest.raises(RethinkError) as planned:
        load_study_input(str(path), is_planned_only=True)
    assert str(planned.value) == refusal
    assert refusal in refusals_of_doctor(path)


def test_a_neck_that_does_not_fit_an_unknown_network_is_refused_before_a_run(
    cache: Path, tmp_path: Path
) -> None:
    path = written(tmp_path, VIT | {"detector__backbone": "timm:resnet18"})

    assert "full/a: detector.neck: must be fpn, nas_fpn or bifpn" in refusal_of_run(path)
    assert "has maps of four strides" in refusals_of_doctor(path)


def test_without_a_connection_doctor_names_the_command_and_torchvision_is_left_to_the_nodes(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    from_torchvision = {"detector__backbone": "resnet18", "init__source": "torchvision"}
    named = from_torchvision | {"init__weights": "IMAGENET1K_V1"}

    for settings in (named, WHOLE):
        path = written(tmp_path, settings)
        assert load_study_input(str(path)).facts.files == {}
        assert "init.weights (with init.source: file for a backbone)" in refusals_of_doctor(path)

    path = written(tmp_path, FROM_HUB)
    [line] = [line for line in plan_text(path) if "NOT THERE" in line]
    assert line.endswith("run downloads it: hf download our-lab/vit")
    assert "init.weights hub:our-lab/vit: must be in the hub's cache" in refusals_of_doctor(path)
