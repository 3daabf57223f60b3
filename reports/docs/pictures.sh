#!/usr/bin/env bash
# Makes the pictures of storms.md and language-models.md again: runs each shape in small, and copies
# the charts of the runs to reports/docs/pictures. Without arguments it takes `cargo rig`; otherwise
# the program that is named. It takes four minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
RIG=("$@")
[ $# -gt 0 ] || RIG=(cargo rig)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
PICTURES=reports/docs/pictures
mkdir -p "$PICTURES"

run() { # NAME CHART ARGUMENTS of the rig: its chart becomes NAME.svg. A run that fell short has one too
    "${RIG[@]}" "${@:3}" --out "$WORK/$1" > "$WORK/out" 2>&1 || tail -n 5 "$WORK/out" >&2
    cp "$WORK/$1/$2" "$PICTURES/$1.svg"
    echo "$1: $(grep -h '^verdict\|All held\|held$' "$WORK/out" | head -n 1)"
}

SMALL=(--connections 500 --rate 500 --messages-per-second 500 --sources 20 --minutes 0.4)
TIMES=(--storm 5s:50% --kill-at 12s --back-after 3s)
run storm open.svg storm "${SMALL[@]}" "${TIMES[@]}"
run windows sweep.svg storm --sweep backoff=0,1s,3s "${SMALL[@]}" "${TIMES[@]}"
IN_SMALL=(--set connections.count=500 --set messages.rate=500 --set messages.sources=20
    --set messages.for=20s)
run churn open.svg run c10k "${IN_SMALL[@]}" --set connections.rate=500 \
    --set connections.lifetime=exp:5s --set connections.reopen=at-once --set expect.lost=0
run ramp traffic.svg run c10k "${IN_SMALL[@]}" --set connections.rate=ramp:10..100/10s \
    --set expect.lost=0
run slow delivery.svg run c10k "${IN_SMALL[@]}" --set connections.rate=500 \
    --set connections.slow=5%:0 --set expect.lost=0
run closed-loop streams.svg llm --streams 200 --for 15s
run open-loop streams.svg llm --rate 20 --for 15s
