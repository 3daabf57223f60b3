#!/usr/bin/env bash
# floodtest's figures against their bars.
#
#   bars.sh [STEP...]   steps: memory ws tls cpu open pace many stall file liar; all by default
#
# Build first: cargo build --release. It needs a C compiler for the neutral programs of
# reports/measure, which `cpu` and `open` compare with. Nothing else should run on the machine. Two
# cores are assumed, 0 for the server and 1 for the rest where a step pins them. Every process that
# is started here is ended here.
. "$(dirname "$0")/../../reports/bench/lib.sh"
RUNS=${RUNS:-3}

# Bytes per connection at 19,000 with stamped, numbered messages: (RSS - RSS with one) / 19,000.
step_memory() {
    local n=19000 one
    for _ in $(seq "$RUNS"); do
        server server
        urls 1 > urls.txt
        flood 1 --rate max
        sleep 1
        one=$(rss "$FLOOD")
        stop_flood
        urls $n > urls.txt
        flood $n --rate max
        "$BIN/msggen" --num 30 --interval 10 --max $n --sources 100 --stamp --seed 1 \
            --server "http://127.0.0.1:$CONTROL" > msggen.out
        sleep 1
        bar "bytes per connection at $n ($one KB with one)" \
            $((($(rss "$FLOOD") - one) * 1024 / n)) '<=' 160
        end_all
    done
}

# WebSockets beside chunks, in turns: bytes per connection at 19,000, and floodtest's CPU for the same
# 100,000 stamped and numbered messages. The server has to speak both.
step_ws() {
    local n=19000 kind one before after
    rm -f ws.*
    for _ in $(seq "$RUNS"); do
        for kind in http ws; do
            server server
            urls 1 | sed "s/^http:/$kind:/" > urls.txt
            flood 1 --rate max
            sleep 1
            one=$(rss "$FLOOD")
            stop_flood
            urls $n | sed "s/^http:/$kind:/" > urls.txt
            flood $n --rate max
            before=$(ticks "$FLOOD")
            "$BIN/msggen" --num 1000 --interval 10 --max $n --sources 100 --stamp --seed 1 \
                --server "http://127.0.0.1:$CONTROL" --allow-late > msggen.out 2>&1
            sleep 1
            after=$(ticks "$FLOOD")
            calc "($after - $before) / 100" >> ws.cpu.$kind
            echo >> ws.cpu.$kind
            echo $((($(rss "$FLOOD") - one) * 1024 / n)) >> ws.memory.$kind
            stop_flood
            bar "messages over $kind that came" "$(field messages flood.out)" '==' 100000
            end_all
        done
    done
    echo "ws: CPU $(row ws.cpu.ws) s, chunks $(row ws.cpu.http) s"
    echo "ws: bytes per connection $(row ws.memory.ws), chunks $(row ws.memory.http)"
    bar "bytes per WebSocket at $n, median" "$(median < ws.memory.ws)" '<=' 64
    bar "CPU for 100,000 messages, WebSockets to chunks, ratio of medians" \
        "$(calc "$(median < ws.cpu.ws) / $(median < ws.cpu.http)")" '<=' 1.05
}

