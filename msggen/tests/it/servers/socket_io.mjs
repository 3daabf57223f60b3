// socket.io, with pings that come often. When the last client has left, it says how many messages came.

import { createRequire } from "node:module";
import { createServer } from "node:http";

const { Server } = createRequire(process.argv[2] + "/")("socket.io");
const http = createServer();
const io = new Server(http, { pingInterval: 200, pingTimeout: 2000 });
let messages = 0;

io.on("connection", (socket) => {
  socket.on("message", () => (messages += 1));
  socket.on("disconnect", () => {
    if (io.engine.clientsCount === 0) console.log(messages);
  });
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
