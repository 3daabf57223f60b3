"""Event streams by sse-starlette, served by uvicorn: python sse_starlette_app.py PORT

GET /test/ID is an endless stream, POST /send/ID sends the body to all who follow the id. One task and
one queue for each client, as sse-starlette's own examples have it.
"""

import asyncio
import logging
import sys
from collections import defaultdict

import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

BACKLOG = 4096
# The connections of senders stay open; uvicorn closes them after 5 s without a request.
KEEP_ALIVE_S = 3600
# Open streams are cut at the end, since they have none of their own.
GRACE_S = 1

followers = defaultdict(set)


async def follow(request):
    """An event for each message."""
    id = request.path_params["id"]
    queue = asyncio.Queue()
    followers[id].add(queue)

    async def events():
        try:
            while True:
                yield {"data": await queue.get()}
        finally:
            followers[id].discard(queue)
            if not followers[id]:
                del followers[id]

    return EventSourceResponse(events())


async def send(request):
    """Gives a message to all who follow the id."""
    message = (await request.body()).decode()
    queues = followers.get(request.path_params["id"], ())
    for queue in queues:
        queue.put_nowait(message)
    return JSONResponse({"connections": len(queues)})


async def root(_request):
    """Says that the server is ready."""
    return PlainTextResponse("GET /test/ID, POST /send/ID\n")


app = Starlette(
    routes=[
        Route("/", root),
        Route("/test/{id}", follow),
        Route("/send/{id}", send, methods=["POST"]),
    ]
)


def is_worth_a_line(record):
    """Streams that are cut at the end are what was asked for: not a line for each."""
    return "returned without completing response" not in record.getMessage()


if __name__ == "__main__":
    logging.getLogger("uvicorn.error").addFilter(is_worth_a_line)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
