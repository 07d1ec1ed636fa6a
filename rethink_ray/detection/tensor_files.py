"""Reads files of weights: those of ``torch.save``, safetensors and this program's own.

Nothing in a file can run. Objects beside the tensors, such as the arguments of a training script,
are left out (``inert_pickle``).
"""

import io
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from rethink_ray.detection import inert_pickle
from rethink_ray.detection.damaged_weights import is_cut_error, require_whole_download
from rethink_ray.detection.inert_pickle import Inert
from rethink_ray.detection.tensor_fit import list_few
from rethink_ray.spec.errors import Explanation, SpecError, explain, say_error
from rethink_ray.spec.hashing import sha256_of
from rethink_ray.spec.weight_files import OURS

CONTAINERS = ("state_dict", "model", "teacher", "model_state_dict", "network")
"""Entries under which files store their tensors; ``teacher`` is the better of DINO's two."""
DEEPEST = 4
"""Entries inside entries that are looked into: a pickle may contain itself."""
DETECTOR_PARTS = (
    "rpn",
    "roi_head",
    "proposal_generator",
    "bbox_",
    "neck",
    "fpn",
    "box_head",
    "cls_subnet",
    "classification_head",
    "regression_head",
)
"""Beginnings of the names that only detectors have, as torchvision, detectron2, mmdetection and we
call their parts."""
MOST_SHOWN = 5
"""Entries of a dictionary that a message names."""
LONGEST_KEY = 100
"""Characters of a name in the file that a message shows."""
LONGEST_REASON = 300
"""Characters of an error of torch that a message shows."""
SAVE_A_STATE_DICT = "Save it with torch.save(model.state_dict(), path)."
TERMINAL_CODE = re.compile(r"\x1b\[[0-9;]*m")


def holds_detector(state: Mapping[str, Tensor]) -> bool:
    """Returns whether a state dict belongs to a whole detector, not to a backbone alone."""
    return any(word.startswith(DETECTOR_PARTS) for name in state for word in name.split("."))


def read_state_dict(path: Path, where: str) -> Mapping[str, Tensor]:
    """Returns the tensors of a file by name; finds them under the entries in ``CONTAINERS``.

    Args:
        path: the file.
        where: the beginning of error messages.

    Raises:
        SpecError: the file cannot be read without running code, holds no state dict, or is one of
            ours and damaged.
    """
    try:
        content = _read_object(path.read_bytes(), where)
        for _ in range(DEEPEST):
            inner = _find_inner(content)
            content = content if inner is None else inner
        entries = dict(content) if isinstance(content, Mapping) else {}
    except SpecError:
        raise
    except Exception as error:  # a damaged file breaks any part of torch
        must = "must be a file of tensors that loads without running code"
        raise SpecError(explain(where, must, _name_reason(error), SAVE_A_STATE_DICT)) from error
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors or not all(isinstance(name, str | int) for name in tensors):
        must = "must hold a state dict (name -> tensor)"
        shown = f"an object of {_name_kind(content)}"
        shown = _describe(entries) if isinstance(content, Mapping) else shown
        raise SpecError(Explanation.of(where, must, shown, SAVE_A_STATE_DICT))
    odd = [str(name) for name, value in tensors.items() if not _is_plain(value)]
    if odd:
        must = "must hold tensors with all their numbers (no meta, sparse or quantised ones)"
        shown = f"others in {list_few(odd)}"
        raise SpecError(Explanation.of(where, must, shown, SAVE_A_STATE_DICT))
    return {str(name): value.detach() for name, value in tensors.items()}


def _read_object(content: bytes, where: str) -> Any:
    """Returns the content of a file, with ``Inert`` objects for all that is no tensor."""
    require_whole_download(content, where)
    if content.startswith(OURS):
        header, _, content = content.partition(b"\n")
        if header.split()[-1] != sha256_of(content).encode():
            again = "Copy it or export it again."
            raise SpecError(explain(where, "must match its checksum", "other bytes", again))
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") < len(content):
        return load_safetensors(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of files in an old format
        try:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # it has more than tensors; archives of code do not get here
            return torch.load(
                io.BytesIO(content),
                map_location="cpu",
                pickle_module=inert_pickle,
                weights_only=False,
            )


def _find_inner(content: Any) -> Mapping[Any, Any] | None:
    """Returns the first entry of ``CONTAINERS`` that is a dictionary; ``None`` without one."""
    if not isinstance(content, Mapping):
        return None
    return next((content[k] for k in CONTAINERS if isinstance(content.get(k), Mapping)), None)


def _is_plain(tensor: Tensor) -> bool:
    """Returns whether the numbers of a tensor lie one by one in memory."""
    is_strided = tensor.layout is torch.strided and not tensor.is_nested
    return is_strided and not tensor.is_quantized and tensor.device.type == "cpu"


def _describe(entries: Mapping[Any, Any]) -> str:
    """Returns what a dictionary holds in the place of a state dict, in a few words."""
    shown = [f"{_name_key(k)} ({_name_kind(v)})" for k, v in [*entries.items()][:MOST_SHOWN]]
    return f"a dictionary of {', '.join(shown) or 'nothing'}"


def _name_key(key: Any) -> str:
    """Returns a key as messages show it: a tuple of tuples can be a million times as long as its
    file."""
    return _cut(key) if isinstance(key, str) else f"{_name_kind(key)} as a name"


def _name_kind(content: Any) -> str:
    return _cut(content.origin) if isinstance(content, Inert) else type(content).__name__


def _cut(name: str) -> str:
    return ascii(name)[1:-1][:LONGEST_KEY]


def _name_reason(error: Exception) -> str:
    if "TorchScript" in str(error):
        return "a TorchScript archive, which is code"
    if is_cut_error(error):
        return "a file that is cut; download it again"
    return TERMINAL_CODE.sub("", say_error(error))[:LONGEST_REASON]
