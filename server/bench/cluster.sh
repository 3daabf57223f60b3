#!/usr/bin/env bash
# The figures of a cluster against their bars.
#
#   cluster.sh [STEP...]   steps: memory latency throughput stop kill; all by default, 6 minutes
#
# Build first: cargo build --release. It needs redis-server. Nothing else should run on the machine:
# broker, nodes, floodtest and msggen share it. Every process that is started here is ended here.
. "$(dirname "$0")/../../reports/bench/lib.sh"
needs redis-server redis-cli
RUNS=${RUNS:-3}
SECONDS_EACH=${SECONDS_EACH:-20}
IDS=${IDS:-19000}

health() { curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$1/healthz"; }

broker() { # starts one, sets BROKER; REDIS is its port, kept when it is started again
    REDIS=${REDIS:-$((7100 + RANDOM % 800))}
    : > broker.out
    redis-server --port "$REDIS" --bind 127.0.0.1 --save '' > broker.out &
    BROKER=$!
    STARTED+=("$BROKER")
    wait_for 'Ready to accept' broker.out
}

node() { # NUMBER: starts one, appends to NODES (processes), PORTS and CONTROLS
    server "n$1" --name "n$1" --cluster "redis://127.0.0.1:$REDIS"
    NODES+=("$SERVER")
    PORTS+=("$PORT")
    CONTROLS+=("$CONTROL")
    until [ "$(health "${CONTROLS[-1]}")" = 200 ]; do sleep 0.1; done
}

cluster() { # N: a broker and N nodes
    unset REDIS
    broker
    NODES=() PORTS=() CONTROLS=()
    for number in $(seq "$1"); do node "$number"; done
}

# What an id and its connection cost in a node, and in the broker.
step_memory() {
    local before broker_before used
    used() { redis-cli -p "$REDIS" info memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p'; }
    for _ in $(seq "$RUNS"); do
        cluster 1
        urls 1 1 "${PORTS[0]}" > urls.txt
        flood 1 --rate 10000
        before=$(rss "${NODES[0]}") broker_before=$(used)
        sleep 1
        stop_flood
        urls "$IDS" 1 "${PORTS[0]}" > urls.txt
        flood "$IDS" --rate 10000
        sleep 1
        bar "node, bytes per id and connection at $IDS ($before KB with one)" \
            $((($(rss "${NODES[0]}") - before) * 1024 / IDS)) '<=' 256
        bar "broker, bytes per id" $((($(used) - broker_before) / IDS)) '<=' 256
        end_all
    done
}

# From when a message is due at one node until it arrives at a client of another.
step_latency() {
    local n=10000 num=$((SECONDS_EACH * 10))
    for _ in $(seq "$RUNS"); do
        cluster 2
        urls $n 1 "${PORTS[1]}" > urls.txt
        flood $n --rate 10000
        "$BIN/msggen" --num "$num" --interval 100 --max $n --sources 100 --stamp \
            --server "http://127.0.0.1:${CONTROLS[0]}" > msggen.out || true
        sleep 1
        stop_flood
        bar "delivery from node to node at 1,000/s, p50 in us" \
            "$(field delivery_from_due.p50_us flood.out)" '<=' 5000
        bar "delivery from node to node at 1,000/s, p99 in us" \
            "$(field delivery_from_due.p99_us flood.out)" '<=' 5000
        bar "chunks of them" "$(field chunks flood.out)" '==' $((num * 100))
        bar "lost" "$(field lost flood.out)" '==' 0
        end_all
    done
}

# Batches of 100 from 16 senders over all nodes; of n nodes, one in n messages is for a client of
# the node that it is sent to.
step_throughput() {
    local n=9600 num=$((SECONDS_EACH * 3000)) number at before broker cost seconds count wanted
    for count in ${COUNTS:-1 3 8}; do
        for _ in $(seq "$RUNS"); do
            cluster "$count"
            : > urls.txt
            for number in $(seq 0 $((count - 1))); do
                urls $((n / count)) $((number * (n / count) + 1)) "${PORTS[number]}" >> urls.txt
            done
            flood $n --rate 10000
            before=$(ticks "${NODES[@]}") broker=$(ticks "$BROKER")
            at=$(now)
            # shellcheck disable=SC2046
            "$BIN/msggen" --num "$num" --interval 0 --batch 100 --max $n --sources 16 \
                $(printf -- '--server http://127.0.0.1:%s ' "${CONTROLS[@]}") > msggen.out || true
            seconds=$(calc "$(now) - $at")
            cost=$(calc "($(ticks "${NODES[@]}") - $before) / 100 * 1e6 / ($num * 16)")
            broker=$(calc "($(ticks "$BROKER") - $broker) / 100 * 1e6 / ($num * 16)")
            sleep 1
            stop_flood
            wanted=0
            [ "$count" = 3 ] && wanted=50000
            bar "$count nodes, delivered/s; CPU a message: nodes $cost us, broker $broker us" \
                "$(calc "$(field chunks flood.out) / $seconds")" '>=' $wanted
            bar "chunks of them" "$(field chunks flood.out)" '==' $((num * 16))
            bar "lost" "$(field lost flood.out)" '==' 0
            end_all
        done
    done
}

wait_for_health() { # CODE: until all nodes have it
    local control
    for control in "${CONTROLS[@]}"; do
        until [ "$(health "$control")" = "$1" ]; do sleep 0.1; done
    done
}

# A fault of the broker under two nodes, by a function that causes it and one that ends it.
fault() { # NAME SECONDS BEGIN END
    local name=$1 at control
    cluster 2
    { urls "$IDS" 1 "${PORTS[0]}"; urls "$IDS" $((IDS + 1)) "${PORTS[1]}"; } > urls.txt
    flood $((2 * IDS)) --rate 10000
    sleep 1
    at=$(now)
    $3
    wait_for_health 503
    bar "$name: red after, in s" "$(calc "$(now) - $at")" '<=' 10
    "$BIN/msggen" --num 100 --interval 10 --max $((2 * IDS)) --sources 10 --json \
        $(printf -- '--server http://127.0.0.1:%s ' "${CONTROLS[@]}") \
        > msggen.out 2> msggen.err || true
    sleep "$(awk "BEGIN { left = $2 - ($(now) - $at); print (left > 0 ? left : 0) }")"
    $4
    at=$(now)
    for control in "${CONTROLS[@]}"; do
        until [ "$(stats cluster.subscriptions "$control")" = "$IDS" ]; do sleep 0.1; done
    done
    wait_for_health 200
    bar "$name: $((2 * IDS)) ids subscribed and green again after, in s" \
        "$(calc "$(now) - $at")" '<=' 10
    for control in "${CONTROLS[@]}"; do
        echo "  node: $(stats cluster "$control")"
    done
    "$BIN/msggen" --num 1000 --interval 1 --max $((2 * IDS)) --sources 10 --json \
        $(printf -- '--server http://127.0.0.1:%s ' "${CONTROLS[@]}") > msggen.out || true
    sleep 1
    stop_flood
    # An interrupted floodtest closes its connections itself.
    bar "$name: clients that were disconnected" \
        "$(grep '"connected"' flood.out | tail -2 | head -1 > last; field closed last)" '==' 0
    bar "$name: messages after it that arrived" "$(field chunks flood.out)" '>=' 10000
    end_all
}

step_stop() {
    begin() { kill -STOP "$BROKER"; }
    end() { kill -CONT "$BROKER"; }
    fault "SIGSTOP for 60 s" 60 begin end
}

step_kill() {
    begin() { kill -KILL "$BROKER"; wait "$BROKER" 2>/dev/null || true; }
    end() { broker; }
    fault "kill -9" 10 begin end
}

run_steps "memory latency throughput stop kill" "$@"
