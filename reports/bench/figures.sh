#!/usr/bin/env bash
# Repeats the figures of reports/docs/figures.md, and those behind other changes.
#
#   figures.sh STEP...   without a step: what there is
#
# Build first: cargo build --release --workspace --examples. The neutral programs of reports/measure
# are built when they are needed. Nothing else should run on the machine. Two cores are assumed: 0
# for a server and 1 for the rest, where a step pins them. Every process that is started here is
# ended here.
#
#   BEFORE=DIR      another build, for the steps that compare with it
#   TURNS=5         turns of a step, each with all that are compared; MOMENT=10, seconds of one
#   N=19000         connections of `idle`, which then has three turns; HELD=10000, of the others
set -euo pipefail

list() {
    cat <<-'LIST'
	Here, each beside something else in turns, as medians (BEFORE: with another build as well):
	  idle        server, bytes of RSS for an idle connection at 19,000              BEFORE
	  relay       one message a request, flat out, beside the C relay                BEFORE
	  transports  the same to chunks, event streams and WebSockets of floodtest; and   BEFORE
	              bytes of the server for a connection of each
	  nchan       the same beside nginx + nchan (Debian: libnginx-mod-nchan)
	  fan         one message to 10,000 connections, last receipt, beside the C write loop
	  others      other ids meanwhile: their latency at 1,000 messages/s
	  batch       batches of 100, delivered to 10,000, beside the C write loop
	  cpu         server, CPU and RSS at 1,000 messages/s to 10,000 connections      BEFORE
	  threads     one thread of the server and two
	  control     control port, nobody connected: pipelined, one at a time, batches  BEFORE
	  events      floodtest, CPU for 100,000 messages, chunks and events, beside the C client
	  opening     floodtest, opening 10,000                                          BEFORE
	  stamps      msggen, flat out with numbers, and to ten ids only                 BEFORE
	  split       floodtest, memory while the messages of all 19,000 connections are cut
	  blocked     floodtest, latency while nobody reads its output for 9 s; Ctrl-C then
	  strangers   a sender with the token behind 4,500 silent strangers
	With bars, by the script that stands before the colon:
	  floodtest/bench/bars.sh: floodtest-memory, -tls, -cpu, -open, -pace, -many, -stall, -file, -liar
	  floodtest/bench/hosts.sh sum skew shifted lost many (floodtest over two hosts; needs root)
	  msggen/bench/bars.sh: msggen-pace, -wrk, -empty, -delivered, -sources
	  server/bench/cluster.sh: cluster-memory, -latency, -throughput, -stop, -kill
	  memlog/bench/run.sh: memlog-one, -many, -flat, -draw
	Whole experiments, which leave a run folder:
	  c10k, c1m, c1m-apart (a million without a broker; both need much, see cargo rig c1m --plan)
	LIST
}
if [ $# = 0 ]; then
    list
    exit
fi
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
TURNS=${TURNS:-5}
MOMENT=${MOMENT:-10}
HELD=${HELD:-10000}
ONE="taskset -c 0" OTHER="taskset -c 1"

# Prints what was measured of each, in the order of the turns, with the median, and the ratio of each
# median to those of the ones before it.
summary() { # WHAT UNIT NAME...
    local what=$1 unit=$2 name other median_of
    shift 2
    declare -A median_of
    for name in "$@"; do
        median_of[$name]=$(median < "$name.figures")
        echo "$what: $name $(row "$name.figures") $unit, median ${median_of[$name]}"
    done
    for name in "$@"; do
        for other in "$@"; do
            if [ "$other" = "$name" ]; then break; fi
            echo "$what: $name, times $other: $(calc "${median_of[$name]} / ${median_of[$other]}")"
        done
        rm "$name.figures"
    done
}

# (RSS - RSS with nobody) / connections. The first request of the control port is made before.
step_idle() {
    local n=${N:-19000} empty full BUILD
    for _ in 1 2 3; do
        for BUILD in $(builds); do
            server server
            curl -so stats.json "http://127.0.0.1:$CONTROL/stats"
            empty=$(rss "$SERVER")
            client "$n"
            sleep 1
            full=$(rss "$SERVER")
            echo "idle: $BUILD: $empty KB with nobody, $full KB with $n"
            calc "($full - $empty) * 1024 / $n" >> "$BUILD.figures"
            echo >> "$BUILD.figures"
            end_all
        done
    done
    # shellcheck disable=SC2046
    summary idle "bytes a connection" $(builds)
}

# What 64 senders get answered while HELD connections listen. What was answered must have arrived.
flat_out() { # NAME FLAGS: appends to NAME.figures
    local name=$1
    shift
    publish -n "$HELD" -c 64 -d "$MOMENT" "$@"
    sleep 0.5
    count_received
    if [ "$RECEIVED" -lt "$(figure acked publisher.out)" ]; then
        echo "$name: $(figure acked publisher.out) were answered, $RECEIVED arrived" >&2
        MISSED=1
    fi
    figure acked_per_s publisher.out >> "$name.figures"
    end_all
}

step_relay() {
    local PIN=$ONE CPIN=$OTHER BUILD
    for _ in $(seq "$TURNS"); do
        relay
        client "$HELD"
        flat_out relay
        for BUILD in $(builds); do
            server server
            client "$HELD"
            flat_out "$BUILD"
        done
    done
    # shellcheck disable=SC2046
    summary "one message a request" /s relay $(builds)
}

# What 64 senders get answered while floodtest holds HELD connections of a kind, and what the server
# has for each of them before. The build before knows no WebSockets: it has chunks.
step_transports() {
    local PIN=$ONE CPIN=$OTHER BUILD KIND NAME empty full kinds scheme flags
    for _ in $(seq "$TURNS"); do
        for BUILD in $(builds); do
            kinds="chunks events ws"
            [ "$BUILD" = now ] || kinds=chunks
            for KIND in $kinds; do
                NAME=$KIND scheme=http flags=
                [ "$BUILD" = now ] || NAME=before
                [ "$KIND" != ws ] || scheme=ws
                [ "$KIND" != events ] || flags=--sse
                server server
                curl -so stats.json "http://127.0.0.1:$CONTROL/stats"
                empty=$(rss "$SERVER")
                urls "$HELD" | sed "s/^http:/$scheme:/" > urls.txt
                # shellcheck disable=SC2086
                flood "$HELD" --rate max --sequence comet $flags
                sleep 1
                full=$(rss "$SERVER")
                calc "($full - $empty) * 1024 / $HELD" >> "bytes-$NAME.figures"
                echo >> "bytes-$NAME.figures"
                publish -n "$HELD" -c 64 -d "$MOMENT"
                sleep 1.5
                if [ "$(field messages flood.out)" -lt "$(figure acked publisher.out)" ]; then
                    echo "$NAME: $(field messages flood.out) arrived, of those answered:" \
                        "$(figure acked publisher.out)" >&2
                    MISSED=1
                fi
                figure acked_per_s publisher.out >> "$NAME.figures"
                stop_flood
                end_all
            done
        done
    done
    summary "one message a request" /s ${BEFORE:+before} chunks events ws
    summary "a connection" bytes ${BEFORE:+bytes-before} bytes-chunks bytes-events bytes-ws
}

nchan() { # starts nginx, sets PORT and CONTROL
    cat > nginx.conf <<-CONF
	load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
	worker_processes 1; daemon off; pid $WORK/nginx.pid; error_log $WORK/nginx.err;
	worker_rlimit_nofile 20000;
	events { worker_connections 19900; }
	http {
	  nchan_max_reserved_memory 1024M; access_log off; keepalive_requests 100000000;
	  server {
	    listen 127.0.0.1:7080 backlog=4096;
	    location ~ ^/test/(\d+)\$ {
	      nchan_subscriber http-chunked; nchan_channel_id \$1; nchan_subscriber_timeout 0; }
	    location ~ ^/pub/(\d+)\$ {
	      nchan_publisher; nchan_channel_id \$1;
	      nchan_message_buffer_length 0; nchan_message_timeout 1s; }
	  }
	}
	CONF
    chmod 755 "$WORK" # nginx's worker is another user
    ${PIN-} nginx -c "$WORK/nginx.conf" 2> nginx.said &
    STARTED+=($!)
    PORT=7080 CONTROL=7080
    for _ in $(seq 100); do
        if curl -so nginx.answer http://127.0.0.1:7080/; then return; fi
        sleep 0.1
    done
    cannot "nginx does not answer: $(cat nginx.said)"
}

step_nchan() {
    local PIN=$ONE CPIN=$OTHER
    needs nginx
    for _ in $(seq "$TURNS"); do
        nchan
        client "$HELD" -H 'TE: chunked'
        flat_out nchan -P '/pub/{id}'
        sleep 1
        server server
        client "$HELD"
        flat_out now
    done
    summary "one message a request" /s nchan now
}

# One message to all, once a second: the last receipt.
step_fan() {
    local PIN=$ONE CPIN=$OTHER n=9
    for _ in $(seq "$TURNS"); do
        write_loop
        client "$HELD" -F
        echo "fan $n" >&9
        sleep $((n + 1))
        grep -o 'last_us=[0-9]*' client.out | cut -d= -f2 >> write-loop.figures
        end_all
        server server
        client "$HELD" -F
        publish -n 1 -c 1 -r 1 -d $n
        sleep 0.5
        grep -o 'last_us=[0-9]*' client.out | cut -d= -f2 >> now.figures
        end_all
    done
    summary "one message to $HELD, last receipt" us write-loop now
}

# During such fan-outs 1,000 messages a second to other ids.
step_others() {
    local other
    for _ in $(seq "$TURNS"); do
        server server
        client "$HELD" -F
        mv client.out fan.out
        client 5000 -i 100
        other=$CLIENT
        "$MEASURE/publisher" -p "$CONTROL" -P '/send/{id}' -n 1 -c 1 -r 1 -d 15 > fan.publisher &
        STARTED+=($!)
        publish -n 5000 -i 100 -c 16 -r 1000 -d 15
        CLIENT=$other
        count_received
        echo "others: $(grep -o 'lat_us.*n=[0-9]*' client.out)"
        figure p99 client.out >> now.figures
        end_all
    done
    summary "others, p99" us now
}

hold() { # FLAGS: HELD connections of floodtest
    urls "$HELD" > urls.txt
    flood "$HELD" --rate max "$@"
}

# Nothing is pinned. The rate is that of the answers, which come when the kernel has the messages.
batches() { # NAME FLAGS of the server: appends to NAME.figures
    local name=$1 num=150000 n_sources=8
    shift
    server server "$@"
    hold
    "$BIN/msggen" --num $num --interval 0 --max "$HELD" --sources $n_sources --batch 100 --seed 1 \
        --json --server "http://127.0.0.1:$CONTROL" > gen.out
    wait_for "\"chunks\":$((num * n_sources))," flood.out
    printf '%.0f\n' "$(field achieved_per_s gen.out)" >> "$name.figures"
    end_all
}

step_batch() {
    for _ in $(seq "$TURNS"); do
        write_loop
        client "$HELD"
        echo "flat $MOMENT" >&9
        wait_for FLOOR loop.out
        figure per_s loop.out >> write-loop.figures
        end_all
        batches now
    done
    summary "batches of 100, delivered" /s write-loop now
}

cpu_percent() { # SECONDS TICKS_BEFORE: of the server, of one core
    calc "($(ticks "$SERVER") - $2) / $1"
    echo
}

step_cpu() {
    local seconds=30 before BUILD
    for _ in $(seq "$TURNS"); do
        for BUILD in $(builds); do
            server server
            client "$HELD"
            before=$(ticks "$SERVER")
            publish -n "$HELD" -c 16 -r 1000 -d $seconds
            cpu_percent $seconds "$before" >> "$BUILD.figures"
            echo "cpu: $BUILD: RSS $(rss "$SERVER") KB"
            end_all
        done
    done
    # shellcheck disable=SC2046
    summary "CPU at 1,000 messages/s" "% of a core" $(builds)
}

step_threads() {
    local n before
    for _ in $(seq "$TURNS"); do
        for n in 1 2; do
            server server --threads $n
            client "$HELD"
            before=$(ticks "$SERVER")
            publish -n "$HELD" -c 16 -r 1000 -d "$MOMENT"
            cpu_percent "$MOMENT" "$before" >> cpu-$n.figures
            flat_out flat-$n
            batches batch-$n --threads $n
        done
    done
    summary "threads, CPU at 1,000 messages/s" "% of a core" cpu-1 cpu-2
    summary "threads, one message a request" /s flat-1 flat-2
    summary "threads, batches of 100" /s batch-1 batch-2
}

generate() { # ADDRESS FLAGS: messages as fast as they are answered; prints the rate
    local address=$1
    shift
    $ONE "$(folder_of "${SENDER-now}")/msggen" --interval 0 --seed 1 --json \
        --server "$address" "$@" > gen.out
    printf '%.0f\n' "$(field achieved_per_s gen.out)"
}

step_control() {
    local PIN=$OTHER flags BUILD
    for flags in "--sources 8 --in-flight 16 --num 60k" "--sources 64 --num 2k" \
        "--sources 8 --in-flight 2 --batch 100 --num 150k"; do
        for _ in $(seq "$TURNS"); do
            for BUILD in $(builds); do
                server server
                # shellcheck disable=SC2086
                generate "http://127.0.0.1:$CONTROL" --max 10000 $flags >> "$BUILD.figures"
                end_all
            done
        done
        # shellcheck disable=SC2046
        summary "control port, $flags" /s $(builds)
    done
}

step_stamps() {
    local address SENDER
    [ -x "$BIN/examples/responder" ] || cannot "no example responder in $BIN"
    $OTHER "$BIN/examples/responder" > responder.out &
    STARTED+=($!)
    wait_for http responder.out
    address=$(cat responder.out)
    for _ in $(seq "$TURNS"); do
        for SENDER in $(builds); do
            generate "$address" --max 10000 --sources 64 --num 2k --stamp >> "$SENDER.figures"
        done
    done
    # shellcheck disable=SC2046
    summary "msggen, numbered, 10,000 ids" /s $(builds)
    for _ in $(seq "$TURNS"); do
        generate "$address" --max 10 --sources 64 --num 500 --stamp >> in-order.figures
        generate "$address" --max 10 --sources 64 --num 500 --stamp --unordered >> unordered.figures
    done
    summary "msggen, numbered, 10 ids" /s in-order unordered
    end_all
}

# CPU of the reader, for 20,000 messages a second of our server. The C client only reads here.
step_events() {
    local PIN=$ONE CPIN=$OTHER reader before
    for _ in $(seq "$TURNS"); do
        for reader in client chunks events; do
            server server
            case $reader in
                client) client "$HELD" && FLOOD=$CLIENT ;;
                chunks) hold ;;
                events) hold --sse ;;
            esac
            before=$(ticks "$FLOOD")
            $ONE "$BIN/msggen" --num $((MOMENT * 25)) --interval 40 --max "$HELD" --sources 800 \
                --batch 20 --connections 16 --seed 1 --stamp --json \
                --server "http://127.0.0.1:$CONTROL" > gen.out 2> gen.err || true
            sleep 0.5
            calc "($(ticks "$FLOOD") - $before) / 100 / $(stats chunks_written) * 1e5" >> "$reader.figures"
            echo >> "$reader.figures"
            end_all
        done
    done
    summary "CPU for 100,000 messages" s client chunks events
}

