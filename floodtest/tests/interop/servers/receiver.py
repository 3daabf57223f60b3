"""A neutral receiver: follows ids, keeps every byte of the answers, and counts stamps at the end.

It shares no code with floodtest: Python's http.client reads the framing, or the library websockets
that of ws:// and wss:// URLs, and the stamps are looked for in whole bodies, so that no border can
matter.

    receiver.py [--ca FILE] [--header 'Name: value']… COUNT PATTERN

follows ids 1 to COUNT at PATTERN, where {id} stands for the id; what follows a tab is the field that
{1} stands for. --protocol, --on-open, --answer and --binary are for WebSockets, as in floodtest. It
prints `ready` when every request was written, `heads` when every head has come, and at the end of its
stdin a line of JSON.
"""

import argparse
import codecs
import contextlib
import http.client
import json
import re
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

import websockets.exceptions
import websockets.sync.client

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


class SocketFollower(Follower):
    """One WebSocket, read by a thread of its own."""

    def __init__(self, place, line, args, context):
        url, *fields = line.split("\t")
        self.fills = {"{1}": fields[0] if fields else "", "{place}": str(place)}
        connect = websockets.sync.client.connect
        context = context if url.startswith("wss:") else None
        self.stack = contextlib.ExitStack()
        self.ws = self.stack.enter_context(
            connect(
                url,
                ssl=context,
                subprotocols=args.protocol or None,
                compression=None,
                max_size=None,
                proxy=None,
            )
        )
        self.socket = self.ws.socket
        self.answers = [answer.split("=>", 1) for answer in args.answer]
        self.is_binary = args.binary
        self.status = 101
        self.has_head = threading.Event()
        self.has_head.set()
        self.pieces = []
        self.last_at = time.monotonic()
        for text in args.on_open:
            self.say(text)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def say(self, text):
        """Sends a text, filled in. Its escapes are those of floodtest, which are Python's as well."""
        text = re.sub(r"\{1\}|\{place\}", lambda match: self.fills[match[0]], text)
        self.ws.send(codecs.escape_decode(text)[0], text=not self.is_binary)

    def read(self):
        """Reads until the end, whoever makes it."""
        try:
            while True:
                message = self.ws.recv(decode=False)
                for prefix, text in self.answers:
                    if message.startswith(prefix.encode()):
                        self.say(text)
                        break
                else:
                    self.last_at = time.monotonic()
                self.pieces.append(bytes(message))
        except (OSError, websockets.exceptions.ConnectionClosed):
            pass


def count(followers):
    """What came, by the stamps."""
    total = {"messages": 0, "duplicated": 0, "reordered": 0, "heard": 0, "bytes": 0, "events": 0}
    total["comments"] = 0
    for follower in followers:
        is_socket = isinstance(follower, SocketFollower)
        # No stamp reaches over the border of a message.
        body = (b"\0" if is_socket else b"").join(follower.pieces)
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
        if is_socket:
            total["events"] += len(follower.pieces)
            continue
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
    parser.add_argument("--protocol", action="append", default=[])
    parser.add_argument("--on-open", action="append", default=[])
    parser.add_argument("--answer", action="append", default=[])
    parser.add_argument("--binary", action="store_true")
    parser.add_argument("count", type=int)
    parser.add_argument("pattern")
    args = parser.parse_args()
    headers = dict(header.split(": ", 1) for header in args.header)
    context = ssl.create_default_context(cafile=args.ca) if args.ca else None
    urls = [args.pattern.replace("{id}", str(id)) for id in range(1, args.count + 1)]
    if args.pattern.startswith("ws"):
        followers = [SocketFollower(place, url, args, context) for place, url in enumerate(urls)]
    else:
        followers = [Follower(url, headers, context) for url in urls]
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
    print(json.dumps({"established": len([it for it in statuses if it in (101, 200)]), **count(followers)}), flush=True)


main()
