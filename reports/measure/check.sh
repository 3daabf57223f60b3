#!/usr/bin/env bash
# Do the neutral programs count the same messages? Each server sends a known number of them to the
# client, and ends; the client has read every stream to its end when it is asked what it counted.
# The servers of `serve` are among them, with all that they start. Exit code 1 if two counts differ.
# It takes half a minute, uses free ports, and leaves no process. What is not installed is left out;
# with REQUIRE_ALL=1 that is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
make --silent all
PROGRAMS=$PWD
WORK=$(mktemp -d)
cd "$WORK"
N=200 # connections
STARTED=()
WRONG=0
trap 'stop_all; rm -rf "$WORK"' EXIT

stop_all() {
    exec 9>&-
    local pid
    for pid in "${STARTED[@]}"; do kill "$pid" 2> kill.err || true; done
    for pid in "${STARTED[@]}"; do wait "$pid" || true; done
    STARTED=()
}

give_up() { # WHAT FILE...: with what the programs said
    echo "check: $1" >&2
    shift
    tail -n 5 "$@" >&2
    exit 1
}

wait_for() { # PATTERN FILE: until a line of the file matches, 20 s at most
    local _
    for _ in $(seq 400); do
        if grep -q "$1" "$2"; then return; fi
        sleep 0.05
    done
    give_up "no \"$1\" within 20 s" "$2"
}

number() { # NAME FILE: NAME=number, summed over the lines of a file
    grep -o "\b$1=[0-9]*" "$2" | cut -d= -f2 | awk '{ sum += $1 } END { print sum + 0 }'
}

same() { # WHAT COUNTED SENT
    if [ "$2" = "$3" ]; then
        echo "$1: $2"
    else
        echo "$1: counted $2, sent $3" >&2
        WRONG=1
    fi
}

# A server prints its ports when they are open. One that reads commands does so from descriptor 9,
# as long as that is open.
server() { # PROGRAM ARGUMENTS: sets SERVER; its output is in server.out
    rm -f commands
    mkfifo commands
    : > server.out
    "$PROGRAMS/$1" "${@:2}" < commands > server.out &
    SERVER=$!
    STARTED+=("$SERVER")
    exec 9> commands
    wait_for READY server.out
}

client() { # PORT FLAGS: N connections, sets CLIENT
    : > client.out
    "$PROGRAMS/client" -p "$1" -n "$N" -q "${@:2}" > client.out &
    CLIENT=$!
    STARTED+=("$CLIENT")
    wait_for OPENED client.out
}

publish() { # PORT FLAGS: appends its result to publisher.out
    timeout 60 "$PROGRAMS/publisher" -p "$1" -n "$N" -d 30 "${@:2}" >> publisher.out ||
        give_up "the publisher failed" publisher.out
}

# Until the client has counted so many messages, 10 s at most: an answer to the publisher says that
# a server took a message, not that it has written it (node writes after the answer), and a server
# that is ended in between takes it along.
receive() { # SENT
    local _
    for _ in $(seq 200); do
        kill -USR1 "$CLIENT"
        sleep 0.05
        if grep -q "MARK.* msgs=$1 " client.out; then return; fi
    done
}

# Ends the server, and then the client when it has seen the end of every stream. Sets COUNTED.
finish() {
    exec 9>&-
    kill "$SERVER" 2> kill.err || true
    wait "$SERVER" || true
    local _
    for _ in $(seq 200); do
        kill -USR1 "$CLIENT"
        sleep 0.05
        if grep -q "MARK.* closed=$N " client.out; then break; fi
    done
    kill "$CLIENT"
    wait "$CLIENT"
    grep FINAL client.out > final.out
    same "  streams that ended" "$(number closed final.out)" "$N"
    COUNTED=$(number msgs final.out)
    stop_all
}

write_loop() { # FLAGS of the client
    server writeloop 0
    client "$(number port server.out)" "$@"
    echo "flat 0.2" >&9
    wait_for FLOOR server.out
    echo "rate 5000 0.2" >&9
    wait_for RATE server.out
    printf 'fan 1\nquit\n' >&9
    wait "$SERVER"
    finish
    same "write loop, client $*" "$COUNTED" $(($(number writes server.out) + N))
}

