"""Finds pre-trained weights that are on this machine: in the caches of libraries, or in a file.

Nothing is downloaded here. Weights that are not here are named with the command that gets them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rethink_ray.spec.detector import DetectorSpec, Family
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.networks import BACKBONES, TIMM
from rethink_ray.spec.recipe import InitSpec

if TYPE_CHECKING:
    from rethink_ray.spec.pixel_input import InputSpec

WEIGHTS_OPTION = "--weights"
SMALL_CLASSIFIERS: Sequence[tuple[str, str]] = (
    ("timm:tf_efficientnet_lite0", "in1k"),
    ("efficientnet_b0", "IMAGENET1K_V1"),
    ("resnet18", "IMAGENET1K_V1"),
)
"""Backbones that a CPU trains, and their weights, the first choice first."""
LARGE_CLASSIFIERS: Sequence[tuple[str, str]] = (("resnet50", "IMAGENET1K_V1"),)
COCO_DETECTORS: Mapping[Family, str] = {
    "faster_rcnn": "FasterRCNN_ResNet50_FPN_Weights.COCO_V1",
    "mask_rcnn": "MaskRCNN_ResNet50_FPN_Weights.COCO_V1",
    "keypoint_rcnn": "KeypointRCNN_ResNet50_FPN_Weights.COCO_V1",
}
COMMON_BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101", "efficientnet_b0")
"""Backbones that are tried where the name of a file names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartWeights:
    """Pre-trained weights on this machine, in the words of a recipe."""

    name: str
    """For people."""
    backbone: str
    init: Mapping[str, Any]
    """``source``, ``weights`` and what else ``init`` needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingWeights:
    """Weights that would allow more arms."""

    name: str
    command: str
    """The command that downloads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableWeights:
    """The weights that arms can start from, and those that are not here."""

    classifier: StartWeights | None
    detector: StartWeights | None
    missing_classifiers: tuple[MissingWeights, ...] = ()
    """Any of them would do."""
    missing_detectors: tuple[MissingWeights, ...] = ()


def find_weights(family: Family, files: Sequence[Path], *, is_small: bool) -> AvailableWeights:
    """The weights for a detector of this family; a file comes before the caches.

    Args:
        family: of the arms.
        files: given by name.
        is_small: the arms are for a CPU, which trains no ResNet-50 detector.

    Raises:
        SpecError: a file holds no weights that are known by its name and its tensors.
    """
    in_files = [recognise_weights(path, family) for path in files]
    if len({is_whole for _, is_whole in in_files}) < len(in_files):
        must = "must name one classifier and one detector at most"
        shown = ", ".join(map(str, files))
        raise SpecError(explain(WEIGHTS_OPTION, must, shown, "Write a study for each."))
    classifier = next((one for one, is_whole in in_files if not is_whole), None)
    detector = next((one for one, is_whole in in_files if is_whole), None)
    if detector is not None and is_small:
        must = "must hold a classifier for a study on a CPU"
        remedy = "Detectors in files have a ResNet-50: write such a study for GPUs, with --gpus."
        raise SpecError(explain(WEIGHTS_OPTION, must, f"a whole detector, {detector.name}", remedy))
    missing: dict[str, tuple[MissingWeights, ...]] = {}
    if classifier is None:
        choices = SMALL_CLASSIFIERS if is_small else LARGE_CLASSIFIERS
        classifier, lacking = _find_first(choices)
        missing["missing_classifiers"] = () if classifier is not None else tuple(lacking)
    if detector is None and not is_small:
        detector, lacking = _find_detector(family)
        missing["missing_detectors"] = tuple(lacking)
    return AvailableWeights(classifier=classifier, detector=detector, **missing)


def _find_first(
    choices: Sequence[tuple[str, str]],
) -> tuple[StartWeights | None, list[MissingWeights]]:
    """The first classifier that a cache holds, and those before it that none does."""
    missing: list[MissingWeights] = []
    for backbone, weights in choices:
        is_timm = backbone.startswith(TIMM)
        if is_timm and find_spec("timm") is None:
            continue
        source = "timm" if is_timm else "torchvision"
        init: dict[str, Any] = {"source": source, "weights": weights}
        name, is_here, command = _look_up(DetectorSpec(backbone=backbone), InitSpec(**init))
        if is_here:
            init |= {"weights_norm": "bn"} if is_timm else {}
            return StartWeights(name=name, backbone=backbone, init=init), missing
        missing.append(MissingWeights(name=name, command=command))
    return None, missing


def _find_detector(family: Family) -> tuple[StartWeights | None, list[MissingWeights]]:
    init = {"source": "detector", "weights": COCO_DETECTORS[family]}
    name, is_here, command = _look_up(DetectorSpec(family=family), InitSpec.model_validate(init))
    if is_here:
        return StartWeights(name=name, backbone="resnet50", init=init), []
    return None, [MissingWeights(name=name, command=command)]


