"""Pseudo labels from a file: another tool's detections, used as a teacher's labels are."""

from pathlib import Path

from rethink_ray.data.imported import import_detections
from rethink_ray.data.pool import open_pool
from rethink_ray.spec.assets import ImportedLabelsAsset
from rethink_ray.spec.regime import DataSpec
from rethink_ray.training.checkpoint import sweep
from rethink_ray.training.label_files import LABELS_FOLDER, part_path, read_all, write_part
from rethink_ray.training.pseudo_labels import (
    IMAGES_PER_PART,
    Labelled,
    split_into_parts,
    summarize_labels,
)
from rethink_ray.training.starting import require_same_file


def build_imported_labels(spec: ImportedLabelsAsset, data: DataSpec, folder: Path) -> Labelled:
    """``folder/labels`` holds the file's detections on its pool, in the form of a teacher's labels.

    Counts of what became no label stand beside a teacher's: ``left_out/<kind>``.

    Raises:
        DataError: the file is another one than the study was started with, belongs to other
            images, or there is no pool.
    """
    labels = spec.labels
    require_same_file(labels.file or "", spec.labels_digest, "labels.file")
    pool = open_pool(data, spec.images, labels.pool, spec.draw)
    detections = import_detections(data, pool, labels)
    settings = {
        "threshold": labels.threshold,
        "keep_empty": labels.keep_empty,
        "pool": labels.pool,
        "kind": labels.kind,
    }
    (folder / LABELS_FOLDER).mkdir(parents=True, exist_ok=True)
    sweep(folder / LABELS_FOLDER)
    parts = split_into_parts(pool, batch_size=1, images_per_part=IMAGES_PER_PART)
    for number, image_ids in enumerate(parts):
        by_image = {image_id: detections.by_image[image_id] for image_id in image_ids}
        write_part(part_path(folder, number), by_image, settings, len(parts))
    summary = summarize_labels(read_all(folder), pool, labels)
    counts = {f"left_out/{kind}": float(num) for kind, num in detections.left_out.items()}
    return Labelled(metrics=summary.metrics | counts, refused=summary.refused)
