"""Files of weights: what is read beside the tensors, what is refused, and that nothing runs."""

import argparse
import io
import os
import pickle
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict, defaultdict, deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rethink_ray.detection import inert_pickle
from rethink_ray.detection.classifier import build_classifier
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.tensor_files import read_state_dict
from rethink_ray.detection.tensor_fit import compare_tensors
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.pixel_input import IMAGENET
from rethink_ray.spec.recipe import DetectorSpec, InitSpec
from tests.refusals import refused

TINY = DetectorSpec(
    backbone="tiny", norm="bn", width=16, neck_channels=16, min_side_px=64, max_side_px=64
)


class HistoryBuffer:
    """As mmengine's: arrays, and bound methods that a pickle looks up by ``getattr``."""

    def __init__(self) -> None:
        self.log = np.array([0.5, 0.25], np.float32)
        self.statistics = {"mean": self.mean}

    def mean(self) -> float:
        return float(self.log.mean())


class AttributeDict(dict[str, Any]):
    """As Lightning's hyperparameters."""


class Runs:
    """A pickle that runs a command when it is read."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.reduced = (call, args)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.reduced


def weights() -> dict[str, Tensor]:
    return build_classifier(TINY, 5, seed=1).backbone_state()


def built_from(path: Path) -> Detector:
    init = InitSpec(source="file", weights=str(path), weights_norm="bn", input=IMAGENET)
    return build_detector(TINY, init, 3, seed=0)


LEFTOVERS: dict[str, Any] = {
    "dino": argparse.Namespace(arch="resnet50", epochs=800),
    "numpy scalar": np.float64(0.25),
    "numpy array": np.arange(6).reshape(2, 3),
    "path": Path("runs") / "last.ckpt",
    "mmengine": {"loss": HistoryBuffer()},
    "lightning": AttributeDict(lr=0.1, folder=Path("x")),
    "a class": AttributeDict,
    "default dictionary": defaultdict(list, {"a": [1]}),
    "deque": deque([1, 2], maxlen=3),
    "sets and bytes": {1, b"x", frozenset({2})},
    "complex and device": (1j, torch.device("cpu"), torch.float16, torch.Size([2])),
    "tensors of its own": [torch.ones(2), nn.Parameter(torch.ones(2))],
}


@pytest.mark.parametrize("is_old", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("name", LEFTOVERS)
def test_objects_beside_the_tensors_do_no_harm(tmp_path: Path, name: str, is_old: bool) -> None:
    state = weights()
    content = {"args": LEFTOVERS[name], "state_dict": OrderedDict(state)}
    path = tmp_path / "w.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not is_old)
    taken = read_state_dict(path, "file")
    assert taken.keys() == state.keys()
    assert all(torch.equal(taken[k], v) for k, v in state.items())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_any_protocol_of_pickle_and_parameters_are_read(tmp_path: Path, protocol: int) -> None:
    model = build_classifier(TINY, 5, seed=1)
    state = {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in weights().items()}
    content = {"model": state, "args": argparse.Namespace(lr=1.0)}
    torch.save(content, tmp_path / "w.pth", pickle_protocol=protocol)
    taken = built_from(tmp_path / "w.pth").backbone.state_dict()
    assert all(torch.equal(taken[k], v) for k, v in model.backbone_state().items())


@pytest.mark.parametrize("name", ["w.safetensors", "without_ending"])
def test_safetensors_are_read(tmp_path: Path, name: str) -> None:
    state = weights()
    save_file(state, tmp_path / name, metadata={"format": "pt"})
    taken = built_from(tmp_path / name).backbone.state_dict()
    assert all(torch.equal(taken[k], v) for k, v in state.items())


def test_numbers_among_the_tensors_are_left_out(tmp_path: Path) -> None:
    state = weights()
    torch.save({**state, "epoch": 3, "best": 0.5}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth", "file").keys() == state.keys()


CALLS = (os.system, eval, exec, getattr, setattr, io.open, Path.touch, pickle.loads)


@pytest.mark.parametrize("is_old", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_nothing_in_a_file_runs(tmp_path: Path, call: Any, protocol: int, is_old: bool) -> None:
    """The file still gives its tensors, or is refused; the commands would leave a file."""
    trap = tmp_path / "it ran"
    code = f"open({str(trap)!r}, 'w')"
    inner = pickle.dumps(Runs(eval, code))
    args = {
        os.system: (f"touch '{trap}'",),
        getattr: (Path(trap), "touch"),
        setattr: (torch.Tensor, "planted", 1),
        io.open: (str(trap), "w"),
        Path.touch: (Path(trap),),
        pickle.loads: (inner,),
    }.get(call, (code,))
    content = {"model": weights(), "args": [Runs(call, *args), Runs(Runs, call, *args)]}
    path = tmp_path / "w.pth"
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not is_old)
    assert read_state_dict(path, "file").keys() == weights().keys()
    assert not trap.exists()
    assert not hasattr(torch.Tensor, "planted")


def test_the_trap_works() -> None:
    """The same pickle, read by the standard library, does run."""
    planted = pickle.loads(pickle.dumps(Runs(eval, "6 * 7")))
    assert planted == 42


def handmade(path: Path, pickled: bytes, *others: str) -> None:
    """A file of ``torch.save`` with these bytes in the place of its pickle."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        for name in others:
            file.writestr(f"archive/{name}", b"")
        file.writestr("archive/version", "3\n")


