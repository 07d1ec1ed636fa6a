"""The names under which facts record the content of weights."""

from rethink_ray.spec.detector_weights import starts_from_file
from rethink_ray.spec.recipe import InitSpec

FROM_HUB = frozenset({"timm", "hub"})
"""Sources whose weights are a download of the Hugging Face hub, known by its digest."""


def weights_key(init: InitSpec, backbone: str) -> str:
    """How facts name the weights whose content ids cover.

    It is the path of a file, ``timm:<name>.<tag>``, or ``hub:org/name``; empty for other starts.
    """
    weights = init.weights or ""
    if starts_from_file(init):
        return weights
    match init.source:
        case "timm":
            return f"{backbone.partition('.')[0]}.{weights}"
        case "hub":
            return f"hub:{weights}"
        case _:
            return ""
