"""Classification images for upstream classifiers: the built-in glyphs, or a folder per class."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.cache import build_once
from rethink_ray.data.chance import generator_from
from rethink_ray.data.glyphs import IMAGES_FILE, LABELS_FILE, make_glyphs, select_figures
from rethink_ray.data.inspection import InspectedPicture, inspect_pictures, name_files
from rethink_ray.data.levels import LevelRanges, choose_ranges
from rethink_ray.data.pictures import open_rgb
from rethink_ray.data.shapes import GENERATOR_VERSION
from rethink_ray.data.sources.raw import is_hidden
from rethink_ray.data.sources.values import show_path
from rethink_ray.data.sources.voc import IMAGE_SUFFIXES
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts
from rethink_ray.spec.recipe import UpstreamSpec
from rethink_ray.spec.regime import DataSpec

BUILT_IN = "glyphs"
PIXELS_VERSION = 3
"""Version of the decoding of folders. 3: no hidden files; one scale for each kind of picture."""
VAL_SHARE = 10
"""The last tenth of the images is held out and measures accuracy."""
MOST_HELD_OUT = 10_000
"""Or this many: they measure a share to 0.5 percent, and a tenth of ImageNet would be missed."""
FOLDER_CROP = (0.08, 1.0)
"""Area of random crops of pictures in a folder. Source: torchvision,
references/classification/presets.py, whose default it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationSet:
    """N images with one label each, divided into training and validation images."""

    images: NDArray[np.uint8]
    """[N, 3, S, S], memory-mapped, read-only."""
    labels: NDArray[np.int64]
    """[N], from 0."""
    class_names: tuple[str, ...]
    fingerprint: str
    is_built_in: bool
    """Whether this program drew the images: a crop would cut off their figures."""
    train_indices: NDArray[np.int64]
    val_indices: NDArray[np.int64]

    @property
    def num_classes(self) -> int:
        """Number of classes; chance accuracy is one over this."""
        return len(self.class_names)

    def crop_of(self, spec: UpstreamSpec) -> tuple[float, float] | None:
        """Range of the area of random crops; ``None`` for images that are only shifted."""
        return spec.crop or (None if self.is_built_in else FOLDER_CROP)


def open_upstream(data: DataSpec, spec: UpstreamSpec) -> ClassificationSet:
    """Returns the upstream set; draws or decodes it on first use.

    ``spec.labels: shuffled`` permutes the labels among all images: a control with the same pictures
    and class frequencies in which labels mean nothing.

    Raises:
        DataError: the folder does not have the classes or images that ``spec`` states.
    """
    settings = spec.model_dump(include={"classes", "images", "image_px", "seed"})
    if spec.figures != "glyphs":  # the default is left out, so that older caches keep their name
        settings["figures"] = spec.figures
    print_of = digest_of_parts(
        "upstream", upstream_fingerprint(data), json.dumps(settings, sort_keys=True)
    )
    directory = cache_folder() / "upstream" / print_of[:24]
    if data.upstream == BUILT_IN:
        make_glyphs(spec, directory)
        names = tuple(select_figures(spec))[: spec.classes]
    elif spec.figures != "glyphs":
        must = "must be left out where data.upstream names a folder"
        raise DataError(explain("upstream.figures", must, spec.figures))
    else:
        names = _name_classes(Path(data.upstream), spec.classes)
        build_once(directory, partial(_decode_folder, data, names, spec))
    is_built_in = data.upstream == BUILT_IN
    return _load_set(directory, names, spec, print_of, is_built_in=is_built_in)


def upstream_fingerprint(data: DataSpec) -> str:
    """Returns the fingerprint of ``data.upstream`` without drawing it.

    A folder's fingerprint covers names and contents of its files and the version of the decoding.
    """
    if data.upstream == BUILT_IN:
        return digest_of_parts(BUILT_IN, GENERATOR_VERSION)[:16]
    root = Path(data.upstream)
    contents = {path: seen.content.digest or b"" for path, seen in inspect_upstream(data).items()}
    parts = (
        f"{show_path(path.relative_to(root))} {digest.hex()}" for path, digest in contents.items()
    )
    return digest_of_parts(PIXELS_VERSION, *parts)[:16]


def upstream_files(data: DataSpec) -> list[Path]:
    """Returns the picture files of ``data.upstream``; none for the built-in set."""
    if data.upstream == BUILT_IN:
        return []
    return [
        path for folder in _list_class_folders(Path(data.upstream)) for path in _list_images(folder)
    ]


