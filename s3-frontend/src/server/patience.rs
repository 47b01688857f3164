//! A stream that does not wait for ever for its other end.
//!
//! hyper times the head of an HTTP/1 request; it times neither the bytes before it knows which HTTP is
//! spoken nor anything that it writes. Both are timed here, below TLS, for both versions of HTTP.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Bytes after which hyper knows which HTTP is spoken.
const PREFACE: usize = 24;

/// Longest waits for the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// For the first bytes.
    pub(super) first: Duration,
    /// For room to write.
    pub(super) write: Duration,
}

/// `inner`, given up when its other end makes it wait too long.
pub(super) struct Patient<S> {
    inner: S,
    waits: Waits,
    /// Bytes that have come; counted up to [`PREFACE`].
    come: usize,
    first: Option<Pin<Box<Sleep>>>,
    write: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(inner: S, waits: Waits) -> Self {
        Self {
            inner,
            waits,
            come: 0,
            first: None,
            write: None,
        }
    }

    /// Passes `poll` on, unless it has been waiting to write for too long.
    fn timed_write<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.write = None;
            // Something was answered: the first bytes have come.
            self.come = PREFACE;
            self.first = None;
            return poll;
        }
        let wait = self.waits.write;
        let timer = self
            .write
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(given_up("nothing was read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn given_up(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let poll = Pin::new(&mut this.inner).poll_read(cx, buffer);
        if this.come >= PREFACE {
            return poll;
        }
        if poll.is_ready() {
            this.come += buffer.filled().len() - before;
            return poll;
        }
        let wait = this.waits.first;
        let timer = this
            .first
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(given_up("no request came"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.timed_write(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.timed_write(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SHORT: Waits = Waits {
        first: Duration::from_millis(30),
        write: Duration::from_millis(30),
    };

    #[tokio::test]
    async fn a_silent_client_is_given_up_and_a_slow_one_is_not_once_it_spoke() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = Patient::new(near, SHORT);
        far.write_all(&[0; PREFACE - 1]).await.unwrap();
        let mut bytes = [0; 64];
        stream.read_exact(&mut bytes[..PREFACE - 1]).await.unwrap();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = Patient::new(near, SHORT);
        far.write_all(&[0; PREFACE]).await.unwrap();
        stream.read_exact(&mut bytes[..PREFACE]).await.unwrap();
        tokio::time::timeout(SHORT.first * 4, stream.read_u8())
            .await
            .unwrap_err();
    }

    #[tokio::test]
    async fn a_client_that_stops_reading_is_given_up() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = Patient::new(near, SHORT);
        stream.write_all(&[1; 64]).await.unwrap();
        let error = stream.write_all(&[2; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        far.read_exact(&mut [0; 64]).await.unwrap();
    }
}
