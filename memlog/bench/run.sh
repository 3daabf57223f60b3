#!/usr/bin/env bash
# Measures memlog against its bars, and prints each figure with its bar.
#
#   run.sh [STEP...]   steps: one many draw, which are the default, and flat, which takes long
#
# N_ONE, N_MANY and MINUTES (of `flat`, 20) make a trial smaller. Needs release builds of
# comet-server, floodtest and memlog, netstat (Debian net-tools) and ss. Nothing else should run on
# the machine. Every process that is started here is ended here.
. "$(dirname "$0")/../../reports/bench/lib.sh"
N_ONE=${N_ONE:-19000}
N_MANY=${N_MANY:-100000}
MINUTES=${MINUTES:-20}

# Servers of at most 16,700 connections, each on an address of its own, and a floodtest for each:
# a process may open 20,000 files. Sets SERVERS, their pids with commas.
connect() { # N
    local n_left=$1 at=0 n
    SERVERS=
    while [ "$n_left" -gt 0 ]; do
        at=$((at + 1))
        n=$((n_left < ${MOST:-16700} ? n_left : ${MOST:-16700}))
        n_left=$((n_left - n))
        "$BIN/comet-server" --listen "127.0.1.$at:8000" --control 127.0.0.1:0 > "server.$at" &
        STARTED+=($!)
        SERVERS=${SERVERS:+$SERVERS,}$!
        wait_for 'control on' "server.$at"
        "$BIN/floodtest" urls --count "$n" --pattern "http://127.0.1.$at:8000/test/{id}" \
            --out "urls.$at"
        "$BIN/floodtest" --urls "urls.$at" --rate max --json --report 500ms \
            --source-ip "127.0.2.$at" > "flood.$at" 2> "flood.err.$at" &
        STARTED+=($!)
        wait_for "\"connected\":$n,\"closed\":0" "flood.$at"
    done
}

# User and system time of a command, in ms.
cpu_ms() { # COMMAND...
    local TIMEFORMAT='%U %S'
    { time "$@" > /dev/null 2> said; } 2>&1 | awk '{ printf "%.0f\n", ($1 + $2) * 1000 }'
}

# CPU time of one sample, in ms: of 20 samples in 10 s, without what starting costs.
sample_ms() { # FLAGS
    local flags=(--quiet --log sample.log --pid "$SERVERS" "$@")
    rm -f sample.log
    local first all
    first=$(cpu_ms "$BIN/memlog" "${flags[@]}" --for 500ms --interval 1s)
    all=$(cpu_ms "$BIN/memlog" "${flags[@]}" --for 10s --interval 500ms)
    awk -v all="$all" -v first="$first" 'BEGIN { printf "%.1f\n", (all - first) / 20 }'
}

# One sample of a server with 19,000 connections; RSS of a memlog that draws a chart too.
step_one() {
    MOST=$N_ONE connect "$N_ONE"
    for _ in 1 2 3; do sample_ms | tee -a one.ms; done
    "$BIN/memlog" --quiet --pid "$SERVERS" --interval 1s --plot one.png --log one.log 2> said &
    local memlog=$!
    STARTED+=($memlog)
    sleep 20
    echo "one: $(tail -1 one.log | cut -f4) connections:" \
        "a sample takes $(median < one.ms) ms of CPU (bar: 40);" \
        "own RSS with a chart $(high $memlog) KB at most (bar: 20480)"
    end_all
}

# One sample with 200,000 sockets on the machine, beside netstat and ss.
step_many() {
    connect "$N_MANY"
    for _ in 1 2 3; do
        sample_ms >> many.ms
        sample_ms --port 8000 >> port.ms
        cpu_ms netstat -tan >> netstat.ms
        cpu_ms ss -tan >> ss.ms
        cpu_ms ss -Htan state established '( sport = :8000 )' >> filter.ms
    done
    local sockets ms netstat
    sockets=$(awk '/^TCP:/ { print $3 }' /proc/net/sockstat)
    ms=$(median < many.ms)
    netstat=$(median < netstat.ms)
    echo "many: $sockets sockets, $(tail -1 sample.log | cut -f4) connections:" \
        "a sample takes $ms ms of CPU (bar: 250)," \
        "$(calc "$ms / $netstat") of netstat's $netstat ms (bar: 0.5);" \
        "with --port $(median < port.ms) ms;" \
        "ss -tan $(median < ss.ms) ms, ss with the port $(median < filter.ms) ms"
    end_all
}

# memlog's own RSS and descriptors at its shortest interval, as other memlogs see them. One that
# draws fills its history in the first seven minutes, and merges it then.
step_flat() {
    MOST=$N_ONE connect 1000
    local name pids=()
    for name in plain chart; do
        local flags=(--quiet --pid "$SERVERS" --interval 100ms --log "flat.$name")
        if [ $name = chart ]; then flags+=(--plot flat.png); fi
        "$BIN/memlog" "${flags[@]}" 2> said &
        pids+=($!)
        STARTED+=($!)
    done
    sleep 20
    local watch=("$BIN/memlog" --quiet --interval 1s --for "${MINUTES}m")
    "${watch[@]}" --pid "${pids[0]}" --log own.plain 2> said &
    STARTED+=($!)
    "${watch[@]}" --pid "${pids[1]}" --log own.chart 2> said
    for name in plain chart; do
        awk -F '\t' -v name=$name '
            { fds = $0; sub(/.*fds=/, "", fds); sub(/\t.*/, "", fds); fds += 0
              t[NR] = $2; rss[NR] = $3
              if (NR == 1 || fds < low) low = fds
              if (NR == 1 || fds > high) high = fds
              if (rss[NR] > most) most = rss[NR] }
            END { for (i = int(NR / 2); i <= NR; i++) {
                      n++; x = (t[i] - t[1]) / 60
                      sx += x; sy += rss[i]; sxx += x * x; sxy += x * rss[i]
                  }
                  slope = (n * sxy - sx * sy) / (n * sxx - sx * sx)
                  printf "flat: %s, %d s at 100 ms: RSS %d KB at first, %d at most, %d at last,",
                      name, NR, rss[1], most, rss[NR]
                  printf " slope of the last half %.2f KB/min (bar: 1);", slope
                  printf " %d to %d descriptors (bar: the same)\n", low, high }
        ' own.$name
    done
    end_all
}

# A day of seconds, drawn.
step_draw() {
    awk 'BEGIN { for (i = 0; i < 86400; i++) {
        printf "Sun Nov 22 16:00:00 UTC 2026\t%d\t%d\t%d\tv=1\tms=%d\t", 1795363200 + i,
            4000 + (i % 977) * (i % 3 + 1), (i < 400 ? i * 25 : 10000), i % 7
        printf "anon_kb=%d\tkernel_tcp_kb=4000\tslab_kb=50000\tthreads=2\tcpu_ms=%d\tfds=10020\n",
            2000 + i % 977, i * 40
    } }' > day.log
    local begun
    for _ in 1 2 3; do
        begun=${EPOCHREALTIME/./}
        "$BIN/memlog" plot day.log --out day.png --size 1600x900
        echo $(((${EPOCHREALTIME/./} - begun) / 1000)) >> draw.ms
    done
    echo "draw: a day of seconds, $(wc -l < day.log) lines, in $(median < draw.ms) ms (bar: 2000)"
}

[ $# -gt 0 ] || set -- one many draw
run_steps "one many flat draw" "$@"
