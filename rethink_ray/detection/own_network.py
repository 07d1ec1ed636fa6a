"""Detectors that are not ours: ``detector.family: package.module:build``.

``build(spec, num_classes)`` returns a module whose weights are drawn from torch's global generator.
``num_classes`` is without background. ``spec`` is the recipe's ``DetectorSpec``, of which it may
read ``family``, ``min_side_px``, ``max_side_px``, ``score_threshold``, ``nms_iou`` and
``detections``. Images are ``[3, H, W]`` float32 in 0..1, RGB, of any size; targets have ``boxes``
(``[N, 4]``, xyxy, pixels; N may be 0), ``labels`` (from 1) and ``image_id``. The module has

- ``losses(images, targets, *, seed, step)``: a mapping of scalars, whose sum is minimised. Torch's
  global generators are seeded from seed, step and image ids, and restored afterwards; no other
  generator may be used. With ``shares_batches = True`` it returns ``(losses, divisions)``, each
  loss named in one ``peers.Division``: then workers and micro-batches can share a batch.
- ``detect(images)``: for each image ``boxes_xyxy`` in its own pixels, ``scores`` in 0..1, best
  first, and ``labels`` from 1. An image's detections do not depend on its neighbours.

It may also have ``backbone``, the part that ``init.frozen: backbone`` freezes, whose rate is
``optimizer.backbone_rate`` times that of the rest, and whose drift is recorded;
``parameter_groups()``, which puts each trainable parameter under ``weights`` or ``norms``;
``class_tensors``, patterns of the names of tensors with rows for classes, which a file of weights
does not fill; ``rename_weights(state)``, which gives a foreign file its names; and
``read_settings()``, the live values of keys of ``detector``. ``rethink-ray check-detector`` checks
all of this.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from rethink_ray.detection.freezing import split_by_decay
from rethink_ray.detection.peers import Division, count_on
from rethink_ray.detection.resize import Resize
from rethink_ray.detection.sampling import SamplePosition
from rethink_ray.detection.tensor_files import read_state_dict
from rethink_ray.detection.tensor_fit import compare_tensors, require_finite_weights
from rethink_ray.spec.errors import SpecError, explain, say_error
from rethink_ray.spec.hashing import derive_seed
from rethink_ray.spec.own_families import FamilyAxes, axes_of
from rethink_ray.spec.pixel_input import InputSpec
from rethink_ray.spec.recipe import DetectorSpec, Frozen, InitSpec, Recipe

OWN_CONTRACT = "See rethink_ray.detection.own_network for the rules of a detector."
UNCHANGED_PIXELS = InputSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
GROUPS = ("weights", "norms")
"""Names of parameter groups: ``optimizer.weight_decay`` and ``norm_weight_decay`` count there."""
MODEL_PREFIX = "network.model."
"""The beginning of a model's names in our files."""


class UnresizedInput(Resize):
    """Hands images on as they are: a detector that is not ours resizes and normalises itself."""

    def __init__(self, min_size: int, max_size: int) -> None:
        super().__init__(min_size, max_size)
        self.pixel_norm.set_input(UNCHANGED_PIXELS)

    def padded_hw_from(self, height: int, width: int) -> tuple[int, int]:
        """Returns one size for all images, so that a batch is one pass."""
        return (0, 0)


