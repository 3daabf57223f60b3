#!/usr/bin/env bash
# Makes the pictures of the documents again, in reports/docs/pictures: those of storms.md and
# language-models.md by running each shape in small and copying the charts of the runs; those of
# README.md by the article's experiment, its report in a browser (chromium) and what it says on a
# terminal. Without arguments the programs are built for release; otherwise it takes the rig that is
# named. It takes seven minutes. ONLY=readme makes README's alone, and RUN=FOLDER makes them of a run that there is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
RIG=("$@")
[ $# -gt 0 ] || RIG=(cargo run --quiet --release --locked --bin rig --)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
PICTURES=reports/docs/pictures
mkdir -p "$PICTURES"

run() { # NAME CHART ARGUMENTS of the rig: its chart becomes NAME.svg. A run that fell short has one too
    "${RIG[@]}" "${@:3}" --out "$WORK/$1" > "$WORK/out" 2>&1 || tail -n 5 "$WORK/out" >&2
    cp "$WORK/$1/$2" "$PICTURES/$1.svg"
    echo "$1: $(grep -h '^verdict\|All held\|held$' "$WORK/out" | head -n 1)"
}

terminal() { # NAME COMMAND: NAME.svg is a terminal with the command and what it said, from stdin
    awk -v command="$2" '
        function line(text, colour) {
            gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text)
            n += 1
            body = body sprintf("<text x=\"16\" y=\"%d\" fill=\"%s\">%s</text>\n", 12 + 18 * n, colour, text)
        }
        BEGIN { line("$ " command, "#8fd18f") }
        { if (length($0) > columns) columns = length($0); line($0, "#e6e6e6") }
        END {
            width = 32 + 8 * columns; height = 30 + 18 * n
            printf "<svg xmlns=\"http://www.w3.org/2000/svg\" xml:space=\"preserve\" viewBox=\"0 0 %d %d\"", width, height
            print " font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"13\">"
            print "<style>text { white-space: pre }</style>"
            printf "<rect width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#1d1f21\"/>\n", width, height
            print body "</svg>"
        }' > "$PICTURES/$1.svg"
}

top_of() { # PNG ROWS: cuts off what is below: chromium leaves blank what its window bar would take
    python3 - "$1" "$2" <<'CUT'
import struct, sys, zlib
path, rows = sys.argv[1], int(sys.argv[2])
data = open(path, "rb").read()
at, head, packed = 8, b"", b""
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at:at + 8])
    body = data[at + 8:at + 8 + length]
    head = body if kind == b"IHDR" else head
    packed += body if kind == b"IDAT" else b""
    at += 12 + length
width, _, depth, colours = struct.unpack(">IIBB", head[:10])
row = 1 + (width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours] + 7) // 8
assert colours != 3, "a palette would be a chunk of its own"
chunks = [(b"IHDR", struct.pack(">II", width, rows) + head[8:]),
          (b"IDAT", zlib.compress(zlib.decompress(packed)[:row * rows], 9)), (b"IEND", b"")]
with open(path, "wb") as out:
    out.write(data[:8])
    for kind, body in chunks:
        sum_ = zlib.crc32(kind + body)
        out.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", sum_))
CUT
}

readme() { # the pictures of README.md
    local run=${RUN:-$WORK/c10k}
    if [ -n "${RUN:-}" ]; then
        "${RIG[@]}" report "$run" > "$WORK/said" 2> "$WORK/progress"
    else
        "${RIG[@]}" c10k --out "$run" > "$WORK/said" 2> "$WORK/progress" || cat "$WORK/progress" >&2
    fi
    terminal terminal 'cargo rig c10k' < "$WORK/said"
    chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
        --hide-scrollbars --user-data-dir="$WORK/browser" --window-size=1280,1100 \
        --screenshot="$PWD/$PICTURES/report.png" "file://$(realpath "$run")/report.html" \
        2> "$WORK/browsing" || cat "$WORK/browsing" >&2
    top_of "$PICTURES/report.png" 960
    echo "readme: $(grep '^verdict' "$WORK/said")"
}

readme
[ "${ONLY:-}" != readme ] || exit 0

SMALL=(--connections 500 --rate 500 --messages-per-second 500 --sources 20 --minutes 0.4)
TIMES=(--storm 5s:50% --kill-at 12s --back-after 3s)
run storm open.svg storm "${SMALL[@]}" "${TIMES[@]}"
run windows sweep.svg storm --sweep backoff=0,1s,3s "${SMALL[@]}" "${TIMES[@]}"
IN_SMALL=(--set connections.count=500 --set messages.rate=500 --set messages.sources=20
    --set messages.for=20s)
run churn open.svg run c10k "${IN_SMALL[@]}" --set connections.rate=500 \
    --set connections.lifetime=exp:5s --set connections.reopen=at-once --set expect.lost=0
run ramp traffic.svg run c10k "${IN_SMALL[@]}" --set connections.rate=ramp:10..100/10s \
    --set expect.lost=0
run slow delivery.svg run c10k "${IN_SMALL[@]}" --set connections.rate=500 \
    --set connections.slow=5%:0 --set expect.lost=0
run closed-loop streams.svg llm --streams 200 --for 15s
run open-loop streams.svg llm --rate 20 --for 15s
