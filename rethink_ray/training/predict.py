"""``predict``: the detections of a model in pictures, drawn and as JSON.

Folders are searched with their sub-folders. A file in a folder that is no whole picture is skipped
and named; a picture that is named itself must be one.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.ops import box_convert
from torchvision.transforms.functional import to_pil_image

from rethink_ray.data.inspection import name_files
from rethink_ray.data.objects import keypoint_swap
from rethink_ray.data.pictures import BROKEN, picture_size, read_rgb
from rethink_ray.data.sources.raw import is_hidden
from rethink_ray.data.sources.voc import IMAGE_SUFFIXES
from rethink_ray.data.splits import open_split
from rethink_ray.detection.masks import run_lengths_of
from rethink_ray.detection.test_time_augmentation import MultiViewDetector
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.card import read_card
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.recipe import WITH_KEYPOINTS
from rethink_ray.training.drawing import draw_objects, enlarge_small
from rethink_ray.training.model_files import TrainedModel
from rethink_ray.training.moving import move_images
from rethink_ray.training.precision import use_precision
from rethink_ray.training.run import load_model

USUAL_SCORE = 0.3
"""The score from which detections are drawn, where no card has a threshold for their class."""
DETECTIONS_FILE = "detections.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What ``predict_images`` wrote."""

    pictures: dict[Path, int]
    """Picture with boxes -> number of boxes that were drawn."""
    detections: Path
    """All detections, in the form of COCO's results."""
    skipped: dict[Path, str]
    """File in a folder that is no whole picture -> what is wrong with it."""
    thresholds: dict[str, float]
    """Class -> score from which its detections were drawn."""
    is_from_card: bool
    """Whether the thresholds are those of the model's card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPictures:
    """Pictures of files and folders, each with the path of its drawing under ``out``."""

    targets: dict[Path, Path]
    skipped: dict[Path, str]


def predict_images(
    run: Path, images: Sequence[Path], out: Path, *, score: float | None = None
) -> Prediction:
    """Draws the detections of each picture in ``out``, and writes all of them as JSON beside.

    Pictures below 200 pixels are enlarged, so that names and scores can be read.

    Args:
        run: the folder of a model.
        images: pictures, and folders of pictures.
        out: gets ``<name>.png`` for each picture, with the sub-folders of a folder, and
            ``detections.json``.
        score: the score from which detections are drawn; by default that of each class in the
            model's card, else ``USUAL_SCORE``.

    Raises:
        DataError: a named picture cannot be decoded, which is told before any is drawn; a folder
            has no picture; or a new picture would replace a given one.
    """
    listed = list_targets(images, out)
    model = load_model(run)
    card = read_card(run if run.is_dir() else run.parent)
    by_label = card.thresholds_by_label if card is not None and score is None else ()
    usual = USUAL_SCORE if score is None else score
    chosen = by_label or (None,) * len(model.categories)
    lowest = [usual if value is None else value for value in chosen]
    views = build_views(model)
    pictures: dict[Path, int] = {}
    rows: list[dict[str, Any]] = []
    for number, (path, target) in enumerate(listed.targets.items(), start=1):
        pixels = _read_picture(model, path)
        output = _detect(model, views, pixels)
        is_drawn = _is_above(output, lowest)
        target.parent.mkdir(parents=True, exist_ok=True)
        _draw(pixels, {key: value[is_drawn] for key, value in output.items()}, model, target)
        pictures[target] = int(is_drawn.sum())
        rows += _to_rows(model, output, is_drawn, pixels, {"image_id": number, "file": str(path)})
    write_atomically(out / DETECTIONS_FILE, json.dumps(rows, indent=1) + "\n")
    return Prediction(
        pictures=pictures,
        detections=out / DETECTIONS_FILE,
        skipped=listed.skipped,
        thresholds=dict(zip(model.categories, lowest, strict=True)),
        is_from_card=bool(by_label),
    )


def list_targets(images: Iterable[Path], out: Path) -> ListedPictures:
    """The pictures to look at, in order, each once; those under ``out`` are left out.

    Raises:
        DataError: a named picture cannot be decoded, a folder has none, or a drawing would replace
            a picture that is read.
    """
    named: list[Path] = []
    skipped: dict[Path, str] = {}
    inside: dict[Path, Path] = {}
    for path in images:
        if not path.is_dir():
            named.append(path)
            inside.setdefault(path, Path(path.stem))
            continue
        listed = _list_folder(path, out)
        for picture in listed:
            size_or_fault = picture_size(picture, decode=True)
            if isinstance(size_or_fault, str):
                skipped[picture] = size_or_fault
            else:
                inside.setdefault(picture, picture.relative_to(path).with_suffix(""))
        if not listed:
            must = f"must hold pictures ({', '.join(IMAGE_SUFFIXES)}), also in sub-folders"
            raise DataError(explain(str(path), must, "none", "Name another folder."))
    _require_pictures(named)
    return ListedPictures(targets=_name_targets(inside, out), skipped=skipped)


def _list_folder(folder: Path, out: Path) -> list[Path]:
    """All files below a folder with a picture's suffix, but hidden ones and those in ``out``."""
    drawings = out.resolve()
    is_elsewhere = not folder.resolve().is_relative_to(drawings)
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(
        path
        for path in paths
        if not any(map(is_hidden, path.relative_to(folder).parts))
        and not (is_elsewhere and path.resolve().is_relative_to(drawings))
    )