def _look_up(detector: DetectorSpec, init: InitSpec) -> tuple[str, bool, str]:
    """Name of published weights, whether they are in the cache here, and how to get them."""
    from rethink_ray.detection.hub_weights import HubWeights
    from rethink_ray.detection.published_weights import find_published

    published = find_published(detector, init)
    assert published is not None, "the weights have a name"
    if isinstance(published, HubWeights):
        return published.key, published.find() is not None, published.command
    function = f"torchvision.models.get_weight('{published.key}').get_state_dict()"
    command = f'python -c "import torchvision; {function}"'
    return published.key, published.find() is not None, command


def recognise_weights(path: Path, family: Family) -> tuple[StartWeights, bool]:
    """The weights in a file, and whether they are a whole detector.

    The file's name says the network (``resnet50-0676ba61.pth``, ``tf_efficientnet_lite0_in1k.pth``)
    and its tensors must fit it. Of common backbones the tensors are enough.

    Raises:
        SpecError: there is no such file, or no known network takes its weights.
    """
    from rethink_ray.detection.tensor_files import holds_detector, read_state_dict
    from rethink_ray.detection.weights import fits_backbone

    if not path.is_file():
        remedy = "Check the path; weights are one file, such as resnet50-0676ba61.pth."
        raise SpecError(explain(WEIGHTS_OPTION, "must name a file of weights", str(path), remedy))
    state = read_state_dict(path, f"{WEIGHTS_OPTION} {path}")
    if holds_detector(state):
        init: dict[str, Any] = {"source": "detector", "weights": str(path)}
        if family not in COCO_DETECTORS:
            must = "must hold a classifier for this study"
            shown, remedy = f"a whole detector, {path.name}", "Give the file of a classifier."
            raise SpecError(explain(WEIGHTS_OPTION, must, shown, remedy))
        return StartWeights(name=path.name, backbone="resnet50", init=init), True
    for backbone in _name_networks(path.stem):
        if fits_backbone(backbone, state):
            return _describe_file(path, backbone, state), False
    must = "must hold weights of a network that its name says, and that fit it"
    shown = f"{path.name} with {len(state)} tensors"
    remedy = (
        "Name the file after its network, as torchvision and timm do: resnet50.pth, "
        "tf_efficientnet_lite0.in1k.pth."
    )
    raise SpecError(explain(WEIGHTS_OPTION, must, shown, remedy))


def _name_networks(stem: str) -> Iterator[str]:
    """Backbones that a file's name may mean, the longest name first; then common ones."""
    spelled = _spell(stem)
    known = sorted((name for name in BACKBONES if _spell(name) in spelled), key=len, reverse=True)
    yield from known
    if find_spec("timm") is not None:
        import timm

        names = [name for name in timm.list_models() if _spell(name) in spelled]
        for name in sorted(names, key=len, reverse=True)[:3]:
            yield f"{TIMM}{name}{_find_tag(name, spelled)}"
    yield from (name for name in COMMON_BACKBONES if name not in known)


def _find_tag(name: str, spelled: str) -> str:
    """``.in1k`` if the rest of a file's name is a tag of timm's weights; else nothing."""
    import timm

    rest = spelled.partition(_spell(name))[2]
    tagged = (full.partition(".")[2] for full in timm.list_models(f"{name}.*", pretrained=True))
    tags = sorted((tag for tag in tagged if rest and _spell(tag) in rest), key=len)
    return f".{tags[-1]}" if tags else ""


def _spell(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _describe_file(path: Path, backbone: str, state: Mapping[str, Any]) -> StartWeights:
    """The start of a run: its norm, and its input unless the name of the network says it."""
    init: dict[str, Any] = {"source": "file", "weights": str(path)}
    if any(name.endswith("running_mean") for name in state):
        init["weights_norm"] = "bn"
    if not backbone.startswith(TIMM):
        init["input"] = "imagenet"
    elif "." not in backbone:
        pixels = _find_only_input(path, backbone)
        init["input"] = {"mean": [*pixels.mean], "std": [*pixels.std]}
    return StartWeights(name=f"{backbone} ({path.name})", backbone=backbone, init=init)


def _find_only_input(path: Path, backbone: str) -> "InputSpec":
    """The input that all of timm's weights of a network share.

    Raises:
        SpecError: they differ, so the file's name must say which of them it holds.
    """
    import timm

    from rethink_ray.detection.pixel_norm import input_of_timm

    name = backbone.removeprefix(TIMM)
    tagged = timm.list_models(f"{name}.*", pretrained=True) or [name]
    inputs = [input_of_timm(f"{TIMM}{full}") for full in tagged]
    if all(one.is_same(inputs[0]) for one in inputs):
        return inputs[0]
    must = "must say in its name which of timm's weights it holds, since their inputs differ"
    tags = ", ".join(full.partition(".")[2] for full in tagged)
    remedy = f"Name it {name}.TAG.pth with one of {tags}."
    raise SpecError(explain(WEIGHTS_OPTION, must, path.name, remedy))
