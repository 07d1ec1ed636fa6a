"""Which images: the data set, the splits that are looked at, and the nested subsets of train."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from rethink_ray.spec.recipe import PositiveInt, Spec
from rethink_ray.spec.rules.rule import Rule

T = TypeVar("T")
FromList = Annotated[T, Field(strict=False)]
"""A tuple, a list in files: behind a validator of the raw tree a strict one would refuse that."""
Percent = Annotated[str, Field(pattern=r"^(100|[0-9]{1,2}([.][0-9]+)?)%$")]
Images = PositiveInt | Literal["all"] | Percent


def num_images(images: Images, available: int) -> int:
    """Number of images in a regime, of ``available`` ones; ``20%`` is rounded, to at least one."""
    if images == "all":
        return available
    if isinstance(images, str):
        return max(round(float(images.rstrip("%")) * available / 100), 1)
    return images


class SplitSpec(Spec):
    """One split of a data set that is named by its files."""

    images: str
    """Folder of the image files."""
    annotations: str
    """COCO: the JSON file. VOC: the folder of XML files."""
    image_set: str | None = None
    """VOC: a text file that lists the file stems of the split; without it, every XML file."""


class UnlabelledSpec(Spec):
    """Images that a teacher labels; nobody else did, or nobody looks."""

    images: str
    """Folder of the image files, sub-folders included."""
    annotations: str | None = None
    """A COCO JSON file whose list of images says which; its boxes are not read."""


class HoldoutSpec(Spec):
    """A selection split cut from train, outside every regime."""

    holdout: PositiveInt


class ShapesSpec(Spec):
    """The built-in procedural data set; every field changes its pictures."""

    train: PositiveInt = 800
    val: PositiveInt = 200
    test: PositiveInt = 600
    unlabelled: Annotated[int, Field(ge=0)] = 0
    image_px: PositiveInt = 96
    seed: int = 0


class DataSpec(Spec):
    """Where images and boxes come from, and which split decides what."""

    dataset: (
        Literal["shapes", "coco", "lvis", "voc"] | dict[Literal["train", "val", "test"], SplitSpec]
    )
    format: Literal["coco", "voc"] | None = None
    """Of splits named by their files; ``None``: annotations in a ``.json`` are COCO, else VOC."""
    root: str | None = None
    """Folder of ``coco`` and ``voc`` in their documented layout; ``shapes``: the cache."""
    shapes: ShapesSpec = ShapesSpec()
    subset_seed: int = 0
    select_on: str | HoldoutSpec = "val"
    """Search and halving look here."""
    report_on: str = "test"
    """Replicates and findings look here."""
    duplicates: Literal["refuse", "drop"] = "refuse"
    """Of a picture that two of train, ``select_on`` and ``report_on`` show, byte for byte:
    ``refuse`` the study, or ``drop`` the copy in train, of the two others the one in
    ``select_on``."""
    upstream: str = "glyphs"
    """Classification images for ``init.source: upstream``: the built-in glyphs, or a folder with
    one sub-folder of images per class."""
    unlabelled: UnlabelledSpec | None = None
    """Images for ``labels.kind: self_training``; ``shapes`` has its own (``shapes.unlabelled``)."""
    image_sets: dict[Literal["train", "val", "test"], FromList[tuple[str, ...]]] | None = None
    """VOC: the lists that make up a split, as YEAR/LIST. He et al. 2018: train: [VOC2007/trainval,
    VOC2012/train], val: [VOC2012/val]."""
    frequency: Literal["lvis", "thirds"] | FromList[tuple[PositiveInt, PositiveInt]] | None = None
    """Also AP of rare, common and frequent classes, by training images that show them, over the
    full regime: ``lvis`` = up to 10, up to 100, more; other bounds; or thirds of the classes."""

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
            broken=lambda data: data.dataset in ("coco", "lvis", "voc") and not data.root,
            must="must name the data set's folder",
        ),
    )

    @property
    def select_split(self) -> str:
        """Name of the split that search and halving look at; ``holdout`` if cut from train."""
        return "holdout" if isinstance(self.select_on, HoldoutSpec) else self.select_on


class RegimeSpec(Spec):
    """How much data: a nested subset of the training images, and settings of its own."""

    images: Images
    """A number, ``all``, or a share such as ``20%``."""
    set: dict[str, Any] = {}
