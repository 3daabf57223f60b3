// WebSockets by the package ws on node's own http: node node_ws.mjs PORT MODULES
// /test/ID is a WebSocket, POST /send/ID sends the body to all who follow the id. MODULES is the
// node_modules folder that has ws.

import http from "node:http";
import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(`${process.argv[3]}/`)("ws");

const BACKLOG = 4096;
// The connections of senders stay open; node closes them after 5 s without a request.
const KEEP_ALIVE_MS = 3_600_000;

const followers = new Map();

function follow(id, socket) {
  const of = followers.get(id) ?? new Set();
  followers.set(id, of.add(socket));
  socket.on("close", () => {
    of.delete(socket);
    if (of.size === 0 && followers.get(id) === of) followers.delete(id);
  });
}

function send(id, req, res) {
  const parts = [];
  req.on("data", (part) => parts.push(part));
  req.on("end", () => {
    const text = Buffer.concat(parts).toString();
    const of = followers.get(id) ?? [];
    for (const follower of of) follower.send(text);
    res.writeHead(200, { "Content-Type": "application/json" });
    res.end(`{"connections":${of.size ?? 0}}`);
  });
}

const server = http.createServer((req, res) => {
  const [, verb, id] = req.url.split("/");
  if (verb === "send" && req.method === "POST") return send(id, req, res);
  res.writeHead(404).end();
});
// As the package has it: compression is off, and a message is at most 100 MiB.
const sockets = new WebSocketServer({ server });
sockets.on("connection", (socket, req) => follow(req.url.split("/")[2], socket));
server.keepAliveTimeout = KEEP_ALIVE_MS;
server.listen(Number(process.argv[2]), "127.0.0.1", BACKLOG);
