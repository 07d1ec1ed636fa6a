"""Weights in the cache of the Hugging Face hub: timm's by tag, and repositories in timm's format.

``find`` looks into this machine's cache and never at the network; ``fetch`` downloads. Nothing in
a file can run (``tensor_files``).
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rethink_ray.detection.pixel_norm import input_of_timm
from rethink_ray.spec.errors import SpecError, explain, say_error
from rethink_ray.spec.hashing import digest_of, sha256_of_file
from rethink_ray.spec.networks import TIMM
from rethink_ray.spec.pixel_input import InputSpec
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.weight_keys import weights_key

WEIGHT_FILES = (
    "model.safetensors",
    "pytorch_model.bin",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)
"""Files with weights of a repository, in the order in which timm prefers them. Source:
pytorch-image-models, timm/models/_hub.py."""
CONFIG_FILE, CARD_FILE = "config.json", "README.md"
_LONGEST_REASON = 240
"""Characters of an error of the hub that a message shows."""
TRUE_WORDS = {"1", "ON", "YES", "TRUE"}
LICENCE_LINE = re.compile(r"^license(_name)?:\s*(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubWeights:
    """The weights of one repository of the hub."""

    key: str
    """Their name in facts, ``timm:<name>.<tag>`` or ``hub:org/name``."""
    repository: str
    revision: str | None
    architecture: str
    """timm's name of the network that takes them, without a tag."""
    known_input: InputSpec | None = None
    """Their input, if timm knows it; else the repository's ``config.json`` says it."""
    known_licence: str | None = None
    file_names: tuple[str, ...] = WEIGHT_FILES

    def find(self) -> Path | None:
        """Returns the file of weights in this machine's cache; ``None``: not there yet."""
        paths = (self._find_cached(name) for name in self.file_names)
        return next((path for path in paths if path is not None), None)

    def fetch(self) -> Path:
        """Returns the file of weights; downloads it, its description and its card if it is missing.

        Raises:
            SpecError: it is not in the cache, and cannot be downloaded.
        """
        if (cached := self.find()) is not None:
            return cached
        if is_offline():
            raise self._refuse("none, and HF_HUB_OFFLINE is set")
        try:
            for name in (CONFIG_FILE, CARD_FILE):
                self._download(name)
            paths = (self._download(name) for name in self.file_names)
            path = next((path for path in paths if path is not None), None)
        except Exception as error:  # of huggingface_hub, of its HTTP client, of the disk
            raise self._refuse(say_error(error)[:_LONGEST_REASON]) from error
        if path is None:
            raise self._refuse(f"a repository without {', '.join(self.file_names)}")
        return path

    def measure_download(self) -> int:
        """Returns the bytes that ``fetch`` would download, by asking the hub.

        Raises:
            SpecError: the hub cannot be asked.
        """
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        if is_offline():
            raise self._refuse("none, and HF_HUB_OFFLINE is set")
        reason = ""
        for name in self.file_names:
            try:
                url = hf_hub_url(self.repository, name, revision=self.revision)
                return get_hf_file_metadata(url).size or 0
            except Exception as error:  # as in ``fetch``
                reason = say_error(error)[:_LONGEST_REASON]
        raise self._refuse(reason or "no file of weights there")

    def compute_digest(self, where: str) -> str:
        """Returns 16 hex digits over the file of weights and the input that belongs to it.

        Raises:
            SpecError: as ``fetch``, or the description cannot be read.
        """
        path = self.fetch()  # brings the description that says the input
        pixels = self.read_input(where)
        known = None if pixels is None else pixels.model_dump(mode="json")
        return digest_of([sha256_of_file(path).hex(), known])

    def read_input(self, where: str) -> InputSpec | None:
        """Returns the input of the weights; ``None`` if neither timm nor the repository says it.

        Raises:
            SpecError: the weights are of another network, or the description cannot be read.
        """
        if self.known_input is not None:
            return self.known_input
        description = self._read_config(where)
        theirs = str(description.get("architecture", self.architecture)).partition(".")[0]
        if theirs != self.architecture:
            must = f"must be weights of {self.architecture}, the network in detector.backbone"
            remedy = f"Write detector.backbone: {TIMM}{theirs}, or name other weights."
            raise SpecError(explain(f"{where} {self.repository}", must, theirs, remedy))
        settings = description.get("pretrained_cfg", description)
        if not {"mean", "std"} <= settings.keys():
            return None
        return InputSpec.model_validate({"mean": settings["mean"], "std": settings["std"]})

    def read_licence(self) -> str | None:
        """Returns the licence as timm, the description or the card names it, if one is here."""
        if self.known_licence is not None:
            return self.known_licence
        try:
            description = self._read_config(self.key)
        except SpecError:
            description = {}
        named = description.get("pretrained_cfg", description).get("license")
        return str(named) if named else self._read_card_licence()

    @property
    def command(self) -> str:
        """The command that downloads the weights into the cache."""
        revision = f" --revision {self.revision}" if self.revision else ""
        return f"hf download {self.repository}{revision}"

    def _read_card_licence(self) -> str | None:
        """Returns ``license_name`` of the card's header, which says more, else ``license``."""
        path = self._find_cached(CARD_FILE)
        if path is None:
            return None
        _, *header = path.read_text(errors="replace").split("---", maxsplit=2)
        lines = LICENCE_LINE.findall(header[0]) if len(header) > 1 else []
        named = {kind: value.strip("\"'") for kind, value in lines}
        return named.get("_name") or named.get("")

    def _read_config(self, where: str) -> Mapping[str, Any]:
        path = self._find_cached(CONFIG_FILE)
        if path is None:
            return {}
        try:
            content = json.loads(path.read_text())
            if isinstance(content, dict) and isinstance(content.get("pretrained_cfg", {}), dict):
                return content
            reason = "no dictionary, or none in pretrained_cfg"
        except (OSError, ValueError) as error:
            reason = str(error)
        must = f"must have a readable {CONFIG_FILE}"
        remedy = f"Download it again: {self.command} --force-download."
        raise SpecError(explain(f"{where} {self.repository}", must, reason, remedy))

    def _find_cached(self, name: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        try:
            path = try_to_load_from_cache(
                self.repository, name, cache_dir=find_hub_cache(), revision=self.revision
            )
        except ValueError as error:  # no name that a repository can have
            raise self._refuse(say_error(error)[:_LONGEST_REASON]) from None
        return Path(path) if isinstance(path, str) else None

    def _download(self, name: str) -> Path | None:
        """Downloads one file; ``None`` if the repository has no such file."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return Path(
                hf_hub_download(
                    self.repository, name, revision=self.revision, cache_dir=find_hub_cache()
                )
            )
        except EntryNotFoundError as error:
            if isinstance(error, FileNotFoundError):  # it was not asked for: no connection
                raise
            return None

    def _refuse(self, shown: str) -> SpecError:
        must = "must be in the hub's cache on this machine, or downloadable"
        remedy = (
            f"On a machine with a connection: {self.command}; then copy the folder into "
            "HF_HUB_CACHE on every node."
        )
        return SpecError(explain(f"init.weights {self.key}", must, shown, remedy))


def find_hub_weights(backbone: str, init: InitSpec) -> HubWeights:
    """Returns the weights that ``init.source: timm`` or ``hub`` names; looks at no file.

    Raises:
        SpecError: timm is not installed, has no such tag, or keeps these weights elsewhere.
    """
    architecture, key = backbone.removeprefix(TIMM).partition(".")[0], weights_key(init, backbone)
    _require_timm(f"init.weights {init.weights}")
    if init.source == "timm":
        return _find_timms(architecture, init.weights or "", key)
    repository, _, revision = (init.weights or "").partition("@")
    return HubWeights(
        key=key,
        repository=repository,
        revision=revision or None,
        architecture=architecture,
    )


def _find_timms(architecture: str, tag: str, key: str) -> HubWeights:
    import timm

    tagged = list(_list_tags(architecture))
    if tag not in tagged:
        must = f"must be a tag of timm's weights of {architecture}"
        remedy = f"Known: {', '.join(tagged) or 'none; use init.source: file or hub'}."
        raise SpecError(explain("init.weights", must, tag, remedy))
    known: Any = timm.get_pretrained_cfg(f"{architecture}.{tag}")
    if not known.hf_hub_id:
        must = "must be weights that timm keeps on the hub"
        remedy = f"Download {known.url} and use init.source: file."
        raise SpecError(explain(f"init.weights {tag}", must, "a file elsewhere", remedy))
    named = (known.hf_hub_filename,) if known.hf_hub_filename else ()
    return HubWeights(
        key=key,
        repository=known.hf_hub_id.partition("@")[0],
        revision=known.hf_hub_id.partition("@")[2] or None,
        architecture=architecture,
        known_input=input_of_timm(f"{TIMM}{architecture}.{tag}"),
        known_licence=known.license,
        file_names=(*named, *WEIGHT_FILES),
    )


def _require_timm(where: str) -> None:
    """Refuses if timm, or huggingface_hub that comes with it, is not installed."""
    missing = [name for name in ("timm", "huggingface_hub") if find_spec(name) is None]
    if missing:
        must, remedy = "needs timm, an optional package", "pip install 'rethink-ray[timm]'."
        raise SpecError(explain(where, must, f"no {missing[0]}", remedy))


def _list_tags(architecture: str) -> Iterator[str]:
    import timm

    if timm.is_model(architecture):
        for name in timm.list_models(f"{architecture}.*", pretrained=True):
            yield name.partition(".")[2]


def is_offline() -> bool:
    """Returns whether ``HF_HUB_OFFLINE`` forbids to ask the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE_WORDS


def find_hub_cache() -> Path:
    """Returns the hub's cache as the environment says now.

    Source: huggingface_hub, src/huggingface_hub/constants.py, which reads it on import only.
    """
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    general = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(general).expanduser() / "huggingface" / "hub"
