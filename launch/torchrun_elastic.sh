#!/bin/bash
# Train on a number of machines that may change while it trains, without a scheduler. The same on each machine:
#   launch/torchrun_elastic.sh MIN:MAX HEAD:PORT --config FILE [section.key=value ...]
# HEAD is the address of the machine that stays to the end: it holds the store, and its end is the end of the job.
# A machine joins when it types this, and leaves by Ctrl-C or SIGTERM: the run saves, and goes on with those that are there.
set -eu
if [ $# -lt 3 ] || [[ $1 != *:* || $2 != *:* ]]; then
    echo "usage: $0 MIN:MAX HEAD:PORT --config FILE [section.key=value ...]" >&2
    exit 2
fi
nodes=$1 head=${2%:*} port=${2##*:}
shift 2
: "${PROCESSES:=$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU' || true)}" # on this machine
: "${RESTARTS:=100}"                                                            # how often machines may come, go or fail
: "${JOIN_TIMEOUT:=300}"                                                        # seconds that MIN machines have to be there
own=$(ip -oneline route get "$head" | grep -oP ' src \K\S+')
[ "$own" = "$head" ] && holds=true || holds=false
# torch 2.15 lets no machine join a job that shares the launcher's store
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# when machines come or go torchrun stops its processes to start them anew: they save, and do not stop it in return
export PIPELINE_ELASTIC=1
exec "${PYTHON:-.venv/bin/python}" -m torch.distributed.run \
    --nnodes "$nodes" --nproc-per-node "$([ "$PROCESSES" -gt 0 ] && echo "$PROCESSES" || echo 1)" \
    --max-restarts "$RESTARTS" --monitor-interval 1 \
    --rdzv-backend c10d --rdzv-id "${JOB:-pipeline}" --rdzv-endpoint "$head:$port" --local-addr "$own" \
    --rdzv-conf "is_host=$holds,join_timeout=$JOIN_TIMEOUT,last_call_timeout=${LAST_CALL:-5}" \
    -m pipeline train "$@"
