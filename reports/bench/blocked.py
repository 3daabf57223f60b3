"""What a terminal that does not read for 9 s does to floodtest's latency figures and to Ctrl-C.

Takes the folder of the build, the port and the control port of a server, and how many turns.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

CONNECTIONS = 10_000
BLOCKED_S = 9


def full_pipe():
    """Both ends of a pipe that takes no byte."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    try:
        while True:
            os.write(writes, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writes, True)
    return reads, writes


def turn(build, port, control, is_blocked):
    """p50 and p99 of delivery_from_due in µs, and the seconds from Ctrl-C to the end."""
    with tempfile.TemporaryDirectory() as folder:
        pattern = f"http://127.0.0.1:{port}/test/{{id}}"
        urls = subprocess.run(
            [f"{build}/floodtest", "urls", "--count", str(CONNECTIONS), "--pattern", pattern],
            check=True, capture_output=True).stdout
        with open(f"{folder}/urls.txt", "wb") as file:
            file.write(urls)
        reads, writes = full_pipe() if is_blocked else (None, os.open(os.devnull, os.O_WRONLY))
        flood = subprocess.Popen(
            [f"{build}/floodtest", "--urls", f"{folder}/urls.txt", "--rate", "max", "--json",
             "--report", "100ms", "--log-interval", "100ms", "--out", f"{folder}/out"],
            stdout=writes, stderr=subprocess.DEVNULL)
        os.close(writes)

        def last():
            try:
                with open(f"{folder}/out/floodtest.ndjson") as log:
                    return json.loads(log.read().splitlines()[-1])
            except (OSError, IndexError, ValueError):
                return {}

        until = time.monotonic() + 60
        while last().get("connected") != CONNECTIONS:
            assert time.monotonic() < until, "floodtest does not open its connections"
            time.sleep(0.05)
        subprocess.run(
            [f"{build}/msggen", "--num", str(BLOCKED_S * 10), "--interval", "100",
             "--max", str(CONNECTIONS), "--sources", "100", "--stamp", "--allow-late",
             "--server", f"http://127.0.0.1:{control}"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begin = time.monotonic()
        flood.send_signal(signal.SIGINT)
        flood.wait(timeout=60)
        took = time.monotonic() - begin
        if reads is not None:
            os.close(reads)
        final = last()
        assert final["is_final"] and final["messages"] == BLOCKED_S * 1000, final
        delay = final["delivery_from_due"]
        return delay["p50_us"], delay["p99_us"], took


def main():
    build, port, control, n_turns = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    turns = {"free": [], "blocked": []}
    for _ in range(n_turns):
        for name, found in turns.items():
            found.append(turn(build, port, control, name == "blocked"))
    medians = {}
    for name, found in turns.items():
        medians[name] = [statistics.median(column) for column in zip(*found)]
        print(f"blocked: output {name}: p50, p99 in µs, s to end:", *found)
    ratios = [medians["blocked"][k] / medians["free"][k] for k in (0, 1)]
    print(f"blocked: medians {medians}; p50 {ratios[0]:.2f} x, p99 {ratios[1]:.2f} x")


main()
