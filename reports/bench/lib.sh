# What the scripts share that measure the programs against their bars. A script sources it first: it
# then is in an empty folder of its own, which goes when it ends, as does every process that it noted
# in STARTED. BIN is where the release builds are; MISSED is 1 when a bar was missed.
set -euo pipefail
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BIN=$(cd "${BIN:-${CARGO_TARGET_DIR:-$TOP/target}/release}" && pwd)
WORK=$(mktemp -d)
cd "$WORK"
STARTED=()
MISSED=0
trap 'end_all; rm -rf "$WORK"' EXIT

end_all() { # the last one first: a client of a server that is gone would complain
    local pid
    for pid in $(printf '%s\n' "${STARTED[@]}" | tac); do
        kill -CONT "$pid" 2>/dev/null || true
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    STARTED=()
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

calc() { awk "BEGIN { printf \"%.3f\", $1 }"; }
median() { sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }
rss() { awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"; }
high() { awk '/^VmHWM:/ { print $2 }' "/proc/$1/status"; }
pss() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; }
ticks() { awk '{ sum += $14 + $15 } END { print sum }' $(printf '/proc/%s/stat ' "$@"); }
field() { # NAME FILE: of the last report; a nested one is written delivery_from_due.p99_us
    tail -1 "$2" | python3 -c 'import functools, json, sys
report = json.load(sys.stdin)
print(functools.reduce(lambda value, key: value.get(key, 0), sys.argv[1].split("."), report))' "$1"
}

server() { # NAME FLAGS: starts a server, sets SERVER, PORT and DOOR
    local name=$1
    shift
    : > "$name.out" # or what the last one said would be taken for it
    ${PIN-} "$BIN/comet-server" --listen 127.0.0.1:0 --control 127.0.0.1:0 "$@" \
        > "$name.out" 2> "$name.err" &
    SERVER=$!
    STARTED+=("$SERVER")
    wait_for 'control on' "$name.out"
    PORT=$(sed -n 's#listening on http://127.0.0.1:\([0-9]*\)/.*#\1#p' "$name.out")
    DOOR=$(sed -n 's#control on http://127.0.0.1:##p' "$name.out")
}
