//! A server of WebSockets, byte by byte, whose script says what each connection gets.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest as _, Sha1};

use crate::support::DEADLINE;

/// A frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its opcode: 1 is text, 2 binary, 8 close, 9 ping, 10 pong.
    pub(crate) opcode: u8,
    /// Its mask; none where it has none, which is forbidden.
    pub(crate) mask: Option<[u8; 4]>,
    /// Its payload, without the mask.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Its payload as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// What a script has in hand: one connection, of which the head of the request was read.
pub(crate) struct Accepted<S = TcpStream> {
    /// The number of the connection, from 0 on.
    pub(crate) number: usize,
    /// The head of its request.
    pub(crate) head: String,
    /// The connection.
    pub(crate) stream: S,
    /// Where frames are reported.
    frames: Sender<(usize, Frame)>,
}

impl<S: Read + Write> Accepted<S> {
    /// One whose head comes next on `stream`. None if it does not come.
    pub(crate) fn read(
        number: usize,
        mut stream: S,
        frames: Sender<(usize, Frame)>,
    ) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        Some(Self { number, head: String::from_utf8(head).ok()?, stream, frames })
    }

    /// The value of a field of the head.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// What the handshake is answered, with `more` fields.
    pub(crate) fn answer(&self, more: &str) -> String {
        let key = self.field("Sec-WebSocket-Key").unwrap();
        assert_eq!(BASE64_STANDARD.decode(key).unwrap().len(), 16);
        let digest = Sha1::new()
            .chain_update(key)
            .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
            .finalize();
        let accept = BASE64_STANDARD.encode(digest);
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
        )
    }

    /// Makes a WebSocket of it.
    pub(crate) fn accept(&mut self) {
        self.raw(self.answer("").as_bytes());
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        // Whether somebody is left to read them is the test's to know.
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// Writes a frame that is short and whole.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut bytes = vec![0x80 | opcode, u8::try_from(payload.len()).unwrap()];
        assert!(payload.len() < 126, "it is short");
        bytes.extend_from_slice(payload);
        self.raw(&bytes);
    }

    /// Reads the next frame. None at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let frame = read_frame(&mut self.stream).ok()?;
        let _ = self.frames.send((self.number, frame.clone()));
        Some(frame)
    }

    /// Takes everything, answers a close frame, and gives `on_message` each message.
    pub(crate) fn serve(&mut self, mut on_message: impl FnMut(&mut Self, &Frame)) {
        while let Some(frame) = self.next() {
            match frame.opcode {
                8 => return self.send(8, &frame.payload),
                1 | 2 => on_message(self, &frame),
                _ => {}
            }
        }
    }
}

/// Reads a frame, which is whole: clients have no reason to cut theirs.
fn read_frame(stream: &mut impl Read) -> io::Result<Frame> {
    let mut start = [0; 2];
    stream.read_exact(&mut start)?;
    assert_eq!(start[0] & 0xf0, 0x80, "the last fragment, without extensions");
    let mut length = u64::from(start[1] & 0x7f);
    if length >= 126 {
        let n_bytes = if length == 126 { 2 } else { 8 };
        let mut bytes = [0; 8];
        stream.read_exact(&mut bytes[8 - n_bytes..])?;
        length = u64::from_be_bytes(bytes);
    }
    let mask = if start[1] & 0x80 == 0 {
        None
    } else {
        let mut mask = [0; 4];
        stream.read_exact(&mut mask)?;
        Some(mask)
    };
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload)?;
    for (byte, mask) in payload.iter_mut().zip(mask.unwrap_or_default().iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Frame { opcode: start[0] & 0x0f, mask, payload })
}

/// The server.
pub(crate) struct SocketServer {
    /// Where it listens.
    address: SocketAddr,
    /// Every frame, with the number of its connection.
    frames: Receiver<(usize, Frame)>,
    /// Every connection.
    connections: Arc<Mutex<Vec<TcpStream>>>,
    /// How many there were.
    n_connections: Arc<AtomicUsize>,
    /// Whether it takes no more.
    is_over: Arc<AtomicBool>,
    /// Waits for connections.
    acceptor: Option<JoinHandle<()>>,
}

impl SocketServer {
    /// One that does with each connection what `script` says, and closes it then.
    pub(crate) fn new(script: impl Fn(&mut Accepted) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, frames) = channel();
        let connections: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (n_connections, is_over) = (Arc::<AtomicUsize>::default(), Arc::default());
        let acceptor = std::thread::spawn({
            let (script, connections) = (Arc::new(script), Arc::clone(&connections));
            let (n_connections, is_over) = (Arc::clone(&n_connections), Arc::clone(&is_over));
            move || {
                for stream in listener.incoming() {
                    if AtomicBool::load(&is_over, Ordering::SeqCst) {
                        return;
                    }
                    let stream = stream.unwrap();
                    connections.lock().unwrap().push(stream.try_clone().unwrap());
                    let (script, sender) = (Arc::clone(&script), sender.clone());
                    let n_connections = Arc::clone(&n_connections);
                    std::thread::spawn(move || {
                        let kept = stream.try_clone().unwrap();
                        // The first connection of msggen only tries whether somebody listens.
                        if let Some(mut accepted) = Accepted::read(0, stream, sender) {
                            accepted.number = n_connections.fetch_add(1, Ordering::SeqCst);
                            script(&mut accepted);
                        }
                        let _ = kept.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        let acceptor = Some(acceptor);
        Self { address, frames, connections, n_connections, is_over, acceptor }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    /// Connections that asked for something.
    pub(crate) fn n_connections(&self) -> usize {
        self.n_connections.load(Ordering::SeqCst)
    }

    /// The next frame, with the number of its connection.
    pub(crate) fn next_frame(&self) -> (usize, Frame) {
        self.frames.recv_timeout(DEADLINE).expect("a frame in time")
    }

    /// Every frame that has come and that nobody has looked at.
    pub(crate) fn frames(&self) -> Vec<(usize, Frame)> {
        self.frames.try_iter().collect()
    }
}

impl Drop for SocketServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        self.acceptor.take().unwrap().join().unwrap();
    }
}
