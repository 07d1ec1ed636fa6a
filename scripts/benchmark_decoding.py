"""How fast JPEG decoders are, whether their pixels are Pillow's, and what they would save a loader.

    python scripts/benchmark_decoding.py JPEGImages --study bccd --set data.root=/data/BCCD

Decoders that are not installed are left out (pip install simplejpeg torchcodec). Times are CPU
seconds: medians over the files, of the best of three runs each; decoders take turns file by file.
``draft`` lets Pillow decode half the size, for pictures that are trained on at that or less.
"""

import argparse
import io
import statistics
import time
import warnings
from collections.abc import Callable
from importlib import import_module, util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rethink_ray.data.pictures import read_rgb
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.resolve import base_recipe, cells_of
from rethink_ray.training.loader_timing import time_reading

Decode = Callable[[Path], Tensor]
"""The pixels of a file as a loader needs them: [3, H, W] uint8, contiguous."""
RUNS = 3


def decode_with_pillow(path: Path) -> Tensor:
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        return _turn_to_planes(np.array(picture.convert("RGB")))


def decode_draft(path: Path) -> Tensor:
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        picture.draft("RGB", (picture.width // 2, picture.height // 2))
        return _turn_to_planes(np.array(picture.convert("RGB")))


def decode_as_loader(path: Path) -> Tensor:
    """Pillow with what the loader adds: orientation by EXIF."""
    return read_rgb(str(path))


def _turn_to_planes(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def list_decoders() -> dict[str, Decode]:
    """Name -> decoder, of those that are installed."""
    decoders: dict[str, Decode] = {
        "Pillow in the loader": decode_as_loader,
        "Pillow": decode_with_pillow,
        "Pillow, draft": decode_draft,
    }
    if util.find_spec("simplejpeg"):
        simplejpeg: Any = import_module("simplejpeg")
        decoders["simplejpeg"] = lambda path: _turn_to_planes(
            simplejpeg.decode_jpeg(path.read_bytes(), "RGB")
        )
    from torchvision import io as torchvision_io

    decoders["torchvision.io"] = lambda path: torchvision_io.decode_jpeg(
        torchvision_io.read_file(str(path)), torchvision_io.ImageReadMode.RGB
    )
    if util.find_spec("torchcodec"):
        torchcodec: Any = import_module("torchcodec.decoders")
        decoders["torchcodec"] = lambda path: torchcodec.decode_jpeg(path.read_bytes())
    return decoders


def time_decoders(
    decoders: dict[str, Decode], paths: list[Path]
) -> dict[str, tuple[float, float, int]]:
    """Name -> (median ms, share of values that are not Pillow's, their largest distance)."""
    seconds: dict[str, list[float]] = {name: [] for name in decoders}
    distant: dict[str, list[float]] = {name: [] for name in decoders}
    largest = dict.fromkeys(decoders, 0)
    for path in paths:
        pillow = decode_with_pillow(path).to(torch.int16)
        for name, decode in decoders.items():
            runs = []
            for _ in range(RUNS):
                started = time.thread_time()
                pixels = decode(path)
                runs.append(time.thread_time() - started)
            seconds[name].append(min(runs))
            if pixels.shape == pillow.shape:
                distance = (pixels.to(torch.int16) - pillow).abs()
                distant[name].append(float((distance > 0).float().mean()))
                largest[name] = max(largest[name], int(distance.max()))
    return {
        name: (
            1000 * statistics.median(seconds[name]),
            statistics.fmean(distant[name]) if distant[name] else float("nan"),
            largest[name],
        )
        for name in decoders
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="with JPEG files")
    parser.add_argument("--files", type=int, default=100, help="at most so many")
    parser.add_argument("--study", help="its loader's whole time per image is the other side")
    parser.add_argument("--set", action="append", default=[], help="path=value of the study")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # torchvision's decoders are deprecated since 0.29
    torch.set_num_threads(1)
    paths = sorted(options.folder.glob("*.jp*g"))[: options.files]
    timed = time_decoders(list_decoders(), paths)
    pillow = timed["Pillow"][0]
    print("| decoder | ms | over Pillow | other values | largest distance |\n|---|---|---|---|---|")
    for name, (milliseconds, share, largest) in timed.items():
        print(
            f"| {name} | {milliseconds:.2f} | {milliseconds / pillow:.2f} "
            f"| {share:.1%} | {largest} |"
        )
    if options.study:
        study, _ = load_study(find_study(options.study), options.set)
        recipe = base_recipe(study, cells_of(study)[0])
        whole = 1000 * time_reading(study.data, recipe, time.thread_time)
        saved = {name: timed["Pillow in the loader"][0] - ms for name, (ms, _, _) in timed.items()}
        name, most = max(
            ((n, ms) for n, ms in saved.items() if not n.startswith("Pillow")),
            key=lambda row: row[1],
        )
        print(
            f"\nThe loader of {options.study} takes {whole:.1f} ms of CPU an image. "
            f"{name} would make it {whole / (whole - most):.2f} times as fast."
        )


if __name__ == "__main__":
    main()
