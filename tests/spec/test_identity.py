"""What a run's id hashes: every value that determines its numbers, and nothing else.

After a change that is meant, write the ids down again with
``REWRITE_GOLDEN=1 pytest tests/spec/test_identity.py``.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rethink_ray.spec.assets import ClassifierAsset, assets_of
from rethink_ray.spec.hashing import IDENTITY, NEUTRAL, digest_of, written_out
from rethink_ray.spec.older_ids import first_asset_keys, first_trial_id
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec
from rethink_ray.spec.recipe import (
    AUGMENT_LEVELS,
    AugmentSpec,
    DetectorSpec,
    DirectSpec,
    EmaSpec,
    InitSpec,
    JointSpec,
    LabelsSpec,
    OptimizerSpec,
    Recipe,
    ScheduleSpec,
    UpstreamSpec,
)
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.settings import LENGTH_PATH, known_paths
from rethink_ray.spec.study import ObjectiveSpec, ResourceSpec
from rethink_ray.spec.trial_config import TrialConfig, UpstreamImages, identity_of, trial_id_of
from tests.spec.run_samples import TINY, sample, samples, with_parts

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "ids" / f"identity_{IDENTITY}.json"
WHAT_TO_DO = f"""

These runs have other ids than the ones written down for identity {IDENTITY}. Records that were made
under it would no longer be found, or would be mixed with other numbers.
- A new field that leaves all numbers as they are at one of its values: put that value into NEUTRAL
  (rethink_ray/spec/hashing.py), and the ids are again what they were.
- Other numbers (a new default, a new algorithm): raise IDENTITY there by one and empty NEUTRAL.
- This identity is in no release yet: write the ids down again with
  REWRITE_GOLDEN=1 pytest tests/spec/test_identity.py
