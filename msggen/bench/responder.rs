//! The least that can be on the other side of a sender: it answers every request with the answer of
//! a control door, and does nothing else. The step `wrk` of `bars.sh` measures against it.

use std::io::{self, Write as _};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What it says to everything.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                        content-length: 18\r\n\r\n{\"connections\": 1}";

/// Bytes of requests that are read at a time, and so the longest request.
const ROOM_BYTES: usize = 64 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks is its sender's to notice.
        tokio::spawn(async move { serve(stream).await.ok() });
    }
}

/// Answers the requests of one connection.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut room = vec![0; ROOM_BYTES];
    let (mut n_held, mut answers) = (0, Vec::new());
    loop {
        let n = stream.read(&mut room[n_held..]).await?;
        if n == 0 {
            return Ok(());
        }
        n_held += n;
        let mut start = 0;
        while let Some(length) = request_length(&room[start..n_held]) {
            start += length;
            answers.extend_from_slice(ANSWER);
        }
        room.copy_within(start..n_held, 0);
        n_held -= start;
        stream.write_all(&answers).await?;
        answers.clear();
    }
}

/// The length of the first request in `received`; none if it is not complete.
fn request_length(received: &[u8]) -> Option<usize> {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(head)) = request.parse(received) else { return None };
    let mut lengths =
        request.headers.iter().filter(|it| it.name.eq_ignore_ascii_case("content-length"));
    let body = lengths.next().and_then(|it| std::str::from_utf8(it.value).ok()?.parse().ok());
    let length = head + body.unwrap_or(0_usize);
    (length <= received.len()).then_some(length)
}
