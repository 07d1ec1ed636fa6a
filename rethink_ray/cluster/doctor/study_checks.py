"""Preflight of one study: room for a job, its data set and faults in it, weights, disk."""

import itertools
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rethink_ray.cluster.capacity import Capacity
from rethink_ray.cluster.doctor.check import Check, build_check, gib, try_check
from rethink_ray.cluster.doctor.loader_pace import examine_loader
from rethink_ray.cluster.doctor.shared_memory import check_shared_memory, free_shared_memory
from rethink_ray.cluster.ray_session import available_cpus, cpus_of
from rethink_ray.spec.assets import upstream_classes_of
from rethink_ray.spec.backbone_code import code_of, own_backbones_of
from rethink_ray.spec.batches import batch_in_words
from rethink_ray.spec.check import check_facts, check_regimes
from rethink_ray.spec.draws import list_planned_draws
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.facts import left_out_words
from rethink_ray.spec.fault_kinds import describe_kind
from rethink_ray.spec.regime import HOLDOUTS
from rethink_ray.spec.resolve import base_recipe, cells_of
from rethink_ray.spec.study import Study
from rethink_ray.spec.weight_files import label_files_of, require_known_inputs, weight_files_of

if TYPE_CHECKING:
    from rethink_ray.detection.published_weights import PublishedWeights
    from rethink_ray.training.start_checks import FileUse


def examine_study(study: Study, *, address: str | None, folder: Path) -> Iterator[Check]:
    """Yields the checks of one study when they are made.

    Args:
        study: the study.
        address: address of the cluster that will run it; without one, this machine runs it.
        folder: the study's folder.
    """
    if address is None:
        yield _slots(study)
    yield _images_at_once(study)
    data = _data(study)
    yield data
    yield _faults(study, data)
    if address is None:
        yield _shared_memory(study, data)
    if data.ok:
        yield from examine_loader(study, _count_gpus())
    yield from check_weights(study)
    yield from check_backbones(study)
    yield _disk(study, folder, data)


def _slots(study: Study) -> Check:
    cpus, needed = available_cpus(), cpus_of(study.resources)
    remedy = "lower resources.cpus_per_worker or workers, or name a cluster with --address"
    return build_check("slots", f"{cpus // needed} jobs at a time", needed <= cpus, remedy)


