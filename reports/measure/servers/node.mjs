// Event streams by node's own http, nothing else: node node.mjs PORT
// GET /test/ID is an endless stream, POST /send/ID sends the body to all who follow the id.

import http from "node:http";

const BACKLOG = 4096;
// The connections of senders stay open; node closes them after 5 s without a request.
const KEEP_ALIVE_MS = 3_600_000;

const followers = new Map();

function follow(id, req, res) {
  res.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  // node keeps the head until the first message otherwise, and a client would not know that it is
  // connected.
  res.flushHeaders();
  const of = followers.get(id) ?? new Set();
  followers.set(id, of.add(res));
  req.on("close", () => {
    of.delete(res);
    if (of.size === 0 && followers.get(id) === of) followers.delete(id);
  });
}

function send(id, req, res) {
  const parts = [];
  req.on("data", (part) => parts.push(part));
  req.on("end", () => {
    const event = `data: ${Buffer.concat(parts).toString().replace(/\r\n|\r|\n/g, "\ndata: ")}\n\n`;
    const of = followers.get(id) ?? [];
    for (const follower of of) follower.write(event);
    res.writeHead(200, { "Content-Type": "application/json" });
    res.end(`{"connections":${of.size ?? 0}}`);
  });
}

const server = http.createServer((req, res) => {
  const [, verb, id] = req.url.split("/");
  if (verb === "test" && req.method === "GET") return follow(id, req, res);
  if (verb === "send" && req.method === "POST") return send(id, req, res);
  res.writeHead(404).end();
});
server.keepAliveTimeout = KEEP_ALIVE_MS;
server.listen(Number(process.argv[2]), "127.0.0.1", BACKLOG);