relay() {
    server relay 0 0
    client "$(number public server.out)"
    local control
    control=$(number control server.out)
    : > publisher.out
    publish "$control" -P '/send/{id}' -c 16 -N 5000
    publish "$control" -P '/send/{id}' -c 4 -N 500 -r 2000 -b 1500 -S
    finish
    same "relay, written" "$(number written server.out)" "$(number sent publisher.out)"
    same "relay, answered" "$(number acked publisher.out)" "$(number sent publisher.out)"
    same "relay, client" "$COUNTED" "$(number sent publisher.out)"
}

# A stream of tokens ends by itself: the client sees every event of a token, and the end.
tokens() { # FLAGS
    server tokens 0 -q -r 50 -n 20 "$@"
    client "$(number port server.out)"
    local _
    for _ in $(seq 200); do
        kill -USR1 "$SERVER"
        sleep 0.05
        if grep -q "MARK.* done=$N " server.out; then break; fi
    done
    finish
    grep FINAL server.out > tokens.out
    same "tokens${*:+ }$*, to their end" "$(number done tokens.out)" "$N"
    same "tokens${*:+ }$*, client" "$COUNTED" "$(number tokens tokens.out)"
}

left_out() { # WHAT WHY
    echo "SKIPPED $1 ($2)"
    [ -z "${REQUIRE_ALL:-}" ] || WRONG=1
}

is_open() { # PORT
    (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> connect.err
}

# One of the servers that `rig peers` compares. They do not choose ports themselves, so that the
# ports are those that another program got just now.
peer() { # NAME SUBSCRIBE PUBLISH DOOR FLAGS of the client; DOOR: which port takes messages
    server relay 0 0
    local public control folder
    public=$(number public server.out)
    control=$(number control server.out)
    stop_all
    folder=$(mktemp -d -p "$WORK")
    "$PROGRAMS/serve" "$1" "$public" "$control" "$folder" > server.out 2>&1 &
    SERVER=$!
    STARTED+=("$SERVER")
    local _
    for _ in $(seq 600); do
        if is_open "$public"; then break; fi
        if ! kill -0 "$SERVER" 2> kill.err; then
            local code=0
            wait "$SERVER" || code=$?
            [ "$code" = 2 ] || give_up "$1 ended with code $code" server.out
            left_out "$1" "$(tail -n 1 server.out)"
            return
        fi
        sleep 0.05
    done
    is_open "$public" || give_up "$1 did not open its port within 30 s" server.out
    client "$public" -P "$2" "${@:5}"
    : > publisher.out
    publish "${!4}" -P "$3" -c 16 -N 2000
    receive "$(number sent publisher.out)"
    finish
    same "$1, answered" "$(number acked publisher.out)" "$(number sent publisher.out)"
    same "$1, client" "$COUNTED" "$(number sent publisher.out)"
    if is_open "$public" || is_open "$control"; then
        echo "$1: something that it started did not end" >&2
        WRONG=1
    fi
}

write_loop
write_loop -F
same "  messages that all connections received" "$(grep -c FANOUT client.out)" 1
relay
tokens
tokens -N 40
tokens -S 0.2:0.5
EVENTS=(-H "Accept: text/event-stream")
peer nchan '/sub/{id}' '/pub/{id}' public "${EVENTS[@]}"
peer node '/test/{id}' '/send/{id}' public "${EVENTS[@]}"
peer sse-starlette '/test/{id}' '/send/{id}' public "${EVENTS[@]}"
peer mochiweb '/test/{id}' '/send/{id}' control
peer mochiweb-hibernate '/test/{id}' '/send/{id}' control
peer evhttp '/test/{id}' '/pub/{id}' public
peer comet '/test/{id}' '/send/{id}' control
peer comet '/test/{id}' '/send/{id}' control "${EVENTS[@]}"
exit $WRONG
