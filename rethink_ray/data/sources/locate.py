"""Locates the files of one split from a study's ``data`` section."""

from pathlib import Path
from typing import Literal

from rethink_ray.data.shapes import shapes_folder, shapes_salt
from rethink_ray.data.sources.coco import CocoSource
from rethink_ray.data.sources.raw import SplitSource
from rethink_ray.data.sources.unlabelled import UnlabelledSource
from rethink_ray.data.sources.voc import VocFolder, VocSource
from rethink_ray.data.sources.yolo import YoloSource
from rethink_ray.data.sources.yolo_config import read_yolo_config
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.regime import DataSpec, SplitSpec

SPLIT_FILES = (
    "{train: {images: FOLDER, annotations: FILE.json}, val: {...}, test: {...}}, paths under "
    "data.root."
)

COCO_LAYOUT = "annotations/instances_{train,val}2017.json, train2017/ and val2017/"
LVIS_LAYOUT = "annotations/lvis_v1_{train,val}.json, train2017/ and val2017/"
VOC_LAYOUT = "JPEGImages/, Annotations/ and ImageSets/Main/{train,val,test}.txt"


def locate_source(data: DataSpec, split: str) -> SplitSource:
    """Returns the source of train, val, test or unlabelled; draws ``shapes`` if it is absent.

    Raises:
        DataError: the data set has no such split, or its files are missing or have no usable names.
    """
    try:
        source = _locate(data, split)
        for folder in source.image_folders().splitlines():
            Path(folder).exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        must = "must name folders and files that the system can open"
        shown = f"{error.strerror}: {str(error.filename)[:100]}"
        raise DataError(explain(f"split {split}", must, shown, "Check data.root.")) from None
    return source


def _locate(data: DataSpec, split: str) -> SplitSource:
    if split == "unlabelled":
        return _locate_unlabelled(data)
    match data.dataset:
        case "shapes":
            return _locate_shapes(data, split)
        case "coco":
            return _locate_coco(Path(data.root or "."), split)
        case "lvis":
            return _locate_lvis(Path(data.root or "."), split)
        case "voc":
            return _locate_voc(data, Path(data.root or "."), split)
        case "yolo":
            return _locate_yolo(Path(data.root or "."), split)
        case named:
            specs = [spec for key, spec in named.items() if key == split]
            if not specs:
                raise _missing_split_error(split, list(named))
            return _locate_split_files(data, specs[0])


def _locate_shapes(data: DataSpec, split: str) -> SplitSource:
    if split not in ("train", "val", "test"):
        raise _missing_split_error(split, ["train", "val", "test"])
    folder = shapes_folder(data.shapes, data.root)
    return CocoSource(
        annotations=folder / "annotations" / f"instances_{split}.json",
        images=folder / split,
        salt=shapes_salt(data.shapes),
    )


def _locate_unlabelled(data: DataSpec) -> SplitSource:
    root, spec = Path(data.root or "."), data.unlabelled
    if spec is not None:
        listed = None if spec.annotations is None else root / spec.annotations
        return UnlabelledSource(images=root / spec.images, listed=listed)
    if data.dataset == "shapes" and data.shapes.unlabelled:
        folder = shapes_folder(data.shapes, data.root)
        return UnlabelledSource(images=folder / "unlabelled", salt=shapes_salt(data.shapes))
    must = "must name images for a teacher to label"
    remedy = "Write data.unlabelled: {images: FOLDER}; for shapes, data.shapes.unlabelled: 500."
    raise DataError(explain("data.unlabelled", must, None, remedy))


def _locate_coco(root: Path, split: str) -> SplitSource:
    if split not in ("train", "val"):
        raise _missing_split_error(split, ["train", "val"])  # COCO's test labels are not public
    annotations = root / "annotations" / f"instances_{split}2017.json"
    _require_folder(root, COCO_LAYOUT)
    if not annotations.is_file():
        must = f"must hold annotations/{annotations.name} and {split}2017/, COCO's own layout"
        remedy = "If your files have other names, write data.dataset: " + SPLIT_FILES
        raise DataError(explain(str(root), must, "no such file", remedy))
    return CocoSource(annotations=annotations, images=root / f"{split}2017")


def _locate_lvis(root: Path, split: str) -> SplitSource:
    if split not in ("train", "val"):
        raise _missing_split_error(split, ["train", "val"])
    annotations = root / "annotations" / f"lvis_v1_{split}.json"
    _require_folder(root, LVIS_LAYOUT)
    if not annotations.is_file():
        must = f"must hold annotations/{annotations.name} beside COCO's train2017/ and val2017/"
        raise DataError(explain(str(root), must, "no such file", "Check data.root."))
    return CocoSource(annotations=annotations, images=root)


def _require_folder(root: Path, layout: str) -> None:
    if not root.is_dir():
        must = f"must be the folder of the data set, with {layout}"
        shown = "a file" if root.exists() else "a folder that does not exist"
        remedy = "Set data.root in the file, or add --set data.root=DIR to the command of a study."
        if not root.is_absolute():
            start = "A relative data.root starts at the folder where the command runs"
            remedy = f"{start}, here {Path.cwd()}. {remedy}"
        raise DataError(explain(f"data.root {root}", must, shown, remedy))


