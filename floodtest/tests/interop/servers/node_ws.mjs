// WebSockets by ws: /test/{id}; POST /send/{id}, GET /count. Large messages are fragmented, and there
// are pings between them.

import http from "node:http";
import { createRequire } from "node:module";
import { answer, counts, decide, listen, read } from "./counted.mjs";

const require = createRequire(process.env.NODE_PACKAGES + "/");
const { WebSocketServer } = require("ws");

const followers = new Map();
counts.pongs = 0;

async function send(id, req, res) {
  const message = await read(req);
  const fate = decide(id);
  if (fate === "refused") return answer(res, 503, { error: "try again" });
  const of = followers.get(id) ?? new Set();
  if (fate === "taken") {
    for (const follower of of) {
      const middle = Math.floor(message.length / 2);
      follower.send(message.slice(0, middle), { fin: false });
      follower.ping(String(counts.delivered));
      follower.send(message.slice(middle), { fin: true });
      counts.delivered += 1;
    }
  }
  answer(res, 200, { connections: of.size });
}

const server = http.createServer((req, res) => {
  const [, verb, id] = req.url.split("/");
  if (verb === "send" && req.method === "POST") return send(id, req, res);
  if (verb === "count") return answer(res, 200, counts);
  answer(res, 404, {});
});
const sockets = new WebSocketServer({ server, perMessageDeflate: true });
sockets.on("connection", (socket, req) => {
  const id = req.url.split("/")[2];
  const of = followers.get(id) ?? new Set();
  followers.set(id, of.add(socket));
  socket.on("pong", () => (counts.pongs += 1));
  socket.on("close", () => of.delete(socket));
});
listen(server);
