"""Preflight of Ray: one address, a token, a cluster that answers, and facts of each node."""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rethink_ray.cluster.capacity import DRIVER_RESOURCE, Capacity, has_driver_nodes, living_nodes
from rethink_ray.cluster.doctor.check import Check, build_check, try_check
from rethink_ray.cluster.doctor.compiler import check_compiler, describe_compiler, is_compiled
from rethink_ray.cluster.doctor.mps import check_mps, is_mps_running
from rethink_ray.cluster.doctor.study_checks import check_backbones, check_weights
from rethink_ray.cluster.ray_session import address_of_head, ray_session, set_switches
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.study import ResourceSpec, Study

NODE_ANSWER_SECONDS = 300
"""How long a node may take to answer. A fresh one imports torch and builds the data's index."""


def examine_ray(
    study: Study | None, address: str | None, folder: Path | None = None
) -> Iterator[Check]:
    """Ray on this machine, or every node of the cluster at ``address``.

    Args:
        study: the study that will run; trials on several workers need the State API.
        address: address of a running cluster; None starts one here for a moment.
        folder: the study's folder; every node must see it.
    """
    set_switches()
    yield check_address(address)
    yield check_token(address)
    resources = study.resources if study is not None else ResourceSpec()
    probe = ResourceSpec(workers=min(resources.workers, 1))
    with ExitStack() as stack:

        def answer() -> str:
            stack.enter_context(ray_session(probe, address, 1))
            import ray

            return f"{ray.__version__} answers"

        opened = try_check("ray", answer, "see the newest session's logs in Ray's temporary folder")
        yield opened
        if not opened.ok:
            return
        if resources.workers >= 1:
            yield _state_api()
        else:
            yield Check(name="state api", ok=True, detail="not needed: no trial uses Ray Train")
        if address is not None:
            yield from _cluster(study, folder)


def check_address(address: str | None) -> Check:
    """Whether all processes of a study find the same Ray; if a host runs two, they may not."""
    from ray._private.services import find_gcs_addresses

    named = os.environ.get("RAY_ADDRESS")
    running = sorted(find_gcs_addresses())  # type: ignore[no-untyped-call]
    here = f"running on this machine: {', '.join(running) or 'none'}"
    if address is None:
        return Check(name="one address", ok=True, detail=f"a Ray of the study's own; {here}")
    if named not in (None, address):
        fact = f"--address {address}, but RAY_ADDRESS={named}"
        return build_check("one address", fact, False, f"export RAY_ADDRESS={address}")
    is_unique = len(running) < 2 or named is not None
    return build_check(
        "one address", f"{address}; {here}", is_unique, f"export RAY_ADDRESS={address}"
    )


