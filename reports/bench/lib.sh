# What the scripts share that measure the programs against their bars, and beside others. A script
# sources it first: it then is in an empty folder of its own, which goes when it ends, as does every
# process that it noted in STARTED.
#
#   BIN      where the release builds are; target/release
#   BEFORE   where another build is, for the steps that compare with it
#   PIN      what a server is started with, such as `taskset -c 0`; CPIN, what a client is
#   MISSED   is 1 when a bar was missed
set -euo pipefail
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
MEASURE=$TOP/reports/measure
MISSED=0

cannot() { # WHY: ends the script
    echo "$(basename "$0"): $1" >&2
    exit 2
}

folder() { # NAME FOLDER: its absolute path, if a build of the server is in it
    [ -x "$2/comet-server" ] || cannot "$1=$2 has no comet-server; cargo build --release first"
    (cd "$2" && pwd)
}
BIN=$(folder BIN "${BIN:-${CARGO_TARGET_DIR:-$TOP/target}/release}")
[ -z "${BEFORE-}" ] || BEFORE=$(folder BEFORE "$BEFORE")

STARTED=()
end_all() { # the last one first: a client of a server that is gone would complain
    local pid
    exec 9>&-
    for pid in $(printf '%s\n' "${STARTED[@]}" | tac); do
        kill -CONT "$pid" 2>/dev/null || true
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    STARTED=()
}

WORK=$(mktemp -d)
trap 'end_all; rm -rf "$WORK"' EXIT
cd "$WORK"

needs() { # PROGRAM...: that are not built here
    local program
    for program in "$@"; do
        command -v "$program" > which.out || cannot "$program is not installed"
    done
}

run_steps() { # "STEP..." [WANTED...]: runs those that are wanted, or all, and ends the script
    local all=$1 step
    shift
    for step in "$@"; do
        [[ " $all " == *" $step "* ]] || cannot "\"$step\" is no step; there are: $all"
    done
    # shellcheck disable=SC2086
    for step in ${@:-$all}; do "step_$step"; done
    exit $MISSED
}

wait_for() { # PATTERN FILE [TENTHS]: until a line of the file matches
    for _ in $(seq "${3:-300}"); do
        grep -q "$1" "$2" 2>/dev/null && return
        sleep 0.1
    done
    echo "no \"$1\" in $2" >&2
    exit 1
}

bar() { # NAME FIGURE OPERATOR BAR [UNIT]: says whether the figure keeps the bar
    local kept=ok
    awk "BEGIN { exit !($2 $3 $4) }" || { kept=MISSED; MISSED=1; }
    printf '%-66s %12s  %2s %-8s %-10s %s\n' "$1" "$2" "$3" "$4" "${5-}" "$kept"
}

now() { date +%s.%N; }
calc() { awk "BEGIN { printf \"%.3f\", $1 }"; }
median() { sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }
row() { paste -sd' ' "$1"; }
rss() { awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"; }
high() { awk '/^VmHWM:/ { print $2 }' "/proc/$1/status"; }
pss() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; }
ticks() { awk '{ sum += $14 + $15 } END { print sum }' $(printf '/proc/%s/stat ' "$@"); }
field() { # NAME FILE: of the last report; a nested one is written delivery_from_due.p99_us
    tail -1 "$2" | python3 -c 'import functools, json, sys
report = json.load(sys.stdin)
print(functools.reduce(lambda value, key: value.get(key, 0), sys.argv[1].split("."), report))' "$1"
}
stats() { # NAME [CONTROL]: of a server
    curl -s "http://127.0.0.1:${2-$CONTROL}/stats" > stats.json
    field "$1" stats.json
}
figure() { # NAME FILE: NAME=number, in the last line of a neutral program that has it
    grep -o "\b$1=[0-9.]*" "$2" | tail -1 | cut -d= -f2
}

# -- Our programs ------------------------------------------------------------------------------

builds() { echo ${BEFORE:+before} now; }
folder_of() { if [ "$1" = before ]; then echo "$BEFORE"; else echo "$BIN"; fi; }

