#!/usr/bin/env bash
# Measures the server and the tools side by side with neutral programs and with nginx + nchan.
#
#   run.sh MEASURE STEP...     steps: idle cpu fan others flat batch flood open pace late threads
#
# MEASURE is a folder with the built programs cclient, cpub and floor. nginx with the nchan module is
# needed for `flat`. Nothing else should run on the machine. Every process that is started here is
# ended here. Two cores are assumed: 0 for the server, 1 for the rest, where a step pins them.
set -euo pipefail
MEASURE=$1
shift
BIN=$(cd "$(dirname "$0")/../../.." && pwd)/target/release
WORK=$(mktemp -d)
cd "$WORK"
STARTED=()
trap 'end_all; rm -rf "$WORK"' EXIT

end_all() {
    for pid in "${STARTED[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${STARTED[@]}"; do wait "$pid" 2>/dev/null || true; done
    STARTED=()
}

wait_for() { # PATTERN FILE: until a line of the file matches
    for _ in $(seq 300); do
        grep -q "$1" "$2" 2>/dev/null && return
        sleep 0.1
    done
    echo "no \"$1\" in $2" >&2
    exit 1
}

rss() { awk '/VmRSS/ { print $2 }' "/proc/$1/status"; }
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
median() { sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }

# Source addresses that no run used before: ports in TIME_WAIT would slow the neutral client.
NET=$((RANDOM % 200 + 10))
sources() { # N addresses
    NET=$((NET % 250 + 1))
    for i in $(seq 2 $(($1 + 1))); do printf ' -s 127.%d.%d.%d' $((RANDOM % 250 + 1)) "$NET" "$i"; done
}

server() { # FLAGS: starts the server, sets SERVER, PORT, DOOR
    ${PIN-} "$BIN/comet-server" --listen 127.0.0.1:0 --control 127.0.0.1:0 "$@" > server.out &
    SERVER=$!
    STARTED+=("$SERVER")
    wait_for 'control on' server.out
    PORT=$(sed -n 's#listening on http://127.0.0.1:\([0-9]*\)/.*#\1#p' server.out)
    DOOR=$(sed -n 's#control on http://127.0.0.1:##p' server.out)
}

client() { # PORT N FLAGS: opens N connections with the neutral client, sets CLIENT
    local port=$1 n=$2
    shift 2
    : > client.out
    # shellcheck disable=SC2046
    ${CPIN-} "$MEASURE/cclient" -p "$port" -n "$n" -c 100 -q $(sources 3) "$@" > client.out &
    CLIENT=$!
    STARTED+=("$CLIENT")
    wait_for OPENED client.out
}

flood() { # N FLAGS: opens N connections with floodtest, sets FLOOD
    local n=$1
    shift
    "$BIN/floodtest" urls --count "$n" --pattern "http://127.0.0.1:$PORT/test/{id}" --out urls.txt
    : > flood.out
    ${CPIN-} "$BIN/floodtest" --urls urls.txt --rate max --json --report 500ms "$@" > flood.out 2> flood.err &
    FLOOD=$!
    STARTED+=("$FLOOD")
    wait_for "\"connected\":$n,\"closed\":0" flood.out
}

nchan() { # starts nginx, sets SERVER (its worker) and PORT
    cat > nginx.conf <<-CONF
	load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
	worker_processes 1; daemon off; pid $WORK/nginx.pid; error_log $WORK/nginx.err;
	worker_rlimit_nofile 20000;
	events { worker_connections 19900; }
	http { nchan_max_reserved_memory 1024M; access_log off; keepalive_requests 100000000;
	  server { listen 127.0.0.1:7080 backlog=4096;
	    location ~ ^/test/(\d+)\$ { nchan_subscriber http-chunked; nchan_channel_id \$1; nchan_subscriber_timeout 0; }
	    location ~ ^/pub/(\d+)\$ { nchan_publisher; nchan_channel_id \$1; nchan_message_buffer_length 0; nchan_message_timeout 1s; } } }
	CONF
    chmod 755 "$WORK"
    $PIN nginx -c "$WORK/nginx.conf" &
    STARTED+=($!)
    PORT=7080
    for _ in $(seq 100); do curl -so /dev/null http://127.0.0.1:7080/ && break || sleep 0.1; done
}

