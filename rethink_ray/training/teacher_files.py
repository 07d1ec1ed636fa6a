"""A teacher that was trained elsewhere: the detector in a file of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from rethink_ray.data.index import open_split
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.foreign import rename_to_ours, select_categories
from rethink_ray.detection.pixel_norm import require_stated_input
from rethink_ray.detection.weights import read_state_dict
from rethink_ray.detection.whole import load_detector
from rethink_ray.spec.backbone_code import require_same_code
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import Damaged, load_checkpoint
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
    load_detector(detector, state, where)
    require_stated_input(detector.pixel_norm, recipe.init.input, f"{where}: init.input")
    detector.images_per_step = config.resources.images_per_step
    return detector.to(ctx.device).eval()


def _read(config: TrialConfig, detector: Detector, where: str) -> Mapping[str, Tensor]:
    path = Path(config.weights_file or "")
    require_same_file(str(path), config.weights_digest, "teacher")
    state, file_categories = _load_tensors(path, where)
    expected = detector.state_dict()
    categories = open_split(config.data, "train").categories
    renamed = rename_to_ours(state, expected)
    return select_categories(renamed, expected, categories, file_categories, where)


def _load_tensors(path: Path, where: str) -> tuple[Mapping[str, Tensor], Sequence[str] | None]:
    """A file's state dict, and the categories of its outputs if the file names them."""
    try:
        content = load_checkpoint(path)
    except Damaged:
        return read_state_dict(path, where), None
    if not isinstance(content.get("model"), dict):
        must = "must hold a whole detector"
        raise SpecError(
            explain(where, must, ", ".join(content), "Such as export --weights writes.")
        )
    return content["model"], content.get("categories")
