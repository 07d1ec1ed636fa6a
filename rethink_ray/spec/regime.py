"""Which images: the data set, the splits that are looked at, and the nested subsets of train."""

import math
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from rethink_ray.spec.data_split import SHARE, DataSplit, Percent, share_of
from rethink_ray.spec.recipe import PositiveInt, Spec
from rethink_ray.spec.rules.rule import Breach, Rule, refuse_value

_T = TypeVar("_T")
FromList = Annotated[_T, Field(strict=False)]
"""A tuple, a list in files: behind a validator of the raw tree a strict one would refuse that."""
LARGEST_SET = 10**9
"""More images than any data set has: a share of it that is none is none of every set."""
Images = PositiveInt | Literal["all"] | Percent
LEAST_HELD_OUT = 20
"""Images that a hold-out has at least, where it is a share: AP on fewer ranks nothing but luck."""
SELECT_HOLDOUT, REPORT_HOLDOUT = "holdout", "report_holdout"
"""Names of the splits that ``select_on`` and ``report_on`` cut from train."""
HOLDOUTS = frozenset({SELECT_HOLDOUT, REPORT_HOLDOUT})
BUILT_IN_SPLITS = {
    "shapes": ("train", "val", "test"),
    "coco": ("train", "val"),  # the labels of COCO's test set are not public
    "lvis": ("train", "val"),
}
"""Data set -> the splits that it has in every copy."""


def _refuse_odd_holdout(holdout: Any) -> Any:
    """A hold-out is a number of images or a share, in one sentence for all that it is not."""
    is_number = isinstance(holdout, int) and not isinstance(holdout, bool) and holdout > 0
    is_share = isinstance(holdout, str) and re.fullmatch(SHARE, holdout) and share_of(holdout) > 0
    if is_number or is_share:
        return holdout
    must = "must be a number of images or a share such as 20% (above 0 and at most 100, no space)"
    raise refuse_value(must, holdout)


def num_images(images: Images, available: int) -> int:
    """Number of images in a regime, of ``available`` ones; ``20%`` is rounded, perhaps to none."""
    if images == "all":
        return available
    if isinstance(images, str):
        return round(share_of(images) * available)
    return images


def num_held_out(holdout: int | str, num_trained_on: int) -> int:
    """Number of images that a regime of ``num_trained_on`` images selects on.

    A number is the same for every regime. A share is rounded, to at least ``LEAST_HELD_OUT``.
    """
    if isinstance(holdout, int):
        return holdout
    return max(round(share_of(holdout) * num_trained_on), LEAST_HELD_OUT)


def num_reserved(holdout: int | str, num_train: int) -> int:
    """Number of training images that no regime trains on, the same for all studies of a data set.

    Where the hold-out is a share, the regime of all the other images finds its hold-out among them:
    of 120 images ``20%`` reserves 20, because 20 is 20 % of the other 100.
    """
    if isinstance(holdout, int):
        return holdout
    share = share_of(holdout)
    return max(math.ceil(round(num_train * share / (1 + share), 6)), LEAST_HELD_OUT)


def num_reported(holdout: int | str, num_train: int) -> int:
    """Number of images that ``report_on: {holdout: ...}`` cuts from train, for every regime.

    A share is rounded, to at least ``LEAST_HELD_OUT``.
    """
    if isinstance(holdout, int):
        return holdout
    return max(round(share_of(holdout) * num_train), LEAST_HELD_OUT)


class SplitSpec(Spec):
    """One split of a data set that is named by its files."""

    images: str
    """Folder of the image files."""
    annotations: str
    """COCO: the JSON file. VOC: the folder of XML files."""
    image_set: str | None = None
    """VOC: a text file with the file stems of the split. Null takes every XML file."""


class UnlabelledSpec(Spec):
    """Images that a teacher labels; they have no human labels, or those are not read."""

    images: str
    """Folder of the image files, sub-folders included."""
    annotations: str | None = None
    """A COCO JSON file that lists the images; its boxes are not read. Null takes every image."""


class HoldoutSpec(Spec):
    """A split that is cut from train and selects or reports; its images are in no regime."""

    holdout: Annotated[PositiveInt | Percent, BeforeValidator(_refuse_odd_holdout)]
    """Number of training images that are set apart, outside every regime. Under ``select_on``
    ``20%`` scales with the regime: one of 10,000 images selects on 2,000 others, one of 1,000 on
    the first 200 of these, and none on fewer than 20. Under ``report_on`` it is a share of train,
    the same images for every regime, and at least 20."""


