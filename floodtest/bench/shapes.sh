#!/usr/bin/env bash
# What the shapes of a load cost floodtest, and what they show.
#
#   shapes.sh [STEP...]   steps: rows events churn slow tokens due limited; all by default
#
# Build first: cargo build --release. It needs a C compiler for the neutral programs of
# reports/measure. BEFORE names an older build that `rows` compares with. Nothing else should run on
# the machine. Two cores are assumed. Every process that is started here is ended here.
. "$(dirname "$0")/../../reports/bench/lib.sh"
RUNS=${RUNS:-3}

# The flags that use all of what is kept beside a row.
EVERYTHING=(--lifetime 1h --reopen backoff:100ms..5s --done '[DONE]' --count usage.tokens
    --goodput 'gap.p99<1s')

# Bytes per connection at 19,000 with stamped messages: without shapes, in turns with an older build;
# and with all that is kept beside a row.
step_rows() {
    local n=19000 one kind builds=(now all)
    [ -z "${BEFORE-}" ] || builds+=(before)
    rm -f rows.*
    for _ in $(seq "$RUNS"); do
        for kind in "${builds[@]}"; do
            local flags=() tool=$BIN/floodtest
            [ "$kind" != all ] || flags=("${EVERYTHING[@]}")
            [ "$kind" != before ] || tool=$BEFORE/floodtest
            server server
            urls 1 > urls.txt
            FLOODTEST=$tool flood 1 --rate max "${flags[@]}"
            sleep 1
            one=$(rss "$FLOOD")
            stop_flood
            urls $n > urls.txt
            FLOODTEST=$tool flood $n --rate max "${flags[@]}"
            "$BIN/msggen" --num 30 --interval 10 --max $n --sources 100 --stamp --seed 1 \
                --server "http://127.0.0.1:$CONTROL" > msggen.out
            sleep 1
            echo $((($(rss "$FLOOD") - one) * 1024 / n)) >> "rows.$kind"
            end_all
        done
    done
    [ -z "${BEFORE-}" ] || echo "rows: before $(row rows.before) bytes"
    echo "rows: now $(row rows.now), with all $(row rows.all) bytes"
    bar "bytes per connection at $n, median" "$(median < rows.now)" '<=' 64
    bar "bytes per connection at $n with all of it, median" "$(median < rows.all)" '<=' 96
}

# CPU for 100,000 stamped events with gaps, each a write of its own, in turns with a client that only
# reads.
step_events() {
    local PIN="taskset -c 0" CPIN="taskset -c 1" who before after
    rm -f cpu.*
    for _ in $(seq "$RUNS"); do
        for who in client floodtest; do
            server server
            if [ $who = client ]; then
                client 10000 -H 'Accept: text/event-stream'
            else
                urls 10000 > urls.txt
                REPORT=5s flood 10000 --rate max --header 'Accept: text/event-stream' \
                    --goodput 'gap.p99<1h'
                CLIENT=$FLOOD
            fi
            before=$(ticks "$CLIENT")
            taskset -c 0 "$BIN/msggen" --num 1000 --interval 20 --max 10000 --sources 100 --stamp \
                --seed 1 --server "http://127.0.0.1:$CONTROL" --allow-late > msggen.out 2>&1
            sleep 1
            after=$(ticks "$CLIENT")
            calc "($after - $before) / 100" >> cpu.$who
            echo >> cpu.$who
            [ "$(stats messages)" = 100000 ] || cannot "not all messages were sent"
            end_all
        done
    done
    echo "events: client $(row cpu.client) s, floodtest $(row cpu.floodtest) s for 100,000"
    bar "CPU for 100,000 events, ratio of medians" \
        "$(calc "$(median < cpu.floodtest) / $(median < cpu.client)")" '<=' 1.15
}

# 500 lives a second at 10,000 open: neither side grows from minute 5 on.
step_churn() {
    local minutes=${MINUTES:-15} minute at five=() end=()
    server server
    urls 10000 > urls.txt
    # Some have closed before the last one is open.
    OPENED='"connected":99[0-9][0-9]' flood 10000 --rate 2000 --lifetime exp:20s --reopen at-once
    sleep 5
    for minute in $(seq "$minutes"); do
        sleep 60
        at=("$(rss "$SERVER")" "$(rss "$FLOOD")" "$(open_files "$SERVER")" "$(open_files "$FLOOD")")
        echo "churn: minute $minute: RSS ${at[0]} and ${at[1]} KB, files ${at[2]} and ${at[3]}"
        [ "$minute" -ne $((minutes < 5 ? 1 : 5)) ] || five=("${at[@]}")
        end=("${at[@]}")
    done
    stop_flood
    bar "churn: KB that the server grew from minute 5" $((end[0] - five[0])) '<=' 64
    bar "churn: KB that floodtest grew from minute 5" $((end[1] - five[1])) '<=' 64
    # A connection in the middle of its change has one descriptor or none, on either side.
    bar "churn: descriptors that the server gained" $((end[2] - five[2])) '<=' 100
    bar "churn: descriptors that floodtest gained" $((end[3] - five[3])) '<=' 100
    bar "churn: lives a second" \
        "$(calc "$(field reopened flood.out) / $(field elapsed_s flood.out)")" '>=' 480
    bar "churn: begun, against established and failed" "$(field begun flood.out)" '==' \
        $(($(field established flood.out) + $(field failed flood.out) + $(field waiting flood.out)))
    bar "churn: connections that failed" "$(field failed flood.out)" '==' 0
    end_all
}
open_files() { find "/proc/$1/fd" -mindepth 1 | wc -l; }

