"""A server that is not ours: event streams at /sub/ID, messages at /pub/ID, in Python's own library.

It says on stdout where it listens, and counts what it writes: GET /written. `drop=N` leaves out every
Nth message without telling anybody, `die=N` ends with code 3 after N messages.
"""
import http.server
import itertools
import os
import sys
import threading

options = dict(option.split("=") for option in sys.argv[1:])
drop, die = int(options.get("drop", 0)), int(options.get("die", 0))
lock = threading.Lock()
streams = {}
taken = itertools.count(1)
written = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/written":
            return self.answer(200, str(written).encode())
        if not self.path.startswith("/sub/"):
            return self.answer(404, b"nothing here\n")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.close_connection = True
        with lock:
            self.end_headers()
            streams.setdefault(self.path[5:], []).append(self.wfile)
        self.rfile.read(1)  # Until the client leaves.
        with lock:
            streams[self.path[5:]].remove(self.wfile)

    def do_POST(self):
        global written
        message = self.rfile.read(int(self.headers["Content-Length"]))
        n = next(taken)
        if die and n > die:
            print("out of luck", flush=True)
            os._exit(3)
        with lock:
            for stream in streams.get(self.path[5:], []):
                if not drop or n % drop:
                    stream.write(b"data: " + message + b"\n\n")
                    written += 1
        self.answer(204)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(f"stream.py serves {server.server_port}", flush=True)
server.serve_forever()
