"""The files of ``scripts/cluster`` say what Ray, KubeRay and Slurm understand, and do it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from rethink_ray.cluster.capacity import DRIVER_RESOURCE
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from tests.builders import MICRO_DATA, MICRO_SETTINGS

FILES = Path(__file__).resolve().parent.parent / "scripts" / "cluster"
RAY_JOB_FIELDS = {
    *("entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes"),
    *("ttlSecondsAfterFinished", "rayClusterSpec", "activeDeadlineSeconds", "runtimeEnvYAML"),
    *("clusterSelector", "submitterPodTemplate", "submitterConfig", "suspend", "metadata"),
    *("jobId", "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "managedBy"),
    *("deletionStrategy", "preRunningDeadlineSeconds"),
}
RAY_CLUSTER_FIELDS = {
    *("rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs", "autoscalerOptions"),
    *("enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headServiceAnnotations", "suspend"),
}
HEAD_FIELDS = {"rayStartParams", "template", "serviceType", "enableIngress", "resources", "labels"}
WORKER_FIELDS = {
    *("groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "numOfHosts"),
    *("rayStartParams", "template", "scaleStrategy", "suspend", "resources", "labels"),
}


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_autoscaler_files_satisfy_rays_own_schema(cloud: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((FILES / f"{cloud}.yaml").read_text())
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(config, json.loads(schema.read_text()))
    validate_config(prepare_config(config))
    assert config["provider"]["type"] == cloud
    head, spot = (config["available_node_types"][name] for name in ("head", "spot"))
    assert head["resources"] == {"CPU": 0, DRIVER_RESOURCE: 1000}, "leads trials, runs none"
    assert DRIVER_RESOURCE not in spot["resources"]
    assert "spot" in json.dumps(spot["node_config"]).lower()
    assert "spot" not in json.dumps(head["node_config"]).lower()
    assert spot["min_workers"] > 0, "a study never asks the autoscaler for more"
    assert any("auth_token" in there for there in config["file_mounts"])


def _ray_job() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((FILES / "rayjob.yaml").read_text()))
    return next(d for d in documents if d["kind"] == "RayJob")


def test_the_ray_job_has_only_fields_that_its_definition_documents() -> None:
    job = _ray_job()
    assert job["apiVersion"] == "ray.io/v1"
    assert set(job["spec"]) <= RAY_JOB_FIELDS
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) <= RAY_CLUSTER_FIELDS
    assert set(cluster["headGroupSpec"]) <= HEAD_FIELDS
    for group in cluster["workerGroupSpecs"]:
        assert set(group) <= WORKER_FIELDS
        assert 0 < group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        claimed = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= claimed


def test_the_ray_job_may_run_again_carries_a_token_and_leads_from_a_safe_pod() -> None:
    spec = _ray_job()["spec"]
    assert spec["entrypoint"].startswith("rethink-ray run ")
    assert spec["backoffLimit"] > 0
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": "rethink-ray-token"}
    head, (spot,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    marked = json.loads(json.loads(head["rayStartParams"]["resources"]))
    assert marked == {DRIVER_RESOURCE: 1000}
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "spot" in json.dumps(spot["template"]["spec"]["nodeSelector"])
    assert "nodeSelector" not in head["template"]["spec"]


SRUN = """#!/bin/bash
# srun of a cluster whose nodes are all this machine: options are dropped, the command runs here.
while [[ "$1" == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
case "$1" in
    show) printf '%s\\n' $SLURM_JOB_NODELIST ;;
    requeue) echo "$2" >> "$REQUEUED" ;;
esac
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``srun`` and ``scontrol`` are small local stand-ins."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / "bin").mkdir(exist_ok=True)
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))}
    paths = [str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    return inherited | {
        "PATH": os.pathsep.join(paths),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "one two",
        "SLURM_CPUS_PER_TASK": "1",
        "REQUEUED": str(tmp_path / "requeued"),
        "RETHINK_RAY_CACHE": str(tmp_path / "cache"),
        "TMPDIR": "/tmp",
    }


def _micro_yaml(path: Path, trials: int) -> Path:
    tree = {
        "study": "micro",
        "data": MICRO_DATA.model_dump(mode="json", exclude_none=True),
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "settings": {k: v for k, v in MICRO_SETTINGS.items() if not k.startswith("schedule")},
        "arms": {"scratch": {}},
        "search": {"optimizer.lr": {"log_uniform": [0.002, 0.1]}},
        "schedule": {
            "unit": 4,
            "lengths": [2.0],
            "warmup": 2,
            "decay": {"kind": "step", "before_end": [0.75, 0.25]},
        },
        "budget": {"trials": trials, "keep": [trials], "replicates": 0},
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def _is_gone(port: str, seconds: float = 60.0) -> bool:
    """Whether no process of this machine names the cluster's port, by now or soon."""
    end = time.monotonic() + seconds
    while _names_it(port):
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def _names_it(port: str) -> bool:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f":{port}" in words and "pytest" not in words:
            return True
    return False


@pytest.mark.slow
@pytest.mark.ray
def test_the_slurm_job_starts_two_nodes_runs_the_study_on_both_and_leaves_nothing(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    study = _micro_yaml(tmp_path / "micro.yaml", trials=4)
    slurm["RETHINK_RAY_PORT"] = str(21000 + os.getpid() % 8000)
    command = [str(FILES / "slurm.sh"), str(study), "--out", str(tmp_path / "s"), "--log", "none"]
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, timeout=400)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    directory = StudyDirectory.open(tmp_path / "s")
    state = directory.load_state()
    assert progress_of(directory.study, state).rungs == 4
    assert "2 nodes answer at" in told
    assert "room for 2 trials" in told, "one CPU on each node"
    assert _is_gone(slurm["RETHINK_RAY_PORT"])
    assert not Path(slurm["REQUEUED"]).exists()


@pytest.mark.slow
@pytest.mark.ray
def test_a_slurm_job_that_is_told_to_end_stops_the_study_and_queues_itself_again(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    study = _micro_yaml(tmp_path / "micro.yaml", trials=200)
    slurm["RETHINK_RAY_PORT"] = str(21000 + (os.getpid() + 1) % 8000)
    command = [str(FILES / "slurm.sh"), str(study), "--out", str(tmp_path / "s"), "--log", "none"]
    with subprocess.Popen(
        command, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as job:
        assert job.stdout is not None
        for line in job.stdout:
            if "2x: val/ap" in line:
                job.send_signal(signal.SIGTERM)
                break
        rest = job.stdout.read()
        assert job.wait(60) == 143, rest
    assert "nothing is lost" in rest
    assert Path(slurm["REQUEUED"]).read_text().split() == [slurm["SLURM_JOB_ID"]]
    assert _is_gone(slurm["RETHINK_RAY_PORT"])
