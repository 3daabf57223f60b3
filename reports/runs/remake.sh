#!/usr/bin/env bash
# Makes the published runs again with the last build, one after the other. It takes three hours.
#
#   remake.sh [NAME...]   names: c10k c1m cluster peers storm llm friends hosts; all by default
#
# A run is in reports/runs/DATE-NAME when it is whole, with a README.md that says how it was made and
# what came of it. Until then it is in DATE-NAME.part: the script goes on
# where it stopped, with the same date, when it is started again. What fell short stays in
# DATE-NAME.short, to be looked at, and is not made again before that is removed. A run that this
# machine refuses is said, and the others are made. When nothing is left the index gets a line for each:
# not before, because what is built from a checkout that differs from its commit says so.
#
#   SMALL=1       each in a form that takes seconds, below target/remake; they publish nothing
#   TO=DIR        where the folders are made; reports/runs
#   DATE=DAY      what their names begin with; the day on which the script was started first
#   RIG=PROGRAM   the rig; without it everything is built for release first
#   HOSTS=FILE    a scenario with a server on another host; without it `hosts` is floodtest over two
#                 hosts that are namespaces of this machine (floodtest/bench/hosts.sh; it needs root)
#
# A million connections need net.core.netdev_max_backlog and the like: `cargo rig c1m --plan` says
# what is missing here, and reports/docs/tuning.md what it is for. Nothing else should run on the
# machine. Every process that is started here is ended here.
set -euo pipefail
[ -z "${HOSTS-}" ] || HOSTS=$(realpath "$HOSTS")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
SMALL=${SMALL-}
TO=${TO:-$([ -n "$SMALL" ] && echo target/remake || echo reports/runs)}
RIG=("${RIG:-cargo}")
[ "${RIG[0]}" != cargo ] || RIG=(cargo run --quiet --release --locked --bin rig --)
# Raw logs of a million connections are made smaller than this, in bytes.
LONGEST_LOG=1000000
ALL="c10k c1m cluster peers storm llm friends hosts"
LEFT=() # what was not made, and why
MADE=() # the names of the folders that are whole

for name in "$@"; do
    [[ " $ALL " == *" $name "* ]] || { echo "remake.sh: there is no $name; there are: $ALL" >&2; exit 2; }
done
command -v jq > /dev/null || { echo "remake.sh: jq is not installed" >&2; exit 2; }
mkdir -p "$TO"
# The date is kept until all is made: a run that goes on after midnight has its old name.
STATE=$([ -n "$SMALL" ] && echo "$TO/.date" || echo target/remake-date)
mkdir -p "$(dirname "$STATE")"
[ -n "${DATE-}" ] || DATE=$(cat "$STATE" 2> /dev/null || date -u +%F)
echo "$DATE" > "$STATE"
# Ctrl-C ends the sending of a run, which then would be a short one that held.
trap 'echo "remake.sh: stopped; start it again to go on" >&2; exit 130' INT TERM

# -- A run -------------------------------------------------------------------------------------

is_made() { # FOLDER: of a run, or of several on one page
    [ -e "$1/summary.json" ] || [ -e "$1/peers.html" ] || [ -e "$1/sweep.html" ]
}

part() { # NAME ARGUMENTS of the rig: makes the run NAME of $WORK; 2 if it could not be made
    local folder=$WORK/$1 code=0
    shift
    if grep -qsF "| [${folder##*/}](" "$WORK/rows.txt"; then return; fi
    # It may have been stopped when the run was there and its row was not.
    if ! is_made "$folder"; then
        # Of several in turn those that are there are kept.
        [ "$1" = peers ] || rm -rf "$folder"
        mkdir -p "$WORK"
        wait_for_quiet
        echo "remake.sh: ${RIG[*]} $*" >&2
        "${RIG[@]}" "$@" --out "$folder" > "$WORK/said.txt" 2> "$WORK/errors.txt" || code=$?
        if [ "$code" -gt 1 ] || ! is_made "$folder"; then
            note_why
            return 2
        fi
    fi
    trim "$folder"
    # Charts are in the page already; `rig report` makes them as files again.
    find "$folder" \( -name '*.svg' -o -name '*.png' \) -delete
    printf '| [%s](%s) | `rig %s` | %s |\n' "${folder##*/}" "${folder##*/}/$(page "$folder")" \
        "${*//|/\\|}" "$(came_of_it "$folder")" >> "$WORK/rows.txt"
    if find "$folder" -name summary.json -exec jq -r .verdict {} + | grep -qvx held; then SHORT=1; fi
}