# Bytes per idle connection, opened by floodtest flat out; of floodtest as well.
idle() {
    for _ in 1 2 3; do
        server
        curl -so /dev/null "http://127.0.0.1:$DOOR/stats"
        local empty flood_empty n=19000
        empty=$(rss $SERVER)
        flood 1
        sleep 1
        flood_empty=$(rss $FLOOD)
        kill -INT $FLOOD
        wait $FLOOD || true
        flood $n
        sleep 1
        # Some messages, so that accounting and latency are in use.
        "$BIN/msggen" --num 30 --interval 10 --max $n --sources 100 --stamp --seed 1 \
            --server "http://127.0.0.1:$DOOR" > /dev/null &
        local idle_server=$(rss $SERVER)
        wait $!
        echo "idle: server $empty KB -> $idle_server KB at $n: $(((idle_server - empty) * 1024 / n)) bytes each;" \
            "floodtest $flood_empty KB at 1 -> $(rss $FLOOD) KB after 3,000 stamped messages:" \
            "$((($(rss $FLOOD) - flood_empty) * 1024 / n)) bytes each"
        end_all
    done
}

# CPU of the server at 1,000 messages a second from 16 connections, unpinned, and of a bare loop
# that writes as many without having been asked.
cpu() {
    for _ in 1 2 3; do
        server
        client "$PORT" 10000
        local before=$(ticks $SERVER)
        "$MEASURE/cpub" -p "$DOOR" -P '/send/{id}' -n 10000 -c 16 -r 1000 -d 30 > pub.out
        echo "cpu: $(($(ticks $SERVER) - before)) ticks of 10 ms in 30 s; RSS $(rss $SERVER) KB; $(cut -c1-60 pub.out)"
        end_all
    done
}

start_floor() {
    PORT=$((7100 + RANDOM % 800))
    rm -f fifo
    mkfifo fifo
    ${PIN-} "$MEASURE/floor" "$PORT" < fifo > floor.out &
    STARTED+=($!)
    exec 9> fifo
    sleep 0.3
}

# One message to 10,000 connections of one id: the last receipt. In turns with a plain write loop.
fan() {
    local PIN="taskset -c 0" CPIN="taskset -c 1"
    for _ in 1 2 3 4 5; do
        start_floor
        client "$PORT" 10000 -F
        echo "fan 9" >&9
        sleep 10
        exec 9>&-
        echo "fan: floor median $(grep -o 'last_us=[0-9]*' client.out | cut -d= -f2 | tee -a fan.floor | median) us"
        end_all
        server
        client "$PORT" 10000 -F
        "$MEASURE/cpub" -p "$DOOR" -P '/send/{id}' -n 1 -c 1 -r 1 -d 9 > /dev/null
        sleep 0.5
        echo "fan: server median $(grep -o 'last_us=[0-9]*' client.out | cut -d= -f2 | tee -a fan.server | median) us"
        end_all
    done
    echo "fan: all: floor $(median < fan.floor) us, server $(median < fan.server) us"
}

# During such fan-outs, once a second, other ids at 1,000 messages a second.
others() {
    for _ in 1 2 3; do
        server
        client "$PORT" 10000 -F
        cp client.out fan.out
        # shellcheck disable=SC2046
        "$MEASURE/cclient" -p "$PORT" -n 5000 -i 100 -c 100 -q $(sources 3) > others.out &
        local other=$!
        STARTED+=($other)
        wait_for OPENED others.out
        "$MEASURE/cpub" -p "$DOOR" -P '/send/{id}' -n 1 -c 1 -r 1 -d 15 > /dev/null &
        STARTED+=($!)
        "$MEASURE/cpub" -p "$DOOR" -P '/send/{id}' -n 5000 -i 100 -c 16 -r 1000 -d 15 > /dev/null
        kill -USR1 $other
        wait_for MARK others.out
        echo "others: $(grep -o 'lat_us.*n=[0-9]*' others.out | head -1)"
        end_all
    done
}

# Flat out, one message a request, 64 senders, 10,000 clients, server on one core. In turns.
flat() {
    local PIN="taskset -c 0" CPIN="taskset -c 1"
    for _ in 1 2 3; do
        nchan
        client "$PORT" 10000 -H 'TE: chunked'
        $CPIN "$MEASURE/cpub" -p "$PORT" -P '/pub/{id}' -n 10000 -c 64 -d 10 > pub.out
        kill -USR1 $CLIENT
        wait_for MARK client.out
        echo "flat: nchan  $(grep -o 'acked_per_s=[0-9]*' pub.out) $(grep -o 'msgs=[0-9]*' client.out | head -1)"
        end_all
        sleep 1
        server
        client "$PORT" 10000
        $CPIN "$MEASURE/cpub" -p "$DOOR" -P '/send/{id}' -n 10000 -c 64 -d 10 > pub.out
        kill -USR1 $CLIENT
        wait_for MARK client.out
        echo "flat: server $(grep -o 'acked_per_s=[0-9]*' pub.out) $(grep -o 'msgs=[0-9]*' client.out | head -1)"
        end_all
    done
}