def check_token(address: str | None) -> Check:
    """Whether this machine has the token that Ray asks for.

    Ray asks for it on every local cluster since 2.59, and everywhere from 2.61. Before 2.61 a
    process that names an address shows its token only under ``RAY_AUTH_MODE=token``.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled":
        detail = "off (RAY_AUTH_MODE=disabled): anybody who reaches Ray's ports can run code there"
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
        return build_check("token", f"{path} is missing or empty", False, remedy)
    if address is None:
        return Check(name="token", ok=True, detail=f"none yet; Ray makes {path} when it starts")
    remedy = f"copy {path} of the head node here, or set RAY_AUTH_TOKEN_PATH"
    return build_check("token", "none; the cluster may ask for one", mode != "token", remedy)


def _is_filled(path: Path) -> bool:
    try:
        return bool(path.read_text().strip())
    except OSError:
        return False


def _state_api() -> Check:
    def ask() -> str:
        from ray.util.state import list_nodes, list_placement_groups

        head = address_of_head()  # else Ray takes the cluster that `ray start` started last
        nodes = list_nodes(head, timeout=NODE_ANSWER_SECONDS)
        groups = list_placement_groups(head, timeout=NODE_ANSWER_SECONDS)
        return f"answers: {len(nodes)} nodes, {len(groups)} placement groups"

    remedy = (
        "install ray[default] on the head node and start it with its dashboard; "
        "Ray Train cleans up through it"
    )
    return try_check("state api", ask, remedy)


def _cluster(study: Study | None, folder: Path | None) -> Iterator[Check]:
    nodes = living_nodes()
    if study is not None:
        fit = Capacity(study.resources).count_trials()
        remedy = "start more nodes or larger ones; until then the study waits"
        yield build_check("room", f"{fit} trials at a time on {len(nodes)} nodes", fit > 0, remedy)
        if study.resources.workers >= 1:
            safe = has_driver_nodes(nodes)
            advice = f"none marked; with preemptible nodes mark the others: {DRIVER_RESOURCE}"
            detail = f"marked by {DRIVER_RESOURCE}" if safe else advice
            yield Check(name="safe nodes", ok=True, detail=detail)
    yield from _each_node(study, folder)


def _each_node(study: Study | None, folder: Path | None) -> Iterator[Check]:
    """Facts that the nodes report of themselves, and where they differ."""
    probe = folder.absolute() / f".seen-{secrets.token_hex(6)}" if folder is not None else None
    try:
        if probe is not None:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.write_text("")
        answers, silent = _ask_nodes(study, probe)
    except OSError as error:
        yield build_check(
            "study folder", f"{error}", False, "name one that can be written with --out"
        )
        answers, silent = _ask_nodes(study, None)
        probe = None
    finally:
        if probe is not None:
            probe.unlink(missing_ok=True)
    remedy = "install rethink-ray on every node, from the same lock file"
    errors = "".join(f"; {name}: {error}" for name, error in silent.items())
    yield build_check("nodes", f"{len(answers)} answer{errors}", not silent, remedy)
    remedies = {
        "torch": "install the same lock file on every node",
        "rethink-ray": "install the same version on every node",
        "instruction set": "use nodes of one kind, or numbers do not repeat bit for bit on them",
        "gpus": "use GPUs of one kind with one driver, or findings carry a caveat",
        "data": "put the same files under the same path on every node",
        "weights": "copy the files to the nodes that lack them",
        "backbones": "install the same code on every node, or jobs are refused there",
    }
    for name, remedy in remedies.items():
        by_host = {node["host"]: str(node[name]) for node in answers if node[name]}
        if by_host:
            yield compare_nodes(name, by_host, remedy)
    if compilers := {node["host"]: str(node["compiler"]) for node in answers if node["compiler"]}:
        yield check_compiler(*compilers.items())
    if sharing := {node["host"]: node["mps"] for node in answers if node["mps"] is not None}:
        yield check_mps(*sharing.items())
    if probe is not None:
        blind = sorted(node["host"] for node in answers if not node["sees"])
        fact = f"{folder}: seen by {len(answers) - len(blind)} of {len(answers)} nodes"
        remedy = "mount it everywhere (NFS, EFS, Filestore), or give --out a URI"
        yield build_check("study folder", fact, not blind, remedy)


def compare_nodes(name: str, by_host: dict[str, str], remedy: str) -> Check:
    """Whether all nodes report the same value of ``name``."""
    hosts_of: dict[str, list[str]] = {}
    for host, value in sorted(by_host.items()):
        hosts_of.setdefault(value, []).append(host)
    values = [f"{value} on {_list_few(hosts)}" for value, hosts in sorted(hosts_of.items())]
    fact = f"{next(iter(hosts_of))} everywhere" if len(hosts_of) == 1 else "; ".join(values)
    return build_check(f"nodes: {name}", fact, len(hosts_of) <= 1, remedy)


def _list_few(hosts: Sequence[str]) -> str:
    more = f" and {len(hosts) - 3} more" if len(hosts) > 3 else ""
    return ", ".join(hosts[:3]) + more


def _ask_nodes(
    study: Study | None, probe: Path | None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """(the answer of each node, host -> why it gave none)."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    pending = {}
    study_json = study.model_dump_json(exclude_unset=True) if study else None
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            describe = ray.remote(num_cpus=0, max_retries=0)(describe_node)
            pending[node["NodeManagerHostname"], node["NodeID"]] = describe.options(
                scheduling_strategy=on_node
            ).remote(study_json, str(probe) if probe else None)
    answers, silent = [], {}
    for (host, _), reference in pending.items():
        try:
            answers.append(ray.get(reference, timeout=NODE_ANSWER_SECONDS))
        except Exception as error:
            last = str(error).strip().splitlines()[-1:] or [""]
            silent[host] = f"{type(error).__name__}: {last[0][:160]}"
    return answers, silent


def describe_node(study: str | None, probe: str | None) -> dict[str, Any]:
    """Facts of the node on which this runs: versions, and the files of a study that it sees.

    Args:
        study: the study as JSON.
        probe: a file that the driver has just written into the study's folder.
    """
    import platform
    from importlib.metadata import version

    import torch

    return {
        "host": platform.node(),
        "torch": torch.__version__,
        "rethink-ray": version("rethink-ray"),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        **_describe_gpus(study),
        "sees": probe is None or Path(probe).exists(),
        "data": _describe_data(study) if study else "",
        "weights": _describe_weights(study) if study else "",
        "backbones": _describe_backbones(study) if study else "",
    }


def _describe_gpus(study: str | None) -> dict[str, Any]:
    """The node's kinds of GPU, and what it compiles with; empty if it needs or has none.

    ``mps``: whether the daemon runs; ``None`` if no trials share a GPU here.
    """
    from rethink_ray.training.gpus import list_gpus

    checked = Study.model_validate_json(study) if study else None
    has_use = checked is None or checked.resources.gpus_per_worker > 0
    gpus = list_gpus() if has_use else ()
    compiles = bool(gpus) and checked is not None and is_compiled(checked)
    shares = bool(gpus) and checked is not None and checked.resources.shares_gpus
    return {
        "gpus": "; ".join(gpus),
        "compiler": describe_compiler() if compiles else "",
        "mps": is_mps_running() if shares else None,
    }


def _describe_data(study: str) -> str:
    from rethink_ray.data.facts import gather_facts
    from rethink_ray.data.leaks import refresh_splits

    checked = Study.model_validate_json(study)
    try:
        refresh_splits(checked.data)
        return gather_facts(checked.data, checked.regimes).fingerprint
    except (RethinkError, OSError) as error:
        return str(error)


def _describe_backbones(study: str) -> str:
    return "; ".join(c.detail for c in check_backbones(Study.model_validate_json(study)))


def _describe_weights(study: str) -> str:
    from rethink_ray.training.published_starts import describe_cached_weights

    checked = Study.model_validate_json(study)
    lacking = [c.name for c in check_weights(checked) if not c.ok]
    if lacking:
        return f"no {', '.join(lacking)}"
    return "; ".join(["all there", *describe_cached_weights(checked, checked.study)])