# 100 of 10,000 that never read, under 1,000 messages a second of 2 KB: what the server does to them,
# and what the others wait, in turns with a run without them.
step_slow() {
    local kind flags
    rm -f slow.*
    for _ in $(seq "$RUNS"); do
        for kind in none mute; do
            flags=()
            [ $kind = none ] || flags=(--slow '1%:0')
            server server
            urls 10000 > urls.txt
            flood 10000 --rate max "${flags[@]}"
            "$BIN/msggen" --num 300 --interval 100 --max 10000 --sources 100 --stamp --seed 1 \
                --server "http://127.0.0.1:$CONTROL" > msggen.out
            sleep 1
            stop_flood
            field delivery_from_due.p99_us flood.out >> slow.$kind
            [ $kind = none ] || cp flood.out slow.json
            end_all
        done
    done
    echo "slow: p99 without $(row slow.none), with 100 mute $(row slow.mute) us"
    echo "slow: p99 with to without, ratio of medians:" \
        "$(calc "$(median < slow.mute) / $(median < slow.none)")"
    bar "slow: mute readers that are named with their end" "$(tail -1 slow.json | python3 -c '
import json, sys
slow = json.load(sys.stdin)["slow_readers"]
print(sum(1 for reader in slow["readers"] if reader["end"]))')" '==' 100
}

# 10,000 streams of five items a second, paced, a core each: what floodtest says of first items and
# gaps, beside what the server wrote down of its writes.
step_tokens() {
    neutral tokens
    : > tokens.out
    taskset -c 0 "$MEASURE/tokens" 0 -r 5 -n 300 -f 100 -q > tokens.out &
    local tokens=$! name quantile
    STARTED+=($tokens)
    wait_for READY tokens.out
    PORT=$(figure port tokens.out)
    urls 10000 > urls.txt
    taskset -c 1 "$BIN/floodtest" --urls urls.txt --rate 1000 --profile llm --hold 75s --json \
        > flood.out 2> flood.err || true
    kill $tokens
    wait $tokens || true
    cat tokens.out
    bar "tokens: streams to their end, of 10,000" "$(field ended flood.out)" '==' 10000
    bar "tokens: own lateness p99, us" "$(field own.lateness.p99_us flood.out)" '<=' 1000
    for name in first gap; do
        for quantile in p50 p99; do
            local bound=500 key=gap
            [ $quantile = p50 ] || bound=2000
            [ $name = gap ] || key=first_item_from_send
            bar "tokens: $key $quantile, us apart from the server's own" \
                $(($(field "$key.${quantile}_us" flood.out) - $(record "$name" "$quantile"))) \
                '<=' $bound
        done
    done
    end_all
}
record() { # NAME p50|p99: of the last line of tokens, in whole us
    grep -o "\b${1}_us p50=[0-9.]* p99=[0-9.]*" tokens.out | tail -1 |
        sed "s/.*$2=\([0-9]*\).*/\1/"
}

# --rate 50 --for 60s against a server that stands still for 10 s: starts stay on schedule, and the
# first items show it.
step_due() {
    neutral tokens
    : > tokens.out
    "$MEASURE/tokens" 0 -r 20 -n 40 -q > tokens.out &
    local tokens=$!
    STARTED+=($tokens)
    wait_for READY tokens.out
    PORT=$(figure port tokens.out)
    urls 100 > urls.txt
    "$BIN/floodtest" --urls urls.txt --rate 50 --for 60s --profile llm --hold 15s --json \
        > flood.out 2> flood.err &
    local flood=$!
    sleep 20
    kill -STOP $tokens
    sleep 10
    kill -CONT $tokens
    wait $flood || true
    bar "due: connections begun in 60 s at 50 a second" "$(field begun flood.out)" '==' 3000
    bar "due: connects later than due, p99.9, us" \
        "$(field connect_lateness.p999_us flood.out)" '<=' 5000
    bar "due: first item from due, longest, s" \
        "$(calc "$(field first_item_from_due.max_us flood.out) / 1e6")" '>=' 9.5
    bar "due: limited by a tool" "$(is_limited flood.out)" '==' 0
    end_all
}

# A server that stands still is never called the tool's fault; a tool that is beside a busy loop
# always is.
step_limited() {
    local who
    for who in server tool; do
        local pins=() spin=
        server server
        urls 5000 > urls.txt
        if [ $who = tool ]; then
            taskset -c 1 python3 -c 'while True: pass' &
            spin=$!
            STARTED+=($spin)
            pins=(taskset -c 1)
        fi
        CPIN=${pins[*]} flood 5000 --rate max
        "${pins[@]}" "$BIN/msggen" --num 2000 --interval 10 --max 5000 --sources 50 --stamp --seed 1 \
            --json --allow-late --server "http://127.0.0.1:$CONTROL" > msggen.out 2> msggen.err &
        local sender=$!
        if [ $who = server ]; then
            sleep 5
            kill -STOP "$SERVER"
            sleep 8
            kill -CONT "$SERVER"
        fi
        wait $sender || true
        stop_flood
        local expected=0
        [ $who = server ] || expected=1
        bar "limited ($who): floodtest says that it was the limit" "$(is_limited flood.out)" '==' $expected
        bar "limited ($who): msggen says so" "$(is_limited msggen.out)" '==' $expected
        end_all
    done
}
is_limited() { # FILE: 1 if its last report names a limit
    tail -1 "$1" | python3 -c 'import json, sys
print(int(json.load(sys.stdin)["limited_by"] is not None))'
}

run_steps "rows events churn slow tokens due limited" "$@"
