"""Preflight of Ray: one address, a token, a cluster that answers, and what each node is like."""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rethink_ray.cluster.capacity import DRIVER_RESOURCE, Capacity, has_driver_nodes, living_nodes
from rethink_ray.cluster.doctor.check import Check, judged, tried
from rethink_ray.cluster.ray_session import address_of_head, ray_session, set_switches
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.study import ResourceSpec, Study

ANSWER_SECONDS = 300
"""How long a node may take to answer; a fresh one imports torch and builds the data's index."""


def examine_ray(
    study: Study | None, address: str | None, folder: Path | None = None
) -> Iterator[Check]:
    """Ray on this machine, or every node of the cluster at ``address``.

    Args:
        study: what will run; trials on several workers need the State API.
        address: of a running cluster; None starts one here for a moment.
        folder: where the study is to live: every node must see it.
    """
    set_switches()
    yield one_address(address)
    yield token(address)
    resources = study.resources if study is not None else ResourceSpec()
    asked = ResourceSpec(workers=min(resources.workers, 1))
    with ExitStack() as stack:

        def answer() -> str:
            stack.enter_context(ray_session(asked, address, 1))
            import ray

            return f"{ray.__version__} answers"

        opened = tried("ray", answer, "see the newest session's logs in Ray's temporary folder")
        yield opened
        if not opened.ok:
            return
        if resources.workers >= 1:
            yield _state_api()
        else:
            yield Check(name="state api", ok=True, detail="not needed: no trial uses Ray Train")
        if address is not None:
            yield from _cluster(study, folder)


def one_address(address: str | None) -> Check:
    """All processes of a study must mean the same Ray: with several on a host they may not."""
    from ray._private.services import find_gcs_addresses

    named = os.environ.get("RAY_ADDRESS")
    running = sorted(find_gcs_addresses())  # type: ignore[no-untyped-call]
    here = f"running on this machine: {', '.join(running) or 'none'}"
    if address is None:
        return Check(name="one address", ok=True, detail=f"a Ray of the study's own; {here}")
    if named not in (None, address):
        found = f"--address {address}, but RAY_ADDRESS={named}"
        return judged("one address", found, False, f"export RAY_ADDRESS={address}")
    alone = len(running) < 2 or named is not None
    return judged("one address", f"{address}; {here}", alone, f"export RAY_ADDRESS={address}")


