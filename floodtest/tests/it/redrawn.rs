//! A server that lies by a seed, behind a proxy that draws the borders of chunks anew at random.
//!
//! No border means anything then, and still each lie is found: by the numbers of comet-server,
//! whose name the proxy hides, and by stamps.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use reports::books::{ItemKind, JudgedBy};
use reports::stamp::{Mark, Sender, Stamp};

use crate::liar::{Lies, N_CONNECTIONS, N_SEEDS, found, lie};
use crate::support::{Server, UrlFile, chunk, run, send};

/// The largest chunk and the largest write of the proxy: some hold a few messages, some a few
/// bytes.
const LARGEST: u64 = 300;

/// The head of the proxy's responses.
const HEAD: &str = "HTTP/1.1 200 OK\r\nServer: nginx\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What a message is known by.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// By its number, as comet-server writes it.
    Number,
    /// By its stamp; the server's numbers begin again every 100 messages.
    Stamp,
}

impl Known {
    /// Message `n` to `id`.
    fn message(self, id: u64, n: u64) -> String {
        let mark = Some(Mark { id, n, sender: Sender(0x5eed) });
        match self {
            Self::Number => format!("Recvd msg #{n}: 'see #4 @12'<br/>"),
            Self::Stamp => {
                let stamp = Stamp { due_unix_us: 1_764_022_500_000_000 + n, late_us: 0, mark };
                format!("Recvd msg #{}: 'hello{stamp} @me'<br/>", n % 100)
            }
        }
    }

    /// The first message that may be lied about.
    fn first_lie(self) -> u64 {
        // A server's numbers begin with 1; those of a sender anywhere.
        if matches!(self, Self::Number) { 1 } else { 2 }
    }

    /// The flags that floodtest needs.
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Number => &["--sequence", "comet"],
            Self::Stamp => &[],
        }
    }
}

/// A proxy before `server` that draws chunks as `seed` says.
fn proxy(server: SocketAddr, seed: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (k, client) in listener.incoming().enumerate() {
            let random = ChaCha8Rng::seed_from_u64(seed << 32 | k as u64);
            std::thread::spawn(move || carry(client.unwrap(), server, random));
        }
    });
    address
}

/// Takes a request to the server, and its answer back.
fn carry(mut client: TcpStream, server: SocketAddr, mut random: ChaCha8Rng) {
    client.set_nodelay(true).unwrap();
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap() > 0 {
        request.push(byte[0]);
    }
    let mut server = TcpStream::connect(server).unwrap();
    server.write_all(&request).unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).unwrap();
    let (_, mut framed) = answer.split_once("\r\n\r\n").unwrap();
    let mut body = String::new();
    while let Some((size, rest)) = framed.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&rest[..size]);
        framed = &rest[size + 2..];
    }

    let mut pieces = |text: &str| {
        let mut pieces = Vec::new();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let size = 1 + (random.next_u64() % LARGEST) as usize;
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.push(String::from_utf8(piece.to_vec()).unwrap());
            rest = after;
        }
        pieces
    };
    let redrawn: String = pieces(&body).iter().map(|piece| chunk(piece)).collect();
    for written in pieces(&format!("{HEAD}{redrawn}0\r\n\r\n")) {
        send(&mut client, &written);
    }
}

#[test]
fn every_lie_is_found_behind_a_proxy_that_redraws_chunks() {
    for seed in 0..N_SEEDS {
        for known in [Known::Number, Known::Stamp] {
            let mut random = ChaCha8Rng::seed_from_u64(1_000 + seed);
            let mut lies = Lies::default();
            let mut n_sent = 0;
            let texts: Vec<String> = (1..=N_CONNECTIONS)
                .map(|id| {
                    let numbers = lie(&mut random, known.first_lie(), &mut lies);
                    n_sent += numbers.len() as u64;
                    let chunks = numbers.into_iter().map(|n| chunk(&known.message(id, n)));
                    format!("{HEAD}{}0\r\n\r\n", chunks.collect::<String>())
                })
                .collect();
            let server = Server::start_by_id(move |id, stream| send(stream, &texts[id - 1]));
            let proxy = proxy(server.address, seed);
            let places = (1..=N_CONNECTIONS).map(|id| format!("http://{proxy}/test/{id}"));
            let urls = UrlFile::of(&places.collect::<Vec<_>>().join("\n"));
            let args = ["--urls", urls.path(), "--rate", "max", "--json"];
            let ended = run(&[&args[..], known.flags()].concat()).with_code(1);
            let report = ended.report();
            assert_eq!(found(&report), lies, "seed {seed}, {known:?}\n{ended}");
            let n_different = n_sent - lies.duplicated;
            assert_eq!(report.messages, n_different, "seed {seed}, {known:?}\n{ended}");
            let (judged_by, n_timed) = match known {
                Known::Number => (JudgedBy::Numbers, 0),
                Known::Stamp => (JudgedBy::Stamps, n_sent),
            };
            assert_eq!(report.judged_by, judged_by, "seed {seed}, {known:?}\n{ended}");
            assert_eq!(report.delivery_from_due.count, n_timed, "seed {seed}\n{ended}");
            assert_eq!(report.item_kind, ItemKind::Chunks, "seed {seed}, {known:?}\n{ended}");
        }
    }
}