def test_a_pickle_cannot_change_what_later_files_are_read_with(tmp_path: Path) -> None:
    """BUILD sets attributes: here of the class and of torch's function that the pickle names."""
    build = b"}X\x07\x00\x00\x00plantedK\x01s"
    handmade(tmp_path / "w.pth", b"\x80\x02}.")
    with pytest.raises(SpecError, match="a dictionary of nothing"):
        read_state_dict(tmp_path / "w.pth", "file")
    for name in (b"collections\nOrderedDict", b"torch._utils\n_rebuild_tensor_v2", b"os\nsystem"):
        for state in (build + b"b", b"N" + build + b"\x86b"):
            handmade(tmp_path / "w.pth", b"\x80\x02c" + name + b"\n" + state + b".")
            with pytest.raises(SpecError):
                read_state_dict(tmp_path / "w.pth", "file")
    for kind in (OrderedDict, torch._utils._rebuild_tensor_v2, os.system):
        assert not hasattr(kind, "planted")


def test_a_whole_model_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(nn.Linear(2, 2), path)
    with refused(SpecError, "detection", "a pickled model", tmp_path):
        read_state_dict(path, f"init.weights {path}")
    torch.save({"epoch": 3, "model": nn.Linear(2, 2)}, path)
    with refused(SpecError, "detection", "a pickled model in a dictionary", tmp_path):
        read_state_dict(path, f"init.weights {path}")


def test_a_file_that_is_no_weights_is_refused_without_terminal_codes(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    handmade(path, b"\x80\x02}.", "constants.pkl")
    with pytest.raises(SpecError, match="a TorchScript archive, which is code"):
        read_state_dict(path, f"init.weights {path}")
    whole = tmp_path / "whole.pth"
    torch.save(weights(), whole)
    contents = (whole.read_bytes()[:-200], b"<!DOCTYPE html>", b"\x80\x02}.", b"")
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(SpecError, match=r"w\.pth: must ") as caught:
            read_state_dict(path, f"init.weights {path}")
        assert "\x1b" not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path, value: float) -> None:
    state = {f"module.backbone.{k}": v for k, v in weights().items()}
    name = "module.backbone.layer2.0.conv1.weight"
    state[name] = state[name].index_fill(0, torch.tensor([1]), value)
    path = tmp_path / "w.pth"
    torch.save(state, path)
    with refused(SpecError, "detection", "weights with NaN", tmp_path):
        built_from(path)
    state[name] = torch.zeros_like(state[name])
    torch.save({**state, "queue": torch.full((2,), value)}, path)
    built_from(path)  # a tensor that the backbone does not take over may hold anything


def test_weights_of_another_type_are_refused_by_name(tmp_path: Path) -> None:
    state = weights()
    torch.save(
        {k: v.half() if v.is_floating_point() else v for k, v in state.items()}, tmp_path / "h"
    )
    assert (
        built_from(tmp_path / "h").backbone.state_dict()["stem.conv1.weight"].dtype == torch.float32
    )
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"].to(torch.int8)
    torch.save(state, tmp_path / "w.pth")
    with refused(SpecError, "detection", "quantised weights", tmp_path):
        built_from(tmp_path / "w.pth")