def _require_pictures(images: Sequence[Path]) -> None:
    damaged = [path for path in images if isinstance(picture_size(path, decode=True), str)]
    if damaged:
        must = "must be given images that can be decoded"
        shown = f"{len(damaged)} of {len(images)} that cannot: {name_files(damaged)}"
        raise DataError(explain("predict", must, shown, "Replace them or leave them out."))


def _name_targets(inside: dict[Path, Path], out: Path) -> dict[Path, Path]:
    """Picture -> path of its drawing; drawings of the same name are numbered."""
    taken: set[Path] = set()
    targets: dict[Path, Path] = {}
    given = {path.resolve() for path in inside}
    for path, stem in inside.items():
        target, number = out / stem.with_name(f"{stem.name}.png"), 2
        while target in taken:
            target, number = target.with_name(f"{stem.name}-{number}.png"), number + 1
        taken.add(target)
        targets[path] = target
        if target.resolve() in given:
            must, remedy = "must not write over an image it reads", "Give another --out."
            raise DataError(explain(str(target), must, "the same file", remedy))
    return targets


def build_views(model: TrainedModel) -> MultiViewDetector:
    """The detector with the views that it was scored in (``evaluation``).

    Raises:
        DataError: mirrored keypoints swap left and right, and the data set that names them is gone.
    """
    recipe = model.config.recipe
    names: tuple[str, ...] = ()
    if recipe.evaluation.flip and recipe.detector.family in WITH_KEYPOINTS:
        names = model.keypoints or open_split(model.config.data, "train").keypoint_names
    return MultiViewDetector(
        model.detector, recipe.evaluation, recipe.detector, keypoint_swap(names).tolist()
    )


def _read_picture(model: TrainedModel, path: Path) -> Tensor:
    try:
        return read_rgb(str(path), ranges=model.level_ranges)
    except BROKEN as error:
        must = "must be an image that can be decoded"
        raise DataError(explain(str(path), must, str(error))) from None


def _detect(model: TrainedModel, views: MultiViewDetector, pixels: Tensor) -> dict[str, Tensor]:
    """The detections in one picture, ``[3, H, W]`` uint8; tensors on the CPU."""
    with use_precision(model.config.recipe, model.ctx.device):
        output = views.detect(move_images([pixels], model.ctx.device))[0]
    return {key: value.cpu() for key, value in output.items()}


def _is_above(output: dict[str, Tensor], lowest: Sequence[float]) -> Tensor:
    """``[D]``: whether a detection has at least the lowest score of its class."""
    scores = output["scores"].float()
    return scores >= scores.new_tensor([0.0, *lowest])[output["labels"]]


def _draw(pixels: Tensor, output: dict[str, Tensor], model: TrainedModel, target: Path) -> None:
    drawn = draw_objects(*enlarge_small(pixels, output), model.categories, 0.0)
    picture: Image.Image = to_pil_image(drawn)
    picture.save(target)


def _to_rows(
    model: TrainedModel,
    output: dict[str, Tensor],
    is_drawn: Tensor,
    pixels: Tensor,
    of_picture: dict[str, Any],
) -> list[dict[str, Any]]:
    """The detections of a picture as COCO's results have them; labels count from 1."""
    boxes = output["boxes_xyxy"].float()
    boxes_xywh = box_convert(boxes, "xyxy", "xywh").tolist()
    labels, scores = output["labels"].tolist(), output["scores"].float().tolist()
    height, width = pixels.shape[-2:]
    masks = output.get("masks")
    encoded = [] if masks is None else run_lengths_of(masks, boxes, height, width)
    points = output.get("keypoints")
    rows = []
    for i, label in enumerate(labels):
        row = {
            **of_picture,
            "category_id": label,
            "category": model.categories[label - 1],
            "bbox": [round(side, 3) for side in boxes_xywh[i]],
            "score": round(scores[i], 6),
            "drawn": bool(is_drawn[i]),
        }
        if encoded:
            counts = encoded[i]["counts"]
            text = counts.decode() if isinstance(counts, bytes) else counts
            row["segmentation"] = {"size": [height, width], "counts": text}
        if points is not None:
            row["keypoints"] = [round(value, 3) for value in points[i].flatten().tolist()]
        rows.append(row)
    return rows
