from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rethink_ray.data.splits import open_split, refresh_split
from rethink_ray.detection.reference_scoring import largest_difference
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec, SplitSpec
from rethink_ray.training.inputs import open_trial_data
from rethink_ray.training.predict import predict_images
from rethink_ray.training.run import (
    evaluate_by_both_scorers,
    evaluate_checkpoint,
    train_config,
)
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.golden_words import assert_says

SMALL_HEAD = {"convs": 1, "channels": 8}


def picture(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        return opened.convert("RGB")


def enlarged(image: Image.Image, factor: int) -> Image.Image:
    size = (image.width * factor, image.height * factor)
    return image.resize(size, Image.Resampling.NEAREST)


def test_a_run_builds_its_assets_and_its_model_scores_the_same_later(tmp_path: Path) -> None:
    shuffled = {"init__source": "upstream", "upstream__labels": "shuffled"}  # never refused
    recipe = micro_recipe(**shuffled, schedule__lengths=[2.0, 3.0])
    rungs = train_config(micro_trial(recipe), tmp_path)
    assert [r.length for r in rungs] == [2.0, 3.0]
    scores = evaluate_checkpoint(tmp_path, "test")
    assert len(scores) == 12
    assert {k: repr(v) for k, v in scores.items()} == {
        k: repr(v) for k, v in rungs[-1].metrics.items() if k.startswith("test/")
    }


@pytest.mark.parametrize("family", ["mask_rcnn", "keypoint_rcnn"])
def test_masks_and_keypoints_of_a_run_score_the_same_by_pycocotools(
    tmp_path: Path, family: str
) -> None:
    heads = ("mask_head", "keypoint_head")
    small = {f"detector__{head}_{part}": n for head in heads for part, n in SMALL_HEAD.items()}
    recipe = micro_recipe(detector__family=family, detector__num_keypoints=5, **small)
    train_config(micro_trial(recipe), tmp_path, lengths=[2.0])
    metrics, reference = evaluate_by_both_scorers(tmp_path, "test")
    assert len(metrics) > 12
    assert metrics.keys() == reference.keys()
    assert largest_difference(metrics, reference) == 0.0


def test_predict_draws_small_images_enlarged_by_whole_pixels(tmp_path: Path) -> None:
    train_config(micro_trial(micro_recipe(schedule__lengths=[2.0])), tmp_path / "run")
    index = open_split(MICRO_DATA, "test")
    given = [Path(index.entry(int(i)).path) for i in index.image_ids[:2]]
    wide = tmp_path / "wide.png"
    picture(given[0]).resize((90, 50)).save(wide)
    pictures = predict_images(
        tmp_path / "run", [*given, wide], tmp_path / "out", score=0.0
    ).pictures
    drawn = [*pictures]
    assert all(num_boxes > 0 for num_boxes in pictures.values())
    assert [p.name for p in drawn] == [*(f"{p.stem}.png" for p in given), "wide.png"]
    assert [picture(p).size for p in drawn] == [(448, 448), (448, 448), (450, 250)]
    assert picture(drawn[2]).tobytes() != enlarged(picture(wide), 5).tobytes()
    clean = predict_images(tmp_path / "run", [wide], tmp_path / "out", score=1.0).pictures
    assert [*clean.values()] == [0]
    assert picture(next(iter(clean))).tobytes() == enlarged(picture(wide), 5).tobytes()


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    train_config(micro_trial(micro_recipe(schedule__lengths=[2.0])), tmp_path / "run")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        predict_images(tmp_path / "run", [broken], tmp_path / "out")
    Image.new("RGB", (64, 64)).save(broken)
    whole = broken.read_bytes()
    broken.write_bytes(whole.replace(b"IDAT", b"IDAT\xff"))  # Pillow raises SyntaxError
    with pytest.raises(DataError, match=r"broken\.png"):
        predict_images(tmp_path / "run", [broken], tmp_path / "out")


def test_damaged_pictures_are_named_together_before_one_is_drawn(tmp_path: Path) -> None:
    train_config(micro_trial(micro_recipe(schedule__lengths=[2.0])), tmp_path / "run")
    given = [tmp_path / f"{name}.png" for name in "abc"]
    for path in given:
        Image.effect_noise((64, 64), 60).save(path)
    for path in given[1:]:
        path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"2 of 3 that cannot: \S*b\.png, \S*c\.png") as refused:
        predict_images(tmp_path / "run", given, tmp_path / "out")
    message = str(refused.value).replace(str(tmp_path), "FOLDER")
    assert_says("training", "damaged pictures to predict", message)
    assert not (tmp_path / "out").exists()


def scaled_floats(folder: Path) -> DataSpec:
    """The micro scenes as gray TIFFs of floats in 0..255, half as bright in train."""
    places = {}
    for split in ("train", "val", "test"):
        index = open_split(MICRO_DATA, split)
        for image_id in index.image_ids:
            path = Path(index.entry(int(image_id)).path)
            levels = np.asarray(picture(path).convert("L"), np.float32)
            target = folder / split / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(levels).save(target, format="TIFF")
        annotations = path.parent.parent / "annotations" / f"instances_{split}.json"
        places[split] = SplitSpec(images=str(folder / split), annotations=str(annotations))
    return DataSpec(dataset=places)


def test_a_model_of_deep_pictures_reads_new_ones_as_it_was_trained(tmp_path: Path) -> None:
    """A picture whose own levels end at 1 is dark, not white, for a model trained on 0..255."""
    data = scaled_floats(tmp_path)
    train_config(micro_trial(micro_recipe(schedule__lengths=[2.0]), data=data), tmp_path / "run")
    dark = tmp_path / "dark.tif"
    Image.fromarray(np.ones((64, 64), np.float32)).save(dark)
    [drawn] = predict_images(tmp_path / "run", [dark], tmp_path / "out", score=1.0).pictures
    assert picture(drawn).getextrema() == ((1, 1),) * 3


def test_a_trial_refuses_pictures_that_were_replaced_since_it_was_resolved(tmp_path: Path) -> None:
    config = micro_trial(data=scaled_floats(tmp_path))
    open_trial_data(config)
    replaced = next((tmp_path / "test").iterdir())
    Image.fromarray(np.full((64, 64), 9.0, np.float32)).save(replaced, format="TIFF")
    refresh_split(config.data, "test")
    anew = micro_trial(data=config.data)
    assert anew.data_fingerprint != config.data_fingerprint
    open_trial_data(anew)
    with pytest.raises(DataError, match=f"must have the fingerprint {config.data_fingerprint}"):
        open_trial_data(config)


def test_predict_draws_a_turned_picture_upright(tmp_path: Path) -> None:
    train_config(micro_trial(micro_recipe(schedule__lengths=[2.0])), tmp_path / "run")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    stored = Image.new("RGB", (50, 90), (90, 90, 90))
    stored.paste((250, 10, 10), (0, 65, 25, 90))  # bottom left, which is shown at the top left
    stored.save(tmp_path / "a.png", exif=exif)
    [drawn] = predict_images(
        tmp_path / "run", [tmp_path / "a.png"], tmp_path / "out", score=1.0
    ).pictures
    shown = picture(drawn)
    assert shown.size == (5 * 90, 5 * 50)
    assert [shown.getpixel(at)[0] for at in [(25, 25), (425, 25), (25, 225)]] == [250, 90, 90]


def test_a_changed_data_set_is_refused(tmp_path: Path) -> None:
    config = micro_trial().model_copy(update={"data_fingerprint": "0" * 16})
    with pytest.raises(DataError, match="fingerprint 0000"):
        train_config(config, tmp_path)