server() { # NAME FLAGS: starts a server of the build $BUILD, sets SERVER, PORT and CONTROL
    local name=$1
    shift
    : > "$name.out" # or what the last one said would be taken for it
    ${PIN-} "$(folder_of "${BUILD-now}")/comet-server" --listen 127.0.0.1:0 --control 127.0.0.1:0 \
        "$@" > "$name.out" 2> "$name.err" &
    SERVER=$!
    STARTED+=("$SERVER")
    wait_for 'control.* on http' "$name.out"
    PORT=$(sed -n 's#.*listening on http://127.0.0.1:\([0-9]*\).*#\1#p' "$name.out")
    CONTROL=$(sed -n 's#.*control.* on http://127.0.0.1:\([0-9]*\).*#\1#p' "$name.out")
}

urls() { # N [FIRST] [PORT]: of N ids, on stdout
    "$BIN/floodtest" urls --count "$1" --first "${2-1}" \
        --pattern "http://127.0.0.1:${3-$PORT}/test/{id}"
}

flood() { # N FLAGS: opens the N connections of urls.txt with floodtest ($FLOODTEST), sets FLOOD;
    # OPENED is what its report says when they are open, if not that none has closed
    local n=$1
    shift
    : > flood.out
    ${CPIN-} "${FLOODTEST-$BIN/floodtest}" --urls urls.txt --json --report "${REPORT-500ms}" "$@" \
        > flood.out 2> flood.err 9>&- &
    FLOOD=$!
    STARTED+=("$FLOOD")
    wait_for "${OPENED-\"connected\":$n,\"closed\":0}" flood.out 1200
}

stop_flood() { kill -INT "$FLOOD"; wait "$FLOOD" || true; }

# -- The neutral programs of reports/measure ---------------------------------------------------

neutral() { make --silent -C "$MEASURE" "$1" >&2; } # PROGRAM: builds it when it has to be

# Source addresses that no run used before: ports in TIME_WAIT would slow the neutral client.
NET=$((RANDOM % 200 + 10))
sources() { # N addresses
    NET=$((NET % 250 + 1))
    local last
    for last in $(seq 2 $(($1 + 1))); do
        printf ' -s 127.%d.%d.%d' $((RANDOM % 250 + 1)) "$NET" "$last"
    done
}

client() { # N FLAGS: opens N connections to PORT with the neutral client, sets CLIENT
    local n=$1
    shift
    neutral client
    : > client.out
    # shellcheck disable=SC2046
    ${CPIN-} "$MEASURE/client" -p "$PORT" -n "$n" -c 100 -q $(sources 3) "$@" >> client.out 9>&- &
    CLIENT=$!
    STARTED+=("$CLIENT")
    wait_for OPENED client.out
}

count_received() { # sets RECEIVED, the messages that the neutral client has counted
    : > client.out
    kill -USR1 "$CLIENT"
    wait_for MARK client.out
    RECEIVED=$(figure msgs client.out)
}

write_loop() { # starts the plain write loop, which takes commands from descriptor 9; sets PORT
    neutral writeloop
    rm -f commands
    mkfifo commands
    : > loop.out
    ${PIN-} "$MEASURE/writeloop" 0 < commands > loop.out &
    STARTED+=($!)
    exec 9> commands
    wait_for READY loop.out
    PORT=$(figure port loop.out)
}

relay() { # starts the relay, sets PORT and CONTROL
    neutral relay
    : > relay.out
    ${PIN-} "$MEASURE/relay" 0 0 > relay.out &
    STARTED+=($!)
    wait_for READY relay.out
    PORT=$(figure public relay.out)
    CONTROL=$(figure control relay.out)
}

publish() { # FLAGS: sends messages to CONTROL until it has; the result is in publisher.out
    neutral publisher
    ${CPIN-} "$MEASURE/publisher" -p "$CONTROL" -P '/send/{id}' "$@" > publisher.out
}
