"""The card of a model that is handed on: what must be known to use it, as one JSON file.

It stands beside the tensors (``model.safetensors``, ``model.onnx``). Labels count from 1
everywhere: label k is the k-th class of the card.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rethink_ray.spec.errors import RecordError, explain, say_error
from rethink_ray.spec.model import Fraction, Spec
from rethink_ray.spec.trial_config import TrialConfig

MODEL_FILE = "model.pt"
"""The model in the folder of a run; it begins with a checksum."""
MODEL_CARD = "card.json"
TENSOR_FILE = "model.safetensors"
ONNX_FILE = "model.onnx"
BASE_LICENCE = "that of the pictures it was trained on, and of nothing else"
"""What binds a model that starts from random weights."""
_Channels = Annotated[tuple[float, float, float], Field(strict=False)]
_Range = Annotated[tuple[float, float], Field(strict=False)]


class CardInput(Spec):
    """What the network must be fed."""

    mean: _Channels
    """Subtracted from each channel, in the order ``order``, for pixels from 0 to 1."""
    std: _Channels
    """Each channel is then divided by this."""
    order: Literal["rgb", "bgr"] = "rgb"
    """The order in which the network takes the channels."""
    min_side_px: int
    """The shorter side of the picture after resizing, as far as ``max_side_px`` allows."""
    max_side_px: int
    """The longest that the longer side may be after resizing."""
    resize: Literal["bilinear, antialiased", "by the detector"] = "bilinear, antialiased"
    """How the picture is resized; sides are rounded down. A detector of other code does it
    itself."""
    pad_to_multiple_px: int = 32
    """Zeros are added at the right and below, after normalising, up to a multiple of this."""
    onnx_hw: Annotated[tuple[int, int], Field(strict=False)] | None = None
    """Height and width that ``model.onnx`` takes: pictures are made smaller until they fit, and
    filled up with ``mean`` at the right and below. Null: the file takes every size."""


class CardScore(Spec):
    """One score of the model, in AP points (0 to 100)."""

    metric: str
    """The name of the metric, such as ``ap``."""
    split: str
    """The split that was scored."""
    value: float
    """The score."""
    interval: _Range | None = None
    """95 % interval of the mean of its replicates; null for a single run."""
    replicates: int = 0
    """Runs of the same configuration with new seeds behind ``value``; 0: this very model."""


class ModelCard(Spec):
    """What must be known to use a model, and how good it is."""

    schema_version: Literal[1] = 1
    """Of this file's keys."""
    made_by: str
    """Program and version."""
    network: str
    """The architecture in words."""
    classes: Annotated[tuple[str, ...], Field(strict=False)]
    """The class of label 1, 2, ..."""
    first_label: Literal[1] = 1
    """The label of the first class, in the detections of this program and of the ONNX file."""
    torchvision_first_label: Literal[0, 1]
    """The label that plain torchvision gives to the first class with these tensors: 0 from
    RetinaNet and FCOS, 1 from two-stage detectors, whose label 0 is background."""
    tensor_names: Literal["torchvision", "rethink_ray"]
    """Whose names the tensors have. Networks that torchvision cannot build have ours."""
    input: CardInput
    """What the network must be fed."""
    level_ranges: dict[str, _Range] = {}
    """Kind of deep picture -> its levels of black and white; empty for 8 bits a channel."""
    keypoints: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Names of an object's keypoints, in order."""
    scores: Annotated[tuple[CardScore, ...], Field(strict=False)] = ()
    """Its scores; none for a model that was trained on all labelled pictures."""
    score_thresholds: dict[str, Fraction | None] = {}
    """Class -> the score from which its detections are shown: the best F1 at an overlap of 0.5 on
    ``thresholds_from``. Null: the model finds no object of the class there. Empty: none was
    chosen."""
    thresholds_from: str = ""
    """The split on which the thresholds were chosen; empty without thresholds."""
    trained_on_all: bool = False
    """Whether it learned from the scoring splits, too. Then nothing measures it."""
    start: str
    """What the weights were before the first update."""
    licence: str
    """What binds its user beside the licence of the training pictures: that of the start."""
    caveats: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """What the study that trained it says to beware of."""
    length: float
    """How long it was trained, in units of 1x."""
    trial_id: str
    """Of its configuration."""
    versions: dict[str, str] = {}
    """Package -> version with which it was written."""
    config: TrialConfig
    """The whole configuration of its run."""

    @property
    def thresholds_by_label(self) -> tuple[float | None, ...]:
        """The threshold of label 1, 2, ...; none without thresholds."""
        if not self.score_thresholds:
            return ()
        return tuple(self.score_thresholds.get(name) for name in self.classes)


def holds_model(folder: Path) -> bool:
    """Whether a folder has a model, of a run or for others."""
    return any((folder / name).is_file() for name in (MODEL_FILE, TENSOR_FILE))


def render_card(card: ModelCard) -> str:
    """The text of ``card.json``."""
    return card.model_dump_json(indent=1) + "\n"


def read_card(folder: Path) -> ModelCard | None:
    """The card in a model's folder; ``None`` without one.

    Raises:
        RecordError: the file cannot be read, or is no card.
    """
    path = folder / MODEL_CARD
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        return ModelCard.model_validate_json(text)
    except (OSError, ValueError) as error:
        must = "must be the card of a model"
        remedy = "Export the model again."
        raise RecordError(explain(str(path), must, say_error(error), remedy)) from None


def say_start(config: TrialConfig) -> str:
    """What the weights of a run are before its first update, in words."""
    init = config.recipe.init
    if config.recipe.labels.has_teacher:
        return "a teacher's labels" + ("" if init.source == "random" else f", and {init.source}")
    match init.source:
        case "random":
            return "random weights"
        case "upstream":
            return "a classifier that this program trained"
        case "direct":
            return "a first stage on the same pictures"
        case "detector":
            return f"the whole detector {init.weights}"
    return f"{init.source} {init.weights}"


def has_own_start_only(config: TrialConfig) -> bool:
    """Whether no weights of others are in a run: it starts from what this program trained."""
    init = config.recipe.init
    is_drawn = init.source in ("random", "upstream", "direct")
    is_own = init.source == "detector" and init.weights == "upstream_detector"
    teacher = config.teacher
    if teacher is not None and (teacher.weights_file or not has_own_start_only(teacher)):
        return False
    return is_drawn or is_own
