"""Weights that a library downloads, by one door: torchvision's by name, timm's by tag, a hub's.

Torchvision's are classifiers, for a backbone, and whole detectors.

``find`` returns the file in this machine's cache, ``fetch`` downloads it if it is not there.
"""

import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

import torch
import torchvision
from torchvision.models import WeightsEnum, get_weight

from rethink_ray.detection.hub_weights import find_hub_weights
from rethink_ray.detection.pixel_norm import input_of_torchvision, require_stated_input
from rethink_ray.spec.detector_weights import find_detector_origin, find_published_name
from rethink_ray.spec.errors import SpecError, explain, say_error
from rethink_ray.spec.networks import from_torchvision
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec
from rethink_ray.spec.recipe import DetectorSpec, InitSpec
from rethink_ray.spec.weight_files import STATE_THE_INPUT_OR_A_TAG
from rethink_ray.spec.weight_keys import FROM_HUB

SERVER_ANSWER_SECONDS = 10.0
"""How long a server of weights may take to answer."""


class PublishedWeights(Protocol):
    """One set of weights in the cache of a library."""

    @property
    def key(self) -> str:
        """Their name in messages."""

    @property
    def command(self) -> str:
        """What to do to have them in the cache."""

    def find(self) -> Path | None:
        """Returns their file in this machine's cache; ``None``: not there yet."""

    def fetch(self) -> Path:
        """Returns their file, downloaded if it is missing; ``SpecError`` if it cannot be."""

    def measure_download(self) -> int:
        """Returns the bytes that ``fetch`` would download, by asking the server."""

    def read_input(self, where: str) -> InputSpec | None:
        """Returns their input; ``None`` if it must be stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchvisionWeights:
    """Weights of a classifier or a detector of torchvision; their cache is torch's hub folder."""

    weights: WeightsEnum
    known_input: InputSpec

    @property
    def key(self) -> str:
        """Their full name, ``ResNet50_Weights.IMAGENET1K_V1``."""
        return str(self.weights)

    @property
    def command(self) -> str:
        """What to do to have them in the cache."""
        return (
            "copy the file into torch's hub folder (checkpoints/), or write its path in "
            "init.weights (with init.source: file for a backbone)"
        )

    def find(self) -> Path | None:
        """Returns the file in torch's hub folder; ``None``: not there yet."""
        path = Path(torch.hub.get_dir()) / "checkpoints" / self.weights.url.rsplit("/", 1)[-1]
        return path if path.is_file() else None

    def fetch(self) -> Path:
        """Returns the file, downloaded and compared with the hash in its name if it is missing.

        Raises:
            SpecError: it cannot be downloaded.
        """
        if (cached := self.find()) is not None:
            return cached
        try:
            self.weights.get_state_dict(progress=False, check_hash=True)
        except (OSError, HTTPException, RuntimeError) as error:
            raise self._refuse(say_error(error)) from error
        if (fetched := self.find()) is None:
            raise self._refuse("no file after the download")
        return fetched

    def measure_download(self) -> int:
        """Returns the bytes that ``fetch`` would download, by asking the server.

        Raises:
            OSError: the server does not answer.
        """
        request = urllib.request.Request(self.weights.url, method="HEAD")
        with urllib.request.urlopen(request, timeout=SERVER_ANSWER_SECONDS) as answer:
            return int(answer.headers.get("Content-Length", 0))

    def read_input(self, where: str) -> InputSpec:
        """Returns the input, which torchvision knows."""
        return self.known_input

    def _refuse(self, shown: str) -> SpecError:
        must = "must be in torch's hub cache or downloadable"
        remedy = f"{self.command[0].upper()}{self.command[1:]}."
        return SpecError(explain(f"init.weights {self.key}", must, shown, remedy))


def find_published(detector: DetectorSpec, init: InitSpec) -> PublishedWeights | None:
    """Returns the published weights that ``init`` names; ``None`` for every other start.

    Raises:
        SpecError: there are none of this name, or the library is not installed.
    """
    if init.source == "torchvision":
        weights = torchvision_weights(detector.backbone, init.weights)
        return TorchvisionWeights(weights=weights, known_input=input_of_torchvision(weights))
    if find_detector_origin(init) == "torchvision":
        return find_published_detector(detector, init.weights or "")
    return find_hub_weights(detector.backbone, init) if init.source in FROM_HUB else None


def find_published_detector(detector: DetectorSpec, name: str) -> TorchvisionWeights:
    """Returns torchvision's weights of a whole detector.

    All of them have ImageNet's input. Source: vision, ``torchvision/models/detection/
    {faster_rcnn,retinanet,fcos}.py`` (``image_mean``, ``image_std``).

    Raises:
        SpecError: there are none of this name for this family and backbone.
    """
    full_name = find_published_name(detector, name)
    if full_name is None:
        must = f"must be the name of torchvision's weights for a {detector.family}"
        raise SpecError(explain("init.weights", must, name))
    return TorchvisionWeights(weights=get_weight(full_name), known_input=IMAGENET)


def resolve_input(weights: PublishedWeights, stated: InputSpec | None, where: str) -> InputSpec:
    """Returns the input of published weights, which is the stated one if one is stated.

    Raises:
        SpecError: the stated input is another one, or nothing says it.
    """
    known = weights.read_input(where)
    if known is not None:
        require_stated_input(known, stated, where)
        return stated or known
    if stated is not None:
        return stated
    must = f"must say how the pixels of {weights.key} are normalised"
    raise SpecError(explain(where, must, None, STATE_THE_INPUT_OR_A_TAG))


def torchvision_weights(backbone: str, name: str | None) -> WeightsEnum:
    """Returns a backbone's weights by torchvision's name, ``ResNet50_Weights.IMAGENET1K_V1``.

    The part after the dot is enough.

    Raises:
        SpecError: torchvision has no such weights; the message lists the available ones.
    """
    model = from_torchvision(backbone)
    candidates = list(torchvision.models.get_model_weights(model)) if model else []
    for weights in candidates:
        if name in (weights.name, str(weights)):
            return weights
    must = f"must be a torchvision weights name of {backbone}"
    remedy = f"Known: {', '.join(map(str, candidates)) or 'none; use init.source: upstream'}."
    raise SpecError(explain("init.weights", must, name, remedy))
