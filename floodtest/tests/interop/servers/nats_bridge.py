"""nats-server with its WebSocket port; POST /send/{id} is published to the subject test.{id}.

GET /count has what nats-server itself has counted: `delivered` are messages to its WebSockets.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONFIGURATION = """
listen: "127.0.0.1:-1"
http: "127.0.0.1:-1"
ping_interval: "300ms"
ping_max: 5
websocket { listen: "127.0.0.1:-1", no_tls: true, compression: true }
"""


def start(folder):
    """Starts nats-server; the process, and its ports by their names."""
    path = os.path.join(folder, "nats.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(CONFIGURATION)
    program = os.path.join(os.path.dirname(sys.executable), "nats-server")
    arguments = [program, "-c", path, "--ports_file_dir", folder]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ports = os.path.join(folder, f"nats-server_{process.pid}.ports")
    while not (os.path.exists(ports) and os.path.getsize(ports)):
        time.sleep(0.02)
    with open(ports, encoding="utf-8") as file:
        return process, {name: urls[0] for name, urls in json.load(file).items() if urls}


class Publisher:
    """A connection that publishes."""

    def __init__(self, url):
        host, port = url.removeprefix("nats://").split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.lines = self.socket.makefile("rb")
        self.lock = threading.Lock()
        self.lines.readline()
        self.answers = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.socket.sendall(b'CONNECT {"verbose":true}\r\n')
        self.answers.get()

    def read(self):
        """Reads answers; pings are answered at once."""
        while line := self.lines.readline().strip():
            if line == b"PING":
                self.socket.sendall(b"PONG\r\n")
            else:
                self.answers.put(line)
        self.answers.put(b"closed")

    def publish(self, subject, message):
        """Publishes, and waits until the server has taken it."""
        with self.lock:
            self.socket.sendall(b"PUB %s %d\r\n%s\r\n" % (subject, len(message), message))
            return self.answers.get() == b"+OK"


def main():
    """Serves until it is ended."""
    with tempfile.TemporaryDirectory() as folder:
        process, urls = start(folder)
        publisher = Publisher(urls["nats"])

        def varz():
            """What nats-server says of itself."""
            with urllib.request.urlopen(urls["monitoring"] + "/varz") as answer:
                return json.load(answer)

        # It has some of its own.
        n_own = varz()["subscriptions"]

        class Handler(BaseHTTPRequestHandler):
            """Takes messages and says what was counted."""

            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                """Says nothing."""

            def say(self, status, value):
                """Answers with JSON."""
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                """Publishes a message."""
                message = self.rfile.read(int(self.headers["Content-Length"]))
                subject = b"test." + self.path.split("/")[2].encode()
                self.say(200 if publisher.publish(subject, message) else 503, {})

            def do_GET(self):
                """Says what nats-server has counted."""
                counted = varz()
                followers = counted["subscriptions"] - n_own
                self.say(200, {"delivered": counted["out_msgs"], "followers": followers})

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        print("websockets on " + urls["websocket"], flush=True)
        print(f"listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # The test ends it by closing its stdin, or by a signal, which ends the child as well.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        try:
            sys.stdin.read()
        finally:
            process.terminate()
            process.wait()


main()