note_why() { # sets WHY, of what could not be made
    tail -n 2 "$WORK/errors.txt" >&2
    WHY=$(tail -n 1 "$WORK/errors.txt")
}

wait_for_quiet() { # until a run would not find the machine busy by what was there before, for 4 minutes
    local tries=48
    until [ -n "$SMALL" ] || [ $((tries -= 1)) = 0 ] || awk '{ exit !($1 < 0.45) }' /proc/loadavg; do
        sleep 5
    done
}

page() { # FOLDER
    if [ -e "$1/peers.html" ]; then
        echo peers.html
    elif [ -e "$1/sweep.html" ]; then
        echo sweep.html
    else
        echo report.html
    fi
}

trim() { # FOLDER: its logs, if one of them is too long
    [ -n "$(find "$1" -name '*.hlog' -size +${LONGEST_LOG}c -o -name '*.ndjson' -size +${LONGEST_LOG}c)" ] ||
        return 0
    cargo run --quiet --release --locked --package reports --example trim -- "$1" $LONGEST_LOG
    "${RIG[@]}" report "$1" > /dev/null 2>&1 || true
}

came_of_it() { # FOLDER: in a cell of a table
    local verdicts
    if [ -e "$1/summary.json" ]; then
        jq -r '"\(.verdict | sub("_"; " ")): " +
            (if .sent then "\(.sent.answered) messages answered, \(.received.messages) received, "
            else "" end) +
            (if .received.streams then (.received.streams |
                "\(.done) streams done, \(.not_done) not" +
                (.goodput | if . then ", \(.met) of \(.of) as promised (\(.asked))" else "" end))
            else "\(.received.connected) of \(.received.asked) connected, " +
                (if .received.lost == null then "losses not judged" else "\(.received.lost) lost" end)
            end) +
            ([.limits[] | select(.is_limit) | .what] | if . == [] then "" else
            "; limited by " + join(", ") end)' "$1/summary.json"
        return
    fi
    verdicts=$(jq -r .verdict "$1"/*/summary.json | sort | uniq -c | awk '{ $1 = $1; print }')
    echo "of its runs ${verdicts//$'\n'/, }"
}

readme() { # TITLE SHOWS: of $WORK
    local plan host commit machine
    plan=$(find "$WORK" -name plan.toml | sort | sed -n 1p)
    if [ -n "$plan" ]; then
        host=$(dirname "$plan")/host.toml
        value() { sed -n "s/^$1 = //p" "$2" | tr -d '"'; }
        commit=$(value commit "$plan")
        machine="$(value cpu_model "$host"), $(value cpus "$host") cores, $(value kernel "$host")"
    else
        commit=$(git log -1 --format=%h)
        machine="$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) cores, $(uname -sr)"
    fi
    cat <<-TEXT
	# $DATE: $1

	${2^}.

	Made by \`reports/runs/remake.sh\`${SMALL:+ in small}, at ${commit:+commit }${commit:-a commit that is not known}.
	The machine: $machine.
	TEXT
    if [ -e "$WORK/bench.txt" ]; then
        cat <<-TEXT

	Two sets of namespaces of the machine with a real sshd each are the hosts. The output of
	\`floodtest/bench/hosts.sh\`, all of which is in [bench.txt](bench.txt), beside its bars:

	\`\`\`
	$(grep -E ' (ok|MISSED) *$' "$WORK/bench.txt" | awk '!is_said[$0]++')
	\`\`\`

	**Not claimed.** Anything about a real network: the hosts share a kernel and its clock, and two cores.
	TEXT
        return
    fi
    cat <<-TEXT

	| run | command | what came of it |
	|---|---|---|
	$(cat "$WORK/rows.txt")

	What each figure says is in [Reading a report](../../docs/reading-a-report.md); the files are described in
	[FORMAT.md](../../FORMAT.md).

	**Not claimed.** Anything about a real network: servers, clients and senders share one machine, and where
	a run was limited by a tool its delays are not the server's alone.
	TEXT
}

publish() { # NAME TITLE SHOWS FUNCTION: what FUNCTION makes, by calls of `part`
    local folder=$TO/$DATE-$1 code=0
    # One of the same day that somebody made by hand keeps its name.
    if [ -d "$folder" ] && ! is_ours "$folder"; then folder=$folder-again; fi
    if [ -d "$folder" ]; then
        echo "remake.sh: $folder is there" >&2
        MADE+=("${folder##*/}")
        return
    fi
    if [ -d "$folder.short" ]; then
        LEFT+=("$1: fell short; look at $folder.short, and remove it to make it again")
        return
    fi
    WORK=$folder.part SHORT='' WHY=''
    mkdir -p "$WORK"
    [ ! -e "$WORK/short" ] || SHORT=1
    "$4" || code=$?
    # Whatever fell short before it was stopped is known when it goes on.
    [ -z "$SHORT" ] || touch "$WORK/short"
    if [ $code != 0 ]; then
        LEFT+=("$1: could not be made: $WHY")
        return
    fi
    readme "$2" "$3" > "$WORK/README.md"
    rm -f "$WORK"/{rows.txt,said.txt,errors.txt,short}
    if [ -n "$SHORT" ]; then
        mv "$WORK" "$folder.short"
        LEFT+=("$1: fell short; look at $folder.short")
        return
    fi
    mv "$WORK" "$folder"
    MADE+=("${folder##*/}")
    echo "remake.sh: $folder" >&2
}

