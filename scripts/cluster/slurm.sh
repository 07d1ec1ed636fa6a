#!/bin/bash
# A study on a Slurm allocation: Ray's head on the first node, a worker on each other one, the driver
# beside the head. The same job may be queued again and again: the study goes on where it stands.
#
#   sbatch scripts/cluster/slurm.sh my.yaml --out /shared/studies/my
#
# A study that is longer than the time limit: --signal lets it stop in good order before the end, and
# a stopped or incomplete study is put back into the queue. A finished one is not.
#
# RETHINK_RAY_MPS=1 sbatch ... starts NVIDIA's MPS on each node, for resources.gpus_per_worker below 1.
#SBATCH --job-name=rethink-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

cpus=${SLURM_CPUS_PER_TASK:-$(nproc)}
gpus=${SLURM_GPUS_ON_NODE:-0}
port=${RETHINK_RAY_PORT:-$((20000 + ${SLURM_JOB_ID:-0} % 20000))}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}

# Everything below finds this cluster, and no other that may run on these nodes.
head_ip=$(srun --nodes=1 --ntasks=1 --overlap --nodelist="$head" hostname -I | awk '{print $1}')
export RAY_ADDRESS="$head_ip:$port"
# Whoever reaches Ray's ports can run code: a token of this job's own, known to its processes only.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
export RAY_USAGE_STATS_ENABLED=0

steps=()
driver=
# The daemon ends with the job step that Ray runs in.
with_mps=()
if [ -n "${RETHINK_RAY_MPS:-}" ]; then
    export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps-${SLURM_JOB_ID:-0} CUDA_MPS_LOG_DIRECTORY=/tmp/mps-${SLURM_JOB_ID:-0}
    with_mps=(bash -c 'mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" && nvidia-cuda-mps-control -d; exec "$@"' mps)
fi
queue_again() { scontrol requeue "$SLURM_JOB_ID" || true; }
asked_to_stop() {
    if [ -z "$driver" ]; then # nothing runs yet that could be stopped in good order
        queue_again
        exit 143
    fi
    kill -TERM "$driver" 2>/dev/null
}
start() { # node, then what Ray is to be started with; --block ties Ray to its job step
    local node=$1
    shift
    srun --nodes=1 --ntasks=1 --overlap --nodelist="$node" --cpus-per-task="$cpus" \
        "${with_mps[@]}" ray start --block --disable-usage-stats --num-cpus "$cpus" --num-gpus "$gpus" "$@" &
    steps+=($!)
}
stop() { # Ray's own processes end with their job step; no other cluster of this user is touched
    kill -TERM "${steps[@]}" 2>/dev/null
    wait "${steps[@]}" 2>/dev/null
}
trap stop EXIT
trap asked_to_stop TERM INT

start "$head" --head --node-ip-address "$head_ip" --port "$port" \
    --resources '{"rethink_driver": 1000}'
for node in "${nodes[@]:1}"; do
    start "$node" --address "$RAY_ADDRESS"
done

# Not `ray list nodes`: it asks the dashboard, which a head lacks where its port is taken.
alive() { ray status 2>/dev/null | grep -c '^ 1 '; }
until [ "$(alive)" -ge "${#nodes[@]}" ]; do
    for step in "${steps[@]}"; do
        kill -0 "$step" 2>/dev/null || { echo "Ray ended on a node before the study began" >&2; exit 3; }
    done
    sleep 2
done
echo "${#nodes[@]} nodes answer at $RAY_ADDRESS"

rethink-ray run "$@" --address "$RAY_ADDRESS" &
driver=$!
wait "$driver"
code=$?
while kill -0 "$driver" 2>/dev/null; do # the signal ended the wait, not the driver
    wait "$driver"
    code=$?
done

# 3: a machine failed a job too often; 130 and 143: stopped. All three go on when run again.
if [ "$code" -eq 3 ] || [ "$code" -eq 143 ]; then
    queue_again
fi
exit "$code"
