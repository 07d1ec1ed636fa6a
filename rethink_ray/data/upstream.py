"""Classification images for upstream classifiers: the built-in glyphs, or a folder per class."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.cache import build_once
from rethink_ray.data.chance import generator_from
from rethink_ray.data.glyphs import IMAGES_FILE, LABELS_FILE, figures_of, make_glyphs
from rethink_ray.data.pictures import open_rgb, picture_size
from rethink_ray.data.shapes import GENERATOR_VERSION
from rethink_ray.data.sources.voc import IMAGE_SUFFIXES
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts
from rethink_ray.spec.recipe import UpstreamSpec
from rethink_ray.spec.regime import DataSpec

BUILT_IN = "glyphs"
PIXELS_VERSION = 2
"""Of how a folder's pictures become pixels. 2: turned as EXIF says, resized as detectors do."""
VAL_SHARE = 10
"""One image in so many, at the end, is for validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationSet:
    """Images with one label each. Length N throughout."""

    images: NDArray[np.uint8]
    """[N, 3, S, S], memory-mapped, read-only."""
    labels: NDArray[np.int64]
    """[N], from 0."""
    class_names: tuple[str, ...]
    fingerprint: str
    train_indices: NDArray[np.int64]
    val_indices: NDArray[np.int64]

    @property
    def num_classes(self) -> int:
        """How many labels there are; chance is one over this."""
        return len(self.class_names)


def open_upstream(data: DataSpec, spec: UpstreamSpec) -> ClassificationSet:
    """The upstream set, made or decoded on first use.

    ``spec.labels: shuffled`` permutes the labels of all images among them: the control that
    keeps every picture and every class frequency and takes the meaning.
    """
    settings = spec.model_dump(include={"classes", "images", "image_px", "seed"})
    if spec.figures != "glyphs":  # the set as it was before there was a choice keeps its name
        settings["figures"] = spec.figures
    print_of = digest_of_parts(
        "upstream", upstream_fingerprint(data), json.dumps(settings, sort_keys=True)
    )
    directory = cache_folder() / "upstream" / print_of[:24]
    if data.upstream == BUILT_IN:
        make_glyphs(spec, directory)
        names = tuple(figures_of(spec))[: spec.classes]
    elif spec.figures != "glyphs":
        must = "must be left out where data.upstream names a folder"
        raise DataError(explain("upstream.figures", must, spec.figures))
    else:
        names = _class_names(Path(data.upstream), spec)
        build_once(directory, partial(_decode_folder, Path(data.upstream), names, spec))
    return _open(directory, names, spec, print_of)


def upstream_fingerprint(data: DataSpec) -> str:
    """What ``data.upstream`` holds, without making or decoding it: a folder's names and sizes.

    And how its pictures become pixels: pixels decoded another way lie under another name.
    """
    if data.upstream == BUILT_IN:
        return digest_of_parts(BUILT_IN, GENERATOR_VERSION)[:16]
    root = Path(data.upstream)
    files = [path for folder in _class_folders(root) for path in _images_in(folder)]
    name_and_size = (f"{path.relative_to(root)} {path.stat().st_size}" for path in files)
    return digest_of_parts(PIXELS_VERSION, *name_and_size)[:16]


def upstream_files(data: DataSpec) -> list[Path]:
    """The pictures of ``data.upstream``; none where they are drawn here."""
    if data.upstream == BUILT_IN:
        return []
    return [path for folder in _class_folders(Path(data.upstream)) for path in _images_in(folder)]


def _open(
    directory: Path, names: tuple[str, ...], spec: UpstreamSpec, fingerprint: str
) -> ClassificationSet:
    images = np.load(directory / IMAGES_FILE, mmap_mode="r")
    labels = np.load(directory / LABELS_FILE)
    if spec.labels == "shuffled":
        labels = generator_from("shuffled labels", spec.seed).permutation(labels)
    num_train = len(labels) - max(len(labels) // VAL_SHARE, 1)
    if num_train < 1:
        must = "must leave at least one image to train on and one to measure on"
        raise DataError(explain("upstream.images", must, len(labels), "Ask for more images."))
    return ClassificationSet(
        images=images,
        labels=labels,
        class_names=names,
        fingerprint=digest_of_parts(fingerprint, spec.labels)[:16],
        train_indices=np.arange(num_train),
        val_indices=np.arange(num_train, len(labels)),
    )


def _class_names(root: Path, spec: UpstreamSpec) -> tuple[str, ...]:
    names = tuple(folder.name for folder in _class_folders(root))
    if len(names) != spec.classes:
        must = f"must be the number of class folders in {root} ({len(names)})"
        remedy = f"Set upstream.classes: {len(names)}."
        raise DataError(explain("upstream.classes", must, spec.classes, remedy))
    return names


def _class_folders(root: Path) -> list[Path]:
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if len(folders) < 2:
        must = f"must be '{BUILT_IN}' or a folder with one sub-folder of images per class"
        raise DataError(explain("data.upstream", must, str(root), "Check the path."))
    return folders


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def _decode_folder(root: Path, names: tuple[str, ...], spec: UpstreamSpec, directory: Path) -> None:
    """Stores at most ``spec.images`` images, drawn by hash, as the training code wants them."""
    files = [(path, label) for label, name in enumerate(names) for path in _images_in(root / name)]
    files.sort(
        key=lambda file: digest_of_parts("upstream image", spec.seed, names[file[1]], file[0].name)
    )
    readable = [file for file in files if not isinstance(picture_size(file[0]), str)]
    chosen = readable[: spec.images]
    if len(chosen) < 2:
        must = "must hold at least two images that can be read"
        raise DataError(explain(str(root), must, len(chosen), "Check data.upstream."))
    shape = (len(chosen), 3, spec.image_px, spec.image_px)
    images = np.lib.format.open_memmap(
        directory / IMAGES_FILE, mode="w+", dtype=np.uint8, shape=shape
    )  # one at a time: ImageNet at 224 px is 193 GB
    for number, (path, _) in enumerate(chosen):
        images[number] = _square(path, spec.image_px)
    images.flush()
    np.save(directory / LABELS_FILE, np.array([label for _, label in chosen], np.int64))


def _square(path: Path, px: int) -> NDArray[np.uint8]:
    """[3, px, px]: the middle of the picture as shown, its short side resized to ``px``."""
    import torch  # imported here: the fingerprint needs no torch

    from rethink_ray.data.resizing import resize_image

    picture = open_rgb(path)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    middle = np.array(picture.crop((left, top, left + side, top + side)))
    pixels = torch.from_numpy(middle).permute(2, 0, 1).float() / 255.0
    levels: NDArray[np.uint8] = (resize_image(pixels, px, px) * 255.0).round().byte().numpy()
    return levels
