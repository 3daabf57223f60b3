#!/usr/bin/env bash
# floodtest over two hosts against its bars: two sets of namespaces of this machine, with a real sshd
# each.
#
#   hosts.sh [STEP...]   steps: sum skew shifted lost many; all by default
#
# Build first: cargo build --release, and cargo build --release -p testing --example with-hosts. It
# needs root, ip, sshd, faketime, python3 and curl. Nothing else should run on the machine. Every
# process that is started here is ended here.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-${CARGO_TARGET_DIR:-$TOP/target}/release}
if [ -z "${IN_HOSTS-}" ]; then
    # The clock of the second host is 0.2 s ahead and fast by 50 millionths, in one step.
    status=0
    for step in ${@:-sum skew shifted lost many}; do
        second=$BIN/floodtest
        [ "$step" != shifted ] || second+='=+0.2s x1.00005'
        IN_HOSTS=1 BIN=$BIN "$BIN/examples/with-hosts" 2 "$BIN/floodtest,$second" "$0" "$step" ||
            status=$?
    done
    exit $status
fi
. "$(dirname "$0")/../../reports/bench/lib.sh"
RUNS=${RUNS:-3}
HERE=10.77.0.1

serve() { # N: a server that hosts reach, and URLs of N ids
    server server --listen $HERE:0
    REACHED=$(sed -n "s#.*listening on http://$HERE:\([0-9]*\).*#\1#p" server.out)
    urls_there "$1" > urls.txt
}
urls_there() { # N: of N ids, as hosts reach them
    "$BIN/floodtest" urls --count "$1" --pattern "http://$HERE:$REACHED/test/{id}"
}
send() { # FLAGS: stamped messages to all ids, the same ones each time
    "$BIN/msggen" --stamp --seed 1 --json --server "http://127.0.0.1:$CONTROL" "$@" > msggen.out
}
floods() { # the processes of floodtest, wherever they are
    local it
    for it in /proc/[0-9]*; do
        [ "$(readlink "$it/exe")" != "$BIN/floodtest" ] || echo "${it#/proc/}"
    done
}
host_field() { # HOST NAME FILE: of a host's part of the last report
    tail -1 "$3" | python3 -c 'import functools, json, sys
host = json.load(sys.stdin)["hosts"][int(sys.argv[1]) - 1]
print(functools.reduce(lambda value, key: value.get(key, 0), sys.argv[2].split("."), host))' "$1" "$2"
}

# The same plan and the same messages, here and on two hosts: what was counted is the same.
step_sum() {
    local n=2000 key where
    for where in local hosts; do
        serve $n
        flood $n --rate 2000 $([ $where = local ] || echo "--hosts h1,h2")
        send --num 200 --interval 50 --max $n --sources 20
        sleep 1
        stop_flood
        cp flood.out "flood.$where"
        end_all
    done
    for key in asked begun established connected failed closed chunks items messages lost; do
        bar "two hosts, $key, against one" "$(field $key flood.hosts)" '==' \
            "$(field $key flood.local)"
    done
    for key in connected items messages delivery_from_due.count; do
        bar "$key of both hosts, against all" \
            "$(($(host_field 1 $key flood.hosts) + $(host_field 2 $key flood.hosts)))" '==' \
            "$(field $key flood.hosts)"
    done
}

# When the first connection of each host arrives at a server that is not ours, against the plan.
step_skew() {
    cat > arrivals.py <<-'PYTHON'
	import socket, sys, time
	server = socket.create_server((sys.argv[1], 0))
	print(server.getsockname()[1], flush=True)
	held = []
	while True:
	    connection, address = server.accept()
	    held.append(connection)
	    print(address[0], time.monotonic(), flush=True)
	PYTHON
    python3 arrivals.py $HERE > arrivals.out &
    STARTED+=($!)
    wait_for . arrivals.out
    REACHED=$(head -1 arrivals.out)
    urls_there 4 > urls.txt
    : > skew.all
    for _ in $(seq 10); do
        local before
        before=$(wc -l < arrivals.out)
        # A connection every 100 ms, from one host and the other in turns.
        "$BIN/floodtest" --urls urls.txt --rate 10 --hosts h1,h2 --hold 100ms --head-timeout 1s \
            > flood.out 2>&1 || true
        tail -n +$((before + 1)) arrivals.out | awk '{ at[NR] = $2 } END {
            for (i = 2; i <= NR; i++) {
                off = at[i] - at[1] - 0.1 * (i - 1)
                if (off < 0) off = -off
                if (off > most) most = off
            }
            printf "%.2f\n", most * 1000 }' >> skew.all
    done
    echo "skew of ten starts, ms: $(row skew.all)"
    bar "start skew between two hosts, largest of ten, ms" "$(sort -n skew.all | tail -1)" '<=' 5
    end_all
}

