"""Preflight of one study: room for a job, its data and their faults, its weights, its disk."""

import shutil
import urllib.request
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rethink_ray.cluster.doctor.check import Check, gib, judged, tried
from rethink_ray.cluster.ray_session import available_cpus, cpus_of
from rethink_ray.spec.backbone_code import code_of, own_backbones_of
from rethink_ray.spec.batches import batch_in_words
from rethink_ray.spec.check import check_facts
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.facts import dropped_words
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.resolve import base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study
from rethink_ray.spec.weight_files import INIT_PATHS, weight_files_of

ANSWER_SECONDS = 10.0
"""How long a server of weights may take to answer."""
NAME_PATHS = (*INIT_PATHS, "detector.backbone")
"""What torchvision's weights are named by."""


def examine_study(study: Study, *, address: str | None, folder: Path) -> Iterator[Check]:
    """What the study asks of this machine, and what it is made of.

    Args:
        study: the study.
        address: of the cluster that will run it; then its slots are not this machine's.
        folder: where it is to live.
    """
    if address is None:
        yield _slots(study)
    yield _images_at_once(study)
    yield _data(study)
    yield _faults(study)
    yield from weights_of(study)
    yield from backbones_of(study)
    yield _disk(study, folder)


def _slots(study: Study) -> Check:
    cpus, needed = available_cpus(), cpus_of(study.resources)
    remedy = "lower resources.cpus_per_worker or workers, or name a cluster with --address"
    return judged("slots", f"{cpus // needed} jobs at a time", needed <= cpus, remedy)


def _images_at_once(study: Study) -> Check:
    """What must fit a device's memory, which nothing but an update can tell."""
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

        require_disjoint(study.data, study.study)
        facts = gather_facts(study.data, study.regimes)
        check_facts(study, facts, study.study)
        sizes = ", ".join(f"{split} {num}" for split, num in facts.split_sizes.items())
        dropped = dropped_words(facts)
        told = f"{len(facts.categories)} categories; images: {sizes}"
        return f"{told}; {dropped}" if dropped else told

    return tried("data set", read, "rethink-ray data check tells more")


def _faults(study: Study) -> Check:
    """Training copes with a bad box and counts it; an image that is not there is another matter."""
    from rethink_ray.data.check import check_split

    found: Counter[str] = Counter()
    try:
        splits = {"train", study.data.report_on, study.data.select_split} - {"holdout"}
        for split in sorted(splits):
            for fault in check_split(study.data, split, decode=False):
                if fault.is_fault:
                    found[fault.kind] += fault.count
    except (RethinkError, OSError) as error:
        return Check(name="data faults", ok=False, detail=str(error))
    told = ", ".join(f"{num} {kind}" for kind, num in sorted(found.items())) or "none"
    lost = found["missing_image"] + found["unreadable_image"]
    remedy = "put the images in place; rethink-ray data check names them"
    if found and not lost:
        told += " (boxes are clamped or dropped, and counted in the records)"
    return judged("data faults", told, lost == 0, remedy)


def weights_of(study: Study) -> Iterator[Check]:
    """Every distinct set of weights that a trial may start from or a teacher is."""
    named = {
        (recipe.init.weights, recipe.detector.backbone): None
        for cell in cells_of(study)
        for recipe in reachable_recipes(base_recipe(study, cell), space_of(study, cell), NAME_PATHS)
        if recipe.init.source == "torchvision"
    }
    for weights, backbone in named:
        yield tried(
            f"weights {weights} of {backbone}",
            lambda w=weights, b=backbone: _reach(w, b),  # type: ignore[misc]
            "copy the file into torch's hub folder (checkpoints/), or name it with init.source: "
            "file",
        )
    for path, key in weight_files_of(study, study.study).items():
        remedy = f"put the file there, or change {key}"
        yield tried(f"weights {path}", lambda p=path: _read(p), remedy)  # type: ignore[misc]


def backbones_of(study: Study) -> Iterator[Check]:
    """Every backbone from elsewhere, and which code it is here."""
    for name, key in own_backbones_of(study, study.study).items():
        remedy = f"install it, or change {key}"
        yield tried(f"backbone {name}", partial(code_of, name, key), remedy)


def _read(path: str) -> str:
    with Path(path).open("rb") as file:
        file.read(1)
    return "readable"


def _reach(weights: str | None, backbone: str) -> str:
    import torch

    from rethink_ray.detection.weights import torchvision_weights

    url = torchvision_weights(backbone, weights).url
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if cached.is_file():
        return f"cached, {gib(cached.stat().st_size)}"
    request = urllib.request.Request(url, method="HEAD")
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
        return f"to be downloaded, {gib(int(answer.headers.get('Content-Length', 0)))}"


def _disk(study: Study, folder: Path) -> Check:
    try:
        return enough_disk(disk_need(study), free_bytes(folder))
    except (RethinkError, OSError) as error:
        return Check(name="disk", ok=False, detail=str(error))


def enough_disk(needed: int, free: int) -> Check:
    """Free disk where the study is to live, against the most its files will take, bytes."""
    found = f"{gib(free)} free, {gib(needed)} needed by checkpoints and detections"
    remedy = (
        "give the study another folder with --out, or keep less: "
        "checkpoints: {models: none, trunks: unfinished, detections: none}"
    )
    return judged("disk", found, free >= needed, remedy)


def free_bytes(folder: Path) -> int:
    """Free disk in a folder that may not exist yet."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return shutil.disk_usage(there).free


def disk_need(study: Study) -> int:
    """The most that a study's checkpoints and detections will take, in bytes."""
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
