// Event streams by node's own http, nothing else: GET /test/{id}, POST /send/{id}, GET /count.
// FLUSH=1 sends the head at once; without it node keeps the head until the first message.

import http from "node:http";
import { answer, counts, decide, listen, read } from "./counted.mjs";

const FLUSH = process.env.FLUSH === "1";
const followers = new Map();

function follow(id, req, res) {
  res.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  if (FLUSH) res.flushHeaders();
  const of = followers.get(id) ?? new Set();
  followers.set(id, of.add(res));
  req.on("close", () => of.delete(res));
}

async function send(id, req, res) {
  const message = await read(req);
  const fate = decide(id);
  if (fate === "refused") return answer(res, 503, { error: "try again" });
  const of = followers.get(id) ?? new Set();
  if (fate === "taken") {
    for (const follower of of) {
      follower.write(`data: ${message}\n\n`);
      counts.delivered += 1;
    }
  }
  answer(res, 200, { connections: of.size });
}

listen(
  http.createServer((req, res) => {
    const [, verb, id] = req.url.split("/");
    if (verb === "test") return follow(id, req, res);
    if (verb === "send" && req.method === "POST") return send(id, req, res);
    if (verb === "count") return answer(res, 200, counts);
    answer(res, 404, {});
  }),
);