class OwnNetwork(nn.Module):
    """A detector that is not ours, called like the networks of our families."""

    def __init__(self, model: nn.Module, spec: DetectorSpec, keys_read: frozenset[str]) -> None:
        """Wraps what ``build`` returned; ``keys_read``: of ``spec``, while it was built."""
        super().__init__()
        self.model = model
        self.family = spec.family
        self.keys_read = keys_read
        self.transform = UnresizedInput(spec.min_side_px, spec.max_side_px)
        self.position: SamplePosition | None = None
        """Seed, step and image ids of the next losses."""
        self.is_frozen = False
        """Whether its backbone does not train now."""
        self._freezable: tuple[nn.Parameter, ...] = ()
        """The parameters that train again when the backbone is no longer frozen."""
        self._divisions: tuple[Division, ...] = ()

    @property
    def shares_batches(self) -> bool:
        """Whether workers and micro-batches can share a batch without changing its losses."""
        return bool(getattr(self.model, "shares_batches", False))

    @property
    def backbone_part(self) -> nn.Module | None:
        """The backbone, if the detector says which part it is."""
        part = getattr(self.model, "backbone", None)
        return part if isinstance(part, nn.Module) else None

    @property
    def frozen_names(self) -> tuple[str, ...]:
        """The name of the frozen backbone, if it is frozen."""
        part = self.backbone_part if self.is_frozen else None
        return tuple(name for name, module in self.named_modules() if module is part)

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Returns losses in training, and detections in evaluation mode."""
        if self.training:
            assert targets is not None, "losses need targets"
            return self._losses(images, targets)
        detections = cast(Any, self.model).detect(images)
        return [
            {"boxes": one["boxes_xyxy"], "scores": one["scores"], "labels": one["labels"]}
            for one in detections
        ]

    def _losses(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        assert self.position is not None, "a position is set before each forward"
        seed, step, image_ids = self.position.seed, self.position.step, self.position.image_ids
        named = [
            {**target, "image_id": torch.tensor(image_id)}
            for target, image_id in zip(targets, image_ids, strict=True)
        ]
        device = images[0].device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(derive_seed(seed, "losses", step, *image_ids))
            output = cast(Any, self.model).losses(images, named, seed=seed, step=step)
        losses, self._divisions = self._split_output(output, device)
        return losses

    def _split_output(
        self, output: Any, device: torch.device
    ) -> tuple[dict[str, Tensor], tuple[Division, ...]]:
        """Returns losses and their divisions; a loss of a whole batch is divided by one."""
        if self.shares_batches:
            losses, divisions = output
        else:
            names = tuple(output)
            losses = output
            divisions = (Division(names=names, count=count_on(device, 1), at_least=1),)
        return dict(losses), tuple(divisions)

    def divisions(self) -> tuple[Division, ...]:
        """Returns the counts that divided the newest losses."""
        return self._divisions

    def freeze(self, frozen: Frozen) -> None:
        """Freezes parameters, statistics and mode of the backbone, or lets it train again.

        Parameters that the detector itself keeps from training never train.

        Raises:
            SpecError: the detector does not say which part its backbone is.
        """
        if (frozen != "none") == self.is_frozen:
            return
        if frozen != "none":
            parameters = self._require_backbone("init.frozen", "none", frozen).parameters()
            self._freezable = tuple(p for p in parameters if p.requires_grad)
        self.is_frozen = frozen != "none"
        for parameter in self._freezable:
            parameter.requires_grad_(not self.is_frozen)
        self.train(self.training)

    def backbone_parameters(self) -> tuple[nn.Parameter, ...]:
        """Returns all parameters of the backbone; none if the detector names no backbone."""
        return () if self.backbone_part is None else tuple(self.backbone_part.parameters())

    def _require_backbone(self, key: str, allowed: str, value: object) -> nn.Module:
        if self.backbone_part is None:
            must = f"must be {allowed} with {self.family}, which names no backbone"
            raise SpecError(explain(key, must, value, OWN_CONTRACT))
        return self.backbone_part

    def count_thawed(self) -> int:
        """Returns the number of weights that train when nothing is frozen any more."""
        freezable = {id(p) for p in self._freezable}
        trained = (p for p in self.parameters() if p.requires_grad or id(p) in freezable)
        return sum(p.numel() for p in trained)

    def read_frozen(self) -> str:
        """Returns ``backbone`` if all of the live backbone is frozen, else ``none``."""
        part = self.backbone_part
        if part is None or part.training or any(p.requires_grad for p in part.parameters()):
            return "none"
        return "backbone"

    def train(self, mode: bool = True) -> "OwnNetwork":
        """Sets the mode of all parts; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.is_frozen and self.backbone_part is not None:
            self.backbone_part.eval()
        return self

    def group_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Returns the trainable parameters outside norms, and those of norms."""
        group = getattr(self.model, "parameter_groups", None)
        if group is None:
            # modules can share parameters
            weights, norms = map(list, map(dict.fromkeys, split_by_decay(self.model)))
            return weights, norms
        groups: Mapping[str, Sequence[nn.Parameter]] = group()
        weights, norms = ([p for p in groups.get(name, ()) if p.requires_grad] for name in GROUPS)
        return weights, norms

    def name_wrong_groups(self) -> str:
        """Returns what is wrong with the parameter groups, in words; empty if each trainable
        parameter is in one of them."""
        grouped = [id(p) for group in self.group_parameters() for p in group]
        trainable = {id(p) for p in self.parameters() if p.requires_grad}
        if len(grouped) != len(set(grouped)):
            return "a parameter is in the groups twice"
        num_missing, num_surplus = len(trainable - set(grouped)), len(set(grouped) - trainable)
        if not num_missing and not num_surplus:
            return ""
        return f"{num_missing} trainable parameters are in no group, {num_surplus} are not its own"

    def read_settings(self) -> dict[str, Any]:
        """Returns the live values of keys of ``detector``, as far as the detector tells them."""
        read = getattr(self.model, "read_settings", None)
        return {} if read is None else dict(read())

    def load_start(self, init: InitSpec) -> None:
        """Loads the weights that ``init`` names; ``random`` keeps the drawn ones.

        Raises:
            SpecError: the file cannot be read or does not fit.
        """
        if init.source == "file":
            where = f"init.weights {init.weights}"
            self.load_weights(read_state_dict(Path(init.weights or ""), where), where)

    def load_weights(self, state: Mapping[str, Tensor], where: str) -> None:
        """Copies all tensors of a state dict but those with rows for classes.

        Raises:
            SpecError: a name is missing or left over, or a shape differs; the message lists them.
        """
        taken = self.require_fitting(state, where)
        self.model.load_state_dict({**self.model.state_dict(), **taken})

    def require_fitting(self, state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
        """Returns the tensors of a state dict that this detector takes over, under its names.

        Raises:
            SpecError: as ``load_weights``, or a tensor is not finite.
        """
        if any(name.startswith(MODEL_PREFIX) for name in state):
            state = {
                name.removeprefix(MODEL_PREFIX): value
                for name, value in state.items()
                if name.startswith(MODEL_PREFIX)
            }
        elif (rename := getattr(self.model, "rename_weights", None)) is not None:
            state = rename(state)
        needed = {k: v for k, v in self.model.state_dict().items() if not self.is_of_class(k)}
        given = {name: value for name, value in state.items() if not self.is_of_class(name)}
        fit = compare_tensors(needed, given)
        if not fit.is_exact:
            must = f"must fill {self.family} exactly, but for its rows of classes"
            raise SpecError(explain(where, must, fit.words, "Choose weights of this detector."))
        require_finite_weights(given, given, where)
        return {
            name: value
            for name, value in given.items()
            if name in needed and needed[name].shape == value.shape  # counters may have another
        }

    def is_of_class(self, name: str) -> bool:
        """Whether a tensor of the model has rows for classes."""
        patterns: Sequence[str] = getattr(self.model, "class_tensors", ())
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    def require_usable(
        self, recipe: Recipe, num_workers: int, images_per_step: int | None = None
    ) -> None:
        """Refuses a recipe that the detector cannot follow.

        Args:
            recipe: how its runs train.
            num_workers: processes that share a batch.
            images_per_step: of a worker in one pass; ``None``: all at once.

        Raises:
            SpecError: ``optimizer.backbone_rate`` is not 1, and the detector names no backbone; or
                workers or micro-batches share a batch, and ``shares_batches`` is not true; or a
                trainable parameter is in no parameter group, or in two.
        """
        if wrong_groups := self.name_wrong_groups():
            must = f"must have every trainable parameter in one of its groups {', '.join(GROUPS)}"
            raise _own_error(self.family, must, wrong_groups, OWN_CONTRACT)
        rate = recipe.optimizer.backbone_rate
        if rate != 1.0:
            self._require_backbone("optimizer.backbone_rate", "1", rate)
        share = recipe.batch_size // num_workers
        is_cut = (images_per_step or share) < share
        if self.shares_batches or (num_workers == 1 and not is_cut):
            return
        key, parts = "resources.images_per_step", "micro-batches"
        if num_workers > 1:
            key, parts = "resources.workers", f"{num_workers} workers"
        must = f"must give {self.family} a whole batch in one process and one pass"
        remedy = "Leave it out, or let losses return its divisions (shares_batches = True)."
        raise SpecError(explain(key, must, parts, remedy))


class ReadableSpec:
    """A recipe's ``DetectorSpec`` of which only those keys can be read that a study can set."""

    def __init__(self, spec: DetectorSpec, readable: frozenset[str]) -> None:
        self._spec = spec.as_published()
        self._readable = readable | {"family"}
        self._keys_read: set[str] = set()

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_"):
            raise AttributeError(key)
        if key not in self._readable:
            must = f"must read no other keys of detector than {', '.join(sorted(self._readable))}"
            remedy = "Write a second build function for another network."
            raise SpecError(explain(f"detector.family {self._spec.family}", must, key, remedy))
        self._keys_read.add(key)
        return getattr(self._spec, key)


