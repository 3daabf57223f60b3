// socket.io over its WebSocket transport: /socket.io/?EIO=4&transport=websocket&id={id}; POST
// /send/{id}, GET /count. A client that does not answer a ping within a second is let go.

import http from "node:http";
import { createRequire } from "node:module";
import { answer, counts, decide, listen, read } from "./counted.mjs";

const require = createRequire(process.env.NODE_PACKAGES + "/");
const { Server } = require("socket.io");

const followers = new Map();
Object.assign(counts, { followers: 0, lost: 0 });

async function send(id, req, res) {
  const message = await read(req);
  const fate = decide(id);
  if (fate === "refused") return answer(res, 503, { error: "try again" });
  const of = followers.get(id) ?? new Set();
  if (fate === "taken") {
    for (const follower of of) {
      follower.emit("message", message);
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
const io = new Server(server, { transports: ["websocket"], pingInterval: 300, pingTimeout: 1000 });
io.on("connection", (socket) => {
  const id = socket.handshake.query.id;
  const of = followers.get(id) ?? new Set();
  followers.set(id, of.add(socket));
  counts.followers += 1;
  socket.on("disconnect", (why) => {
    of.delete(socket);
    counts.followers -= 1;
    counts.lost += why === "ping timeout" ? 1 : 0;
  });
});
listen(server);
