"""A mock of a language model's API: POST with a bearer token, answered by a stream of events that
ends with `data: [DONE]` and the close of the connection.

TOKENS is the file of the tokens that are known, one a line. Each answer has PIECES pieces. GET
/count says what was asked and sent.
"""

import asyncio
import json
import os
from collections import Counter

PIECES = int(os.environ.get("PIECES", "8"))

with open(os.environ["TOKENS"], encoding="ascii") as file:
    TOKENS = set(file.read().split())

counts = {"answered": 0, "unauthorized": 0, "bad": 0, "events": 0, "tokens": 0}
prompts = Counter()


async def read_request(reader):
    """The request line, the fields and the body of a request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *lines = head.rstrip("\r\n").split("\r\n")
    fields = {name.lower(): value.strip() for name, value in (it.split(":", 1) for it in lines)}
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    return request_line, fields, body


def whole(status, value):
    """An answer with a length."""
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


async def generate(writer):
    """The answer of the model, a piece at a time."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    for k in range(PIECES):
        piece = {"choices": [{"index": 0, "delta": {"content": f"word {k} "}}]}
        writer.write(f"data: {json.dumps(piece)}\n\n".encode())
        counts["events"] += 1
        await writer.drain()
        await asyncio.sleep(0.002)
    writer.write(b"data: [DONE]\n\n")
    counts["events"] += 1
    await writer.drain()


async def serve(reader, writer):
    """One connection, one request."""
    try:
        request_line, fields, body = await read_request(reader)
        if request_line.startswith("GET /count "):
            counts["tokens"] = len(prompts)
            writer.write(whole("200 OK", counts))
            return
        token = fields.get("authorization", "").removeprefix("Bearer ")
        if not request_line.startswith("POST /v1/chat/completions ") or token not in TOKENS:
            counts["unauthorized"] += 1
            writer.write(whole("401 Unauthorized", {"error": {"message": "no such key"}}))
            return
        try:
            request = json.loads(body)
            is_good = request["stream"] is True and request["messages"]
        except (ValueError, KeyError):
            is_good = False
        if not is_good:
            counts["bad"] += 1
            writer.write(whole("400 Bad Request", {"error": {"message": "not a request"}}))
            return
        prompts[token] += 1
        counts["answered"] += 1
        await generate(writer)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    """Listens on a free port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