# Bytes per https connection at 5,000, of a server that sends ten messages to each and holds it.
step_tls() {
    local n=5000 certificates=$TOP/floodtest/tests/it/tls one
    cat > tls.py <<-'PYTHON'
	import asyncio, resource, ssl, sys
	hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
	resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
	context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
	context.load_cert_chain(f"{sys.argv[1]}/server.pem", f"{sys.argv[1]}/server.key")
	HEAD = b"HTTP/1.1 200 OK\r\nServer: comet-server/0\r\nTransfer-Encoding: chunked\r\n\r\n"
	async def hold(reader, writer):
	    await reader.readuntil(b"\r\n\r\n")
	    writer.write(HEAD)
	    for n in range(1, 11):
	        text = b"Recvd msg #%d: 'hello'<br/>" % n
	        writer.write(b"%x\r\n%s\r\n" % (len(text), text))
	    await reader.read(1)
	async def main():
	    server = await asyncio.start_server(hold, "127.0.0.1", 0, ssl=context, backlog=4096)
	    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
	    await server.serve_forever()
	asyncio.run(main())
	PYTHON
    python3 tls.py "$certificates" > tls.out 2> /dev/null &
    STARTED+=($!)
    wait_for port tls.out
    PORT=$(cut -d' ' -f2 tls.out)
    for n in 1 5000; do
        "$BIN/floodtest" urls --count $n --pattern "https://127.0.0.1:$PORT/test/{id}" > urls.txt
        flood $n --rate max --ca "$certificates/ca.pem" --connect-timeout 60s
        sleep 1
        if [ $n = 1 ]; then one=$(rss "$FLOOD"); else
            bar "bytes per https connection at $n ($one KB with one)" \
                $((($(rss "$FLOOD") - one) * 1024 / n)) '<=' 20000
            bar "chunks of them" "$(field chunks flood.out)" '==' $((10 * n))
        fi
        stop_flood
    done
    end_all
}

# CPU for 100,000 chunks to 10,000 connections, in turns with a client that only reads.
step_cpu() {
    local PIN="taskset -c 0" CPIN="taskset -c 1" who before after
    for load in "rate 20000 10" "flat 5"; do
        rm -f cpu.*
        for _ in $(seq "$RUNS"); do
            for who in client floodtest; do
                write_loop
                if [ $who = client ]; then
                    client 10000
                else
                    urls 10000 > urls.txt
                    flood 10000 --rate max
                    CLIENT=$FLOOD
                fi
                before=$(ticks "$CLIENT")
                echo "$load" >&9
                wait_for 'writes=' loop.out
                sleep 0.5
                after=$(ticks "$CLIENT")
                exec 9>&-
                calc "($after - $before) / 100 / $(figure writes loop.out) * 1e5" >> cpu.$who
                echo >> cpu.$who
                end_all
            done
        done
        echo "cpu ($load): client $(row cpu.client) s, floodtest $(row cpu.floodtest) s"
        bar "CPU for 100,000 chunks ($load), ratio of medians" \
            "$(calc "$(median < cpu.floodtest) / $(median < cpu.client)")" '<=' 1.2
    done
}

# Opening flat out, in turns with the neutral client.
step_open() {
    local PIN="taskset -c 0" CPIN="taskset -c 1" n
    for n in 10000 19000; do
        rm -f open.*
        for _ in $(seq "$RUNS"); do
            write_loop
            client $n
            figure conn_per_s client.out >> open.client
            exec 9>&-
            end_all
            write_loop
            urls $n > urls.txt
            flood $n --rate max
            exec 9>&-
            stop_flood
            calc "$n / $(field opening_s flood.out)" >> open.floodtest
            echo >> open.floodtest
            end_all
        done
        echo "open $n: client $(row open.client)/s, floodtest $(row open.floodtest)/s"
        bar "opening $n, ratio of medians" \
            "$(calc "$(median < open.floodtest) / $(median < open.client)")" '>=' 0.8
    done
}

# 10,000 at 1,000 a second: the last one is due after 9.999 s.
step_pace() {
    server server
    urls 10000 > urls.txt
    "$BIN/floodtest" --urls urls.txt --rate 1000 --hold 0s --json > flood.out
    local off
    off=$(calc "$(field opening_s flood.out) - 9.999")
    bar "pacing: last connect, seconds from due" "$off" '<=' 0.1
    bar "pacing: the same, not early" "$off" '>=' -0.1
    bar "pacing: lateness p99, ms" \
        "$(calc "$(field connect_lateness.p99_us flood.out) / 1000")" '<=' 2
    end_all
}