def _locate_voc(data: DataSpec, root: Path, split: str) -> SplitSource:
    _require_folder(root, VOC_LAYOUT)
    if data.image_sets is not None:
        lists = [names for key, names in data.image_sets.items() if key == split]
        if not lists:
            raise _missing_split_error(split, list(data.image_sets))
        named_folders = tuple(_locate_voc_list(root, name) for name in lists[0])
        return VocSource(folders=named_folders, offset=data.voc_offset)
    years = [root / sub / year for sub in ("", "VOCdevkit") for year in ("VOC2007", "VOC2012")]
    folders = [folder for folder in (root, *years) if (folder / "Annotations").is_dir()]
    voc_folders = [
        VocFolder(
            images=folder / "JPEGImages",
            annotations=folder / "Annotations",
            image_set=folder / "ImageSets" / "Main" / f"{split}.txt",
        )
        for folder in folders
        if (folder / "ImageSets" / "Main" / f"{split}.txt").is_file()
    ]
    if split == "train" and len(folders) == 1 and not _has_voc_lists(folders[0]):
        annotations = folders[0] / "Annotations"
        whole = VocFolder(images=folders[0] / "JPEGImages", annotations=annotations, image_set=None)
        return VocSource(folders=(whole,), offset=data.voc_offset)
    if not voc_folders:
        must = f"must have ImageSets/Main/{split}.txt, in it or in its folder VOC2007 or VOC2012"
        shown = (
            f"no such file in {', '.join(str(folder) for folder in folders)}"
            if folders
            else "no folder Annotations"
        )
        remedy = "Check data.root, data.select_on and data.report_on."
        if folders and not any(map(_has_voc_lists, folders)):
            remedy = "To cut the splits of a set without lists: data.split: {val: 20%, test: 20%}."
        raise DataError(explain(str(root), must, shown, remedy))
    return VocSource(folders=tuple(voc_folders), offset=data.voc_offset)


def _has_voc_lists(folder: Path) -> bool:
    """Returns whether a VOC folder has any list of a split; without one, all of it is train."""
    return any((folder / "ImageSets" / "Main").glob("*.txt"))


def _locate_voc_list(root: Path, name: str) -> VocFolder:
    """Returns folder and list for a name of year and list, such as ``VOC2007/trainval``."""
    year, _, listed = name.partition("/")
    for folder in (root / year, root / "VOCdevkit" / year):
        image_set = folder / "ImageSets" / "Main" / f"{listed}.txt"
        if listed and image_set.is_file():
            return VocFolder(
                images=folder / "JPEGImages",
                annotations=folder / "Annotations",
                image_set=image_set,
            )
    must = f"must name lists under {root} as YEAR/LIST: YEAR/ImageSets/Main/LIST.txt"
    remedy = _say_voc_lists(root, year, listed)
    raise DataError(explain("data.image_sets", must, name, remedy))


def _say_voc_lists(root: Path, year: str, listed: str) -> str:
    """Returns in words which file of a year is missing, and which lists there are."""
    years = [path for path in (root / year, root / "VOCdevkit" / year) if path.is_dir()]
    if not listed or not years:
        return f"There is no folder {root / year}." if listed else "For instance VOC2007/trainval."
    folder = years[0] / "ImageSets" / "Main"
    stems = sorted(path.stem for path in folder.glob("*.txt"))
    of_all = [stem for stem in stems if "_" not in stem]  # cat_train is the list of one class
    there = ", ".join((of_all or stems)[:12]) or "none"
    return f"{folder / listed}.txt is missing; lists there: {there}."


def _locate_yolo(root: Path, split: str) -> SplitSource:
    config = read_yolo_config(root)
    if split in config.absent:
        must = f"must name pictures of {split} that no other split has"
        shown = f"a file whose {split} {config.absent[split]}"
        remedy = (
            f"The data set has {', '.join(config.splits)}. To cut others from train: data.split: "
            "{val: 20%, test: 20%}."
        )
        raise DataError(explain(str(config.file), must, shown, remedy))
    if split not in config.splits:
        raise _missing_split_error(split, list(config.splits))
    return YoloSource(config=config, entries=config.splits[split])


def _locate_split_files(data: DataSpec, spec: SplitSpec) -> SplitSource:
    root = Path(data.root or ".")
    images, annotations = root / spec.images, root / spec.annotations
    if not annotations.exists():
        _require_folder(root, "the files of data.dataset")
    if (data.format or _guess_format(annotations)) == "coco":
        return CocoSource(annotations=annotations, images=images)
    image_set = None if spec.image_set is None else root / spec.image_set
    folder = VocFolder(images=images, annotations=annotations, image_set=image_set)
    return VocSource(folders=(folder,), offset=data.voc_offset)


def _guess_format(annotations: Path) -> Literal["coco", "voc"]:
    return "coco" if annotations.suffix in (".json", ".jsonl") else "voc"


def _missing_split_error(split: str, labelled: list[str]) -> DataError:
    must = f"must name a split with labels ({', '.join(labelled)})"
    remedy = (
        "Name one of these, or cut one from train: data.split: {val: 20%, test: 20%}, or "
        "{holdout: 500} in place of a name."
    )
    return DataError(explain("data", must, split, remedy))
