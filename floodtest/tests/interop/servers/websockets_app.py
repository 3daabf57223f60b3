"""WebSockets by the library websockets: /test/{id}; by uvicorn POST /send/{id}, GET /count."""

import asyncio
import socket
from collections import defaultdict

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from counted import counts, decide

# Seconds between two pings: short, so that they come in the middle of messages.
PING_S = 0.2

followers = defaultdict(set)


async def follow(connection):
    """Keeps a connection until it closes."""
    of = followers[connection.request.path.split("/")[2]]
    of.add(connection)
    try:
        await connection.wait_closed()
    finally:
        of.discard(connection)


async def send(request):
    """Gives a message to all who follow the id: in two fragments."""
    id = request.path_params["id"]
    message = (await request.body()).decode()
    fate = decide(id)
    if fate == "refused":
        return JSONResponse({"error": "try again"}, status_code=503)
    if fate == "taken":
        for connection in list(followers[id]):
            try:
                await connection.send([message[:10], message[10:]])
                counts["delivered"] += 1
            except ConnectionClosed:
                pass
    return JSONResponse({"connections": len(followers[id])})


async def count(_request):
    """What was done."""
    return JSONResponse(counts)


app = Starlette(routes=[Route("/send/{id}", send, methods=["POST"]), Route("/count", count)])


async def main():
    """Serves both."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    async with serve(follow, "127.0.0.1", 0, ping_interval=PING_S, ping_timeout=2) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"websockets on ws://127.0.0.1:{port}", flush=True)
        print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main())