# 200,000 connections in one command to 11 servers, held for 60 s under 5,000 messages a second.
step_many() {
    local n=200000 each=18182 controls=() servers=() senders=() written=0 control pid
    : > urls.txt
    for i in $(seq 11); do
        server "server$i"
        controls+=("$CONTROL")
        servers+=("$SERVER")
        urls $each >> urls.txt
    done
    "$BIN/floodtest" --urls urls.txt --connections $n --rate max --plan
    flood $n --connections $n --rate max
    bar "200,000: seconds to open them all" "$(field opening_s flood.out)" '<' 1e9
    for control in "${controls[@]}"; do
        "$BIN/msggen" --num 546 --interval 110 --max $each --sources 50 --stamp --seed 1 --json \
            --server "http://127.0.0.1:$control" > "msggen.$control" &
        senders+=($!)
    done
    sleep 55
    local sum=0
    for pid in "$FLOOD" $(cat "/proc/$FLOOD/task/$FLOOD/children"); do
        sum=$((sum + $(pss "$pid")))
    done
    for pid in "${senders[@]}"; do wait "$pid" || true; done
    sleep 2
    for control in "${controls[@]}"; do
        written=$((written + $(stats chunks_written "$control")))
    done
    stop_flood
    bar "200,000: sum of PSS of all processes, MB" "$(calc "$sum / 1024")" '<=' 100
    bar "200,000: connected at the end" "$(field connected flood.out)" '==' $n
    bar "200,000: chunks, against what the servers wrote" "$(field chunks flood.out)" '==' $written
    local key
    for key in lost duplicated reordered; do
        bar "200,000: $key" "$(field $key flood.out)" '==' 0
    done
    bar "200,000: messages a second" "$(calc "$written / 60")" '>=' 4900
    echo "200,000: delivery p50 $(field delivery_from_due.p50_us flood.out) us," \
        "p99 $(field delivery_from_due.p99_us flood.out) us"
    end_all
}

# 60 s at 1,000 stamped messages a second, the server stopped from second 20 to 35.
step_stall() {
    server server
    urls 1000 > urls.txt
    flood 1000 --rate max
    "$BIN/msggen" --num 600 --interval 100 --max 1000 --sources 100 --stamp --seed 1 --json \
        --server "http://127.0.0.1:$CONTROL" > msggen.out &
    local sender=$!
    sleep 20
    kill -STOP "$SERVER"
    sleep 15
    kill -CONT "$SERVER"
    wait $sender || true
    sleep 1
    stop_flood
    bar "stall: delivery from due, p99, s" \
        "$(calc "$(field delivery_from_due.p99_us flood.out) / 1e6")" '>=' 13
    bar "stall: lost" "$(field lost flood.out)" '==' 0
    bar "stall: chunks, against messages sent" "$(field chunks flood.out)" '==' 60000
    echo "stall: delivery from send, p99 $(field delivery_from_send.p99_us flood.out) us"
    end_all
}

# A URL file of 1,000,000 lines: the first connect, and no memory for the lines.
step_file() {
    local began few
    server server
    urls 10 > urls.txt
    flood 10 --rate max
    few=$(high "$FLOOD")
    stop_flood
    urls 1000000 > urls.txt
    flood 10 --connections 10 --rate max
    bar "1,000,000 lines: KB more than with 10 lines" $(($(high "$FLOOD") - few)) '<=' 200
    stop_flood
    end_all
    # All of them asked for, which takes worker processes; the first few are enough to know.
    server server
    urls 1000000 > urls.txt
    began=$(now)
    "$BIN/floodtest" --urls urls.txt --rate 100 > flood.out 2> flood.err &
    STARTED+=($!)
    # No pipe: what closes it early would fail it.
    until [[ $(curl -s "http://127.0.0.1:$CONTROL/stats") =~ \"connections_accepted\":\ *[1-9] ]]; do
        sleep 0.01
    done
    bar "1,000,000 lines and connections: first connect, s" "$(calc "$(now) - $began")" '<=' 2
    end_all
}

# The lying server.
step_liar() {
    (cd "$TOP" && timeout 600 cargo test --release -p floodtest --test it liar -- --nocapture) \
        > liar.out 2>&1 || true
    bar "lying server: tests of 20 seeds that are exact" \
        "$(grep -c '^test liar::.* ok$' liar.out || true)" '==' 2
}

run_steps "memory ws tls cpu open pace many stall file liar" "$@"