"""
FIRST = {
    "scratch": ("4a938d731f7b",),
    "upstream": ("9e178a3a16c1", "classifier-fc0c256056f95cfc"),
    "direct": ("56bc40f23c01", "direct-a057fd0c605be082"),
    "file": ("a6e4ca1c7072",),
    "self_training": (
        *("925d27042582", "teacher-4622df9ea66060a5"),
        "pseudo_labels-5651e9b4cf2e5109",
    ),
    "taught_by_a_file": (
        *("de7325923d9d", "teacher-f1fef0fb2a102379"),
        "pseudo_labels-cf0b944974412c17",
    ),
    "workers_2": ("b799f30fb588",),
    "gpu": ("66e6aee1e4f0",),
    "gpu_upstream": ("374e21c45f62", "classifier-ee72750ea7c5c148"),
}
"""What version 0.1 named these runs and their assets, before ids had a number."""
SQUARE = {"flip": 0.5, "scale": (0.8, 1.2), "canvas": "square"}
FIRST_DIRECT: list[tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = [
    ({"canvas": "image"}, {}, ("f76c516be5f9", "direct-bf04d474e4ad1087")),
    ({"canvas": "image", "flip": 0.0}, {}, ("731797427a3b", "direct-6212eff1fc55b934")),
    ({}, {}, ("56bc40f23c01", "direct-a057fd0c605be082")),
    ({}, {"max_side_px": 160}, ("91a2d9a6cdd1", "direct-2d761c9fb2dbfac2")),
]
"""Augmentation of a first stage beside a square canvas, and settings of the detector -> what
version 0.1 named the run and its first stage, which had a square canvas only where it was set."""
GLYPH_IMAGES = UpstreamImages(
    data_fingerprint="g" * 16, regime_digest="a" * 16, num_images=2000, categories=("arrow",)
)
PUBLISHED = [
    ({"family": "retinanet"}, {"nms_iou": 0.5, "box_loss": "smooth_l1", "box_loss_beta": 0.11}),
    ({"family": "fcos"}, {"nms_iou": 0.6, "box_loss": "giou"}),
    ({"family": "faster_rcnn"}, {"box_loss_beta": 1.0, "rpn_post_nms_train": 1000}),
    ({"family": "cascade_rcnn"}, {"rpn_post_nms_train": 2000}),
    ({"neck": "nas_fpn"}, {"neck_repeats": 7}),
    ({"neck": "bifpn"}, {"neck_repeats": 3}),
    ({"head_norm": "none"}, {"neck_norm": "none"}),
]
"""Settings of a detector, and published values that its nulls stand for."""


def with_backbone(name: str, code: str) -> TrialConfig:
    detector = TINY.model_copy(update={"backbone": name})
    return sample(with_parts(detector=detector), backbone_code=code)


def detecting(**changes: Any) -> Recipe:
    return with_parts(detector=TINY.model_copy(update=changes))


def importing(path: str, digest: str, **changes: Any) -> TrialConfig:
    labels = LabelsSpec(kind="imported", file=path, **changes)
    recipe = with_parts(labels=labels)
    return sample(recipe, labels_digest=digest, unlabelled_fingerprint="p" * 16)


def test_the_ids_that_are_written_down_still_stand() -> None:
    runs = samples() | {
        "plug_in": with_backbone("our_nets:build", "c" * 16),
        "averaged": sample(with_parts(optimizer=OptimizerSpec(ema=EmaSpec(half_life=0.2)))),
        "imported": importing("d.json", "d" * 16),
    }
    told = {name: [run.trial_id, *(a.key for a in assets_of(run))] for name, run in runs.items()}
    text = json.dumps(told, indent=1) + "\n"
    if os.environ.get("REWRITE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text)
    written = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    assert told == written, WHAT_TO_DO


def test_the_names_that_the_first_identity_gave_are_known_for_good() -> None:
    for name, run in samples().items():
        assert (first_trial_id(run), *first_asset_keys(run)) == FIRST[name], name


@pytest.mark.parametrize(("augment", "detector", "names"), FIRST_DIRECT, ids=str)
def test_the_first_identity_told_a_square_canvas_from_its_default(
    augment: dict[str, Any], detector: dict[str, Any], names: tuple[str, str]
) -> None:
    recipe = with_parts(
        detector=TINY.model_copy(update=detector),
        init=InitSpec(source="direct"),
        direct=DirectSpec(augment=AugmentSpec(**(SQUARE | augment))),
    )
    run = sample(recipe, asset_seed=9)
    assert (first_trial_id(run), *first_asset_keys(run)) == names


def names_of(run: TrialConfig) -> list[str]:
    return [run.trial_id, *(asset.key for asset in assets_of(run))]


@pytest.mark.parametrize(("settings", "published"), PUBLISHED, ids=str)
def test_a_null_is_hashed_as_the_published_value_that_it_stands_for(
    settings: dict[str, Any], published: dict[str, Any]
) -> None:
    def direct_and_teacher(**changes: Any) -> list[str]:
        detector = TINY.model_copy(update=settings | changes)
        recipe = with_parts(detector=detector, init=InitSpec(source="direct"))
        taught = with_parts(labels=LabelsSpec(kind="continued"))
        student = sample(taught, teacher=sample(with_parts(detector=detector)), asset_seed=8)
        return names_of(sample(recipe, asset_seed=9)) + names_of(student)

    assert direct_and_teacher(**published) == direct_and_teacher()
    told = identity_of(sample(with_parts(detector=TINY.model_copy(update=settings))))
    assert published.items() <= told["recipe"]["detector"].items()


@pytest.mark.parametrize("source", ["random", "upstream", "direct"])
def test_weights_that_are_made_here_have_imagenets_input_by_either_name(source: Any) -> None:
    def named(pixels: InputSpec | None) -> list[str]:
        run = sample(with_parts(init=InitSpec(source=source, input=pixels)), asset_seed=9)
        return names_of(run)

    assert named(None) == named(IMAGENET)
    assert not {*named(None)} & {*named(IMAGENET.model_copy(update={"order": "bgr"}))}


def test_a_student_has_the_input_of_the_teacher_that_it_starts_from() -> None:
    bgr = IMAGENET.model_copy(update={"order": "bgr"})
    teacher = sample(with_parts(init=InitSpec(input=bgr)))
    labels = LabelsSpec(kind="continued")
    silent, stated = (
        sample(with_parts(labels=labels, init=InitSpec(input=pixels)), teacher=teacher)
        for pixels in (None, bgr)
    )
    assert names_of(silent) == names_of(stated)


def test_the_input_of_a_file_is_hashed_as_it_is_stated() -> None:
    def named(pixels: InputSpec | None) -> str:
        init = InitSpec(source="file", weights="w.pth", weights_norm="gn", input=pixels)
        return sample(with_parts(init=init), weights_digest="w").trial_id

    assert named(None) != named(IMAGENET)  # the file may say anything


def paths_of(tree: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for name, value in tree.items():
        found |= paths_of(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return found


def test_an_id_hashes_every_value_of_a_recipe_defaults_written_out() -> None:
    recipe = with_parts(
        init=InitSpec(source="direct"),
        joint=JointSpec(weight=1.0),
        labels=LabelsSpec(kind="self_training"),
    )
    init = InitSpec(source="detector", weights="upstream_detector")
    from_detector = with_parts(init=init, labels=recipe.labels)
    told = identity_of(sample(recipe))
    assert told["identity"] == IDENTITY
    hashed = paths_of(told["recipe"]) | paths_of(identity_of(sample(from_detector))["recipe"])
    assert hashed == set(known_paths()) - {"schedule.lengths", LENGTH_PATH}
    assert told["recipe"]["optimizer"]["momentum"] == 0.9  # the recipe's default
    told["recipe"]["optimizer"]["momentum"] = 0.8
    assert digest_of(told)[:12] != sample(recipe).trial_id


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"data_fingerprint": "e" * 16},
        {"regime_digest": "e" * 16},
        {"data": DataSpec(dataset="shapes", frequency="thirds")},
        {"resources": ResourceSpec(workers=2)},
        {"resources": ResourceSpec(images_per_step=4)},
        {"resources": ResourceSpec(cpus_per_worker=2)},
        {"resources": ResourceSpec(gpus_per_worker=1)},
        {"resources": ResourceSpec(deterministic=True)},
        {"recipe": detecting(candidates=999)},
        {"recipe": with_parts(optimizer=OptimizerSpec(momentum=0.8))},
        {"recipe": with_parts(joint=JointSpec(weight=1.0))},
        {"recipe": with_parts(init=InitSpec(source="upstream"))},
        {"recipe": with_parts(init=InitSpec(source="direct"))},
        {"recipe": with_parts(init=InitSpec(source="detector", weights="d.pt"))},
        {"recipe": with_parts(schedule=ScheduleSpec(unit=61, lengths=(2.0, 4.0), warmup=20))},
        {"asset_seed": 1},
        {"upstream_images": GLYPH_IMAGES},
        {"shuffled_classes_seed": 0},
        {"weights_digest": "w"},
        {"labels_digest": "d"},
        {"recipe": with_parts(optimizer=OptimizerSpec(ema=EmaSpec()))},
        {"teacher": sample()},
    ],
    ids=str,
)
def test_what_determines_the_numbers_is_in_the_id(change: dict[str, Any]) -> None:
    assert sample(**change).trial_id != sample().trial_id


@pytest.mark.parametrize(
    "change",
    [
        {"study": "other", "regime": "small", "arm": "other"},
        {"data": DataSpec(dataset="shapes", root="elsewhere")},
        {"objective": ObjectiveSpec(metric="ap50")},
        {"resources": ResourceSpec(workers=1)},
        {"resources": ResourceSpec(loader_workers=4, retries=0)},
        {"recipe": with_parts(schedule=ScheduleSpec(unit=60, lengths=(9.0,), warmup=20))},
        {"recipe": with_parts(upstream=UpstreamSpec(steps=7))},
        {"recipe": with_parts(joint=JointSpec(batch_size=7))},
        {"recipe": with_parts(labels=LabelsSpec(threshold=0.1))},
        {"upstream_fingerprint": "v", "unlabelled_fingerprint": "v"},
        {"backbone_code": "of a backbone of ours there is none"},
        {"family_code": "nor of a family of ours"},
    ],
    ids=str,
)
def test_what_cannot_matter_is_in_no_id(change: dict[str, Any]) -> None:
    assert sample(**change).trial_id == sample().trial_id


def test_every_field_of_a_run_is_known_to_matter_or_not_to() -> None:
    in_ids = {
        *("recipe", "seed", "data_fingerprint", "regime_digest", "asset_seed", "teacher"),
        *("upstream_fingerprint", "unlabelled_fingerprint", "weights_digest", "weights_file"),
        *("backbone_code", "family_code", "resources", "data", "labels_digest"),
        *("upstream_images", "shuffled_classes_seed"),
    }
    said_otherwise = {"images", "num_categories", "num_images", "draw"}  # by the two digests
    not_numbers = {"study", "regime", "arm", "objective"}
    assert set(TrialConfig.model_fields) == in_ids | said_otherwise | not_numbers
    resources = {
        "workers",
        "images_per_step",
        "cpus_per_worker",
        "gpus_per_worker",
        "deterministic",
    }
    only_how_fast = {"loader_workers", "retries"}
    assert set(ResourceSpec.model_fields) - only_how_fast - resources == set(), (
        "say in trial_config._resources that a new resource matters, or here that it does not"
    )


def test_on_gpus_the_threads_of_a_worker_are_no_part_of_an_id() -> None:
    one, four = (
        sample(
            with_parts(init=InitSpec(source="upstream")),
            resources=ResourceSpec(gpus_per_worker=1, cpus_per_worker=cpus),
        )
        for cpus in (1, 4)
    )
    assert one.trial_id == four.trial_id
    assert [a.key for a in assets_of(one)] == [a.key for a in assets_of(four)]
    shared = sample(resources=ResourceSpec(gpus_per_worker=0.5))
    assert shared.trial_id == samples()["gpu"].trial_id


def test_a_field_added_later_stays_out_of_ids_at_its_neutral_value() -> None:
    younger = {"detector.adapters": 0.0, "resources.deterministic": False}
    plain, adapted = sample(), sample(detecting(adapters=0.25))
    told = identity_of(plain)
    del told["recipe"]["detector"]["adapters"], told["resources"]["deterministic"]
    assert trial_id_of(plain, younger) == digest_of(told)[:12] != plain.trial_id
    assert trial_id_of(adapted, {"detector.adapters": 0.0}) == adapted.trial_id
    student = sample(teacher=plain)
    assert identity_of(student, younger)["teacher"][0] == trial_id_of(plain, younger)


def test_a_neutral_value_is_looked_for_under_the_whole_path() -> None:
    def told(neutral: dict[str, int]) -> dict[str, Any]:
        return written_out({"lr": 1, "inner": {"lr": 1, "name": "x"}}, "direct", neutral)

    assert told({"direct.inner.lr": 1}) == {"lr": 1, "inner": {"name": "x"}}
    assert told({"direct.lr": 1}) == {"inner": {"lr": 1, "name": "x"}}
    assert told({"inner.lr": 1, "lr": 1, "direct.lr": 2, "direct.absent.lr": 1}) == told({})


def test_every_neutral_value_names_a_field_that_there_is() -> None:
    fields = {*known_paths(), *(f"resources.{name}" for name in ResourceSpec.model_fields)}
    assert set(NEUTRAL) <= fields


def test_a_level_of_augmentation_is_the_keys_that_it_stands_for() -> None:
    level = sample(with_parts(augment=AugmentSpec(level="s3")))
    keys = sample(with_parts(augment=AugmentSpec(**AUGMENT_LEVELS["s3"])))
    assert level.trial_id == keys.trial_id


def test_weights_count_by_their_content_wherever_they_lie() -> None:
    def started(path: str, digest: str) -> str:
        init = InitSpec(source="file", weights=path, weights_norm="gn")
        return sample(with_parts(init=init), weights_digest=digest).trial_id

    assert started("a.pth", "1") == started("b.pth", "1") != started("a.pth", "2")
    assert started("a.pth", "") != started("b.pth", "")


def test_imported_labels_count_by_content_and_start_from_init_whatever_labels_say() -> None:
    def names(run: TrialConfig) -> list[str]:
        return [run.trial_id, *(asset.key for asset in assets_of(run))]

    first = importing("a.json", "1")
    assert names(first) == names(importing("b.json", "1"))
    assert names(first) == names(importing("a.json", "1", start="init"))
    for other in (importing("a.json", "2"), importing("a.json", "1", threshold=0.6)):
        assert not set(names(first)) & set(names(other))
    assert importing("a.json", "").trial_id != importing("b.json", "").trial_id


def test_the_rest_of_the_training_images_needs_no_unlabelled_ones() -> None:
    def student(pool: Any, unlabelled: str) -> TrialConfig:
        recipe = with_parts(labels=LabelsSpec(kind="self_training", pool=pool))
        teacher = sample(unlabelled_fingerprint=unlabelled)
        return sample(recipe, teacher=teacher, unlabelled_fingerprint=unlabelled)

    def names(run: TrialConfig) -> list[str]:
        return [run.trial_id, *(asset.key for asset in assets_of(run))]

    assert names(student("rest", "p")) == names(student("rest", "q"))
    assert names(student("unlabelled", "p"))[0] != names(student("unlabelled", "q"))[0]
    assert names(student("unlabelled", "p"))[-1] != names(student("unlabelled", "q"))[-1]


def classifier(**changes: Any) -> ClassifierAsset:
    plain: dict[str, Any] = {
        "detector": DetectorSpec(backbone="tiny"),
        "upstream": UpstreamSpec(),
        "upstream_source": "glyphs",
        "upstream_fingerprint": "u",
        "threads": 1,
    }
    return ClassifierAsset(**(plain | changes))


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"upstream": UpstreamSpec(steps=1801)}, False),
        ({"detector": DetectorSpec(backbone="tiny", norm="bn")}, False),
        ({"upstream_fingerprint": "v"}, False),
        ({"backbone_code": "timm 1.0"}, False),
        ({"threads": 2}, False),
        ({"gpus": 1.0}, False),
        ({"upstream_source": "the same pictures elsewhere"}, True),
    ],
    ids=str,
)
def test_a_classifiers_key_hashes_what_determines_it(change: dict[str, Any], is_same: bool) -> None:
    assert (classifier(**change).key == classifier().key) == is_same


def test_a_backbone_from_elsewhere_enters_by_its_code() -> None:
    old, new = (with_backbone("timm:resnet18", f"timm 1.0.{n}") for n in (9, 10))
    assert old.trial_id != new.trial_id
    assert with_backbone("resnet18", "1").trial_id == with_backbone("resnet18", "2").trial_id
    upstream = with_parts(
        init=InitSpec(source="upstream"), detector=TINY.model_copy(update={"backbone": "a:b"})
    )
    keys = {assets_of(sample(upstream, backbone_code=code))[0].key for code in ("1", "2")}
    assert len(keys) == 2
