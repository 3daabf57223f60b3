"""A server of event streams that cuts each message in two: first halves of all, then second halves.

Takes the number of connections, prints its port, and `end` when all has been sent.
"""

import resource
import socket
import sys
import time

MESSAGES = 5
PAUSE_S = 2  # long enough to look at the memory of who reads

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    print(f"port={listener.getsockname()[1]}", flush=True)
    connections = []
    while len(connections) < int(sys.argv[1]):
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(HEAD)
        connections.append(connection)
    time.sleep(PAUSE_S)
    for number in range(1, MESSAGES + 1):
        for k, connection in enumerate(connections, 1):
            # The stamp that msggen writes, up to the middle of its check.
            micros = int(time.time() * 1e6)
            connection.sendall(b"data: hello @%d~45#%d:%d.0bad" % (micros, k, number))
        time.sleep(PAUSE_S)
        for connection in connections:
            connection.sendall(b"cafe;\n\n")
        time.sleep(PAUSE_S)
    print("end", flush=True)
    time.sleep(600)


main()
