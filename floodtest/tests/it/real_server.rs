//! floodtest and the reference server in one process: two ends of the wire that share no code.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use comet_server::close::CloseReason;
use comet_server::{Config, Stats, limits, runtime, serve};
use reports::books::{ByReason, FloodReport};
use tokio::sync::oneshot;

use crate::support::library_config;

/// Connections held.
const N_CONNECTIONS: u64 = 20;

/// Messages sent to each of them.
const N_MESSAGES: u64 = 3;

/// A server on a thread of its own.
struct Running {
    public: SocketAddr,
    control: SocketAddr,
    shutdown: oneshot::Sender<()>,
    thread: JoinHandle<Stats>,
}

fn start() -> Running {
    let any = "127.0.0.1:0".parse().unwrap();
    let (listener, control_listener) = (limits::listen(any).unwrap(), limits::listen(any).unwrap());
    let (public, control) =
        (listener.local_addr().unwrap(), control_listener.local_addr().unwrap());
    let (shutdown, is_down) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let config = Config::with_descriptors(1_024);
        let runtime = runtime(&config).unwrap();
        let shutdown = async { is_down.await.unwrap() };
        runtime.block_on(serve(config, vec![listener], control_listener, shutdown)).unwrap()
    });
    Running { public, control, shutdown, thread }
}

/// Sends one message; it must reach exactly one connection.
fn send(control: SocketAddr, id: u64, message: &str) {
    let mut stream = TcpStream::connect(control).unwrap();
    let length = message.len();
    let head =
        format!("POST /send/{id} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
    write!(stream, "{head}Connection: close\r\n\r\n{message}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("{\"connections\": 1}"), "{answer}");
}

#[test]
fn every_chunk_that_the_server_wrote_is_counted_and_every_stream_ends() {
    let server = start();
    let file = tempfile::NamedTempFile::new().unwrap();
    for id in 1..=N_CONNECTIONS {
        writeln!(&file, "http://{}/test/{id}", server.public).unwrap();
    }
    let config = library_config(file.path());
    let (_still_wanted, stop) = UnixStream::pair().unwrap();
    let mut shutdown = Some(server.shutdown);
    let mut on_report = |report: &FloodReport| {
        if report.connected == N_CONNECTIONS && shutdown.is_some() {
            for id in 1..=N_CONNECTIONS {
                (1..=N_MESSAGES).for_each(|k| send(server.control, id, &format!("<{k}> & more")));
            }
            shutdown.take().unwrap().send(()).unwrap();
        }
    };
    let report = floodtest::run(&config, stop, &mut on_report).unwrap().report;

    let stats = server.thread.join().unwrap();
    assert_eq!(report.chunks, N_CONNECTIONS * N_MESSAGES, "{report:?}");
    assert_eq!(report.chunks, stats.router.chunks_written, "{stats:?}");
    assert_eq!(
        (
            report.lost.unwrap(),
            report.duplicated.unwrap(),
            report.reordered.unwrap(),
            report.unnumbered
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(report.closures, ByReason::from([("ended".to_owned(), N_CONNECTIONS)]));
    assert_eq!(
        stats.router.connections_closed.get(CloseReason::Shutdown),
        N_CONNECTIONS,
        "{stats:?}"
    );
}