step_opening() {
    local CPIN=$OTHER PIN=$ONE who
    for _ in $(seq "$TURNS"); do
        for who in $(builds); do
            server server
            urls "$HELD" > urls.txt
            $CPIN "$(folder_of "$who")/floodtest" --urls urls.txt --rate max --hold 0s --json \
                --source-ip "127.$((RANDOM % 250 + 1)).$((RANDOM % 250)).$((RANDOM % 250 + 1))" \
                > flood.out 2> flood.err
            calc "$HELD / $(field opening_s flood.out)" >> "$who.figures"
            echo >> "$who.figures"
            end_all
        done
    done
    # shellcheck disable=SC2046
    summary "opening $HELD" /s $(builds)
}

# A server whose messages are cut in two: all first halves come before any second one.
step_split() {
    local n=${N:-19000} before most=0 now
    python3 "$TOP/reports/bench/split.py" "$n" > split.out &
    STARTED+=($!)
    wait_for port split.out
    PORT=$(figure port split.out)
    urls "$n" > urls.txt
    flood "$n" --rate max --sse
    before=$(rss "$FLOOD")
    until grep -q end split.out; do
        now=$(rss "$FLOOD")
        most=$((now > most ? now : most))
        sleep 0.2
    done
    stop_flood
    echo "split: $before KB, $most KB at most: $(((most - before) * 1024 / n)) bytes a connection"
    bar "split: messages" "$(field messages flood.out)" '==' $((5 * n))
    bar "split: lost" "$(field lost flood.out)" '==' 0
    end_all
}

