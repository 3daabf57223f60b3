# What the commands of the guides run in: a shell in which several of them have a terminal each.
#
# A guide says "in another terminal", and leaves ports, endings and waiting to its reader. Here
# comet-server and floodtest go on beside what follows, on ports that are free; msggen ends what
# floodtest holds when it has sent, as the reader does with Ctrl-C. PORT is put in place of 8000 and
# 8080, CONTROL in place of 8001.
PORT=${PORT:-8000} CONTROL=${CONTROL:-8001} FLOOD='' STARTED=()
trap 'kill "${STARTED[@]}" 2>/dev/null || true' EXIT

wait_for() { # PATTERN FILE: until a line of the file matches, for as long as the whole may take
    until grep -q -- "$1" "$2"; do sleep 0.05; done
}

here() { # ARGUMENTS: the same as HERE, with the ports of this shell
    HERE=("$@")
    HERE=("${HERE[@]//:8000/:$PORT}")
    HERE=("${HERE[@]//:8080/:$PORT}")
    HERE=("${HERE[@]//:8001/:$CONTROL}")
    HERE=("${HERE[@]/#8080/$PORT}")
}

comet-server() {
    if [ "${1-}" = friends ]; then
        command comet-server "$@"
        return
    fi
    : > server.out
    command comet-server --listen 127.0.0.1:0 --control 127.0.0.1:0 "$@" > server.out &
    STARTED+=("$!")
    wait_for '^control on' server.out
    PORT=$(sed -n 's#^listening on http://127.0.0.1:\([0-9]*\).*#\1#p' server.out)
    CONTROL=$(sed -n 's#^control on http://127.0.0.1:\([0-9]*\).*#\1#p' server.out)
}

floodtest() {
    here "$@"
    case " $* " in
    *" urls "* | *" --plan "*)
        command floodtest "${HERE[@]}"
        return
        ;;
    esac
    command floodtest --report 100ms "${HERE[@]}" > flood.out &
    FLOOD=$!
    STARTED+=("$FLOOD")
    # As many as there are lines; where one server has them all.
    local urls
    urls=$(printf '%s\n' "$@" | grep -x -A 1 -e --urls | tail -n 1)
    wait_for "^Stats: {$(wc -l < "$urls")," flood.out
}

msggen() {
    if [ "${1-}" = friends ]; then
        command msggen "$@"
        return
    fi
    here "$@"
    command msggen --server "http://127.0.0.1:$CONTROL" "${HERE[@]}"
    [ -n "$FLOOD" ] || return 0
    kill -INT "$FLOOD"
    wait "$FLOOD"
    cat flood.out
}

curl() {
    here "$@"
    if [ "$1" = -N ]; then
        : > head.out
        command curl -s -D head.out "${HERE[@]}" > curl.out &
        STARTED+=("$!")
        wait_for '^HTTP/1.1 200' head.out
        return
    fi
    command curl -sS --fail-with-body "${HERE[@]}"
    echo
}

node() { # a client of id 123
    local logins
    here "$@"
    logins=$(command curl -s "http://127.0.0.1:$CONTROL/logins/123")
    command node "${HERE[@]}" > node.out &
    STARTED+=("$!")
    while [ "$(command curl -s "http://127.0.0.1:$CONTROL/logins/123")" = "$logins" ]; do
        sleep 0.05
    done
}

broker() { # starts a Redis server on a port that nobody has, sets BROKER
    local port
    for port in $(shuf -i 20000-29999 -n 20); do
        redis-server --bind 127.0.0.1 --port "$port" --save '' > redis.out &
        until grep -q 'Ready to accept' redis.out; do
            kill -0 "$!" 2> kill.err || continue 2
            sleep 0.05
        done
        STARTED+=("$!")
        BROKER=redis://127.0.0.1:$port
        return
    done
    return 1
}

# A run that fell short because the machine of a test has other things to do has been made all the
# same: what was sent late was sent, and that a tool was the limit is said.
rig() {
    local code=0
    here "$@"
    command rig "${HERE[@]}" 2> rig.err || code=$?
    cat rig.err >&2
    [ $code = 1 ] || return $code
    ! grep '^rig: ' rig.err | grep -v "^rig: \($PROGRESS\)" | grep -qv "\($BUSY\)"
}
PROGRESS='getting\|starting\|looking\|nobody\|connecting\|all \|sending\|sent\|disconnecting\|run '
PROGRESS="$PROGRESS\|the \|[0-9,]* \|comet-server was\|making"
BUSY=' s behind the schedule at the end\|not valid: '

cargo() { # rig ARGUMENTS
    shift
    rig "$@"
}