def token(address: str | None) -> Check:
    """Ray asks for a token on every local cluster since 2.59, and everywhere from 2.61.

    Before that, whoever names an address shows the token only under ``RAY_AUTH_MODE=token``.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled":
        detail = "off (RAY_AUTH_MODE=disabled): whoever reaches Ray's ports can run code there"
        return Check(name="token", ok=True, detail=detail)
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    hidden = "; shown to a named address only after: export RAY_AUTH_MODE=token"
    shown = "" if mode == "token" or address in (None, "auto") else hidden
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Check(name="token", ok=True, detail=f"from RAY_AUTH_TOKEN{shown}")
    if _is_filled(path):
        return Check(name="token", ok=True, detail=f"from {path}{shown}")
    if os.environ.get("RAY_AUTH_TOKEN_PATH"):
        remedy = "write the token there, or unset RAY_AUTH_TOKEN_PATH"
        return judged("token", f"{path} is missing or empty", False, remedy)
    if address is None:
        return Check(name="token", ok=True, detail=f"none yet; Ray makes {path} when it starts")
    remedy = f"copy {path} of the head node here, or set RAY_AUTH_TOKEN_PATH"
    return judged("token", "none; the cluster may ask for one", mode != "token", remedy)


def _is_filled(path: Path) -> bool:
    try:
        return bool(path.read_text().strip())
    except OSError:
        return False


def _state_api() -> Check:
    def ask() -> str:
        from ray.util.state import list_nodes, list_placement_groups

        head = address_of_head()  # else Ray takes the cluster that `ray start` started last
        nodes = list_nodes(head, timeout=ANSWER_SECONDS)
        groups = list_placement_groups(head, timeout=ANSWER_SECONDS)
        return f"answers: {len(nodes)} nodes, {len(groups)} placement groups"

    remedy = (
        "install ray[default] on the head node and start it with its dashboard; "
        "Ray Train cleans up through it"
    )
    return tried("state api", ask, remedy)


def _cluster(study: Study | None, folder: Path | None) -> Iterator[Check]:
    nodes = living_nodes()
    if study is not None:
        fit = Capacity(study.resources).count_trials()
        remedy = "start more nodes or larger ones; until then the study waits"
        yield judged("room", f"{fit} trials at a time on {len(nodes)} nodes", fit > 0, remedy)
        if study.resources.workers >= 1:
            safe = has_driver_nodes(nodes)
            advice = f"none marked; with preemptible nodes mark the others: {DRIVER_RESOURCE}"
            detail = f"marked by {DRIVER_RESOURCE}" if safe else advice
            yield Check(name="safe nodes", ok=True, detail=detail)
    yield from _each_node(study, folder)


def _each_node(study: Study | None, folder: Path | None) -> Iterator[Check]:
    """What the nodes say of themselves, and where they differ."""
    sign = folder.absolute() / f".seen-{secrets.token_hex(6)}" if folder is not None else None
    try:
        if sign is not None:
            sign.parent.mkdir(parents=True, exist_ok=True)
            sign.write_text("")
        told, silent = _ask_nodes(study, sign)
    except OSError as error:
        yield judged("study folder", f"{error}", False, "name one that can be written with --out")
        told, silent = _ask_nodes(study, None)
        sign = None
    finally:
        if sign is not None:
            sign.unlink(missing_ok=True)
    remedy = "install rethink-ray on every node, from the same lock file"
    found = f"{len(told)} answer" + "".join(f"; {name}: {why}" for name, why in silent.items())
    yield judged("nodes", found, not silent, remedy)
    remedies = {
        "torch": "install the same lock file on every node",
        "rethink-ray": "install the same version on every node",
        "instruction set": "use nodes of one kind, or numbers do not repeat bit for bit on them",
        "data": "put the same files under the same path on every node",
        "weights": "copy the files to the nodes that lack them",
        "backbones": "install the same code on every node, or jobs are refused there",
    }
    for what, remedy in remedies.items():
        said = {node["host"]: str(node[what]) for node in told if node[what]}
        if said:
            yield alike(what, said, remedy)
    if sign is not None:
        blind = sorted(node["host"] for node in told if not node["sees"])
        shown = f"{folder}: seen by {len(told) - len(blind)} of {len(told)} nodes"
        remedy = "mount it everywhere (NFS, EFS, Filestore), or give --out a URI"
        yield judged("study folder", shown, not blind, remedy)


def alike(what: str, by_host: dict[str, str], remedy: str) -> Check:
    """Whether all nodes say the same; the check's name says it is about nodes."""
    kinds: dict[str, list[str]] = {}
    for host, kind in sorted(by_host.items()):
        kinds.setdefault(kind, []).append(host)
    shown = "; ".join(f"{kind} on {_few(hosts)}" for kind, hosts in sorted(kinds.items()))
    if len(kinds) == 1:
        shown = f"{next(iter(kinds))} everywhere"
    return judged(f"nodes: {what}", shown or "nobody answered", len(kinds) <= 1, remedy)


def _few(hosts: Sequence[str]) -> str:
    more = f" and {len(hosts) - 3} more" if len(hosts) > 3 else ""
    return ", ".join(hosts[:3]) + more


def _ask_nodes(
    study: Study | None, sign: Path | None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """(what each node says, node -> why it says nothing)."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked, asked_of = {}, study.model_dump_json(exclude_unset=True) if study else None
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ask = ray.remote(num_cpus=0, max_retries=0)(describe_node)
            asked[node["NodeManagerHostname"], node["NodeID"]] = ask.options(
                scheduling_strategy=place
            ).remote(asked_of, str(sign) if sign else None)
    told, silent = [], {}
    for (host, _), reference in asked.items():
        try:
            told.append(ray.get(reference, timeout=ANSWER_SECONDS))
        except Exception as error:
            last = str(error).strip().splitlines()[-1:] or [""]
            silent[host] = f"{type(error).__name__}: {last[0][:160]}"
    return told, silent


def describe_node(study: str | None, sign: str | None) -> dict[str, Any]:
    """What a node's processes are like, and what they see of a study; runs there."""
    import platform
    from importlib.metadata import version

    import torch

    return {
        "host": platform.node(),
        "torch": torch.__version__,
        "rethink-ray": version("rethink-ray"),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "sees": sign is None or Path(sign).exists(),
        "data": _data_there(study) if study else "",
        "weights": _weights_there(study) if study else "",
        "backbones": _backbones_there(study) if study else "",
    }


def _data_there(study: str) -> str:
    from rethink_ray.data.facts import gather_facts
    from rethink_ray.data.leaks import refresh_splits

    asked = Study.model_validate_json(study)
    try:
        refresh_splits(asked.data)
        return gather_facts(asked.data, asked.regimes).fingerprint
    except (RethinkError, OSError) as error:
        return str(error)


def _backbones_there(study: str) -> str:
    from rethink_ray.cluster.doctor.study_checks import backbones_of

    return "; ".join(c.detail for c in backbones_of(Study.model_validate_json(study)))


def _weights_there(study: str) -> str:
    from rethink_ray.cluster.doctor.study_checks import weights_of

    lacking = [c.name for c in weights_of(Study.model_validate_json(study)) if not c.ok]
    return f"no {', '.join(lacking)}" if lacking else "all there"