step_strangers() {
    head -c 24 /dev/urandom | base64 > token
    chmod 600 token
    server server --control-token-file token
    python3 "$TOP/reports/bench/strangers.py" "$CONTROL" token "$SERVER"
    end_all
}

step_blocked() {
    server server
    python3 "$TOP/reports/bench/blocked.py" "$BIN" "$PORT" "$CONTROL" 3
    end_all
}

rig() { cargo run --quiet --release --locked --bin rig -- "$@"; }
step_c10k() { rig c10k; }
step_c1m() { rig c1m --messages-per-second 8000; }
step_c1m-apart() { rig c1m --no-cluster; }

of_script() { # SCRIPT STEP
    local code=0
    BIN=$BIN "$TOP/$1" "$2" || code=$?
    case $code in
        0 | 1) MISSED=$((MISSED | code)) ;;
        *) exit $code ;;
    esac
}

run() { # STEP
    case $1 in
        floodtest-*) of_script floodtest/bench/bars.sh "${1#*-}" ;;
        msggen-*) of_script msggen/bench/bars.sh "${1#*-}" ;;
        cluster-*) of_script server/bench/cluster.sh "${1#*-}" ;;
        memlog-*) of_script memlog/bench/run.sh "${1#*-}" ;;
        c10k | c1m | c1m-apart) (cd "$TOP" && "step_$1") || MISSED=1 ;;
        *) "step_$1" ;;
    esac
}

for step in "$@"; do
    case $step in
        floodtest-* | msggen-* | cluster-* | memlog-*) ;;
        *) declare -F "step_$step" > which.out || cannot "\"$step\" is no step
$(list)" ;;
    esac
done
for step in "$@"; do run "$step"; done
exit $MISSED
