#!/bin/sh
# A worker in shell, with curl and jq: worker.sh [QUEUE]
# GATEWAY: the gateway's address, http://127.0.0.1:9324 by default. TOKEN: its key, where it asks for one.
gateway=${GATEWAY:-http://127.0.0.1:9324}
queue=${1:-celery}
running=yes
trap 'running=' TERM INT

call() { # PATH BODY: the answer; fails where the gateway refuses or is away
    curl --silent --show-error --fail-with-body --max-time 30 --request POST "$gateway$1" --data "$2" \
        --header "Content-Type: application/json" ${TOKEN:+--header "Authorization: Bearer $TOKEN"}
}

execute() { # TASK ARGS: prints the result as JSON; fails where the task does
    case $1 in
    shop.add) printf %s "$2" | jq 'add' ;;
    *) echo "no task is called $1" >&2; return 1 ;;
    esac
}

echo "ready: $queue at $gateway"
while [ "$running" ]; do
    asked=$(jq -nc --arg queue "$queue" '{queues: [$queue], wait: 5, visibility: 60}')
    found=$(call /v1/leases "$asked") || { echo "$found" >&2; sleep 1; continue; }
    lease=$(printf %s "$found" | jq -r '.leases[0].lease // empty')
    [ "$lease" ] || continue
    task=$(printf %s "$found" | jq -r '.leases[0].task')
    args=$(printf %s "$found" | jq -c '.leases[0].args')
    if result=$(execute "$task" "$args" 2>&1); then
        body=$(jq -nc --argjson result "${result:-null}" '{result: $result}')
        call "/v1/leases/$lease/ack" "$body" >/dev/null
    else
        body=$(jq -nc --arg message "$result" '{type: "ShellError", message: $message}')
        call "/v1/leases/$lease/fail" "$body" >/dev/null
    fi
done
