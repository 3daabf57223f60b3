#!/usr/bin/env bash
# The figures of a cluster against their bars.
#
#   cluster.sh [STEP...]   steps: memory latency throughput stop kill; all by default, 6 minutes
#
# Build first: cargo build --release. It needs redis-server. Nothing else should run on the machine:
# broker, nodes, floodtest and msggen share it. Every process that is started here is ended here.
. "$(dirname "$0")/../../reports/bench/lib.sh"
RUNS=${RUNS:-3}
SECONDS_EACH=${SECONDS_EACH:-20}
IDS=${IDS:-19000}

now() { date +%s.%N; }
stat() { # NAME DOOR
    curl -s "http://127.0.0.1:$2/stats" > stats.json
    field "$1" stats.json
}
health() { curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$1/healthz"; }

broker() { # starts one, sets BROKER; REDIS is its port, kept when it is started again
    REDIS=${REDIS:-$((7100 + RANDOM % 800))}
    : > broker.out
    redis-server --port "$REDIS" --bind 127.0.0.1 --save '' > broker.out &
    BROKER=$!
    STARTED+=("$BROKER")
    wait_for 'Ready to accept' broker.out
}

node() { # NUMBER: starts one, appends to NODES (processes), PORTS and DOORS
    server "n$1" --name "n$1" --cluster "redis://127.0.0.1:$REDIS"
    NODES+=("$SERVER")
    PORTS+=("$PORT")
    DOORS+=("$DOOR")
    until [ "$(health "${DOORS[-1]}")" = 200 ]; do sleep 0.1; done
}

cluster() { # N: a broker and N nodes
    unset REDIS
    broker
    NODES=() PORTS=() DOORS=()
    for number in $(seq "$1"); do node "$number"; done
}

urls() { # N FIRST PORT: of N ids, on stdout
    "$BIN/floodtest" urls --count "$1" --first "$2" --pattern "http://127.0.0.1:$3/test/{id}"
}

flood() { # N: opens the connections of urls.txt, sets FLOOD
    : > flood.out
    "$BIN/floodtest" --urls urls.txt --json --report 500ms --rate 10000 > flood.out 2> flood.err &
    FLOOD=$!
    STARTED+=("$FLOOD")
    wait_for "\"connected\":$1,\"closed\":0" flood.out 1200
}

stop_flood() {
    sleep 1
    kill -INT "$FLOOD"
    wait "$FLOOD" || true
}

# What an id and its connection cost in a node, and in the broker.
memory() {
    local before broker_before used
    used() { redis-cli -p "$REDIS" info memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p'; }
    for _ in $(seq "$RUNS"); do
        cluster 1
        urls 1 1 "${PORTS[0]}" > urls.txt
        flood 1
        before=$(rss "${NODES[0]}") broker_before=$(used)
        stop_flood
        urls "$IDS" 1 "${PORTS[0]}" > urls.txt
        flood "$IDS"
        sleep 1
        bar "node, bytes per id and connection at $IDS ($before KB with one)" \
            $((($(rss "${NODES[0]}") - before) * 1024 / IDS)) '<=' 256
        bar "broker, bytes per id" $((($(used) - broker_before) / IDS)) '<=' 256
        end_all
    done
}

# From when a message is due at one node until it arrives at a client of another.
latency() {
    local n=10000 num=$((SECONDS_EACH * 10))
    for _ in $(seq "$RUNS"); do
        cluster 2
        urls $n 1 "${PORTS[1]}" > urls.txt
        flood $n
        "$BIN/msggen" --num "$num" --interval 100 --max $n --sources 100 --stamp \
            --server "http://127.0.0.1:${DOORS[0]}" > msggen.out || true
        stop_flood
        bar "delivery from node to node at 1,000/s, p50 in us" "$(field delivery_from_due.p50_us flood.out)" '<=' 5000
        bar "delivery from node to node at 1,000/s, p99 in us" "$(field delivery_from_due.p99_us flood.out)" '<=' 5000
        bar "chunks of them" "$(field chunks flood.out)" '==' $((num * 100))
        bar "lost" "$(field lost flood.out)" '==' 0
        end_all
    done
}

# Batches of 100 from 16 senders over all nodes; of n nodes, one in n messages is for a client of
# the node that it is sent to.
throughput() {
    local n=9600 num=$((SECONDS_EACH * 3000)) number at before broker cost seconds count wanted
    for count in ${COUNTS:-1 3 8}; do
        for _ in $(seq "$RUNS"); do
            cluster "$count"
            : > urls.txt
            for number in $(seq 0 $((count - 1))); do
                urls $((n / count)) $((number * (n / count) + 1)) "${PORTS[number]}" >> urls.txt
            done
            flood $n
            before=$(ticks "${NODES[@]}") broker=$(ticks "$BROKER")
            at=$(now)
            # shellcheck disable=SC2046
            "$BIN/msggen" --num "$num" --interval 0 --batch 100 --max $n --sources 16 \
                $(printf -- '--server http://127.0.0.1:%s ' "${DOORS[@]}") > msggen.out || true
            seconds=$(calc "$(now) - $at")
            cost=$(calc "($(ticks "${NODES[@]}") - $before) / 100 * 1e6 / ($num * 16)")
            broker=$(calc "($(ticks "$BROKER") - $broker) / 100 * 1e6 / ($num * 16)")
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
    local door
    for door in "${DOORS[@]}"; do
        until [ "$(health "$door")" = "$1" ]; do sleep 0.1; done
    done
}

# A fault of the broker under two nodes, by a function that causes it and one that ends it.
fault() { # NAME SECONDS BEGIN END
    local name=$1 at door
    cluster 2
    { urls "$IDS" 1 "${PORTS[0]}"; urls "$IDS" $((IDS + 1)) "${PORTS[1]}"; } > urls.txt
    flood $((2 * IDS))
    sleep 1
    at=$(now)
    $3
    wait_for_health 503
    bar "$name: red after, in s" "$(calc "$(now) - $at")" '<=' 10
    "$BIN/msggen" --num 100 --interval 10 --max $((2 * IDS)) --sources 10 --json \
        $(printf -- '--server http://127.0.0.1:%s ' "${DOORS[@]}") > msggen.out 2> msggen.err || true
    sleep "$(awk "BEGIN { left = $2 - ($(now) - $at); print (left > 0 ? left : 0) }")"
    $4
    at=$(now)
    for door in "${DOORS[@]}"; do
        until [ "$(stat cluster.subscriptions "$door")" = "$IDS" ]; do sleep 0.1; done
    done
    wait_for_health 200
    bar "$name: $((2 * IDS)) ids subscribed and green again after, in s" "$(calc "$(now) - $at")" '<=' 10
    for door in "${DOORS[@]}"; do
        echo "  node: $(stat cluster "$door")"
    done
    "$BIN/msggen" --num 1000 --interval 1 --max $((2 * IDS)) --sources 10 --json \
        $(printf -- '--server http://127.0.0.1:%s ' "${DOORS[@]}") > msggen.out || true
    stop_flood
    # An interrupted floodtest closes its connections itself.
    bar "$name: clients that were disconnected" \
        "$(grep '"connected"' flood.out | tail -2 | head -1 > last; field closed last)" '==' 0
    bar "$name: messages after it that arrived" "$(field chunks flood.out)" '>=' 10000
    end_all
}

stop() {
    begin() { kill -STOP "$BROKER"; }
    end() { kill -CONT "$BROKER"; }
    fault "SIGSTOP for 60 s" 60 begin end
}

kill_broker() {
    begin() { kill -KILL "$BROKER"; wait "$BROKER" 2>/dev/null || true; }
    end() { broker; }
    fault "kill -9" 10 begin end
}

for step in ${@:-memory latency throughput stop kill}; do
    [ "$step" = kill ] && step=kill_broker
    "$step"
done
exit $MISSED