def build_own_network(spec: DetectorSpec, num_classes: int) -> OwnNetwork:
    """Builds the named detector, which draws its weights from torch's global generator.

    Raises:
        SpecError: it cannot be imported or built, or lacks a method.
    """
    axes = axes_of(spec.family)
    assert axes is not None, "called for families that are not ours"
    build = _import_function(spec.family, axes)
    readable = ReadableSpec(spec, axes.reads)
    try:
        model = build(readable, num_classes)
    except SpecError:
        raise
    except Exception as error:
        must = "must be built without an error"
        raise _own_error(spec.family, must, say_error(error), OWN_CONTRACT) from error
    lacking = [name for name in ("losses", "detect") if not callable(getattr(model, name, None))]
    if not isinstance(model, nn.Module) or lacking:
        shown = f"a {type(model).__name__} without {' and '.join(lacking)}" if lacking else "none"
        must = "must return a torch module with losses and detect"
        raise _own_error(spec.family, must, shown, OWN_CONTRACT)
    return OwnNetwork(model, spec, frozenset(readable._keys_read))


def build_without_content(spec: DetectorSpec, num_classes: int) -> OwnNetwork:
    """Builds as ``build_own_network`` on ``meta``, or allocated if other code needs numbers."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build_own_network(spec, num_classes)
        except SpecError:
            return build_own_network(spec, num_classes)


def _import_function(family: str, axes: FamilyAxes) -> Callable[[Any, int], Any]:
    module_name, _, function = axes.build.partition(":")
    try:
        if axes.library is not None:
            importlib.import_module(axes.library)
        build: Callable[[Any, int], Any] = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        must = "must be an importable module and a function in it"
        remedy = "Install the package, or put its folder on PYTHONPATH."
        if axes.library is not None:
            must = f"needs {axes.library}, an optional package"
            remedy = f"pip install 'rethink-ray[{axes.library}]'."
        raise _own_error(family, must, str(error), remedy) from error
    return build


def _own_error(family: str, must: str, shown: object, remedy: str) -> SpecError:
    return SpecError(explain(f"detector.family {family}", must, shown, remedy))
