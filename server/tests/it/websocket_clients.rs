//! WebSocket clients that nobody here wrote: node's ws, Python's websockets, and curl. Chromium's
//! is asked through the page.
//!
//! `.ci/run` installs their packages for the tests of floodtest; where they are not, the test is
//! left out.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::json;

use crate::support::{DEADLINE, Server, UPGRADED};

/// Follows the address in its environment: writes a line for all that happens, pings once, sends
/// text and binary data, and says goodbye with 3001 when a message ends in `bye`.
const NODE: &str = r#"
const { WebSocket } = require(process.env.PACKAGE);
const socket = new WebSocket(process.env.ADDRESS, [], { perMessageDeflate: true });
socket.on("open", () => {
    console.log(`open ${JSON.stringify([socket.protocol, socket.extensions])}`);
    socket.ping("are you there?");
    socket.send("κόσμε ".repeat(1000));
    socket.send(Buffer.alloc(10000, 255));
});
socket.on("pong", (data) => console.log(`pong ${data}`));
socket.on("message", (data, isBinary) => {
    console.log(`${isBinary ? "binary" : "text"} ${data.length} ${String(data).slice(0, 50)}`);
    if (String(data).endsWith("bye")) socket.close(3001, "good bye");
});
socket.on("error", (error) => console.log(`error ${error.message}`));
socket.on("close", (code) => console.log(`close ${code}`));
"#;

/// The same. It offers subprotocols as well; ws, and browsers, give up where none is selected.
const PYTHON: &str = r#"
import asyncio, json, os
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

async def follow():
    async with connect(os.environ["ADDRESS"], subprotocols=["mqtt", "comet"]) as socket:
        extensions = ",".join(str(extension) for extension in socket.protocol.extensions)
        opened = json.dumps([socket.subprotocol or "", extensions], separators=(",", ":"))
        print("open", opened, flush=True)
        pong = await socket.ping("are you there?")
        await socket.send("κόσμε " * 1000)
        await socket.send(b"\xff" * 10000)
        await pong
        print("pong are you there?", flush=True)
        try:
            while True:
                data = await socket.recv()
                kind = "text" if isinstance(data, str) else "binary"
                print(kind, len(data.encode()), data[:50], flush=True)
                if data.endswith("bye"):
                    await socket.close(3001, "good bye")
        except ConnectionClosed as closed:
            print("close", closed.rcvd.code if closed.rcvd else 1006, flush=True)

asyncio.run(follow())
"#;

/// node with a script that can require ws.
fn node_ws() -> Option<Command> {
    let package = testing::installed().join("node/node_modules/ws");
    if !package.exists() || Command::new("node").arg("--version").output().is_err() {
        testing::skip("ws");
        return None;
    }
    let mut command = Command::new("node");
    command.args(["--input-type=commonjs", "--eval", NODE]).env("PACKAGE", package);
    Some(command)
}

/// Python with a script that can import websockets.
fn python_websockets() -> Option<Command> {
    let python = testing::installed().join("py/bin/python");
    let check = Command::new(&python).args(["-c", "import websockets"]).output();
    if !check.is_ok_and(|output| output.status.success()) {
        testing::skip("websockets");
        return None;
    }
    let mut command = Command::new(python);
    command.args(["-c", PYTHON]).env("PYTHONUTF8", "1");
    Some(command)
}

/// A client that runs, and what it says. Killed when it is dropped.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(mut command: Command, server: &Server, id: u64) -> Self {
        let address = format!("ws://{}/test/{id}", server.public);
        let mut child = command.env("ADDRESS", address).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (say, lines) = channel();
        std::thread::spawn(move || output.lines().try_for_each(|line| say.send(line.unwrap())));
        Self { child, lines }
    }

    #[track_caller]
    fn expect(&self, line: &str) {
        assert_eq!(self.lines.recv_timeout(DEADLINE).expect("it says something"), line);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Goes through the life of three clients of a kind.
fn follows(command: impl Fn() -> Option<Command>) {
    let mut server = Server::start(&["--ping", "500ms"]);
    let mut clients = Vec::new();
    for id in 1..=3 {
        let Some(command) = command() else { return };
        let client = Follower::start(command, &server, id);
        // No extension is agreed on, though compression is offered, and no subprotocol.
        client.expect(r#"open ["",""]"#);
        client.expect("pong are you there?");
        clients.push(client);
    }
    for (id, client) in (1..).zip(&clients) {
        assert_eq!(server.send(id, "one <b>'ü'"), 1);
        client.expect("text 25 Recvd msg #1: one <b>'ü'");
        // A frame of each kind of length.
        let long = "x".repeat(1_000);
        assert_eq!(server.send(id, &long), 1);
        client.expect(&format!("text 1014 {}", &format!("Recvd msg #2: {long}")[..50]));
        let longest = "y".repeat(65_536);
        assert_eq!(server.send(id, &longest), 1);
        client.expect(&format!("text 65550 {}", &format!("Recvd msg #3: {longest}")[..50]));
    }
    // They answer pings, and are still there when one that does not is closed.
    let silent = server.web_socket("4");
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 3);
    assert_eq!(stats["connections_closed"], json!({ "timed_out": 1 }));
    drop(silent);

    assert_eq!(server.send(1, "bye"), 1);
    clients[0].expect("text 17 Recvd msg #4: bye");
    clients[0].expect("close 3001");
    assert_eq!(server.ask("DELETE", "/logins/2", "", "").0, 200);
    clients[1].expect("close 1000");
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 1);
    assert_eq!(stats["connections_closed"], json!({ "logout": 1, "peer": 1, "timed_out": 1 }));
    assert_eq!(stats["close_codes"], json!({ "other": 1 }));
    server.signal("-TERM");
    clients[2].expect("close 1001");
    assert!(server.wait().success());
}

#[test]
fn ws_of_node_follows_an_id() {
    follows(node_ws);
}

#[test]
fn websockets_of_python_follows_an_id() {
    follows(python_websockets);
}

#[test]
fn curl_is_upgraded_as_it_asks() {
    if Command::new("curl").arg("--version").output().is_err() {
        return testing::skip("curl");
    }
    let mut server = Server::start(&[]);
    let url = format!("http://{}/test/7", server.public);
    let mut command = Command::new("curl");
    command.args(["--silent", "--include", "--no-buffer", "--max-time", "60", &url]);
    for field in [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        command.args(["--header", field]);
    }
    let mut curl = command.stdout(Stdio::piped()).spawn().unwrap();
    server.wait_for_stats(|stats| stats["connections_parked"] == 1);
    assert_eq!(server.send(7, "Hello World"), 1);
    server.signal("-TERM");
    assert!(server.wait().success());
    let mut answer = Vec::new();
    curl.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
    curl.wait().unwrap();
    let frames = b"\x81\x19Recvd msg #1: Hello World\x88\x02\x03\xe9";
    assert_eq!(answer, [UPGRADED.as_bytes(), frames].concat());
}
