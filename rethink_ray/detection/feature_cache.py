"""Caches the maps of frozen networks, so that equal pixels pass a frozen network once.

An image's maps are stored under a digest of its normalised and padded pixels, however these came
about, and of the network, the threads and the precision. Convolutions of one image and of several
differ in the last bits, so the maps of both are stored apart. Each number of images is tried once
against pairs, and a network whose maps depend on neighbours is not cached. So cached maps equal
computed ones bit for bit.
"""

import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from rethink_ray.spec.errors import SpecError, explain

FEATURES_VARIABLE = "RETHINK_RAY_FEATURES_MB"
DEFAULT_FEATURES_MB = 256
"""Room for both versions of 4,000 pictures of 96 px under ``tiny_retinanet``."""

StageMaps = OrderedDict[str, Tensor]
"""Name of a stage or level -> ``[N, C, H, W]``."""
ImageMaps = tuple[Tensor, ...]
"""The maps of one image, ``[C, H, W]`` each."""
MapsOf = Callable[[Tensor], StageMaps]
"""Computes the maps of normalised images ``[N, 3, H, W]``."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapLayout:
    """How one map of a batch lies in memory; the kernels that read it are chosen by this."""

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    def gather(self, maps: Sequence[Tensor]) -> Tensor:
        """Returns a new batch of these maps."""
        batch = torch.empty_strided(self.shape, self.strides, dtype=self.dtype)
        for row, one in zip(batch, maps, strict=True):
            row.copy_(one)
        return batch


Layouts = tuple[MapLayout, ...]


class FeatureCache:
    """Holds maps of images up to a number of bytes.

    Maps that the running trial does not use make room, the least recently used first.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = self._bytes_left = capacity_bytes
        self.layouts: dict[tuple[bytes, int], Layouts | None] = {}
        """(Network and size of the images, number of images) -> the layouts of their maps;
        ``None``: these maps depend on neighbours."""
        self._maps: OrderedDict[bytes, tuple[ImageMaps, int]] = OrderedDict()
        """Key of an image -> its maps, and the number of the run that used them last."""
        self._num_runs = 0

    def __len__(self) -> int:
        return len(self._maps)

    def start_run(self) -> int:
        """Returns the number of a new run."""
        self._num_runs += 1
        return self._num_runs

    def read(self, key: bytes, run: int) -> ImageMaps | None:
        """Returns an image's maps, which callers must not write to; ``None``: there are none."""
        if key not in self._maps:
            return None
        maps, _ = self._maps[key]
        self._maps[key] = maps, run
        self._maps.move_to_end(key)
        return maps

    def write(self, key: bytes, maps: ImageMaps, run: int) -> bool:
        """Stores an image's maps; returns whether there was room beside the run's other maps."""
        if self.read(key, run) is not None:
            return True
        num_bytes = _count_bytes(maps)
        while num_bytes > self._bytes_left and self._maps:
            oldest, (_, last_run) = next(iter(self._maps.items()))
            if last_run == run:
                break
            self._drop(oldest)
        if num_bytes > self._bytes_left:
            return False
        self._bytes_left -= num_bytes
        self._maps[key] = maps, run
        return True

    def _drop(self, key: bytes) -> None:
        maps, _ = self._maps.pop(key)
        self._bytes_left += _count_bytes(maps)


