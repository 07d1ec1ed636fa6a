import re
from pathlib import Path

import numpy as np
import pytest
from data_files import spoil_pixels, write_picture

from rethink_ray.data.check import check_pools
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.glyph_figures import GLYPHS
from rethink_ray.data.outlines import SHAPES, Pose, rasterize
from rethink_ray.data.shapes import CLASS_FREQUENCIES
from rethink_ray.data.upstream import count_held_out, open_upstream, upstream_fingerprint
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.recipe import UpstreamSpec
from rethink_ray.spec.regime import DataSpec, ShapesSpec
from tests.golden_words import assert_says

SCENES = ShapesSpec(train=2, val=2, test=2, image_px=32)
SMALL = UpstreamSpec(classes=5, images=60, image_px=24)


def test_glyph_classes_are_disjoint_from_shapes() -> None:
    assert not set(GLYPHS) & set(CLASS_FREQUENCIES)
    assert set(CLASS_FREQUENCIES) == set(SHAPES)
    assert len(GLYPHS) >= UpstreamSpec().classes


def test_no_glyph_is_a_turned_shape_or_a_turned_other_glyph() -> None:
    """Best overlap (intersection over union) of any two figures over 36 angles, both centred."""

    def views(figure: object, angles: int) -> np.ndarray:
        poses = [
            Pose(center_xy=(16, 16), radius_px=13, angle=2 * np.pi * k / angles)
            for k in range(angles)
        ]
        return np.array([rasterize(figure, pose, 32).ravel() > 0.5 for pose in poses], np.float32)

    glyphs = {kind: views(figure, 36) for kind, figure in GLYPHS.items()}
    others = {**{kind: views(figure, 1) for kind, figure in SHAPES.items()}}
    others |= {kind: found[:1] for kind, found in glyphs.items()}
    for kind, turned in glyphs.items():
        for other, upright in others.items():
            if kind != other:
                shared = turned @ upright.T
                union = turned.sum(axis=1)[:, None] + upright.sum(axis=1) - shared
                assert float((shared / union).max()) < 0.9, (kind, other)


def test_glyphs_are_images_labels_and_a_split_by_index(tmp_path: Path) -> None:
    found = open_upstream(DataSpec(dataset="shapes"), SMALL)
    assert found.images.shape == (60, 3, 24, 24)
    assert found.images.dtype == np.uint8
    assert found.num_classes == 5
    assert set(found.labels.tolist()) == set(range(5))
    assert found.train_indices.tolist() == list(range(54))
    assert found.val_indices.tolist() == list(range(54, 60))
    again = open_upstream(DataSpec(dataset="shapes"), SMALL)
    assert np.array_equal(found.images, again.images)
    assert found.fingerprint == again.fingerprint


def test_shuffled_labels_keep_the_pictures_and_the_class_frequencies() -> None:
    data = DataSpec(dataset="shapes")
    true = open_upstream(data, SMALL)
    shuffled = open_upstream(data, SMALL.model_copy(update={"labels": "shuffled"}))
    assert np.array_equal(true.images, shuffled.images)
    assert sorted(true.labels) == sorted(shuffled.labels)
    assert not np.array_equal(true.labels, shuffled.labels)
    assert true.fingerprint != shuffled.fingerprint


def test_more_classes_than_glyphs_are_refused() -> None:
    with pytest.raises(DataError, match=f"at most {len(GLYPHS)}"):
        open_upstream(DataSpec(dataset="shapes"), SMALL.model_copy(update={"classes": 99}))


def test_the_control_shows_the_scenes_own_classes_under_a_name_of_its_own() -> None:
    data = DataSpec(dataset="shapes")
    six = UpstreamSpec(classes=6, images=40, image_px=24, figures="shapes")
    same, other = (
        open_upstream(data, six),
        open_upstream(data, six.model_copy(update={"figures": "glyphs"})),
    )
    assert set(same.class_names) == set(CLASS_FREQUENCIES)
    assert same.fingerprint != other.fingerprint
    assert np.array_equal(same.labels, other.labels)  # one draw of labels, another picture each
    assert not np.array_equal(same.images, other.images)
    with pytest.raises(DataError, match="at most 6, the number of shapes"):
        open_upstream(data, six.model_copy(update={"classes": 7}))


