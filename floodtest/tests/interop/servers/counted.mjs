// What the servers of the tests have in common: by their own decision they drop or refuse some
// messages of each id, and they count what they did. See counted.py.

const DROP = Number(process.env.DROP ?? 0);
const REFUSE = Number(process.env.REFUSE ?? 0);

export const counts = { posted: 0, refused: 0, dropped: 0, delivered: 0 };
const ofId = new Map();

// What becomes of a message to `id`: "refused", "dropped" or "taken".
export function decide(id) {
  counts.posted += 1;
  if (REFUSE && counts.posted % REFUSE === 0) {
    counts.refused += 1;
    return "refused";
  }
  const n = (ofId.get(id) ?? 0) + 1;
  ofId.set(id, n);
  if (DROP && n % DROP === 0) {
    counts.dropped += 1;
    return "dropped";
  }
  return "taken";
}

// Answers with JSON.
export function answer(res, status, value) {
  const body = JSON.stringify(value);
  const head = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  res.writeHead(status, head).end(body);
}

// The body of a request, as text.
export async function read(req) {
  const pieces = [];
  for await (const piece of req) pieces.push(piece);
  return Buffer.concat(pieces).toString("utf8");
}

// Listens on a free port and says which.
export function listen(server) {
  server.keepAliveTimeout = 60_000;
  server.listen(0, "127.0.0.1", 1024, () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}`);
  });
}
