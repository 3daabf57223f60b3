#!/usr/bin/env bash
# Measures msggen and prints each figure beside its bar.
#
#   bars.sh [STEP...]     steps: pace wrk empty delivered sources; all of them without any
#
# Needs `cargo build --release --workspace --examples` first, and wrk for the step `wrk`. Nothing
# else should run on the machine. Two cores are assumed; the steps `wrk` and `empty` pin msggen to
# core 0 and what answers to core 1. Every process that is started here is ended here.
#
#   PACE_S=600     seconds of the step `pace`
#   PAIRS=5        pairs of the step `wrk`, and runs of `empty` and `delivered`
#   HELD=10000     connections that floodtest holds in `pace` and `delivered`
. "$(dirname "$0")/../../reports/bench/lib.sh"
PACE_S=${PACE_S-600}
PAIRS=${PAIRS-5}
HELD=${HELD-10000}

hold() { # connections from ids 1 to $HELD
    : > flood.out
    "$BIN/floodtest" urls --count "$HELD" --pattern "http://127.0.0.1:$PORT/test/{id}" --out urls.txt
    "$BIN/floodtest" --urls urls.txt --rate max --json --report 500ms > flood.out &
    STARTED+=($!)
    wait_for "\"connected\":$HELD,\"closed\":0" flood.out
}

# 100 sources, 10 messages a second each.
pace() {
    server server
    hold
    local n=$((PACE_S * 10))
    TIMEFORMAT='%U %S'
    { time "$BIN/msggen" --num $n --interval 100 --max "$HELD" --sources 100 --seed 1 --json \
        --report 1h --server "http://127.0.0.1:$DOOR" > pace.out; } 2> pace.time
    end_all
    local rate cpu
    rate=$(field achieved_per_s pace.out)
    cpu=$(awk -v s="$PACE_S" 'END { printf "%.2f", ($1 + $2) * 100 / s }' pace.time)
    bar "pace: rate, off from 1,000/s by" \
        "$(awk -v r="$rate" 'BEGIN { d = r / 10 - 100; printf "%.4f", d < 0 ? -d : d }')" '<=' 0.1 %
    bar "pace: lateness p50" "$(field lateness.p50_us pace.out)" '<=' 200 us
    bar "pace: lateness p99" "$(field lateness.p99_us pace.out)" '<=' 1000 us
    bar "pace: CPU of one core" "$cpu" '<=' 5 %
}

# One message a request, 64 sources, beside wrk with a POST script, in turns.
wrk_pairs() {
    taskset -c 1 "$BIN/examples/responder" > responder.out &
    STARTED+=($!)
    wait_for http responder.out
    local responder theirs ours
    responder=$(cat responder.out)
    for _ in $(seq "$PAIRS"); do
        taskset -c 0 wrk -t1 -c64 -d5s -s "$TOP/msggen/bench/post.lua" "$responder" > wrk.out
        theirs=$(awk '/Requests\/sec/ { print $2 }' wrk.out)
        taskset -c 0 "$BIN/msggen" --num 10k --interval 0 --max 10000 --sources 64 --seed 1 --json \
            --server "$responder" > gen.out
        ours=$(field achieved_per_s gen.out)
        echo "wrk: $theirs/s, msggen $ours/s" >&2
        awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.3f\n", a / b }'
    done > ratios.out
    end_all
    bar "wrk: share of wrk's rate, median of $PAIRS" "$(median < ratios.out)" '>=' 0.65 ""
}

# Batches into a router that nobody is connected to.
empty() {
    for _ in $(seq "$PAIRS"); do
        PIN="taskset -c 1" server server
        taskset -c 0 "$BIN/msggen" --num 250k --interval 0 --max 10000 --sources 8 --batch 100 \
            --in-flight 2 --seed 1 --json --server "http://127.0.0.1:$DOOR" > gen.out
        end_all
        field achieved_per_s gen.out
    done > rates.out
    bar "empty: batches of 100, median of $PAIRS" "$(median < rates.out)" '>=' 150000 "messages/s"
}

# Batches that reach a connection each. The rate is that of the answers, which come when the kernel
# has the messages; the run counts only if floodtest then has them all.
delivered() {
    for _ in $(seq "$PAIRS"); do
        server server
        hold
        "$BIN/msggen" --num 150k --interval 0 --max "$HELD" --sources 8 --batch 100 --in-flight 2 \
            --seed 1 --json --server "http://127.0.0.1:$DOOR" > gen.out
        wait_for '"chunks":1200000,' flood.out
        end_all
        field achieved_per_s gen.out
    done > rates.out
    bar "delivered: batches of 100, median of $PAIRS" "$(median < rates.out)" '>=' 100000 "messages/s"
}

# 10,000 sources, a message every 10 s each.
sources() {
    server server
    "$BIN/msggen" --num 3 --interval 10000 --max 10000 --sources 10000 --seed 1 --json --report 1h \
        --server "http://127.0.0.1:$DOOR" > gen.out &
    local pid=$! highest=0
    while [ -e "/proc/$pid/status" ]; do
        highest=$(awk -v h="$highest" '/VmHWM/ { h = $2 } END { print h }' "/proc/$pid/status" || echo "$highest")
        sleep 0.5
    done
    wait $pid
    end_all
    bar "sources: RSS of 10,000, highest" "$(awk -v k="$highest" 'BEGIN { printf "%.1f", k / 1024 }')" '<=' 64 MB
    bar "sources: rate" "$(field achieved_per_s gen.out)" '>=' 999 "messages/s"
}

for step in ${*:-pace wrk empty delivered sources}; do
    case $step in wrk) wrk_pairs ;; *) $step ;; esac
done
exit $MISSED
