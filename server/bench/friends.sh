#!/usr/bin/env bash
# The figures of stored friends against their bars.
#
#   friends.sh [STEP...]   all by default, 10 minutes
#
#   steps: load start lookups changes others fan send full
#
# Build first: cargo build --release. Nothing else should run on the machine. The graph is uniform:
# USERS=1000000 users with FOLLOWS=15 friends each, drawn by awk under a seed. EDGES=FILE takes another
# list; USERS must be right then too. It takes 600 MB in the temporary folder (TMPDIR), which must be on
# the disk that is measured. Every process that is started here is ended here.
EDGES=${EDGES:+$(realpath "$EDGES")}
. "$(dirname "$0")/../../reports/bench/lib.sh"
TURNS=${TURNS:-5}
USERS=${USERS:-1000000}
FOLLOWS=${FOLLOWS:-15}
HELD=${HELD:-10000}
NDJSON='Content-Type: application/x-ndjson'
ONE="taskset -c 0" OTHER="taskset -c 1"

edges() { # sets EDGES to the list of the graph
    [ -n "${EDGES-}" ] && return
    EDGES=$WORK/edges
    awk -v users="$USERS" -v follows="$FOLLOWS" 'BEGIN {
        srand(18)
        for (user = 1; user <= users; user++)
            for (n = 0; n < follows; n++) print user, 1 + int(rand() * users)
    }' > "$EDGES"
}

loaded() { # NAME: a copy of the store of the graph, which is loaded once
    edges
    [ -d "$WORK/graph" ] || "$BIN/comet-server" friends load "$EDGES" --into "$WORK/graph"
    rm -rf "$WORK/$1"
    cp -r "$WORK/graph" "$WORK/$1"
    sync
}

