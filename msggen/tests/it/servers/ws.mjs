// WebSockets by node's ws: every message is answered {"ok":true}. When the last client has closed,
// it says how many messages came, and with which codes the clients closed.

import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(process.argv[2] + "/")("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
const codes = new Set();
let messages = 0;

server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket) => {
  socket.on("message", () => {
    messages += 1;
    socket.send('{"ok":true}');
  });
  socket.on("close", (code) => {
    codes.add(code);
    if (server.clients.size === 0) console.log(`${messages} ${[...codes]}`);
  });
});
