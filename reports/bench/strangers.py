"""How soon a sender with the token is heard while strangers hold connections to the control port.

Takes the port, the file of the token and the pid of the server.
"""

import re
import resource
import socket
import sys
import time
import urllib.error
import urllib.request

STRANGERS = 4500


def rss_kb(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))


def ask(port, token, path, data=None):
    """The milliseconds until the answer is there, and the answer."""
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    begin = time.monotonic()
    try:
        answer = urllib.request.urlopen(request, timeout=30).read()
    except urllib.error.HTTPError as error:
        answer = error.read()
    return f"{(time.monotonic() - begin) * 1e3:.1f} ms, {answer[:40]}"


def connect(port):
    stranger = socket.socket()
    stranger.setblocking(False)
    try:
        stranger.connect(("127.0.0.1", port))
    except BlockingIOError:
        pass
    return stranger


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, pid = int(sys.argv[1]), sys.argv[3]
    with open(sys.argv[2]) as file:
        token = file.read().strip()
    before = rss_kb(pid)
    strangers = [connect(port) for _ in range(STRANGERS)]
    print("strangers: a message:", ask(port, token, "/send/7", b"hello"))
    print("strangers: /healthz:", ask(port, token, "/healthz"))
    print("strangers: a message again:", ask(port, token, "/send/7", b"hello"))
    print(f"strangers: server {before} KB before {len(strangers)} of them, {rss_kb(pid)} KB then")


main()