# Delays on a host whose clock is ahead and fast, against those of a floodtest that is here and
# gets the same messages. Of the longest ones each process has its own: they are no truth for another.
step_shifted() {
    local n=40 within=0 k p
    for k in $(seq "${SHIFTED:-20}"); do
        serve $n
        "$BIN/floodtest" --urls urls.txt --rate max --json > true.out 2> true.err &
        local here=$!
        STARTED+=("$here")
        wait_for "\"connected\":$n,\"closed\":0" true.out
        flood $n --rate max --hosts h1,h2
        send --num 100 --interval 100 --max $n --sources 10
        sleep 0.5
        stop_flood
        kill -INT $here
        wait $here || true
        local bound verdict=within
        bound=$(field clock_bound_us flood.out)
        for p in p50_us p90_us; do
            local there off
            there=$(host_field 2 delivery_from_due.$p flood.out)
            off=$((there - $(field delivery_from_due.$p true.out)))
            [ ${off#-} -le "$bound" ] || verdict="OUTSIDE at $p"
        done
        [ "$verdict" != within ] || within=$((within + 1))
        echo "$k: p50 $(host_field 2 delivery_from_due.p50_us flood.out) us there," \
            "$(field delivery_from_due.p50_us true.out) us here; ± $bound us;" \
            "drift $(host_field 2 clock.drift_ppm flood.out) ppm;" \
            "negative $(host_field 2 delivery_from_due.negative flood.out); $verdict"
        end_all
    done
    bar "delays by a clock that is 0.2 s ahead, within the bound" $within '==' "${SHIFTED:-20}"
}

# How long after its processes, its ssh or its network are gone a host is named.
step_lost() {
    local n=100 how
    for how in agent sshd cable; do
        serve $n
        flood $n --rate max --hosts h1,h2
        local at named agent
        agent=$(pgrep -f 'floodtest worker --stdio' | while read -r pid; do
            [ "$(cat "/proc/$pid/comm") $(nsenter -t "$pid" -u hostname)" != "floodtest h2" ] ||
                echo "$pid"
        done | tail -1)
        at=$(now)
        case $how in
        agent) kill -9 "$agent" ;;
        sshd) kill -9 "$(awk '{ print $4 }' "/proc/$agent/stat")" ;;
        cable) ip link set h2 down ;;
        esac
        wait_for 'lost host h2' flood.err 150
        named=$(calc "$(now) - $at")
        bar "host named after its $how is gone, s" "$named" '<=' $([ $how = cable ] && echo 10 || echo 2)
        cat flood.err
        kill -INT "$FLOOD"
        local code=0
        wait "$FLOOD" || code=$?
        bar "exit code" $code '==' 1
        ip link set h2 up
        # The host whose cable was cut ends by itself.
        for _ in $(seq 120); do
            pgrep -f 'floodtest worker --stdio' > left.out || break
            sleep 0.1
        done
        bar "processes that are left on hosts" "$(wc -l < left.out)" '==' 0
        end_all
    done
}

# 100,000 connections on two hosts, and here with worker processes, in turns: memory and CPU of all
# floodtests together, parents included.
step_many() {
    local n=100000 each=16667 where pids what floodtests servers
    rm -f many.*
    for _ in $(seq "$RUNS"); do
        for where in local hosts; do
            : > urls.txt
            local controls=()
            local serving=()
            for i in $(seq 6); do
                serve $each
                serving+=("$SERVER")
                mv urls.txt "urls.$i"
                controls+=("$CONTROL")
            done
            cat urls.[1-6] > urls.txt
            rm urls.[1-6]
            flood $n --connections $n --rate 10000 $([ $where = local ] || echo "--hosts h1,h2")
            for CONTROL in "${controls[@]}"; do
                send --num 50 --interval 100 --max $each --sources 20 &
            done
            sleep 10
            pids=$(floods)
            # shellcheck disable=SC2086
            for pid in $pids; do pss "$pid"; done | awk '{ sum += $1 } END { print sum }' >> "many.pss.$where"
            # shellcheck disable=SC2086
            ticks $pids >> "many.floodtests.$where"
            ticks "${serving[@]}" >> "many.servers.$where"
            stop_flood
            bar "100,000 ($where): connected at the end" "$(field connected flood.out)" '==' $n
            bar "100,000 ($where): messages" "$(field messages flood.out)" '==' 6000
            bar "100,000 ($where): lost" "$(field lost flood.out)" '==' 0
            end_all
        done
    done
    echo "PSS of all floodtests, KB: hosts $(row many.pss.hosts); local workers $(row many.pss.local)"
    for what in floodtests servers; do
        echo "CPU of all $what, ticks of 10 ms: hosts $(row many.$what.hosts);" \
            "local $(row many.$what.local)"
        declare "$what=$(calc "$(median < many.$what.hosts) / $(median < many.$what.local)")"
    done
    # User and system together: how the kernel divides them is a sample at each tick, and it gave one
    # and the same work between 0.9 and 2.6 s of user CPU. Between hosts every packet goes over a
    # cable, which costs the servers more too, whose work is the same in each turn.
    echo "CPU, hosts to local workers, ratios of medians: floodtests $floodtests, servers $servers"
    bar "100,000: memory, hosts to local workers, ratio of medians" \
        "$(calc "$(median < many.pss.hosts) / $(median < many.pss.local)")" '<=' 1.05
    bar "100,000: CPU, hosts to local workers, beside the same of the servers" \
        "$(calc "$floodtests / $servers")" '<=' 1.1
}

run_steps "sum skew shifted lost many" "$@"
