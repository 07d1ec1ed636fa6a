import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rethink_ray.data.chance import generator_from
from rethink_ray.data.check import check_split
from rethink_ray.data.shapes import (
    CLASS_FREQUENCIES,
    MAX_OBJECTS,
    MIN_VISIBLE,
    class_frequencies,
    draw_scene,
    make_shapes,
    shapes_folder,
    shapes_salt,
)
from rethink_ray.data.sources.coco import CocoSource
from rethink_ray.data.splits import open_split
from rethink_ray.spec.regime import DataSpec, ShapesSpec


def test_no_image_is_shared_between_splits(shapes: DataSpec) -> None:
    folder = shapes_folder(shapes.shapes, shapes.root)
    pixels = [
        hashlib.sha256(np.asarray(Image.open(path)).tobytes()).hexdigest()
        for path in folder.glob("*/*.png")
    ]
    assert len(pixels) == 48 + 12 + 12 + 4
    assert len(set(pixels)) == len(pixels)


def test_image_ids_are_unique_over_the_splits(shapes: DataSpec) -> None:
    found = [set(open_split(shapes, split).image_ids) for split in ("train", "val", "test")]
    assert len(set.union(*found)) == 48 + 12 + 12


def test_the_data_set_passes_its_own_check(shapes: DataSpec) -> None:
    for split in ("train", "val", "test"):
        assert check_split(shapes, split) == []


def test_drawing_twice_gives_the_same_files(tmp_path: Path) -> None:
    spec = ShapesSpec(train=3, val=1, test=1, image_px=48)
    for name in ("a", "b"):
        make_shapes(spec, tmp_path / name)
    names = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")]
    assert len(names) == 5 + 3
    assert all(
        (tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names
    )


def test_an_image_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    for count in (2, 3):
        make_shapes(ShapesSpec(train=count, val=1, test=1, image_px=48), tmp_path / str(count))
    two, three = (tmp_path / str(count) / "train" / "000002.png" for count in (2, 3))
    assert two.read_bytes() == three.read_bytes()


def test_another_seed_is_another_data_set(tmp_path: Path) -> None:
    specs = [ShapesSpec(train=2, val=1, test=1, image_px=48, seed=seed) for seed in (0, 1)]
    found = [
        open_split(DataSpec(dataset="shapes", shapes=spec, root=str(tmp_path)), "train").fingerprint
        for spec in specs
    ]
    assert found[0] != found[1]


def test_boxes_masks_and_keypoints_show_what_is_visible() -> None:
    for number in range(20):
        _, placed = draw_scene(generator_from("test", number), 64)
        assert 1 <= len(placed) <= MAX_OBJECTS
        for position, found in enumerate(placed):
            later = [other.whole for other in placed[position + 1 :]]
            hidden = np.logical_or.reduce(later) if later else np.zeros_like(found.whole)
            assert np.array_equal(found.visible, found.whole & ~hidden)
            assert found.visible.sum() >= MIN_VISIBLE * found.whole.sum()


def test_annotations_fit_their_masks(shapes: DataSpec) -> None:
    folder = shapes_folder(shapes.shapes, shapes.root)
    told = json.loads((folder / "annotations" / "instances_test.json").read_text())
    for row in told["annotations"]:
        x, y, width, height = row["bbox"]
        assert 0 < row["area"] <= width * height
        assert len(row["keypoints"]) == 15
        if isinstance(row["segmentation"], list):
            corners = np.array(row["segmentation"][0]).reshape(-1, 2)
            assert corners.min(axis=0).tolist() == [x, y]
            assert corners.max(axis=0).tolist() == [x + width, y + height]


def test_the_kinds_are_unequally_frequent() -> None:
    assert len(CLASS_FREQUENCIES) >= 6
    assert sum(CLASS_FREQUENCIES.values()) == pytest.approx(1.0)
    rng = generator_from("frequencies")
    kinds = [found.kind for _ in range(150) for found in draw_scene(rng, 32)[1]]
    counts = {kind: kinds.count(kind) / len(kinds) for kind in CLASS_FREQUENCIES}
    assert counts["circle"] > counts["square"] > counts["star"] > counts["ring"] > 0


def test_color_does_not_tell_the_kind() -> None:
    """The mean colours of circles and squares differ by less than their spread allows."""
    rng = generator_from("colors")
    colors: dict[str, list[np.ndarray]] = {kind: [] for kind in CLASS_FREQUENCIES}
    for _ in range(120):
        pixels, placed = draw_scene(rng, 32)
        for found in placed:
            colors[found.kind].append(pixels[found.visible].mean(axis=0))
    circles, squares = np.array(colors["circle"]), np.array(colors["square"])
    spread = np.sqrt(circles.var(axis=0) / len(circles) + squares.var(axis=0) / len(squares))
    assert (np.abs(circles.mean(axis=0) - squares.mean(axis=0)) < 4 * spread).all()


def test_the_files_are_plain_coco(shapes: DataSpec) -> None:
    folder = shapes_folder(shapes.shapes, shapes.root)
    source = CocoSource(
        annotations=folder / "annotations" / "instances_val.json", images=folder / "val"
    )
    raw = source.read()
    assert raw.categories == tuple(CLASS_FREQUENCIES)
    assert len(raw.images) == 12
    assert raw.problems == ()


def test_scenes_of_glyphs_show_twelve_equally_frequent_classes_that_are_no_shapes() -> None:
    glyphs = ShapesSpec(figures="glyphs")
    frequencies = class_frequencies(glyphs)
    assert list(frequencies)[:3] == ["arrow", "heart", "crescent"]
    assert list(frequencies.values()) == [1 / 12] * 12
    assert not set(frequencies) & set(CLASS_FREQUENCIES)
    _, placed = draw_scene(generator_from("glyphs", 1), 64, frequencies)
    assert {one.kind for one in placed} <= set(frequencies)


def test_the_figures_are_part_of_a_data_sets_name_only_if_they_are_no_shapes() -> None:
    assert "figures" not in shapes_salt(ShapesSpec())
    assert '"figures":"glyphs"' in shapes_salt(ShapesSpec(figures="glyphs"))