# Flat out in batches, delivered to 10,000 connections, unpinned. In turns with a plain write loop
# that nobody asks for anything.
batch() {
    for threads in ${THREADS:-1 1 1}; do
        start_floor
        client "$PORT" 10000
        echo "flat 10" >&9
        sleep 11
        exec 9>&-
        echo "batch: plain write loop: $(grep -o ' per_s=[0-9]*' floor.out)"
        end_all
        server --threads "$threads"
        flood 10000
        "$BIN/msggen" --num 150k --interval 0 --max 10000 --sources 8 --batch 100 --seed 1 --json \
            --server "http://127.0.0.1:$DOOR" > gen.out
        sleep 1
        echo "batch: server, threads $threads: $(grep -o '"achieved_per_s":[0-9]*' gen.out | tail -1)" \
            "$(tail -1 flood.out | grep -o '"chunks":[0-9]*')"
        end_all
    done
}

# Opening flat out, in turns with the neutral client.
open() {
    local PIN="taskset -c 0" CPIN="taskset -c 1"
    for n in 10000 19000 10000 19000 10000 19000 10000 19000 10000 19000; do
        start_floor
        client "$PORT" $n
        local theirs=$(grep -o 'conn_per_s=[0-9]*' client.out | cut -d= -f2)
        exec 9>&-
        end_all
        start_floor
        flood $n
        exec 9>&-
        kill -INT $FLOOD
        wait $FLOOD || true
        local seconds=$(tail -1 flood.out | grep -o '"opening_s":[0-9.]*' | cut -d: -f2)
        echo "open: $n: cclient $theirs/s, floodtest $(awk "BEGIN { printf \"%.0f\", $n / $seconds }")/s"
        end_all
    done
}

# floodtest's CPU for 100,000 chunks, in turns with the neutral client, which only counts.
flood_cpu() {
    local PIN="taskset -c 0" CPIN="taskset -c 1"
    for _ in 1 2 3; do
        for who in cclient floodtest; do
            start_floor
            if [ $who = cclient ]; then client "$PORT" 10000; else flood 10000; CLIENT=$FLOOD; fi
            local before=$(ticks $CLIENT)
            echo "flat 5" >&9
            sleep 6
            exec 9>&-
            local writes=$(grep -o 'writes=[0-9]*' floor.out | cut -d= -f2)
            echo "flood_cpu: $who: $(awk "BEGIN { printf \"%.3f\", ($(ticks $CLIENT) - $before) / 100 / $writes * 1e5 }") s for 100,000 chunks"
            end_all
        done
    done
}

# --rate 100 with 1,000 URLs.
pace() {
    server
    "$BIN/floodtest" urls --count 1000 --pattern "http://127.0.0.1:$PORT/test/{id}" --out urls.txt
    "$BIN/floodtest" --urls urls.txt --rate 100 --hold 1s --json > flood.out
    echo "pace: first to last connect $(tail -1 flood.out | grep -o '"opening_s":[0-9.]*')," \
        "$(tail -1 flood.out | grep -o '"connect_late":{[^}]*}')"
    end_all
}

# msggen's own punctuality: 100 sources at 10 messages a second each.
late() {
    for _ in 1 2 3; do
        server
        flood 10000
        "$BIN/msggen" --num 300 --interval 100 --max 10000 --sources 100 --stamp --seed 1 --json \
            --server "http://127.0.0.1:$DOOR" > gen.out
        echo "late: $(tail -1 gen.out | grep -o '"achieved_per_s":[0-9.]*'), $(tail -1 gen.out | grep -o '"lateness":{[^}]*}')"
        end_all
    done
}

# One thread of the server or two.
threads() {
    for n in 1 2 1 2 1 2; do
        server --threads $n
        client "$PORT" 10000
        local before=$(ticks $SERVER)
        "$MEASURE/cpub" -p "$DOOR" -P '/send/{id}' -n 10000 -c 16 -r 1000 -d 10 > /dev/null
        local slow=$(($(ticks $SERVER) - before))
        "$MEASURE/cpub" -p "$DOOR" -P '/send/{id}' -n 10000 -c 64 -d 8 > pub.out
        echo "threads: $n: $slow ticks of 10 ms in 10 s at 1,000/s; flat out $(grep -o 'acked_per_s=[0-9]*' pub.out); RSS $(rss $SERVER) KB"
        end_all
    done
    THREADS="1 2 1 2 1 2" batch
}

for step in "$@"; do "$step"; done
