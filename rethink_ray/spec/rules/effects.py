"""Settings of a detector that only some detectors read: elsewhere they only cost new ids.

A setting is refused where no run that it holds for reads it, and a searched path where two
configurations of a cell would be the same run. A value that the base recipe has, or that is the
default, says nothing new and stands anywhere.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rethink_ray.spec.detector import (
    PUBLISHED_REPEATS,
    TWO_STAGE,
    WITH_CASCADE,
    DetectorSpec,
)
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.own_families import reads_key
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, copied_cell, space_of
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.rules.search_space import SearchedCell
from rethink_ray.spec.settings import settled_paths, used_value_at, value_at
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True)
class Readers:
    """Who reads some keys of ``detector``."""

    keys: tuple[str, ...]
    in_words: str
    """The detectors that read them, in words."""
    reads: tuple[str, ...]
    """The keys of ``detector`` that decide it."""
    is_read: Callable[[DetectorSpec], bool]

    def hold(self, detector: DetectorSpec, path: str) -> bool:
        """Whether the detector is among them, and its family reads the path at all."""
        return self.is_read(detector) and reads_key(detector.family, path.partition(".")[2])


READERS = (
    Readers(
        keys=("focal_gamma", "focal_alpha"),
        in_words="a one-stage family",
        reads=("family",),
        is_read=lambda detector: detector.family not in TWO_STAGE,
    ),
    Readers(
        keys=(
            *("rpn_box_loss_beta", "rpn_box_loss_weight", "rpn_batch", "box_batch"),
            *("rpn_pre_nms_train", "rpn_pre_nms_test", "rpn_post_nms_train", "rpn_post_nms_test"),
            *("canonical_scale_px", "rpn_convs"),
        ),
        in_words="a two-stage family",
        reads=("family",),
        is_read=lambda detector: detector.family in TWO_STAGE,
    ),
    Readers(
        keys=("cascade_ious", "cascade_class_agnostic", "cascade_from"),
        in_words="a cascade",
        reads=("family",),
        is_read=lambda detector: detector.family in WITH_CASCADE,
    ),
    Readers(
        keys=("box_loss_beta",),
        in_words="box_loss: smooth_l1",
        reads=("family", "box_loss"),
        is_read=lambda detector: detector.as_published().box_loss == "smooth_l1",
    ),
    Readers(
        keys=("norm_epsilon",),
        in_words="norm: frozen_bn",
        reads=("norm",),
        is_read=lambda detector: detector.norm == "frozen_bn",
    ),
    Readers(
        keys=("neck_norm",),
        in_words="neck: fpn, nas_fpn or bifpn",
        reads=("neck",),
        is_read=lambda detector: detector.neck != "simple",
    ),
    Readers(
        keys=("neck_merge",),
        in_words="neck: nas_fpn",
        reads=("neck",),
        is_read=lambda detector: detector.neck == "nas_fpn",
    ),
    Readers(
        keys=("neck_repeats",),
        in_words="neck: nas_fpn or bifpn",
        reads=("neck",),
        is_read=lambda detector: detector.neck in PUBLISHED_REPEATS,
    ),
    Readers(
        keys=("p6_from",),
        in_words="a one-stage family with neck: fpn, on a backbone other than tiny",
        reads=("family", "neck", "backbone"),
        is_read=lambda detector: (
            detector.family not in TWO_STAGE
            and detector.neck == "fpn"
            and detector.backbone != "tiny"
        ),
    ),
)
READERS_OF: Mapping[str, Readers] = {
    f"detector.{key}": readers for readers in READERS for key in readers.keys
}
"""Dotted path -> who reads it; paths that each of our families reads are left out."""
OTHERS = Readers(
    keys=tuple(k for k in DetectorSpec.model_fields if f"detector.{k}" not in READERS_OF),
    in_words="a family that has it",
    reads=("family",),
    is_read=lambda detector: True,
)
READERS_BESIDE_OWN: Mapping[str, Readers] = {
    **READERS_OF,
    **{f"detector.{key}": OTHERS for key in OTHERS.keys},
}
"""The same with the other paths of ``detector``, which only detectors that are not ours ignore."""


def _readers_in(study: Study, cells: tuple[Cell, ...]) -> Mapping[str, Readers]:
    """Dotted path -> who reads it, of the paths that some run of these cells may ignore."""
    runs = (
        run
        for cell in cells
        for run in reachable_recipes(
            base_recipe(study, cell), space_of(study, cell), ("detector.family",)
        )
    )
    return READERS_BESIDE_OWN if any(is_own(r.detector.family) for r in runs) else READERS_OF


def _groups_of(study: Study) -> Iterator[tuple[str, Mapping[str, Any], tuple[Cell, ...]]]:
    """Key, settings and cells of each place where a study sets something."""
    cells = cells_of(study)
    yield "settings", study.settings, cells
    for name, regime in study.regimes.items():
        key = f"regimes.{name}.set"
        yield key, regime.set, tuple(cell for cell in cells if cell.regime == name)
    for name, arm in study.arms.items():
        yield f"arms.{name}.set", arm.set, tuple(cell for cell in cells if cell.arm == name)


def _sets_what_nothing_reads(study: Study) -> bool | Breach:
    usual = (build_recipe(study.recipe), Recipe())
    table = _readers_in(study, cells_of(study))
    for key, settings, cells in _groups_of(study):
        for path in sorted(settled_paths(settings) & table.keys()):
            values = [value_at(base_recipe(study, cell), path) for cell in cells]
            known = [value_at(recipe, path) for recipe in usual]
            new = [value for value in values if value not in known]
            if new and not any(_is_read(study, cell, path) for cell in cells):
                words = {"readers": table[path].in_words}
                return Breach(key=f"{key}.{path}", came=new[0], words=words)
    return False


def _is_read(study: Study, cell: Cell, path: str) -> bool:
    """Whether any run of the cell reads the path."""
    readers = READERS_BESIDE_OWN[path]
    paths = tuple(dict.fromkeys(f"detector.{key}" for key in ("family", *readers.reads)))
    runs = reachable_recipes(base_recipe(study, cell), space_of(study, cell), paths)
    return any(readers.hold(run.detector, path) for run in runs)


def _searches_what_a_run_ignores(searched: SearchedCell) -> bool | Breach:
    """A cell that copies its values searches nothing, and takes what another cell has found."""
    if copied_cell(searched.study, searched.cell) is not None:
        return False
    table = _readers_in(searched.study, (searched.cell,))
    for path in filter(table.__contains__, searched.space):
        readers = table[path]
        base = used_value_at(searched.recipe, path)
        deciding = (f"detector.{key}" for key in ("family", *readers.reads))
        paths = tuple(dict.fromkeys((path, *deciding)))
        for run in reachable_recipes(searched.recipe, searched.space, paths):
            value = used_value_at(run, path)
            if value != base and not readers.hold(run.detector, path):
                read = {key: value_at(run, f"detector.{key}") for key in readers.reads}
                words = {"readers": readers.in_words}
                return Breach(key=searched.key_of(path), came=read, words=words)
    return False


SETTING_EFFECTS: tuple[Rule[Study], ...] = (
    Rule(
        key="settings",
        reads=("arms", "regimes", *READERS_BESIDE_OWN),
        broken=_sets_what_nothing_reads,
        must="must be left out without {readers}: nothing reads it",
        remedy="Set it where it is read.",
    ),
)
SEARCH_EFFECTS: tuple[Rule[SearchedCell], ...] = (
    Rule(
        key="search",
        reads=("arms", *READERS_BESIDE_OWN),
        broken=_searches_what_a_run_ignores,
        must="must be searched only with {readers}",
        remedy="Search it in the arms that read it, or under a condition (when).",
    ),
)