# CPU of the threads of a server with this name, in hundredths of a second.
thread_ticks() { # PID NAME
    local task sum=0
    for task in /proc/"$1"/task/*; do
        [ "$(cat "$task/comm")" = "$2" ] && sum=$((sum + $(ticks "${task#/proc/}")))
    done
    echo "$sum"
}

# Lines about random ones of USERS users, with TEXT in them.
sends() { # N FILE [TO]: to followers, or to the id alone if TO is id
    awk -v n="$1" -v users="$USERS" -v seed="${SEED:-1}" -v text="${TEXT:-x}" -v to="${3-}" 'BEGIN {
        srand(seed)
        to = to == "id" ? "" : ",\"to\":\"followers\""
        for (; n > 0; n--)
            printf "{\"id\":%d,\"msg\":\"%s\"%s}\n", 1 + int(rand() * users), text, to
    }' > "$2"
}

step_load() {
    local began
    edges
    sync
    cat "$EDGES" > /dev/null
    for _ in 1 2 3; do
        rm -rf store
        began=$(now)
        # One core, and the most memory that it ever had.
        taskset -c 0 "$BIN/comet-server" friends load "$EDGES" --into store > load.out 2> load.err &
        STARTED+=($!)
        local hwm=0 last
        while last=$(high $! 2> high.err) && [ -n "$last" ]; do hwm=$last; sleep 0.05; done
        wait $! || cannot "loading failed: $(cat load.err)"
        bar "load $(wc -l < "$EDGES") edges, both directions, one core" \
            "$(calc "$(now) - $began")" '<=' 10 s
        bar "RSS of the loader" "$((hwm / 1024))" '<=' 512 MB
    done
    bar "bytes on disk, an edge and direction" \
        "$(calc "$(du -B1 store/friends.redb | cut -f1) / 2 / $(cut -d' ' -f1 load.out)")" '<=' 8 B
    "$BIN/comet-server" friends check store
}

step_start() {
    local began
    loaded store
    for _ in $(seq "$TURNS"); do
        began=$(now)
        "$BIN/comet-server" --listen 127.0.0.1:0 --control 127.0.0.1:0 --friends store > start.out &
        STARTED+=($!)
        until [ -s start.out ]; do sleep 0.002; done
        bar "start with the store" "$(calc "$(now) - $began")" '<=' 0.2 s
        sleep 0.5
        bar "RSS at rest, after the start" "$(($(rss $!) / 1024))" '<=' 64 MB
        end_all
    done
}

# Nobody is logged in: what is measured is the store, as the server asks it.
step_lookups() {
    local before lookups=300000
    loaded store
    sends $lookups lines
    PIN=$ONE server server --friends store
    for _ in $(seq "$TURNS"); do
        before=$(thread_ticks "$SERVER" friends-read)
        curl -s -H "$NDJSON" --data-binary @lines "http://127.0.0.1:$CONTROL/send" > answer
        bar "lookups/s of a core, by the CPU of the threads that read" \
            "$(calc "$lookups * 100 / ($(thread_ticks "$SERVER" friends-read) - $before)")" \
            '>=' 100000
        bar "RSS behind $lookups lookups" "$(($(rss "$SERVER") / 1024))" '<=' 64 MB
    done
    end_all
}

step_changes() {
    local began n=${CHANGES:-400000}
    neutral publisher
    for turn in 1 2 3; do
        loaded store
        awk -v n=$n -v users="$USERS" -v seed="$turn" 'BEGIN {
            srand(seed)
            for (; n > 0; n--)
                printf "{\"%sfollow\":[%d,%d]}\n", rand() < 0.25 ? "un" : "", \
                    1 + int(rand() * users), 1 + int(rand() * users)
        }' > changes
        server server --friends store
        # Past the point from which changes are brought into the lists.
        for round in 1 2; do
            began=$(now)
            curl -s -H "$NDJSON" --data-binary @changes "http://127.0.0.1:$CONTROL/friends" > answer
            bar "durable changes/s in batches, round $round, $(cat answer)" \
                "$(calc "$n / ($(now) - $began)")" '>=' 50000
            sed -i 's/"unfollow"/"x"/; s/"follow"/"unfollow"/; s/"x"/"follow"/' changes
        done
        "$MEASURE/publisher" -p "$CONTROL" -P /friends -H "$NDJSON" \
            -B '{"follow":[{id},2000000]}\n' -n 1000000 -c 64 -d 10 > publisher.out
        bar "durable changes/s, one a request, 64 askers" \
            "$(figure acked_per_s publisher.out)" '>=' 1000
        bar "RSS behind the changes" "$(($(rss "$SERVER") / 1024))" '<=' 64 MB
        end_all
    done
}

# 1,000 messages a second to other ids, with and without 1,000 changes a second beside them, in turns.
step_others() {
    loaded store
    rm -f with.figures without.figures
    for _ in $(seq "$TURNS"); do
        for kind in without with; do
            PIN=$ONE server server --friends store
            CPIN=$OTHER client 5000
            if [ $kind = with ]; then
                $OTHER "$MEASURE/publisher" -p "$CONTROL" -P /friends -H "$NDJSON" \
                    -B '{"follow":[{id},3000000]}\n' -n 1000000 -c 64 -r 1000 -d 17 > changes.out &
                STARTED+=($!)
            fi
            CPIN=$OTHER publish -n 5000 -c 16 -r 1000 -d 15
            count_received
            figure p99 client.out >> $kind.figures
            end_all
        done
    done
    echo "p99 of others, us: without $(row without.figures); with $(row with.figures)"
    bar "p99 of messages to others, with 1,000 changes/s to without" \
        "$(calc "$(median < with.figures) / $(median < without.figures)")" '<=' 1.5
}

# HELD followers of one user, all logged in, beside one id with HELD connections, in turns.
step_fan() {
    local n=9
    awk -v n="$HELD" 'BEGIN { for (; n > 0; n--) print n, 1000000 }' > fans
    rm -rf fans.store followers.figures one.figures
    "$BIN/comet-server" friends load fans --into fans.store
    for _ in $(seq "$TURNS"); do
        for kind in one followers; do
            PIN=$ONE server server --friends fans.store
            if [ $kind = one ]; then
                CPIN=$OTHER client "$HELD" -F
                CPIN=$OTHER publish -n 1 -c 1 -r 1 -d $n
            else
                CPIN=$OTHER client "$HELD" -E
                neutral publisher
                $OTHER "$MEASURE/publisher" -p "$CONTROL" -P '/send/1000000?to=followers' \
                    -n 1 -c 1 -r 1 -d $n > publisher.out
            fi
            sleep 0.5
            grep -o 'last_us=[0-9]*' client.out | cut -d= -f2 >> $kind.figures
            end_all
        done
    done
    echo "last receipt, us, median: one id $(median < one.figures), followers \
$(median < followers.figures)"
    bar "last receipt of $HELD followers to that of one id with $HELD connections" \
        "$(calc "$(median < followers.figures) / $(median < one.figures)")" '<=' 1.15
}

# 19,000 users of all logged in, messages about random users in batches.
step_send() {
    local n=${ONLINE:-19000} began lines=${LINES_SENT:-600000} delivered expected
    loaded store
    sends $lines lines
    for _ in 1 2 3; do
        server server --friends store
        urls $n > urls.txt
        flood $n --rate max
        began=$(now)
        curl -s -H "$NDJSON" --data-binary @lines "http://127.0.0.1:$CONTROL/send" > answer
        bar "sends/s about random users, $n of $USERS logged in" \
            "$(calc "$lines / ($(now) - $began)")" '>=' 30000
        # By the graph: followers that are logged in, and the user itself.
        expected=$(awk -v n=$n 'FNR == NR { split($0, part, /[:,]/); times[part[2]]++; next }
            $1 <= n && $1 != $2 && !seen[$1, $2]++ { sum += times[$2] }
            END { for (id in times) if (id + 0 <= n) sum += times[id]; print sum }' lines "$EDGES")
        delivered=$(grep -o '"connections":[0-9]*' answer | cut -d: -f2)
        bar "deliveries, by the answer; by the graph $expected" "$delivered" '==' "$expected"
        sleep 1
        stop_flood
        bar "chunks of the clients" "$(field chunks flood.out)" '==' "$expected"
        end_all
    done
}

# 19,000 users, all logged in, who follow 15 others each: messages to followers beside as many
# deliveries to one id each, both as lines of one request, in turns.
step_full() {
    local USERS=${ONLINE:-19000} SEED=19 TEXT='Fake message Num = 100000' n=100000 kind began expected
    expected=$((n * (FOLLOWS + 1)))
    awk -v users="$USERS" -v follows="$FOLLOWS" 'BEGIN {
        for (user = 1; user <= users; user++)
            for (n = 1; n <= follows; n++) print user, 1 + (user - 1 + n * n * 7) % users
    }' > ring
    rm -rf ring.store followers.figures one.figures
    "$BIN/comet-server" friends load ring --into ring.store
    sends $n followers.lines
    sends $expected one.lines id
    for _ in $(seq "$TURNS"); do
        for kind in one followers; do
            server server --friends ring.store
            urls "$USERS" > urls.txt
            flood "$USERS" --rate max
            began=$(now)
            curl -s -H "$NDJSON" --data-binary @$kind.lines "http://127.0.0.1:$CONTROL/send" > answer
            wait_for "\"chunks\":$expected," flood.out
            printf '%.0f\n' "$(calc "$expected / ($(now) - $began)")" >> $kind.figures
            stop_flood
            end_all
        done
    done
    echo "deliveries/s: to one id $(row one.figures); to followers $(row followers.figures)"
    bar "deliveries/s to followers, all received, to those of lines to one id" \
        "$(calc "$(median < followers.figures) / $(median < one.figures)")" '>=' 0.8
}

run_steps "load start lookups changes others fan send full" "$@"