is_ours() { # FOLDER: whether this script made it
    grep -qs '^Made by `reports/runs/remake.sh`' "$1/README.md"
}

index() { # NAME: a line at the top of the index, if there is one, with what the run's README says
    local index=$TO/README.md row
    if [ ! -e "$index" ] || grep -qF "($1/README.md)" "$index"; then return; fi
    row="| [$1]($1/README.md) | $(sed -n '3s/\.$//p' "$TO/$1/README.md") |"
    awk -v row="$row" '{ print } /^\|---/ && !is_said { print row; is_said = 1 }' "$index" > "$index.new"
    mv "$index.new" "$index"
}

# -- The runs ----------------------------------------------------------------------------------

# What an experiment has for itself, or, in small, one that takes seconds.
or_small() { # "ARGUMENTS" "ARGUMENTS IN SMALL": sets ARGS
    # shellcheck disable=SC2206
    ARGS=(${SMALL:+$2})
    # shellcheck disable=SC2206
    [ -n "$SMALL" ] || ARGS=($1)
}
LITTLE="--connections 100 --messages-per-second 200 --sources 10 --minutes 0.02"
SET_LITTLE="--set connections.count=100 --set messages.rate=200 --set messages.for=1s"

c10k() {
    or_small "--minutes 60" "$LITTLE"
    part hour c10k "${ARGS[@]}"
}

c1m() {
    local transport
    for transport in chunks events ws; do
        or_small "--minutes 5" "$LITTLE"
        part "$transport" c1m --no-cluster --transport "$transport" "${ARGS[@]}" || return
    done
}

