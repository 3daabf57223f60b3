"""A neutral receiver: follows ids, keeps every byte of the answers, and counts stamps at the end.

It shares no code with floodtest: Python's http.client reads the framing, and the stamps are looked
for in whole bodies, so that no border can matter.

    receiver.py [--ca FILE] [--header 'Name: value']… COUNT PATTERN

follows ids 1 to COUNT at PATTERN, where {id} stands for the id. It prints `ready` when every
request was written, `heads` when every head has come, and at the end of its stdin a line of JSON.
"""

import argparse
import http.client
import json
import re
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

STAMP = re.compile(rb"@(\d+)~(\d+)#(\d+):(\d+)\.([0-9a-f]{8});")

# Seconds without a byte on any connection after which nothing more is expected.
QUIET_S = 0.5


class Follower:
    """One connection, read by a thread of its own."""

    def __init__(self, url, headers, context):
        parts = urlsplit(url)
        if parts.scheme == "https":
            self.http = http.client.HTTPSConnection(parts.netloc, context=context)
        else:
            self.http = http.client.HTTPConnection(parts.netloc)
        self.http.connect()
        # The response takes the socket over, so it is remembered for the end.
        self.socket = self.http.sock
        path = parts.path + ("?" + parts.query if parts.query else "")
        self.http.request("GET", path, headers=headers)
        self.pieces = []
        self.has_head = threading.Event()
        self.status = None
        self.last_at = time.monotonic()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        """Reads until the end, whoever makes it."""
        try:
            response = self.http.getresponse()
            self.status = response.status
            self.has_head.set()
            while piece := response.read1(65_536):
                self.pieces.append(piece)
                self.last_at = time.monotonic()
        except (OSError, http.client.HTTPException, ValueError):
            pass

    def end(self):
        """Ends the connection."""
        try:
            self.socket.shutdown(2)
        except OSError:
            pass
        self.thread.join(10)


def count(followers):
    """What came, by the stamps."""
    total = {"messages": 0, "duplicated": 0, "reordered": 0, "heard": 0, "bytes": 0, "events": 0}
    total["comments"] = 0
    for follower in followers:
        body = b"".join(follower.pieces)
        seen, highest = set(), {}
        for stamp in STAMP.finditer(body):
            n, known_by = int(stamp[4]), (stamp[3], stamp[5])
            if (known_by, n) in seen:
                total["duplicated"] += 1
                continue
            seen.add((known_by, n))
            if n < highest.get(known_by, 0):
                total["reordered"] += 1
            highest[known_by] = max(n, highest.get(known_by, 0))
        total["messages"] += len(seen)
        total["heard"] += bool(seen)
        total["bytes"] += len(body)
        text = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # What follows the last empty line is no event yet.
        for event in text.split(b"\n\n")[:-1]:
            lines = event.split(b"\n")
            total["events"] += any(line.startswith(b"data") for line in lines)
        total["comments"] += sum(line.startswith(b":") for line in text.split(b"\n"))
    return total


def main():
    """Follows, waits, counts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ca")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("count", type=int)
    parser.add_argument("pattern")
    args = parser.parse_args()
    headers = dict(header.split(": ", 1) for header in args.header)
    context = ssl.create_default_context(cafile=args.ca) if args.ca else None
    ids = range(1, args.count + 1)
    followers = [Follower(args.pattern.replace("{id}", str(id)), headers, context) for id in ids]
    print("ready", flush=True)

    def say_heads():
        for follower in followers:
            follower.has_head.wait()
        print("heads", flush=True)

    threading.Thread(target=say_heads, daemon=True).start()
    sys.stdin.read()
    while time.monotonic() < max(follower.last_at for follower in followers) + QUIET_S:
        time.sleep(0.05)
    for follower in followers:
        follower.end()
    statuses = [follower.status for follower in followers]
    print(json.dumps({"established": statuses.count(200), **count(followers)}), flush=True)


main()