def _shared_memory(study: Study, data: Check) -> Check:
    """Whether ``/dev/shm`` is large enough for the jobs that run here at a time."""
    node = {"CPU": float(available_cpus()), "GPU": float(_count_gpus())}
    room = Capacity(study.resources).count_room_on(node)
    slots = max(1, room // max(study.resources.workers, 1))
    try:
        largest_hw = _find_largest_picture(study) if study.resources.loader_workers else (1, 1)
    except (RethinkError, OSError) as error:
        return _fail_once("shared memory", error, data)
    return check_shared_memory(study, free_shared_memory(), slots, largest_hw)


def _count_gpus() -> int:
    from rethink_ray.training.memory import count_gpus

    return count_gpus()


def _find_largest_picture(study: Study) -> tuple[int, int]:
    """Height and width of the training picture with the most pixels."""
    from rethink_ray.data.splits import open_split

    index = open_split(study.data, "train")
    heights, widths = index.image_column("height"), index.image_column("width")
    largest = int((heights.astype("int64") * widths).argmax())
    return int(heights[largest]), int(widths[largest])


def _images_at_once(study: Study) -> Check:
    """How many images must fit the memory at once. Only an update shows whether they do."""
    cuts = {
        batch_in_words(base_recipe(study, cell), study.resources): None for cell in cells_of(study)
    }
    detail = "; ".join(cuts)
    if study.resources.images_per_step is None:
        detail += " (out of memory? resources.images_per_step cuts it, with the same gradient)"
    return Check(name="images at once", ok=True, detail=detail)


def _data(study: Study) -> Check:
    def read() -> str:
        from rethink_ray.data.facts import gather_facts
        from rethink_ray.data.leaks import require_disjoint
        from rethink_ray.data.regimes import trainable_image_ids
        from rethink_ray.training.source_checks import require_sources, require_unseen_upstream

        require_disjoint(study.data, study.study)
        check_regimes(study, len(trainable_image_ids(study.data)), study.study)
        files, upstream_classes = label_files_of(study, study.study), upstream_classes_of(study)
        draws = list_planned_draws(study)
        facts = gather_facts(study.data, study.regimes, files, upstream_classes, draws)
        check_facts(study, facts, study.study)
        require_sources(study, study.study)
        require_unseen_upstream(study, study.study)
        sizes = ", ".join(f"{split} {num}" for split, num in facts.split_sizes.items())
        left_out = left_out_words(facts)
        summary = f"{len(facts.categories)} categories; images: {sizes}"
        if (upstream := facts.upstream_detection) is not None:
            num_images, num = upstream.regime_sizes["all"], len(upstream.categories)
            summary += f"; upstream detection: {num_images} images of {num} categories"
        return f"{summary}; {left_out}" if left_out else summary

    return try_check("data set", read, "rethink-ray data check tells more")


def _fail_once(name: str, error: Exception, data: Check) -> Check:
    """A check that failed; an error that the check of the data set has shown is not repeated."""
    detail = str(error)
    return Check(name=name, ok=False, detail="see data set" if detail == data.detail else detail)


def _faults(study: Study, data: Check) -> Check:
    """Fails if an image is lost, or a tenth of what a split in use has, to one kind of fault.

    Other faults are counted in the records, too.
    """
    from rethink_ray.data.check import check_pools, check_split
    from rethink_ray.data.heavy_losses import find_heavy_losses

    faults: Counter[str] = Counter()
    try:
        by_split = [
            check_split(dataset, split)
            for dataset in study.data.detection_sets
            for split in sorted({"train", dataset.report_split, dataset.select_split} - HOLDOUTS)
            if dataset is study.data or split != "train"  # check_pools has that of upstream
        ]
        for fault in itertools.chain(*by_split, *check_pools(study.data).values()):
            if fault.is_fault:
                faults[fault.kind] += fault.count
        losses = [loss for one in study.data.detection_sets for loss in find_heavy_losses(one)]
    except (RethinkError, OSError) as error:
        return _fail_once("data faults", error, data)
    fact = "; ".join(_say_fault(kind, num) for kind, num in sorted(faults.items())) or "none"
    num_lost = faults["missing_image"] + faults["unreadable_image"]
    remedy = "put the images in place; rethink-ray data check names them"
    if losses and not num_lost:
        remedy = f"mend the annotations. {'. '.join(losses)}"
    return build_check("data faults", fact, not num_lost and not losses, remedy)


def _say_fault(kind: str, count: int) -> str:
    """``3 box_degenerate (boxes: they have no pixels inside their picture)``, as `data check`."""
    words = describe_kind(kind)
    return f"{count} {kind} ({words.unit_words}: {words.reason})"


def check_weights(study: Study) -> Iterator[Check]:
    """Every set of weights that a run or a teacher may start from, loaded once."""
    from rethink_ray.training.published_starts import list_published
    from rethink_ray.training.start_checks import (
        digest_of_use,
        list_file_uses,
        list_kept_rows,
        load_once,
    )

    keys = weight_files_of(study, study.study)

    def load(uses: "Sequence[FileUse]") -> str:
        digest = digest_of_use(uses[0], keys.get(str(uses[0].path), study.study))
        fitting = f"{len(load_once(study, uses))} tensors, which fit"
        kept = list_kept_rows(study, uses)
        return f"{fitting}; {kept}; digest {digest}" if kept else f"{fitting}; digest {digest}"

    try:
        published = list_published(study, study.study)
        files = list_file_uses(study, study.study)
    except RethinkError as error:
        yield Check(name="weights", ok=False, detail=str(error))
        return
    for path, uses in files.items():
        yield try_check(f"weights {path}", partial(load, uses), f"change {uses[0].where}")
    missing = {key: weights for key, (weights, _) in published.items() if weights.find() is None}
    if missing:
        yield try_check("names of weights", partial(_fit_downloads, study), "change init.weights")
    for key, weights in missing.items():
        yield try_check(f"weights {key}", partial(_reach, weights), weights.command)
    if published or keys:
        yield try_check("input of weights", partial(_know_inputs, study), "set init.input")


def _reach(weights: "PublishedWeights") -> str:
    return f"to be downloaded, {gib(weights.measure_download())}"


def check_backbones(study: Study) -> Iterator[Check]:
    """Every backbone and detector that is not ours, the digest of its code here, and whether it is
    built."""
    keys = own_backbones_of(study, study.study)
    for name, key in keys.items():
        yield try_check(
            f"{key.rpartition('.')[2]} {name}",
            partial(code_of, name, key),
            f"install it, or change {key}",
        )
    if keys:
        yield try_check(
            "building networks",
            partial(_build, study),
            "see rethink_ray.detection.plugins and own_network",
        )


def _build(study: Study) -> str:
    from rethink_ray.training.start_checks import require_buildable

    require_buildable(study, study.study)
    return "all can be built"


def _fit_downloads(study: Study) -> str:
    from rethink_ray.training.start_checks import require_fitting_downloads

    require_fitting_downloads(study, study.study)
    return "those to be downloaded fit"


def _know_inputs(study: Study) -> str:
    from rethink_ray.training.published_starts import require_stated_inputs

    require_known_inputs(study, study.study)
    require_stated_inputs(study, study.study)
    return "known"


def _disk(study: Study, folder: Path, data: Check) -> Check:
    try:
        return check_disk(estimate_disk(study), free_bytes(folder))
    except (RethinkError, OSError) as error:
        return _fail_once("disk", error, data)


def check_disk(needed: int, free: int) -> Check:
    """Whether the free disk holds the study's files at their most; both in bytes."""
    fact = f"{gib(free)} free, {gib(needed)} needed by checkpoints and detections"
    remedy = (
        "give the study another folder with --out, or keep less: "
        "checkpoints: {models: none, trunks: unfinished, detections: none}"
    )
    return build_check("disk", fact, free >= needed, remedy)


def free_bytes(folder: Path) -> int:
    """Free disk in a folder that may not exist yet."""
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return shutil.disk_usage(existing).free


def estimate_disk(study: Study) -> int:
    """Bytes that a study's checkpoints and detections take at their most."""
    from rethink_ray.data.facts import gather_facts
    from rethink_ray.detection.size import num_weights
    from rethink_ray.search.plan import plan_study

    facts = gather_facts(study.data, study.regimes)
    planned = plan_study(
        study,
        facts,
        slots=max(1, available_cpus() // cpus_of(study.resources)),
        count_weights=lambda c: num_weights(c.recipe.detector, c.num_categories),
    )
    return planned.disk_bytes or 0
