"""Event streams by sse-starlette, served by uvicorn: GET /test/{id}, POST /send/{id}, GET /count."""

import asyncio
import socket
from collections import defaultdict

import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from counted import counts, decide

# Seconds between two pings: short, so that comments come in the middle of messages.
PING_S = 1

followers = defaultdict(set)


async def follow(request):
    """An event for each message."""
    id = request.path_params["id"]
    queue = asyncio.Queue()
    followers[id].add(queue)

    async def events():
        n = 0
        try:
            while True:
                n += 1
                yield {"event": "message", "id": str(n), "data": await queue.get()}
        finally:
            followers[id].discard(queue)

    return EventSourceResponse(events(), ping=PING_S)


async def send(request):
    """Gives a message to all who follow the id."""
    id = request.path_params["id"]
    message = (await request.body()).decode()
    fate = decide(id)
    if fate == "refused":
        return JSONResponse({"error": "try again"}, status_code=503)
    if fate == "taken":
        for queue in followers[id]:
            queue.put_nowait(message)
            counts["delivered"] += 1
    return JSONResponse({"connections": len(followers[id])})


async def count(_request):
    """What was done."""
    return JSONResponse(counts)


app = Starlette(
    routes=[
        Route("/test/{id}", follow),
        Route("/send/{id}", send, methods=["POST"]),
        Route("/count", count),
    ]
)

if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