class ShapesSpec(Spec):
    """The data set that this program draws; every key here changes its images."""

    figures: Literal["shapes", "glyphs"] = Field("shapes", exclude_if=lambda f: f == "shapes")
    """The figures in the scenes: six shapes of unequal frequency, or the first twelve of the glyphs
    that upstream classifiers learn, all equally frequent. No glyph is a shape."""

    train: PositiveInt = 800
    """Training images."""
    val: PositiveInt = 200
    """Images of the ``val`` split."""
    test: PositiveInt = 600
    """Images of the ``test`` split."""
    unlabelled: Annotated[int, Field(ge=0)] = 0
    """Images without labels, for a teacher."""
    image_px: PositiveInt = 96
    """Side of the square images, in pixels."""
    seed: int = 0
    """Seed of the pictures."""


def _complete_upstream(tree: Any) -> Any:
    """Splits that score stand where the data set of an upstream detector leaves them out."""
    if not isinstance(tree, dict):
        return tree
    if "images" in tree or "annotations" in tree:
        files = {key: tree[key] for key in SplitSpec.model_fields if key in tree}
        others = {key: value for key, value in tree.items() if key not in files}
        tree = {"dataset": {"train": files}, "select_on": {"holdout": "10%"}, **others}
    selects = tree.get("select_on", "val")
    reports = selects if isinstance(selects, str) else "holdout"
    return {"select_on": selects, "report_on": reports} | tree


