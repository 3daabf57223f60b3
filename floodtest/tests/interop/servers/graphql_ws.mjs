// GraphQL subscriptions by graphql-ws, protocol graphql-transport-ws: /graphql, of which a client asks
// `subscription { message(id: 17) }`; POST /send/{id}, GET /count. Every client gets a ping of the
// protocol every 0.3 s.

import { EventEmitter, on } from "node:events";
import http from "node:http";
import { createRequire } from "node:module";
import { answer, counts, decide, listen, read } from "./counted.mjs";

const require = createRequire(process.env.NODE_PACKAGES + "/");
const { buildSchema } = require("graphql");
const { useServer } = require("graphql-ws/use/ws");
const { WebSocketServer } = require("ws");

const messages = new EventEmitter();
messages.setMaxListeners(0);
Object.assign(counts, { followers: 0, pongs: 0 });

async function* message({ id }) {
  const sent = on(messages, String(id));
  counts.followers += 1;
  try {
    for await (const [message] of sent) yield { message };
  } finally {
    counts.followers -= 1;
  }
}

async function send(id, req, res) {
  const text = await read(req);
  const fate = decide(id);
  if (fate === "refused") return answer(res, 503, { error: "try again" });
  const connections = messages.listenerCount(id);
  if (fate === "taken") {
    messages.emit(id, text);
    counts.delivered += connections;
  }
  answer(res, 200, { connections });
}

const server = http.createServer((req, res) => {
  const [, verb, id] = req.url.split("/");
  if (verb === "send" && req.method === "POST") return send(id, req, res);
  if (verb === "count") return answer(res, 200, counts);
  answer(res, 404, {});
});
const schema = buildSchema(`
  type Query { nothing: Int }
  type Subscription { message(id: Int!): String! }
`);
const sockets = new WebSocketServer({ server, path: "/graphql" });
sockets.on("connection", (socket) => {
  const pings = setInterval(() => socket.send('{"type":"ping"}'), 300);
  socket.on("message", (data) => (counts.pongs += JSON.parse(data).type === "pong" ? 1 : 0));
  socket.on("close", () => clearInterval(pings));
});
useServer({ schema, roots: { subscription: { message } } }, sockets);
listen(server);