def test_the_message_counts_what_fits_and_its_remedy_is_true(tmp_path: Path) -> None:
    state = weights()
    path = tmp_path / "w.pth"
    torch.save({k.replace("layer", "res"): v for k, v in state.items() if "stem" not in k}, path)
    with refused(SpecError, "detection", "weights under other names", tmp_path):
        built_from(path)
    torch.save({k: v for k, v in state.items() if "layer4" not in k}, path)
    with refused(SpecError, "detection", "weights without a stage", tmp_path):
        built_from(path)
    torch.save({k: v for k, v in state.items() if "running_" not in k}, path)
    with refused(SpecError, "detection", "weights without statistics", tmp_path):
        built_from(path)


def test_a_fit_is_counted_by_pencil() -> None:
    """Of four tensors one fits, one is missing, one has another shape and one another type."""
    needed = {"a": torch.zeros(2), "b": torch.zeros(2), "c": torch.zeros(2), "d": torch.zeros(2)}
    given = {"a": torch.ones(2), "c": torch.ones(3), "d": torch.ones(2, dtype=torch.int8)}
    fit = compare_tensors(needed, {**given, "e": torch.ones(1)})
    assert (fit.num_needed, fit.num_fitting) == (4, 1)
    assert fit.words == (
        "1 of its 4 tensors; missing: b; left over: e; of another shape: c (3,) for (2,); "
        "of another type: d int8 for float32"
    )


@pytest.mark.parametrize("kind", ["meta", "sparse", "quantised"])
def test_tensors_without_plain_numbers_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    odd = {
        "meta": lambda: torch.empty(2, device="meta"),
        "sparse": lambda: torch.eye(2).to_sparse(),
        "quantised": lambda: torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the age of quantised and sparse tensors
        torch.save({"a": torch.ones(2), "b": odd()}, tmp_path / "w.pth")
    with pytest.raises(SpecError, match=r"file: must hold tensors with all .*others in b\."):
        read_state_dict(tmp_path / "w.pth", "file")


@pytest.mark.parametrize("name", ["items", "keys", "get"])
def test_a_dictionary_whose_methods_the_pickle_replaced_is_refused(
    tmp_path: Path, name: str
) -> None:
    text = name.encode()
    state = b"}X" + len(text).to_bytes(4, "little") + text + b"K\x01sb."
    handmade(tmp_path / "w.pth", b"\x80\x02ccollections\nOrderedDict\n)R" + state)
    with pytest.raises(SpecError, match=r"file: must "):
        read_state_dict(tmp_path / "w.pth", "file")


def test_a_module_beside_the_tensors_of_an_old_file_is_left_out(tmp_path: Path) -> None:
    content = {"state_dict": weights(), "model_ema": nn.Linear(2, 2)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert read_state_dict(tmp_path / "w.pth", "file").keys() == weights().keys()


def test_a_small_pickle_takes_little_memory(tmp_path: Path) -> None:
    """LONG_BINPUT states a place in the memo, BYTEARRAY8 a length: here far beyond the file."""
    place, length = (2**31 - 1).to_bytes(4, "little"), (2**40).to_bytes(8, "little")
    for pickled in (b"\x80\x02Nr" + place + b".", b"\x80\x05\x96" + length + b"."):
        tracemalloc.start()
        inert_pickle_reads(pickled)
        assert tracemalloc.get_traced_memory()[1] < 1e6
        tracemalloc.stop()


def inert_pickle_reads(pickled: bytes) -> None:
    with suppress(pickle.UnpicklingError, EOFError):
        inert_pickle.load(io.BytesIO(pickled))


def test_a_tuple_of_tuples_as_a_name_makes_no_long_message(tmp_path: Path) -> None:
    """Twenty-two pairs, each of which holds the one before twice, are written in 16 MB."""
    handmade(tmp_path / "w.pth", b"\x80\x02}K\x01" + 22 * b"2\x86" + b"K\x01s.")
    with pytest.raises(SpecError, match=r"tuple as a name \(int\)") as caught:
        read_state_dict(tmp_path / "w.pth", "file")
    assert len(str(caught.value)) < 500