cluster() {
    or_small "--minutes 5 --messages-per-second 8000" "$LITTLE"
    part joined c1m "${ARGS[@]}"
}

peers() {
    or_small "--repeats 3 --set messages.for=30s" \
        "reports/rig/scenarios/peers/nchan.toml reports/rig/scenarios/peers/node.toml
        --repeats 1 $SET_LITTLE"
    part all peers "${ARGS[@]}"
}

storm() {
    local times="--storm 1s:50% --kill-at 4s --back-after 1s"
    local little="--connections 100 --rate 500 --messages-per-second 100 --sources 10 --minutes 0.1"
    or_small "" "$little $times"
    part once storm "${ARGS[@]}" || return
    or_small "--sweep backoff=0,1s,5s,30s" "--sweep backoff=0,1s $little $times"
    part windows storm "${ARGS[@]}"
}

llm() {
    or_small "--streams 500 --for 5m" "--streams 20 --for 2s"
    part closed-loop llm "${ARGS[@]}" || return
    or_small "--rate 50 --for 5m" "--rate 5 --for 2s"
    part open-loop llm "${ARGS[@]}"
}

friends() {
    or_small "--connections 19000 --messages-per-second 32000" "--users 1000 $LITTLE"
    part million friends "${ARGS[@]}" || return
    or_small "--users 19000 --connections 19000 --messages-per-second 4600" "--users 100 $LITTLE"
    part all friends "${ARGS[@]}"
}

hosts() {
    if [ -n "${HOSTS-}" ]; then
        or_small "" "$SET_LITTLE"
        part all run "$HOSTS" "${ARGS[@]}"
        return
    fi
    local code=0
    cargo build --quiet --release --locked --workspace --bins
    cargo build --quiet --release --locked --package testing --example with-hosts
    wait_for_quiet
    echo "remake.sh: floodtest/bench/hosts.sh" >&2
    floodtest/bench/hosts.sh > "$WORK/bench.txt" 2> "$WORK/errors.txt" || code=$?
    cat "$WORK/errors.txt" >> "$WORK/bench.txt"
    if [ $code -gt 1 ]; then
        note_why
        return 2
    fi
    if [ $code != 0 ]; then SHORT=1; fi
}

# shellcheck disable=SC2086
for name in ${@:-$ALL}; do
    case $name in
    c10k) publish c10k "C10K for an hour" \
        "the article's experiment for an hour: 10,000 connections, 1,000 messages a second" c10k ;;
    c1m) publish c1m "a million connections, in three transports" \
        "a million chunked responses, event streams and WebSockets at the article's 16,666 messages a second" c1m ;;
    cluster) publish cluster "a million connections, servers joined by a broker" \
        "a million connections to servers joined by a broker, 8,000 messages a second" cluster ;;
    peers) publish peers "servers side by side" \
        "eleven servers with the same load, three runs of each in turn: memory, CPU, delays, losses" peers ;;
    storm) publish storm "a storm, and a server that is killed" \
        "half of 10,000 connections closed at once, the server killed, and how long clients should wait" storm ;;
    llm) publish llm "streams of tokens that end" \
        "five hundred streams at a time, and fifty begun a second: first items, gaps, goodput" llm ;;
    friends) publish friends "friends of a million users" \
        "messages to the followers of random users: of a million, and with all of them logged in" friends ;;
    hosts)
        if [ -n "$SMALL" ] && [ -z "${HOSTS-}" ]; then
            LEFT+=("hosts: in small it needs HOSTS, a scenario")
        else
            publish hosts "several hosts" \
                "connections from two hosts to one server: counts, start skew, clocks, hosts that are lost" \
                hosts
        fi
        ;;
    esac
done

if [ ${#LEFT[@]} -gt 0 ]; then
    printf 'remake.sh: %s\n' "${LEFT[@]}" >&2
    exit 1
fi
for name in "${MADE[@]}"; do index "$name"; done
rm -f "$STATE"
