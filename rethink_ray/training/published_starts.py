"""The published weights that a study's runs start from: downloaded, compared, described.

The start of ``run`` downloads what is missing on its machine, so that no trial waits for a download
or finds hours later that its weights do not fit. Weights of a hub can change there, so ids have
their digest, and every node compares it.
"""

import logging
from collections.abc import Iterator, Mapping

from rethink_ray.detection.hub_weights import HubWeights, find_hub_weights, is_offline
from rethink_ray.detection.pixel_norm import input_of_timm, require_stated_input
from rethink_ray.detection.published_weights import PublishedWeights, find_published
from rethink_ray.spec.errors import DataError, SpecError, explain
from rethink_ray.spec.networks import has_timm_tag
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.study import Study
from rethink_ray.spec.weight_files import hub_weights_of, list_starts

_log = logging.getLogger(__name__)


def list_published(study: Study, where: str) -> Mapping[str, tuple[PublishedWeights, str]]:
    """Name of published weights -> the weights, and the key that names them first.

    Raises:
        SpecError: there are none of this name, or the library is not installed.
    """
    named: dict[str, tuple[PublishedWeights, str]] = {}
    for cell_name, recipe in list_starts(study):
        try:
            weights = find_published(recipe.detector, recipe.init)
        except SpecError as error:
            raise error.within(f"{where}: {cell_name}") from None
        if weights is not None:
            key = f"{where}: {cell_name}: init.weights {recipe.init.weights}"
            named.setdefault(weights.key, (weights, key))
    return named


def fetch_published(study: Study, where: str) -> dict[str, str]:
    """Name of each download of a hub -> its digest; downloads what this machine lacks.

    Weights of torchvision, whose names carry their hash, may lie on the nodes alone: if they cannot
    be downloaded here, the trials look for them.

    Raises:
        SpecError: weights of a hub are missing and cannot be downloaded, or are not readable.
    """
    digests: dict[str, str] = {}
    for key, (weights, named_by) in list_published(study, where).items():
        if isinstance(weights, HubWeights):
            try:
                digests[key] = weights.compute_digest("init.weights")
            except SpecError as error:
                raise error.within(named_by.partition(": init.weights")[0]) from None
            continue
        try:
            weights.fetch()
        except SpecError as error:
            _log.warning("%s", error)
    return digests


def require_stated_inputs(study: Study, where: str) -> None:
    """No run states another input than the one that its weights are known to have.

    Weights that are not on this machine yet are passed over, unless their library knows them.

    Raises:
        SpecError: names the first run that does.
    """
    for cell_name, recipe in list_starts(study):
        if recipe.init.input is None:
            continue
        try:
            _require_stated_input(recipe)
        except SpecError as error:
            raise error.within(f"{where}: {cell_name}") from None


def _require_stated_input(recipe: Recipe) -> None:
    detector, init = recipe.detector, recipe.init
    if (weights := find_published(detector, init)) is not None:
        known = weights.read_input("init.weights")
    elif init.source == "file" and has_timm_tag(detector.backbone):
        known = input_of_timm(detector.backbone)
    else:
        return
    if known is not None:
        require_stated_input(known, init.input, "init.input")


def require_same_download(config: TrialConfig) -> None:
    """The weights of a hub on this node are those that the study was started with.

    Raises:
        SpecError: they are missing here, and cannot be downloaded.
        DataError: their content differs.
    """
    weights = find_hub_weights(config.recipe.detector.backbone, config.recipe.init)
    weights.fetch()
    if not config.weights_digest:
        return
    digest = weights.compute_digest("init.weights")
    if digest != config.weights_digest:
        must = f"must be the weights that the study was started with ({config.weights_digest})"
        remedy = (
            "Copy the hub's cache of the machine that started the study here, or name a revision: "
            "init.weights: org/name@revision."
        )
        raise DataError(explain(f"init.weights {weights.key}", must, digest, remedy))


def describe_cached_weights(study: Study, where: str) -> Iterator[str]:
    """Each download of a hub with its digest on this machine, or that it is not here yet.

    Raises:
        SpecError: one cannot be looked up or read.
    """
    for key, (recipe, named_by) in hub_weights_of(study, where).items():
        weights = find_hub_weights(recipe.detector.backbone, recipe.init)
        is_here = weights.find() is not None
        yield f"{key} {weights.compute_digest(named_by)}" if is_here else f"{key} not here yet"


def describe_downloads(study: Study, where: str) -> Iterator[str]:
    """Lines for ``plan``: the licence of each download of a hub, and whether it is here."""
    for key, (recipe, named_by) in hub_weights_of(study, where).items():
        try:
            weights = find_hub_weights(recipe.detector.backbone, recipe.init)
            licence = weights.read_licence() or "not known here: read the card of the repository"
        except SpecError as error:
            yield f"weights: {key} cannot be looked up ({named_by}): {error}"
            continue
        yield f"weights: {key} ({weights.repository}): licence {licence}"
        if weights.find() is None:
            refused = "run refuses to start without it, because HF_HUB_OFFLINE is set"
            outcome = refused if is_offline() else "run downloads it"
            yield f"weights: {key} is NOT THERE ({named_by}); {outcome}: {weights.command}"
