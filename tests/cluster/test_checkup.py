"""The preflight says ok or what to do, and breaks on nothing."""

import json
from pathlib import Path

import pytest
import torch
from micro_study import micro_study

from rethink_ray.cluster.doctor.check import Check
from rethink_ray.cluster.doctor.checkup import check_gpus, examine
from rethink_ray.cluster.doctor.cluster_checks import check_address, check_token, compare_nodes
from rethink_ray.cluster.doctor.study_checks import (
    check_backbones,
    check_disk,
    estimate_disk,
    examine_study,
    free_bytes,
)
from rethink_ray.data.shapes import make_shapes
from rethink_ray.spec.regime import ShapesSpec
from rethink_ray.spec.study import ResourceSpec
from tests.golden_words import assert_says

SPLITS = ("train", "val", "test")


def named(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.mark.ray
def test_every_line_says_what_was_found_and_a_study_asks_for_its_own(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = tmp_path / "ray" / "ray_current_cluster"  # left by a cluster that was killed
    stale.parent.mkdir()
    stale.write_text("127.0.0.1:9")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    study = micro_study(resources={"workers": 2})
    checks = named(list(examine(study, where=tmp_path, cpuinfo=tmp_path / "absent")))
    expected = {"cpus", "memory", "disk", "shared memory", "scratch", "torch", "instruction set"}
    expected |= {"gpus", "backends", "slots", "images at once", "data set", "data faults"}
    expected |= {"one address", "token"}
    assert expected | {"ray", "state api"} == set(checks)
    assert all(check.detail for check in checks.values())
    for name in ("torch", "backends", "ray", "state api", "data set", "data faults", "disk"):
        assert checks[name].ok, checks[name].detail
    assert checks["data set"].detail == "6 categories; images: train 12, val 4, test 4"
    assert checks["state api"].detail.startswith("answers: 1 nodes")


@pytest.mark.ray
def test_a_named_cluster_is_asked_node_by_node(cluster: None, tmp_path: Path) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    checks = named(list(examine(micro_study(), address=address, where=tmp_path / "s")))
    assert checks["room"].detail == "2 trials at a time on 1 nodes"
    assert checks["nodes"].detail == "1 answer"
    assert checks["nodes: instruction set"].ok
    assert "nodes: gpus" not in checks  # a study on CPUs
    assert checks["nodes: weights"].detail == "all there everywhere"
    assert len(checks["nodes: data"].detail.split()[0]) == 16, "the data set's fingerprint"
    assert checks["study folder"].detail.endswith("seen by 1 of 1 nodes")
    assert not list((tmp_path / "s").iterdir()), "the sign is taken away again"


def test_what_is_missing_comes_with_a_remedy(tmp_path: Path) -> None:
    greedy = ResourceSpec(cpus_per_worker=4096)
    study = micro_study(
        arms={
            "pretrained": {
                "set": {
                    "init.source": "file",
                    "init.weights": str(tmp_path / "none.pt"),
                    "init.weights_norm": "gn",
                }
            }
        }
    ).model_copy(update={"resources": greedy})
    checks = named(list(examine_study(study, address=None, folder=tmp_path)))
    assert not checks["slots"].ok
    assert "cpus_per_worker" in checks["slots"].detail
    weights = checks[f"weights {tmp_path / 'none.pt'}"]
    assert not weights.ok
    text = weights.detail.replace(str(tmp_path), "FOLDER")
    assert_says("cluster", "doctor: weights that are missing", text)


def test_how_many_images_must_fit_the_memory_is_told(tmp_path: Path) -> None:
    def told(**resources: int) -> str:
        study = micro_study(resources=resources).model_copy(update={"settings": {"batch_size": 8}})
        checks = named(list(examine_study(study, address=None, folder=tmp_path)))
        return str(checks["images at once"].detail)

    assert_says("cluster", "doctor: images at once", told())
    assert_says("cluster", "doctor: images at once in micro-batches", told(images_per_step=2))


def test_weights_that_only_the_search_reaches_are_looked_for(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pt")
    settings = {"init.source": "file", "init.weights": missing, "init.weights_norm": "gn"}
    study = micro_study(
        arms={"a": {"set": settings, "search": {"init.source": {"choice": ["random", "file"]}}}}
    )
    assert not named(list(examine_study(study, address=None, folder=tmp_path)))[
        f"weights {missing}"
    ].ok


def test_masks_that_the_annotations_lack_are_told_before_a_run(tmp_path: Path) -> None:
    make_shapes(ShapesSpec(train=6, val=2, test=2, image_px=64), tmp_path / "shapes")
    dataset = {}
    for split in SPLITS:
        path = tmp_path / "shapes" / "annotations" / f"instances_{split}.json"
        tree = json.loads(path.read_text())
        for found in tree["annotations"]:
            del found["segmentation"]
        path.write_text(json.dumps(tree))
        dataset[split] = {"images": str(tmp_path / "shapes" / split), "annotations": str(path)}
    study = micro_study(
        data={"dataset": dataset, "select_on": "val", "report_on": "test"},
        arms={"a": {"set": {"augment.copy_paste": 0.5}}},
        regimes={"full": {"images": "all"}},
    )
    data = named(list(examine_study(study, address=None, folder=tmp_path)))["data set"]
    assert "augment.copy_paste" in data.detail
    assert_says("cluster", "doctor: masks that the annotations lack", data.detail)
    assert not data.ok


def test_an_upstream_folder_that_is_not_there_is_said_once(tmp_path: Path) -> None:
    data = {"dataset": "shapes", "shapes": {"train": 8, "val": 2, "test": 2, "image_px": 64}}
    study = micro_study(data=data | {"upstream": str(tmp_path / "gone")})
    checks = named(list(examine_study(study, address=None, folder=tmp_path)))
    assert "data.upstream: must be 'glyphs' or a folder" in checks["data set"].detail
    assert checks["disk"].detail == "see data set"
    assert not checks["disk"].ok


def test_weights_are_loaded_and_their_input_is_asked_for(tmp_path: Path) -> None:
    """A file with one readable byte was once well."""
    (tmp_path / "w.pt").write_bytes(b"x")
    settings = {"init.source": "file", "init.weights": str(tmp_path / "w.pt")}
    study = micro_study(arms={"a": {"set": settings | {"init.weights_norm": "gn"}}})
    checks = named(list(examine_study(study, address=None, folder=tmp_path)))
    weights = checks[f"weights {tmp_path / 'w.pt'}"]
    assert not weights.ok
    assert "must be a file of tensors" in weights.detail
    assert not checks["input of weights"].ok
    assert "w.pt are normalised" in checks["input of weights"].detail


def test_a_teachers_file_is_looked_for(tmp_path: Path) -> None:
    teacher = {"file": str(tmp_path / "t.pth")}
    study = micro_study(arms={"a": {"set": {"labels.kind": "continued"}, "teacher": teacher}})
    checks = named(list(examine_study(study, address=None, folder=tmp_path)))
    missing = checks[f"weights {tmp_path / 't.pth'}"]
    assert not missing.ok
    assert "arms.a.teacher.file" in missing.detail


def test_backbones_from_elsewhere_are_told_with_their_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "doctors_nets.py").write_text("x = 1\n")
    names = ("doctors_nets:build", "no_such_nets:build")
    arms = {name[:2]: {"set": {"detector.backbone": name}} for name in names}
    here, gone, built = check_backbones(micro_study(arms=arms))
    assert (here.name, here.ok, len(here.detail)) == ("backbone doctors_nets:build", True, 16)
    assert not gone.ok
    assert "full/no: detector.backbone no_such_nets:build" in gone.detail
    assert not built.ok
    assert "full/do: detector.backbone doctors_nets:build: must be an import" in built.detail


def test_faults_are_counted_and_only_lost_images_must_be_mended(tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    make_shapes(ShapesSpec(train=6, val=2, test=2, image_px=64), root)
    names = {split: root / "annotations" / f"instances_{split}.json" for split in SPLITS}
    split_of = {
        split: {"images": str(root / split), "annotations": str(path)}
        for split, path in names.items()
    }
    tree = json.loads(names["train"].read_text())
    tree["annotations"][0]["bbox"] = [-20.0, 0.0, 40.0, 40.0]
    names["train"].write_text(json.dumps(tree))
    study = micro_study(data={"dataset": split_of}, regimes={"full": {"images": "all"}})
    faults = named(list(examine_study(study, address=None, folder=tmp_path)))["data faults"]
    assert faults.ok
    assert_says("cluster", "doctor: faults that training copes with", faults.detail)
    next((root / "test").iterdir()).unlink()
    faults = named(list(examine_study(study, address=None, folder=tmp_path)))["data faults"]
    assert not faults.ok
    assert_says("cluster", "doctor: lost images", faults.detail)


def test_a_fault_of_an_upstream_data_set_is_counted_once(tmp_path: Path) -> None:
    drawn = {"train": 40, "val": 2, "test": 2, "image_px": 32}
    make_shapes(ShapesSpec.model_validate(drawn | {"figures": "glyphs"}), tmp_path / "glyphs")
    path = tmp_path / "glyphs" / "annotations" / "instances_train.json"
    tree = json.loads(path.read_text())
    tree["annotations"][0]["bbox"] = [-20.0, 0.0, 40.0, 40.0]
    path.write_text(json.dumps(tree))
    upstream = {"images": str(tmp_path / "glyphs" / "train"), "annotations": str(path)}
    data = {"dataset": "shapes", "shapes": drawn, "upstream_detection": upstream}
    study = micro_study(data=data, regimes={"full": {"images": "all"}})
    faults = named(list(examine_study(study, address=None, folder=tmp_path)))["data faults"]
    assert faults.detail.startswith("1 box_outside ")


def test_a_disk_that_is_too_small_is_told_with_both_numbers() -> None:
    assert 0 < estimate_disk(micro_study()) < 2**30
    assert check_disk(2 * 2**30, 2 * 2**30).ok
    small = check_disk(2 * 2**30, 2**30)
    assert not small.ok
    assert small.detail.startswith("1.0 GiB free, 2.0 GiB needed")
    assert_says("cluster", "doctor: disk that is too small", small.detail)


def test_the_disk_of_a_folder_that_does_not_exist_yet_is_its_nearest_parents(
    tmp_path: Path,
) -> None:
    assert free_bytes(tmp_path / "a" / "b") > 0


def test_two_addresses_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", lambda: {"h:1", "h:2"})
    monkeypatch.setenv("RAY_ADDRESS", "h:2")
    wrong = check_address("h:1")
    assert not wrong.ok
    assert wrong.detail.endswith("To do: export RAY_ADDRESS=h:1")
    assert check_address("h:2").ok
    monkeypatch.delenv("RAY_ADDRESS")
    assert not check_address("h:1").ok, "two run here, and nothing says which"
    assert "h:1, h:2" in check_address(None).detail


def test_a_token_is_looked_for_where_ray_looks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_token(None).ok
    assert check_token("h:1").ok
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert not check_token("h:1").ok
    assert "RAY_AUTH_TOKEN_PATH" in check_token("h:1").detail
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret\n")
    assert check_token("h:1").ok
    assert "secret" not in check_token("h:1").detail
    assert "export" not in check_token("h:1").detail
    monkeypatch.delenv("RAY_AUTH_MODE")
    assert check_token("h:1").detail.endswith("export RAY_AUTH_MODE=token")
    assert "export" not in check_token("auto").detail + check_token(None).detail
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "empty"))
    assert not check_token("h:1").ok
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert_says("cluster", "doctor: no token is asked for", check_token("h:1").detail)


def test_a_mixed_cluster_is_told_which_nodes_differ() -> None:
    mixed = compare_nodes(
        "instruction set", {"a": "AVX2", "b": "AVX512", "c": "AVX2"}, "use one kind"
    )
    assert not mixed.ok
    assert mixed.detail.startswith("AVX2 on a, c; AVX512 on b.")
    assert compare_nodes("torch", {"a": "2.15", "b": "2.15"}, "").detail.startswith("2.15 ")


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_a_missing_gpu_comes_with_a_remedy_that_works(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    study = micro_study(resources={"gpus_per_worker": 1}).model_copy(
        update={"settings": {"precision": precision}}
    )
    gpus = check_gpus(study, None)
    assert not gpus.ok
    assert ("precision: fp32" in gpus.detail) == (precision == "tf32")
    assert_says("cluster", f"doctor: a study of {precision} without a GPU", gpus.detail)
