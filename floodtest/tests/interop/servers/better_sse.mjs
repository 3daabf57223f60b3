// Event streams by better-sse: GET /test/{id}, POST /send/{id}, GET /count.

import http from "node:http";
import { createRequire } from "node:module";
import { answer, counts, decide, listen, read } from "./counted.mjs";

// Packages are not beside this file but where .ci/run has installed them.
const require = createRequire(process.env.NODE_PACKAGES + "/");
const { createChannel, createSession } = require("better-sse");

// Milliseconds between two pings: short, so that comments come in the middle of messages.
const PING_MS = 1_000;

const channels = new Map();

function channelOf(id) {
  if (!channels.has(id)) channels.set(id, createChannel());
  return channels.get(id);
}

async function follow(id, req, res) {
  channelOf(id).register(await createSession(req, res, { keepAlive: PING_MS }));
}

async function send(id, req, res) {
  const message = await read(req);
  const fate = decide(id);
  if (fate === "refused") return answer(res, 503, { error: "try again" });
  const channel = channelOf(id);
  if (fate === "taken") {
    channel.broadcast(message);
    counts.delivered += channel.sessionCount;
  }
  answer(res, 200, { connections: channel.sessionCount });
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
