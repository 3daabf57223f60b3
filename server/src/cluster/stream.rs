//! The two halves of a connection to a broker, with TLS or without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::client::TlsStream;

/// The half that is read.
#[derive(Debug)]
pub(super) enum Reader {
    /// Without TLS.
    Plain(OwnedReadHalf),
    /// With TLS.
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

/// The half that is written.
#[derive(Debug)]
pub(super) struct Output {
    /// Where to.
    half: WriterHalf,
    /// Whether TLS may hold bytes back that it was given.
    is_unflushed: bool,
}

/// The same.
#[derive(Debug)]
enum WriterHalf {
    /// Without TLS.
    Plain(OwnedWriteHalf),
    /// With TLS.
    Tls(WriteHalf<TlsStream<TcpStream>>),
}

/// The halves of a connection without TLS.
pub(super) fn plain(socket: TcpStream) -> (Reader, Output) {
    let (reader, writer) = socket.into_split();
    (Reader::Plain(reader), Output { half: WriterHalf::Plain(writer), is_unflushed: false })
}

/// The halves of a connection with TLS.
pub(super) fn tls(stream: TlsStream<TcpStream>) -> (Reader, Output) {
    let (reader, writer) = split(stream);
    (Reader::Tls(reader), Output { half: WriterHalf::Tls(writer), is_unflushed: false })
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_read(context, buffer),
            Self::Tls(half) => Pin::new(half).poll_read(context, buffer),
        }
    }
}

impl Output {
    /// Whether there is anything for [`write`](Self::write) to do.
    pub(super) fn has_work(&self, bytes: &BytesMut) -> bool {
        self.is_unflushed || !bytes.is_empty()
    }

    /// Writes some of `bytes` and takes them off; of none, flushes. Loses nothing if it is dropped
    /// meanwhile: what TLS has taken and not sent is remembered.
    pub(super) async fn write(&mut self, bytes: &mut BytesMut) -> io::Result<()> {
        match &mut self.half {
            WriterHalf::Plain(half) => {
                half.write_buf(bytes).await?;
            }
            WriterHalf::Tls(half) if bytes.is_empty() => {
                half.flush().await?;
                self.is_unflushed = false;
            }
            WriterHalf::Tls(half) => {
                half.write_buf(bytes).await?;
                self.is_unflushed = true;
            }
        }
        Ok(())
    }

    /// Writes all of `bytes`.
    pub(super) async fn write_all(&mut self, bytes: &mut BytesMut) -> io::Result<()> {
        while self.has_work(bytes) {
            self.write(bytes).await?;
        }
        Ok(())
    }
}
