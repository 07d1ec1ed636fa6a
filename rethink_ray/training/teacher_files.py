"""A teacher that was trained elsewhere: the detector in a file of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rethink_ray.data.splits import open_split
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.foreign import rename_to_ours, select_categories
from rethink_ray.detection.layout import put_on_device
from rethink_ray.detection.pixel_norm import require_stated_input
from rethink_ray.detection.tensor_fit import require_finite_weights
from rethink_ray.detection.whole import load_whole_detector, require_fitting_detector
from rethink_ray.spec.backbone_code import require_same_code
from rethink_ray.spec.pixel_input import InputSpec
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.detector_files import read_detector_file, require_carried_input
from rethink_ray.training.starting import require_same_file
from rethink_ray.training.worker_context import WorkerContext


def load_teacher_file(config: TrialConfig, ctx: WorkerContext) -> Detector:
    """The detector of ``config`` with the weights in its file, ready to detect.

    A model of ours carries its own input; any other detector has that of ``init.input`` in
    ``teacher.set``, else ImageNet's, as torchvision's detectors do. If the file names its
    categories, outputs are put into the order of the data set's categories. Only rank 0 reads the
    file.

    Raises:
        DataError: the file is not there, or not the one that the study was started with.
        SpecError: its weights belong to another detector, or the backbone's code has changed; the
            message names the difference.
    """
    where = f"teacher {config.weights_file}"
    require_same_code(config)
    recipe = config.recipe
    stated = InitSpec(input=recipe.init.input)
    detector = build_detector(recipe.detector, stated, config.num_categories, seed=0)
    state = ctx.broadcast(_read(config, detector, where) if ctx.is_main else {})
    load_whole_detector(detector, state, where)
    require_stated_input(
        detector.pixel_norm.read_input(), recipe.init.input, f"{where}: init.input"
    )
    detector.images_per_step = config.resources.images_per_step
    put_on_device(detector, ctx.device, config.recipe.precision)
    return detector.eval()


def _read(config: TrialConfig, detector: Detector, where: str) -> Mapping[str, Tensor]:
    path = Path(config.weights_file or "")
    require_same_file(str(path), config.weights_digest, "teacher")
    categories = open_split(config.data, "train").categories
    return _load_in_order(path, detector.state_dict(), categories, where, config.recipe.init.input)


def require_fitting_teacher(
    path: Path, recipe: Recipe, categories: Sequence[str], where: str
) -> Mapping[str, Tensor]:
    """Refuses a file that ``load_teacher_file`` would refuse; the detector is never allocated.

    Args:
        path: the file.
        recipe: the teacher's.
        categories: of the data set.
        where: the beginning of error messages.

    Returns:
        The file's tensors under our names.

    Raises:
        SpecError: as ``load_teacher_file``, or a tensor is not finite.
    """
    with torch.device("meta"):
        detector = build_detector(recipe.detector, InitSpec(), len(categories), seed=0)
    needed = detector.state_dict()
    state = _load_in_order(path, needed, categories, where, recipe.init.input)
    require_fitting_detector(needed, state, where)
    require_finite_weights(state, state, where)
    require_carried_input(state, recipe, f"{where}: init.input")
    return state


def _load_in_order(
    path: Path,
    needed: Mapping[str, Tensor],
    categories: Sequence[str],
    where: str,
    stated: InputSpec | None,
) -> Mapping[str, Tensor]:
    """A file's tensors under our names, with outputs in the order of the data set's categories.

    ``stated``: ``init.input`` of the teacher, by which ResNets of Caffe are refused.
    """
    learned = read_detector_file(path, where, stated)
    renamed = rename_to_ours(learned.state, needed)
    return select_categories(renamed, needed, categories, learned.categories, where)