class DataSpec(Spec):
    """Where images and boxes come from, and which split decides what."""

    dataset: (
        Literal["shapes", "coco", "lvis", "voc", "yolo"]
        | dict[Literal["train", "val", "test"], SplitSpec]
    )
    """A data set in its documented layout, the built-in ``shapes``, or a mapping of split to
    files."""
    format: Literal["coco", "voc"] | None = None
    """Format of splits that are named by their files. Null: annotations in a ``.json`` are COCO,
    all others VOC."""
    root: str | None = None
    """Folder of ``coco``, ``lvis``, ``voc`` and ``yolo``; they require it. For ``yolo`` it may be
    the ``data.yaml`` itself. Paths of files are relative to it. A relative folder starts where the
    command runs. For ``shapes`` null is the cache."""
    shapes: ShapesSpec = ShapesSpec()
    """The drawn scenes of ``dataset: shapes``."""
    split: DataSplit | None = Field(None, exclude_if=lambda split: split is None)
    """Cuts ``val`` or ``test`` from train, for a data set without them. Null cuts nothing."""
    subset_seed: int = 0
    """Seed of the one order of training images whose beginnings are the regimes."""
    select_on: str | HoldoutSpec = "val"
    """The split that search and halving look at, or a hold-out cut from train. COCO and LVIS:
    ``{holdout: 5000}``. ``{holdout: 20%}`` scales with the regime."""
    report_on: str | HoldoutSpec = "test"
    """The split that replicates and findings are scored on, or a hold-out cut from train, apart
    from that of ``select_on``. COCO and LVIS: ``val``."""
    duplicates: Literal["refuse", "drop"] = "refuse"
    """What happens to an image that two of train, ``select_on`` and ``report_on`` hold, byte for
    byte: the study is refused, or one copy is dropped, from train first and then from
    ``select_on``."""
    keep_empty: bool = True
    """Whether train keeps images without an object to learn from: without a box, or with crowds,
    *difficult* objects and boxes of at most one pixel alone. False leaves them out before a
    hold-out is cut and regimes are drawn; scoring splits keep every image. Source: false in
    Detectron (``roidb.py``), detectron2 (``FILTER_EMPTY_ANNOTATIONS``), torchvision's references
    and mmdetection (COCO: 117,266 of 118,287 images stay), true in TensorFlow's TPU detectors."""
    min_keypoints: Annotated[int, Field(ge=0)] | None = None
    """Under ``keep_empty: false``, how many visible keypoints the objects of a training image must
    have together. Null: 1 if the annotations have keypoints, as in Detectron and detectron2
    (``MIN_KEYPOINTS_PER_IMAGE``); torchvision's references require 10. 0 for boxes alone."""
    upstream: str = "glyphs"
    """Classification images for ``init.source: upstream``: the built-in glyphs, or a folder with
    one sub-folder of images per class."""
    upstream_detection: Annotated["DataSpec | None", BeforeValidator(_complete_upstream)] = None
    """The other detection data set, from which the detector of ``init.weights: upstream_detector``
    learns. It is written as this group, or as ``{images: FOLDER, annotations: FILE}``, of which a
    tenth is held out. It learns from all of train; ``select_on`` (``val``, if left out) measures
    its AP. Drawn scenes need other figures: ``{dataset: shapes, shapes: {figures: glyphs}}``."""
    unlabelled: UnlabelledSpec | None = None
    """Images for ``labels.kind: self_training``. Null takes those of ``shapes.unlabelled``."""
    image_sets: dict[Literal["train", "val", "test"], FromList[tuple[str, ...]]] | None = None
    """VOC: the lists that make up each split, as YEAR/LIST. Source: He et al. 2018 (train:
    [VOC2007/trainval, VOC2012/train], val: [VOC2012/val])."""
    voc_offset: Literal[0, 1] = 1
    """VOC: the number of the first pixel, which is subtracted from ``xmin`` and ``ymin``. 1: as the
    devkit and detectron2's ``pascal_voc.py`` have it, pixels count from 1 and both corners belong
    to the box. 0: files whose corners are coordinates from 0, as many annotation tools write."""
    frequency: Literal["lvis", "thirds"] | FromList[tuple[PositiveInt, PositiveInt]] | None = None
    """Also reports AP of rare, common and frequent classes, by the number of training images that
    show them: ``lvis`` has bounds of 10 and 100 images, ``thirds`` has thirds of the classes.
    Source: LVIS (Gupta et al. 2019)."""

    @model_validator(mode="before")
    @classmethod
    def _coco_has_no_labelled_test_set(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and tree.get("dataset") in ("coco", "lvis"):
            return {"select_on": {"holdout": 5000}, "report_on": "val"} | tree
        return tree

    rules = (
        Rule(
            key="root",
            reads=("dataset",),
            broken=lambda data: data.dataset in ("coco", "lvis", "voc", "yolo") and not data.root,
            must="must name the data set's folder",
            remedy="Set data.root in the study file, or with --set data.root=DIR.",
        ),
        Rule(
            key="voc_offset",
            reads=("dataset", "format"),
            broken=lambda data: data.voc_offset != 1 and not data.may_be_voc,
            must="must be left out where annotations are no VOC files",
        ),
        Rule(
            key="split",
            reads=("dataset", "image_sets"),
            broken=lambda data: _cuts_twice(data),
            must="must cut only splits that the data set does not have",
            remedy="Leave {split} out of data.split{or_of_data}.",
        ),
        Rule(
            key="min_keypoints",
            reads=("keep_empty",),
            broken=lambda data: data.min_keypoints is not None and data.keep_empty,
            must="must be left out where empty images stay",
            remedy="Set data.keep_empty: false.",
        ),
        Rule(
            key="upstream_detection",
            broken=lambda data: (
                data.upstream_detection is not None
                and data.upstream_detection.upstream_detection is not None
                and Breach(came="one that has another")
            ),
            must="must be one data set, whose detector starts from random weights",
            remedy="Leave the inner upstream_detection out.",
        ),
    )

    @property
    def detection_sets(self) -> tuple["DataSpec", ...]:
        """This data set, and that of the upstream detector if there is one."""
        return (self,) if self.upstream_detection is None else (self, self.upstream_detection)

    @property
    def may_be_voc(self) -> bool:
        """Whether annotations can be VOC's; of files the split's own name can decide it."""
        return self.dataset == "voc" or (isinstance(self.dataset, dict) and self.format != "coco")

    @property
    def select_split(self) -> str:
        """Name of the split that search and halving look at; ``holdout`` if cut from train."""
        return SELECT_HOLDOUT if isinstance(self.select_on, HoldoutSpec) else self.select_on

    @property
    def report_split(self) -> str:
        """Name of the split that findings are scored on; ``report_holdout`` if cut from train."""
        return REPORT_HOLDOUT if isinstance(self.report_on, HoldoutSpec) else self.report_on

    @property
    def listed_splits(self) -> tuple[str, ...]:
        """Splits that the data set is known to have before its files are read.

        Empty where only the files know it: ``voc`` without ``image_sets``.
        """
        if isinstance(self.dataset, dict):
            return tuple(self.dataset)
        return BUILT_IN_SPLITS.get(self.dataset, tuple(self.image_sets or ()))


def _cuts_twice(data: DataSpec) -> bool | Breach:
    """Whether ``split`` names a split that the data set has, as far as that is known."""
    for split in data.split.shares if data.split is not None else ():
        if split in data.listed_splits:
            key = "dataset" if isinstance(data.dataset, dict) else "image_sets"
            is_named = isinstance(data.dataset, dict) or data.dataset not in BUILT_IN_SPLITS
            either = f", or out of data.{key}" if is_named else ""
            words = {"split": split, "or_of_data": either}
            return Breach(key=f"split.{split}", came=split, words=words)
    return False


class RegimeSpec(Spec):
    """How much data: a nested subset of the training images, and settings of its own."""

    images: Images
    """Number of training images, ``all``, or a share such as ``20%``, which must leave at least
    one image."""
    set: dict[str, Any] = {}
    """Settings of every cell of this regime: dotted path of the recipe and its value."""

    rules = (
        Rule(
            key="images",
            broken=lambda regime: num_images(regime.images, LARGEST_SET) == 0,
            must="must be more than no image",
            remedy="Write a number of images, a share such as 20%, or all.",
        ),
    )