def count_held_out(num_images: int) -> int:
    """Returns how many of so many images measure accuracy; the others are learned from."""
    return min(max(num_images // VAL_SHARE, 1), MOST_HELD_OUT)


def require_upstream_classes(data: DataSpec, num_classes: int) -> None:
    """Refuses a folder under ``data.upstream`` that has another number of classes.

    Raises:
        DataError: names the number of class folders.
    """
    if data.upstream != BUILT_IN:
        _name_classes(Path(data.upstream), num_classes)


def require_upstream_pictures(data: DataSpec) -> None:
    """Refuses a folder under ``data.upstream`` with pictures that cannot be decoded.

    Each picture is decoded once; what was seen is stored in the cache.

    Raises:
        DataError: names the first three of them and counts all.
    """
    damaged = [
        path for path, seen in inspect_upstream(data).items() if isinstance(seen.header, str)
    ]
    if damaged:
        must = "must hold pictures that can be decoded"
        shown = f"{len(damaged)} that cannot: {name_files(damaged)}"
        remedy = "Replace them or take them out of the folder."
        raise DataError(explain(f"data.upstream {data.upstream}", must, shown, remedy))


def inspect_upstream(data: DataSpec) -> dict[Path, InspectedPicture]:
    """Returns what is known of each picture of ``data.upstream``; none for the built-in set."""
    files = upstream_files(data)
    if not files:
        return {}
    folder = str(Path(data.upstream).absolute())
    return dict(zip(files, inspect_pictures(folder, files), strict=True))


def _load_set(
    directory: Path,
    names: tuple[str, ...],
    spec: UpstreamSpec,
    fingerprint: str,
    *,
    is_built_in: bool,
) -> ClassificationSet:
    images = np.load(directory / IMAGES_FILE, mmap_mode="r")
    labels = np.load(directory / LABELS_FILE)
    if spec.labels == "shuffled":
        labels = generator_from("shuffled labels", spec.seed).permutation(labels)
    num_train = len(labels) - count_held_out(len(labels))
    if num_train < 1:
        must = "must leave at least one image to train on and one to measure on"
        raise DataError(explain("upstream.images", must, len(labels), "Ask for more images."))
    return ClassificationSet(
        images=images,
        labels=labels,
        class_names=names,
        fingerprint=digest_of_parts(fingerprint, spec.labels)[:16],
        is_built_in=is_built_in,
        train_indices=np.arange(num_train),
        val_indices=np.arange(num_train, len(labels)),
    )


def _name_classes(root: Path, num_classes: int) -> tuple[str, ...]:
    names = tuple(folder.name for folder in _list_class_folders(root))
    if len(names) != num_classes:
        must = f"must be the number of class folders in {root} ({len(names)})"
        remedy = f"Set upstream.classes: {len(names)}."
        raise DataError(explain("upstream.classes", must, num_classes, remedy))
    return names


def _list_class_folders(root: Path) -> list[Path]:
    """Returns the sub-folders that are classes: those that hold a picture and are not hidden."""
    inside = sorted(root.iterdir()) if root.is_dir() else []
    folders = [
        path
        for path in inside
        if path.is_dir() and not is_hidden(path.name) and any(_yield_images(path))
    ]
    if len(folders) < 2:
        must = f"must be '{BUILT_IN}' or a folder with one sub-folder of images per class"
        raise DataError(explain("data.upstream", must, str(root), "Check the path."))
    return folders


def _list_images(folder: Path) -> list[Path]:
    return sorted(_yield_images(folder))


def _yield_images(folder: Path) -> Iterator[Path]:
    """Yields the images of a folder, without the hidden files that macOS puts beside them."""
    for path in folder.iterdir():
        if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path.name):
            yield path


def _decode_folder(
    data: DataSpec, names: tuple[str, ...], spec: UpstreamSpec, directory: Path
) -> None:
    """Decodes and stores at most ``spec.images`` images, chosen by hash."""
    require_upstream_pictures(data)
    root, ranges = Path(data.upstream), _choose_ranges(data)
    files = [
        (path, label) for label, name in enumerate(names) for path in _list_images(root / name)
    ]
    files.sort(
        key=lambda file: digest_of_parts("upstream image", spec.seed, names[file[1]], file[0].name)
    )
    chosen = files[: spec.images]
    if len(chosen) < 2:
        must = "must hold at least two images"
        raise DataError(explain(str(root), must, len(chosen), "Check data.upstream."))
    shape = (len(chosen), 3, spec.image_px, spec.image_px)
    images = np.lib.format.open_memmap(
        directory / IMAGES_FILE, mode="w+", dtype=np.uint8, shape=shape
    )  # one at a time: ImageNet at 224 px is 193 GB
    for number, (path, _) in enumerate(chosen):
        images[number] = _crop_square(path, spec.image_px, ranges)
    images.flush()
    np.save(directory / LABELS_FILE, np.array([label for _, label in chosen], np.int64))


def _choose_ranges(data: DataSpec) -> LevelRanges:
    """Returns the levels of black and white for the deep pictures of the folder."""
    deep = (
        (seen.header.kind, seen.facts.levels)
        for seen in inspect_upstream(data).values()
        if not isinstance(seen.header, str) and seen.facts.levels is not None
    )
    return choose_ranges(deep, {})


def _crop_square(path: Path, px: int, ranges: LevelRanges) -> NDArray[np.uint8]:
    """Returns the centre square of a picture (turned by EXIF), resized to [3, px, px] uint8."""
    import torch  # imported here: the fingerprint needs no torch

    from rethink_ray.data.resizing import resize_picture

    picture = open_rgb(path, ranges=ranges)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    middle = np.array(picture.crop((left, top, left + side, top + side)))
    pixels = torch.from_numpy(middle).permute(2, 0, 1).float() / 255.0
    levels: NDArray[np.uint8] = (resize_picture(pixels, px, px) * 255.0).round().byte().numpy()
    return levels
