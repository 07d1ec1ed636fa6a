"""Data sets that tests write: small, with every number in plain sight."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rethink_ray.spec.regime import DataSpec, HoldoutSpec, SplitSpec

Box = tuple[str, float, float, float, float]
"""Category, x, y, width, height."""


def write_picture(
    path: Path, width: int = 20, height: int = 10, value: int = 90, mark: str = ""
) -> None:
    """A gray picture with a bright left quarter; ``mark`` makes it differ from others of its value.

    Pictures of one size, value and mark are equal byte for byte.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), value, np.uint8)
    pixels[:, : width // 4] = 200
    if mark:
        pixels[-1, -1] = list(hashlib.sha256(mark.encode()).digest()[:3])
    Image.fromarray(pixels).save(path)


def spoil_pixels(path: Path) -> None:
    """The pixels of a PNG cannot be decoded; its header and its end stay whole."""
    content = bytearray(path.read_bytes())
    at = content.index(b"IDAT")
    content[at + 8 : at + 20] = bytes(12)
    path.write_bytes(bytes(content))


def coco(
    images: Mapping[int, Sequence[Box]],
    categories: Mapping[int, str] | None = None,
    size: tuple[int, int] = (20, 10),
) -> dict[str, list[dict[str, object]]]:
    """The JSON of a COCO file: image id -> its boxes; images are called ``<id>.png``."""
    names = categories or {1: "cat", 2: "dog"}
    ids = {name: number for number, name in names.items()}
    rows = [(image_id, box) for image_id, boxes in images.items() for box in boxes]
    return {
        "images": [
            {"id": key, "file_name": f"{key}.png", "width": size[0], "height": size[1]}
            for key in images
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image_id,
                "category_id": ids.get(box[0], 99),
                "bbox": list(box[1:]),
                "area": box[3] * box[4],
                "iscrowd": 0,
            }
            for number, (image_id, box) in enumerate(rows, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in names.items()],
    }


def write_coco(
    folder: Path, split: str, told: Mapping[str, object], size: tuple[int, int] = (20, 10)
) -> None:
    """The JSON and a picture for every image in it; no two splits share one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.json").write_text(json.dumps(told))
    for record in told["images"]:  # type: ignore[attr-defined]
        path = folder / split / record["file_name"]
        write_picture(path, *size, value=record["id"] % 251, mark=split)


def coco_spec(folder: Path, *splits: str, holdout: int = 0, subset_seed: int = 0) -> DataSpec:
    named = {
        split: SplitSpec(images=str(folder / split), annotations=str(folder / f"{split}.json"))
        for split in splits or ("train",)
    }
    return DataSpec(
        dataset=named,
        select_on=HoldoutSpec(holdout=holdout) if holdout else "val",
        subset_seed=subset_seed,
    )


def many_images(count: int) -> dict[int, list[Box]]:
    """Images 1..count, image i with a 4 x 4 cat at x = i % 10."""
    return {key: [("cat", key % 10, 2, 4, 4)] for key in range(1, count + 1)}


def voc_xml(
    name: str,
    objects: Sequence[tuple[str, int, int, int, int]] = (),
    *,
    difficult: int = 0,
    size: tuple[int, int] = (20, 10),
) -> str:
    """One VOC file; objects are category, xmin, ymin, xmax, ymax."""
    told = "".join(
        f"<object><name>{kind}</name><difficult>{difficult}</difficult><bndbox>"
        f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for kind, x0, y0, x1, y1 in objects
    )
    measure = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{measure}{told}</annotation>"


def write_voc(folder: Path, xml_of: Mapping[str, str], splits: Mapping[str, Sequence[str]]) -> None:
    """A VOC folder: stem -> XML text, split -> its stems; a picture for every stem."""
    for sub in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for stem, text in xml_of.items():
        (folder / "Annotations" / f"{stem}.xml").write_text(text)
        write_picture(folder / "JPEGImages" / f"{stem}.jpg", mark=stem)
    for split, stems in splits.items():
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(stems) + "\n")