def test_a_folder_decides_itself_what_it_shows(folder: Path) -> None:
    data = DataSpec(dataset="shapes", upstream=str(folder))
    with pytest.raises(DataError, match="upstream.figures: must be left out"):
        open_upstream(data, UpstreamSpec(classes=2, figures="shapes"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(10):
        write_picture(tmp_path / "set" / "ants" / f"{number}.png", 30, 20, value=number)
        write_picture(tmp_path / "set" / "bees" / f"{number}.png", 20, 30, value=100 + number)
    return tmp_path / "set"


def test_a_folder_per_class_is_an_upstream_set(folder: Path) -> None:
    data = DataSpec(dataset="shapes", upstream=str(folder))
    found = open_upstream(data, UpstreamSpec(classes=2, images=6000, image_px=16))
    assert found.class_names == ("ants", "bees")
    assert found.images.shape == (20, 3, 16, 16)
    bright = found.images[:, :, :, -1].max(axis=(1, 2)) >= 100
    assert np.array_equal(bright.astype(np.int64), found.labels)
    fewer = open_upstream(data, UpstreamSpec(classes=2, images=8, image_px=16))
    assert len(fewer.labels) == 8


def test_a_folder_must_have_the_classes_the_recipe_says(folder: Path) -> None:
    data = DataSpec(dataset="shapes", upstream=str(folder))
    with pytest.raises(DataError, match=r"Set upstream\.classes: 2"):
        open_upstream(data, UpstreamSpec(classes=20))
    with pytest.raises(DataError, match="sub-folder of images per class"):
        open_upstream(DataSpec(dataset="shapes", upstream=str(folder / "ants")), UpstreamSpec())


def test_the_facts_of_a_study_need_as_many_class_folders_as_its_recipes_say(folder: Path) -> None:
    data = DataSpec(dataset="shapes", shapes=SCENES, upstream=str(folder))
    gather_facts(data, {}, upstream_classes=(2,))
    with pytest.raises(DataError) as refused:
        gather_facts(data, {}, upstream_classes=(2, 20))
    at_run = pytest.raises(DataError, match=re.escape(str(refused.value)))
    with at_run:
        open_upstream(data, UpstreamSpec(classes=20))
    gather_facts(DataSpec(dataset="shapes", shapes=SCENES), {}, upstream_classes=(20,))


def test_the_fingerprint_follows_the_files(folder: Path) -> None:
    data = DataSpec(dataset="shapes", upstream=str(folder))
    before = upstream_fingerprint(data)
    assert before == upstream_fingerprint(data)
    write_picture(folder / "ants" / "new.png")
    assert upstream_fingerprint(data) != before
    before = upstream_fingerprint(data)
    content = (folder / "bees" / "0.png").read_bytes()
    (folder / "bees" / "0.png").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert upstream_fingerprint(data) != before  # of the same size
    assert upstream_fingerprint(DataSpec(dataset="shapes")) not in (before, "")


def test_pictures_of_a_folder_are_cropped_and_drawn_figures_are_not(folder: Path) -> None:
    spec = UpstreamSpec(classes=2, images=20, image_px=16)
    real = open_upstream(DataSpec(dataset="shapes", upstream=str(folder)), spec)
    drawn = open_upstream(DataSpec(dataset="shapes"), SMALL)
    assert real.crop_of(spec) == (0.08, 1.0)
    assert drawn.crop_of(SMALL) is None
    half = SMALL.model_copy(update={"crop": (0.5, 1.0)})
    assert drawn.crop_of(half) == real.crop_of(half) == (0.5, 1.0)


def test_a_tenth_is_held_out_and_of_imagenet_ten_thousand() -> None:
    counts = [count_held_out(num_images) for num_images in (5, 60, 6000, 1_281_167)]
    assert counts == [1, 6, 600, 10_000]


def test_a_hidden_folder_or_one_without_a_picture_is_no_class(folder: Path) -> None:
    data = DataSpec(dataset="shapes", upstream=str(folder))
    before = upstream_fingerprint(data)
    write_picture(folder / ".ipynb_checkpoints" / "0.png")
    (folder / "notes").mkdir()
    (folder / "notes" / "read.txt").write_text("no picture")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._0.png").write_bytes(b"a hidden note of macOS")
    (folder / "ants" / "._0.png").write_bytes(b"a hidden note of macOS")
    assert upstream_fingerprint(data) == before
    opened = open_upstream(data, UpstreamSpec(classes=2, image_px=16))
    assert opened.class_names == ("ants", "bees")
    assert len(opened.labels) == 20


def test_damaged_pictures_of_an_upstream_folder_are_refused_by_name(folder: Path) -> None:
    data = DataSpec(dataset="shapes", upstream=str(folder))
    gather_facts(data.model_copy(update={"shapes": SCENES}), {})
    spoil_pixels(folder / "ants" / "3.png")
    (folder / "bees" / "4.png").write_bytes((folder / "bees" / "4.png").read_bytes()[:-30])
    (folder / "bees" / "broken.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"3 that cannot: \S*ants/3\.png") as refused:
        open_upstream(data, UpstreamSpec(classes=2, image_px=16))
    message = str(refused.value).replace(str(folder), "FOLDER")
    assert_says("data", "damaged pictures upstream", message)
    with pytest.raises(DataError, match="3 that cannot"):
        gather_facts(data.model_copy(update={"shapes": SCENES}), {})
    [finding] = check_pools(data)["upstream"]
    assert (finding.kind, finding.count) == ("unreadable_image", 3)
    assert finding.examples[0] == "ants/3.png"
