//! Accepting connections without being held by them. In goes a bound socket, out come connections that end by
//! themselves: after a silence, when newer ones need the place, and at once when they speak HTTP/2.

use std::collections::VecDeque;
use std::future::{Future, Pending, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Timeout, timeout};

/// Most connections at the same time; the oldest one makes room for the next.
pub const MAX_CONNECTIONS: usize = 256;
/// A connection from which nothing arrives for this long is closed. Longer than any request may take.
const SILENCE: Duration = Duration::from_secs(60);
/// How an HTTP/2 connection starts (RFC 9113, section 3.4). No request of HTTP/1 starts so, and HTTP/2
/// would bring its own floods.
const HTTP2_PREFACE: &[u8] = b"PRI ";

/// A listening socket with bounded connections.
#[derive(Debug)]
pub struct BoundedListener {
    inner: TcpListener,
    /// One per connection, oldest first; dropping one ends its connection.
    open: VecDeque<oneshot::Sender<()>>,
}

impl BoundedListener {
    pub fn new(inner: TcpListener) -> Self {
        Self { inner, open: VecDeque::new() }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.inner).await;
        self.open.retain(|connection| !connection.is_closed());
        while self.open.len() >= MAX_CONNECTIONS {
            self.open.pop_front();
        }
        let (keep, evicted) = oneshot::channel();
        self.open.push_back(keep);
        (BoundedStream { inner: stream, evicted, silence: silence(), start: Vec::new() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

fn silence() -> Pin<Box<Timeout<Pending<()>>>> {
    Box::pin(timeout(SILENCE, pending()))
}

/// One connection.
#[derive(Debug)]
pub struct BoundedStream {
    inner: TcpStream,
    evicted: oneshot::Receiver<()>,
    silence: Pin<Box<Timeout<Pending<()>>>>,
    /// The first bytes, until they are known not to be the preface of HTTP/2.
    start: Vec<u8>,
}

impl BoundedStream {
    fn check_start(&mut self, fresh: &[u8]) -> io::Result<()> {
        let missing = HTTP2_PREFACE.len() - self.start.len();
        self.start.extend_from_slice(&fresh[..fresh.len().min(missing)]);
        if self.start == HTTP2_PREFACE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "HTTP/2 is not spoken here"));
        }
        Ok(())
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if Pin::new(&mut self.evicted).poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.inner).poll_read(context, buffer) {
            result?;
            self.silence = silence();
            if self.start.len() < HTTP2_PREFACE.len() {
                let fresh = buffer.filled()[before..].to_vec();
                self.check_start(&fresh)?;
            }
            return Poll::Ready(Ok(()));
        }
        let _elapsed = ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
