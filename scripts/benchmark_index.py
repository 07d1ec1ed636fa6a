"""Measures the annotation index at the size of COCO: time to open, memory of each process.

    python scripts/benchmark_index.py [--images 118000] [--boxes 860000]

Annotations are made up, with polygons of COCO's length; all images share one picture file.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

POLYGON_POINTS = 40
NUM_WORKERS = 2
KIB = 1024


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--boxes", type=int, default=860_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RETHINK_RAY_CACHE"] = str(Path(folder) / "cache")
        annotations = _write(Path(folder), asked.images, asked.boxes)
        print(f"annotation file           {annotations.stat().st_size / 1e6:9.0f} MB")
        for name, measure in (("build", _build), ("open", _open), ("read all", _read_all)):
            found = _in_fresh_process(measure, annotations)
            print(f"{name:12} seconds       {found['seconds']:9.3f}")
            print(f"{name:12} memory, peak  {found['peak_mb']:9.1f} MB over the imports")
            print(f"{name:12} memory, own   {found['own_mb']:9.1f} MB over the imports")
        for number, found in enumerate(_in_workers(annotations)):
            print(f"loader worker {number}, own   {found['own_mb']:9.1f} MB after reading all")


def _write(folder: Path, num_images: int, num_boxes: int) -> Path:
    rng = random.Random(0)
    (folder / "images").mkdir()
    Image.new("RGB", (640, 480)).save(folder / "images" / "one.jpg")
    told = {
        "categories": [{"id": k, "name": f"kind {k}"} for k in range(1, 81)],
        "images": [
            {"id": k, "file_name": "one.jpg", "width": 640, "height": 480}
            for k in range(1, num_images + 1)
        ],
        "annotations": [_box(rng, k, num_images) for k in range(num_boxes)],
    }
    path = folder / "made_up.json"
    path.write_text(json.dumps(told), encoding="utf-8")
    os.utime(path, (1, 1))  # changed long ago: its content hash may be remembered
    return path


def _box(rng: random.Random, number: int, num_images: int) -> dict[str, object]:
    x, y = rng.uniform(0, 500), rng.uniform(0, 400)
    return {
        "id": number + 1,
        "image_id": rng.randint(1, num_images),
        "category_id": rng.randint(1, 80),
        "bbox": [round(x, 2), round(y, 2), 80.5, 60.25],
        "area": 3000.5,
        "iscrowd": 0,
        "segmentation": [[round(x + rng.uniform(0, 80), 2) for _ in range(POLYGON_POINTS)]],
    }


def _in_fresh_process(measure: Callable[[Path], None], annotations: Path) -> dict[str, float]:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (measure, annotations))


def _in_workers(annotations: Path) -> list[dict[str, float]]:
    """Several processes that have the index open at the same time."""
    with get_context("spawn").Pool(NUM_WORKERS) as pool:
        return pool.starmap(_measured, [(_read_all, annotations)] * NUM_WORKERS, chunksize=1)


def _measured(measure: Callable[[Path], None], annotations: Path) -> dict[str, float]:
    import rethink_ray.data.loader  # noqa: F401  (its memory is not the index's)

    before = _memory_mb()
    start = time.perf_counter()
    measure(annotations)
    seconds = time.perf_counter() - start
    after = _memory_mb()
    return {
        "seconds": seconds,
        "peak_mb": after["VmHWM"] - before["VmRSS"],
        "own_mb": after["RssAnon"] - before["RssAnon"],
    }


def _memory_mb() -> dict[str, float]:
    """``RssAnon`` is a process's own; mapped files are shared and count in ``VmRSS`` only."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    return {key: int(told[key].split()[0]) / KIB for key in ("VmRSS", "VmHWM", "RssAnon")}


_KEPT: list[object] = []


def _build(annotations: Path) -> None:
    from rethink_ray.data.splits import build_index
    from rethink_ray.spec.regime import DataSpec, SplitSpec

    split = SplitSpec(images=str(annotations.parent / "images"), annotations=str(annotations))
    _KEPT.append(build_index(DataSpec(dataset={"train": split}), "train"))


def _open(annotations: Path) -> None:
    from rethink_ray.data.splits import open_split
    from rethink_ray.spec.regime import DataSpec, SplitSpec

    split = SplitSpec(images=str(annotations.parent / "images"), annotations=str(annotations))
    _KEPT.append(open_split(DataSpec(dataset={"train": split}), "train"))


def _read_all(annotations: Path) -> None:
    from rethink_ray.data.index import AnnotationIndex

    _open(annotations)
    index = _KEPT[-1]
    assert isinstance(index, AnnotationIndex)
    for image_id in index.image_ids.tolist():
        index.entry(image_id)


if __name__ == "__main__":
    main()
