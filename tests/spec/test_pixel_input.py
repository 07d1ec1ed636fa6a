"""``init.input`` in a study: its words, its numbers, and the files that must state it."""

import json
from pathlib import Path
from typing import Any

import pytest

from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.check import check_study
from rethink_ray.spec.direct import direct_recipe
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.networks import has_timm_tag
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, CellResolver
from rethink_ray.spec.settings import with_settings
from rethink_ray.spec.study import Study
from rethink_ray.spec.weight_files import OURS, require_known_inputs
from tests.builders import made_up_facts
from tests.golden_words import assert_says

DETECTRON = {"mean": [102.9801, 115.9465, 122.7717], "std": [1, 1, 1], "order": "bgr", "scale": 255}


def study(arm: dict[str, Any], **changes: Any) -> Study:
    tree = {
        "study": "t",
        "data": {"dataset": "shapes"},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "arms": {"scratch": {}, "other": arm},
        **changes,
    }
    parsed = Study.model_validate_json(json.dumps(tree))
    check_study(parsed, "t.yaml")
    return parsed


def from_file(path: Path, **settings: Any) -> dict[str, Any]:
    init = {"source": "file", "weights": str(path), "weights_norm": "gn", **settings}
    return {"set": {"init": init}}


def stated(value: Any) -> InputSpec | None:
    return with_settings(Recipe(), {"init.input": value}, "test").init.input


def test_an_input_is_a_word_or_the_published_numbers() -> None:
    assert stated("imagenet") == IMAGENET
    assert stated(None) is None
    detectron = stated(DETECTRON)
    assert detectron is not None
    assert (detectron.mean[0], detectron.order, detectron.scale) == (102.9801, "bgr", 255)
    assert stated({"mean": [0.5] * 3, "std": [0.5] * 3}) == InputSpec(
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), order="rgb", scale=1
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unknown word for an input", "imagnet"),
        ("mean of 0 to 255 without its scale", {"mean": [103.53, 116.28, 123.675], "std": [1] * 3}),
        ("deviation of zero", {"mean": [0.5] * 3, "std": [0.5, 0.5, 0.0]}),
    ],
)
def test_what_is_no_input_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SpecError) as refused:
        stated(value)
    assert_says("spec", name, str(refused.value))


def test_a_file_that_says_nothing_is_refused_before_the_study_starts(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    silent = study(from_file(path))
    require_known_inputs(silent, "t.yaml")  # it may be ours: no run starts without it

    path.write_bytes(b"PK weights of somebody")
    with pytest.raises(SpecError) as refused:
        require_known_inputs(silent, "t.yaml")
    assert_says("spec", "file that states no input", str(refused.value).replace(str(path), "FILE"))

    require_known_inputs(study(from_file(path, input="imagenet")), "t.yaml")
    path.write_bytes(OURS + b"1 sha256 ...")
    require_known_inputs(silent, "t.yaml")


def test_a_file_that_is_searched_must_say_it_too(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"PK")
    arm = from_file(path) | {"search": {"init.source": {"choice": ["random", "file"]}}}
    with pytest.raises(SpecError, match=r"full/other: init.input must say|init.input: must say"):
        require_known_inputs(study(arm), "t.yaml")


def test_a_tag_of_timm_says_it(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"PK")
    names = {"timm:resnet50_gn.a1h_in1k": True, "timm:resnet50_gn": False}
    for backbone, is_known in names.items():
        assert has_timm_tag(backbone) == is_known
        tagged = study(from_file(path), settings={"detector.backbone": backbone})
        if is_known:
            require_known_inputs(tagged, "t.yaml")
        else:
            with pytest.raises(SpecError, match="timm:<name>.<tag>"):
                require_known_inputs(tagged, "t.yaml")


@pytest.mark.parametrize("name", ["timm:a.b.c", "timm:.in1k", "timm:resnet50.", "a.b:c.d"])
def test_what_is_no_tag_is_no_backbone(name: str) -> None:
    with pytest.raises(SpecError, match="must be a backbone"):
        study({}, settings={"detector.backbone": name})


def test_first_stages_and_classifiers_have_the_input_of_what_starts_from_them() -> None:
    direct = {"init": {"source": "direct", "input": DETECTRON}, "direct.norm": "gn"}
    recipe = with_settings(Recipe(), direct, "test")
    assert direct_recipe(recipe, 100).init.input == recipe.init.input is not None
    facts = made_up_facts({"full": 100})
    keys = set()
    for pixels in (None, "imagenet", DETECTRON):
        arm = {"set": {"init": {"source": "upstream", "input": pixels}}}
        config = CellResolver(study(arm), Cell("full", "other"), facts).resolve({}, 0)
        [classifier] = assets_of(config)
        keys |= {classifier.key, config.trial_id}
    assert len(keys) == 2 * 2  # none stated is imagenet


def test_a_teacher_from_a_file_is_told_its_input() -> None:
    teacher = {"file": "t.pth", "set": {"init.input": DETECTRON}}
    labels = {"kind": "continued"}
    taught = study({"teacher": teacher, "set": {"labels": labels}})
    config = CellResolver(taught, Cell("full", "other"), made_up_facts({"full": 100})).resolve(
        {}, 0
    )
    assert config.teacher is not None
    assert config.teacher.recipe.init.input == InputSpec.model_validate_json(json.dumps(DETECTRON))
    assert config.recipe.init.input is None