class FrozenForward:
    """The forward pass of a network's frozen part in one run: its maps are read or computed."""

    def __init__(self, features: FeatureCache, settings: str, *, in_training: bool) -> None:
        """Starts a run.

        Args:
            features: shared with the other runs of this process.
            settings: of the network, as far as its weights do not determine its maps.
            in_training: whether training shows the same pixels again. Scoring always does.
        """
        self.in_training = in_training
        self._features = features
        self._settings = settings
        self._run = features.start_run()
        self._is_full = False
        self._tensors: list[tuple[Tensor, int, int]] = []
        """Weights and buffers with their versions and addresses, when ``_digest`` was taken."""
        self._digest = b""

    def __call__(self, images: Tensor, frozen: nn.Module, compute: MapsOf) -> StageMaps:
        """Returns the maps of normalised and padded images ``[N, 3, H, W]``.

        Args:
            images: on any device; maps are cached on the CPU alone.
            frozen: the part of the network that determines the maps.
            compute: its forward pass.
        """
        if not len(images) or images.device.type != "cpu":
            return compute(images)
        network = self._describe(images, frozen)
        if (network, len(images)) not in self._features.layouts:
            return self._compute_first(images, network, compute)
        layouts = self._features.layouts[network, len(images)]
        if layouts is None:
            return compute(images)
        keys = _digest_images(images, network)
        cached = {number: self._features.read(key, self._run) for number, key in enumerate(keys)}
        maps = {number: one for number, one in cached.items() if one is not None}
        missing = [number for number in cached if number not in maps]
        if missing:
            maps |= self._compute_some(images, missing, network, compute)
            self._write({keys[number]: maps[number] for number in missing})
        by_layout = zip(*(maps[number] for number in range(len(images))), strict=True)
        return OrderedDict(
            (layout.name, layout.gather(batch))
            for layout, batch in zip(layouts, by_layout, strict=True)
        )

    def _compute_first(self, images: Tensor, network: bytes, compute: MapsOf) -> StageMaps:
        """Computes the maps of a number of images that was never tried, and tries it."""
        maps = compute(images)
        if self._try_number(images, maps, network, compute):
            self._write(
                {
                    key: _copy_image(maps, number)
                    for number, key in enumerate(_digest_images(images, network))
                }
            )
        return maps

    def _compute_some(
        self, images: Tensor, numbers: Sequence[int], network: bytes, compute: MapsOf
    ) -> dict[int, ImageMaps]:
        """Computes these images of a batch in one pass; returns number -> maps.

        One of several images takes a neighbour along. If so few images have other maps than the
        whole batch, the whole batch is computed.
        """
        if len(numbers) == 1 and len(images) > 1:
            numbers = [*numbers, (numbers[0] + 1) % len(images)]
        some = _select(images, numbers)
        maps = compute(some)
        if not self._try_number(some, maps, network, compute):
            numbers, maps = range(len(images)), compute(images)
        return {number: _copy_image(maps, row) for row, number in enumerate(numbers)}

    def _try_number(self, images: Tensor, maps: StageMaps, network: bytes, compute: MapsOf) -> bool:
        """Returns whether so many images have the maps that pairs have; tried once."""
        number = (network, len(images))
        if number not in self._features.layouts:
            is_constant = not any(one.requires_grad for one in maps.values())
            is_equal = is_constant and _has_maps_of_pairs(images, maps, compute)
            self._features.layouts[number] = _list_layouts(maps) if is_equal else None
        return self._features.layouts[number] is not None

    def _write(self, maps: Mapping[bytes, ImageMaps]) -> None:
        """Stores maps as long as there is room; then further images are computed each time."""
        if self._is_full:
            return
        self._is_full = not all(
            self._features.write(key, one, self._run) for key, one in maps.items()
        )
        if self._is_full:
            _log.info(
                "Frozen maps of this run take more than %d MB: the others are computed each time. "
                "Set %s to cache more.",
                self._features.capacity_bytes // 2**20,
                FEATURES_VARIABLE,
            )

    def _describe(self, images: Tensor, frozen: nn.Module) -> bytes:
        """Digests everything but pixels and number of images that decides about the last bit."""
        tensors = [
            (one, one._version, one.data_ptr()) for one in (*frozen.parameters(), *frozen.buffers())
        ]
        is_same = len(tensors) == len(self._tensors) and all(
            one[0] is other[0] and one[1:] == other[1:]
            for one, other in zip(tensors, self._tensors, strict=True)
        )
        if not is_same:
            self._tensors, self._digest = tensors, _digest_network(frozen, self._settings)
        arithmetic = (
            torch.get_num_threads(),
            torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"),
            torch.are_deterministic_algorithms_enabled(),
        )
        layout = (images.shape[1:], images.stride()[1:], images.dtype)
        return hashlib.sha256(self._digest + repr((arithmetic, layout)).encode()).digest()


def open_feature_cache() -> FeatureCache:
    """Returns the cache of this process.

    Raises:
        SpecError: the variable that sets its size holds no whole number.
    """
    text = os.environ.get(FEATURES_VARIABLE, str(DEFAULT_FEATURES_MB))
    if not text.isdecimal():
        must = "must be a whole number of megabytes"
        raise SpecError(explain(FEATURES_VARIABLE, must, text, "0 caches nothing."))
    return _open_cache_of(int(text))


@cache
def _open_cache_of(megabytes: int) -> FeatureCache:
    return FeatureCache(megabytes * 2**20)


def _has_maps_of_pairs(images: Tensor, maps: StageMaps, compute: MapsOf) -> bool:
    """Returns whether each of several images has the same maps in a pair, at another position."""
    if len(images) == 1:
        return True
    turned = range(len(images) - 1, -1, -1)
    for first in range(0, len(images), 2):
        pair = [*turned[first : first + 2], turned[0]][:2]
        again = compute(_select(images, pair))
        if not all(torch.equal(maps[name][pair], one) for name, one in again.items()):
            return False
    return True


def _list_layouts(maps: StageMaps) -> Layouts:
    return tuple(
        MapLayout(name=name, shape=tuple(one.shape), strides=one.stride(), dtype=one.dtype)
        for name, one in maps.items()
    )


def _copy_image(maps: StageMaps, number: int) -> ImageMaps:
    return tuple(one[number].clone() for one in maps.values())


def _select(images: Tensor, numbers: Sequence[int]) -> Tensor:
    """Returns these images as a batch of the same layout."""
    shape = (len(numbers), *images.shape[1:])
    some = torch.empty_strided(shape, images.stride(), dtype=images.dtype)
    return some.copy_(images[list(numbers)])


def _digest_images(images: Tensor, network: bytes) -> list[bytes]:
    """Returns the key of each image: whether it passes alone counts, its neighbours do not."""
    kind = hashlib.sha256(network + (b"alone" if len(images) == 1 else b"several"))
    keys = []
    for image in images:
        key = kind.copy()
        key.update(_read_bytes(image))
        keys.append(key.digest())
    return keys


def _digest_network(frozen: nn.Module, settings: str) -> bytes:
    whole = hashlib.sha256(settings.encode())
    for name, one in (*frozen.named_parameters(), *frozen.named_buffers()):
        whole.update(f"{name} {tuple(one.shape)} {one.dtype}".encode())
        whole.update(_read_bytes(one))
    return whole.digest()


def _read_bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data


def _count_bytes(maps: ImageMaps) -> int:
    return sum(one.numel() * one.element_size() for one in maps)
