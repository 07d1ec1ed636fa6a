"""Writes a detector as ``model.onnx``: one picture in, its detections out.

The exporter is PyTorch's, which needs onnx and onnxscript (``rethink-ray[onnx]``). Height and width
of the picture are free, or fixed for engines that need one size. Resizing is left to the caller:
``card.json`` says to which size.
"""

import contextlib
import copy
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.onnx_graph import OnnxDetector
from rethink_ray.detection.resize import HeightWidth
from rethink_ray.detection.same_padding import fix_same_padding
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.errors import SpecError, explain, say_error
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS, Recipe

LIBRARIES_OF_ONNX = ("onnx", "onnxscript", "onnxruntime")
INSTALL_ONNX = "pip install 'rethink-ray[onnx]'."
OPSET = 18
"""The version of ONNX's operators; onnxruntime knows it since 1.14 (2023)."""
INPUT, OUTPUTS, MASKS = "image", ("boxes", "scores", "labels"), "masks"
FREE_SIDES = ({1: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC},)
EXAMPLE_SIZE = "480x640"
EXAMPLE_HW = (96, 160)
"""Of the blank picture with which the graph is traced; both sides are free afterwards."""
BEYOND_EVERY_SCORE = -2.0
"""The score of filled-up rows: below that of every box, and of an empty place."""


def require_onnx() -> None:
    """Refuses to export where a library is missing."""
    missing = [name for name in LIBRARIES_OF_ONNX if importlib.util.find_spec(name) is None]
    if missing:
        must = f"needs {', '.join(LIBRARIES_OF_ONNX)}, which are an extra of this program"
        raise SpecError(explain("--format onnx", must, f"no {missing[0]}", INSTALL_ONNX))


def require_exportable(recipe: Recipe) -> None:
    """Refuses families and options that have no graph of fixed structure.

    Raises:
        SpecError: names the key and the reason.
    """
    family, views = recipe.detector.family, recipe.evaluation
    elsewhere = "Export it as safetensors (--format safetensors), or choose another family."
    if is_own(family):
        must = "must be a family of this program's own to be written as ONNX"
        remedy = f"Its code comes from elsewhere, and so may its exporter. {elsewhere}"
        raise SpecError(explain("detector.family", must, family, remedy))
    if family in WITH_KEYPOINTS:
        must = "must find boxes or masks to be written as ONNX: each heatmap of a keypoint is "
        must += "enlarged to the size of its box, which a graph cannot do"
        raise SpecError(explain("detector.family", must, family, elsewhere))
    if views.flip or tuple(views.scales) != (1.0,):
        must = "must be one plain view to be written as ONNX: several views are merged outside the "
        must += "network"
        shown = {"scales": list(views.scales), "flip": views.flip}
        remedy = "Export a model whose study scores plain pictures."
        raise SpecError(explain("evaluation", must, shown, remedy))


def write_onnx(
    detector: Detector,
    recipe: Recipe,
    classes: Sequence[str],
    path: Path,
    fixed_hw: HeightWidth | None = None,
) -> None:
    """``path`` is the detector as ONNX.

    Args:
        detector: the detector.
        recipe: its recipe.
        classes: the names of its classes, which the file holds as metadata.
        path: the file to write.
        fixed_hw: height and width of every picture; ``None``: both are free.

    Raises:
        SpecError: the recipe cannot be exported, or a library is missing; the message says why.
    """
    require_exportable(recipe)
    require_onnx()
    graph = OnnxDetector(fix_same_padding(copy.deepcopy(detector).cpu())).eval()
    outputs = [*OUTPUTS, *([MASKS] if recipe.detector.family in WITH_MASKS else [])]
    try:
        with torch.no_grad(), _quiet():
            program: Any = torch.onnx.export(
                graph,
                (torch.zeros(3, *(fixed_hw or EXAMPLE_HW)),),
                dynamo=True,
                input_names=[INPUT],
                output_names=outputs,
                opset_version=OPSET,
                dynamic_shapes=FREE_SIDES if fixed_hw is None else None,
                custom_translation_table={
                    torch.ops.rethink_ray.suppress.default: _translate_suppress,
                    torch.ops.rethink_ray.pool_some.default: _translate_pooling,
                },
                verbose=False,
            )
    except Exception as error:  # any part of the exporter
        where = f"detector.backbone {recipe.detector.backbone}"
        sizes = "any size" if fixed_hw is None else "this size"
        must = f"must be a network that PyTorch's exporter can follow for pictures of {sizes}"
        remedy = "Export it as safetensors (--format safetensors)."
        if fixed_hw is None:
            remedy = (
                f"Fix the size, for instance --size {EXAMPLE_SIZE}, or export it as safetensors."
            )
        raise SpecError(explain(where, must, say_error(error), remedy)) from error
    program.model.metadata_props["made_by"] = "rethink-ray"
    program.model.metadata_props["classes"] = json.dumps(list(classes))
    write_atomically(path, program.model_proto.SerializeToString())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's progress and its warnings about itself from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _translate_suppress(boxes: Any, scores: Any, iou: float, lowest: float, most: int) -> Any:
    """``onnx_graph.suppress`` in ONNX's operators; called while the graph is translated."""
    from onnxscript import opset18 as op

    is_shared = boxes.shape[0] == 1
    by_class = op.Unsqueeze(scores, _constant([0 if is_shared else 1]))
    kept = op.NonMaxSuppression(
        boxes, by_class, _constant([most]), _constant([iou]), _constant([lowest])
    )
    chosen = op.Gather(kept, _constant([1 if is_shared else 0, 2]), axis=1)
    of_chosen = op.GatherND(scores, chosen)
    filled = op.Concat(of_chosen, _constant([BEYOND_EVERY_SCORE] * most), axis=0)
    rows = op.Concat(chosen, _constant([[-1, -1]] * most), axis=0)
    _, order = op.TopK(filled, _constant([most]), axis=0)
    return op.Gather(rows, order, axis=0)


def _translate_pooling(
    features: Any, boxes: Any, is_here: Any, side: int, scale: float, samples: int
) -> Any:
    """``onnx_graph.pool_some`` in ONNX's operators."""
    from onnxscript import opset18 as op

    rows = op.Transpose(op.NonZero(is_here))
    pooled = op.RoiAlign(
        features,
        op.GatherND(boxes, rows),
        op.Squeeze(op.Mul(rows, _constant([0])), _constant([1])),
        coordinate_transformation_mode="output_half_pixel",
        output_height=side,
        output_width=side,
        sampling_ratio=samples,
        spatial_scale=scale,
    )
    channels = op.Shape(features, start=1, end=2)
    shape = op.Concat(op.Shape(is_here), channels, _constant([side, side]), axis=0)
    return op.ScatterND(op.Expand(_constant([0.0]), shape), rows, pooled)


def _constant(values: Any) -> Any:
    from onnxscript import opset18 as op

    return op.Constant(value=_as_onnx(values))


def _as_onnx(values: Any) -> Any:
    import onnx_ir

    tensor = torch.tensor(values)
    return onnx_ir.tensor(tensor.numpy())
