"""WebSockets by Python's websockets: every message is answered {"ok":true}. When the last client has
closed, it says how many messages came, and with which codes the clients closed.
"""

import asyncio

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

clients = set()
codes = set()
messages = 0


async def follow(socket):
    """One client."""
    global messages
    clients.add(socket)
    async for _ in socket:
        messages += 1
        try:
            await socket.send('{"ok":true}')
        except ConnectionClosed:
            pass
    clients.discard(socket)
    codes.add(socket.close_code)
    if not clients:
        print(messages, ",".join(map(str, codes)), flush=True)


async def main():
    """Serves until it is killed."""
    async with serve(follow, "127.0.0.1", 0, ping_interval=0.05) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
