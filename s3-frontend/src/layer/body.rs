//! A request body that does not wait for ever and says why it broke off.
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use md5::{Digest as _, Md5};
use s3s::{S3Error, S3ErrorCode};
use tokio::time::Sleep;

use super::chunked::{ChunkError, Chunks, Framing};
use crate::error::fail;

/// Why a body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    /// The connection ended or broke the HTTP framing.
    #[error("the connection ended within the body")]
    Connection,
    /// The client paused too long.
    #[error("the client sent nothing for too long")]
    Idle,
    /// A signed chunk is larger than allowed.
    #[error("a signed chunk is too large")]
    ChunkTooLarge,
    /// The aws-chunked framing is broken.
    #[error("the aws-chunked framing is malformed")]
    BadFraming,
    /// A body that is held in memory is larger than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// A document is not the one whose MD5 the client sent.
    #[error("the document does not have its digest")]
    BadDigest,
    /// The file of a form is larger than its policy allows.
    #[error("the file is too large")]
    FileTooLarge,
    /// The file of a form is smaller than its policy allows.
    #[error("the file is too small")]
    FileTooSmall,
}

impl BodyFault {
    /// What the client is told.
    pub(crate) fn to_s3(self) -> S3Error {
        match self {
            Self::Connection => fail(
                S3ErrorCode::IncompleteBody,
                "The request body terminated unexpectedly.",
            ),
            Self::Idle => fail(
                S3ErrorCode::RequestTimeout,
                "Your socket connection to the server was not read from or written to within the timeout period.",
            ),
            Self::ChunkTooLarge => fail(
                S3ErrorCode::InvalidRequest,
                "A signed chunk of the body is larger than 16 MiB: use smaller chunks.",
            ),
            Self::BadFraming => fail(
                S3ErrorCode::InvalidRequest,
                "The aws-chunked encoding of the body is malformed.",
            ),
            Self::TooLarge => fail(S3ErrorCode::MaxMessageLengthExceeded, "Your request was too big."),
            Self::BadDigest => fail(
                S3ErrorCode::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ),
            Self::FileTooLarge => fail(
                S3ErrorCode::EntityTooLarge,
                "Your proposed upload exceeds the maximum allowed size.",
            ),
            Self::FileTooSmall => fail(
                S3ErrorCode::EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size.",
            ),
        }
    }
}

/// Carries the first fault of a body to the operation that reads it: s3s wraps errors in private
/// types on the way.
#[derive(Debug, Default)]
pub(crate) struct BodyFaults {
    first: OnceLock<BodyFault>,
    open_ended: bool,
}

impl BodyFaults {
    /// Of a body that states no length and needs none: it ends where it says so itself.
    pub(crate) fn open_ended() -> Self {
        Self {
            open_ended: true,
            ..Self::default()
        }
    }

    /// Whether the body may go without a stated length.
    pub(crate) fn is_open_ended(&self) -> bool {
        self.open_ended
    }

    /// The first fault, if any.
    pub(crate) fn get(&self) -> Option<BodyFault> {
        self.first.get().copied()
    }

    /// Keeps a fault if it is the first, and gives the first.
    pub(crate) fn record(&self, fault: BodyFault) -> BodyFault {
        *self.first.get_or_init(|| fault)
    }
}

/// A body under guard.
pub(crate) struct GuardedBody<B = Incoming> {
    inner: B,
    chunks: Option<Chunks>,
    ready: VecDeque<Bytes>,
    /// Armed only while the client is waited for: time that the gateway takes does not count.
    idle: Option<Pin<Box<Sleep>>>,
    patience: Duration,
    /// Bytes that may still come.
    allowance: u64,
    /// What has come so far, and the MD5 that it must have in the end.
    digest: Option<(Md5, [u8; 16])>,
    faults: Arc<BodyFaults>,
}

impl<B> GuardedBody<B> {
    /// Waits at most `patience` for each piece of `inner`, and takes any number of bytes.
    pub(crate) fn new(inner: B, framing: Framing, patience: Duration, faults: Arc<BodyFaults>) -> Self {
        Self {
            allowance: u64::MAX,
            digest: None,
            inner,
            chunks: Chunks::new(framing),
            ready: VecDeque::new(),
            idle: None,
            patience,
            faults,
        }
    }

    /// Takes at most `limit` bytes.
    pub(crate) fn limited(mut self, limit: u64) -> Self {
        self.allowance = limit;
        self
    }

    /// Ends with a fault unless all bytes together have this MD5; `None`: any.
    pub(crate) fn with_md5(mut self, expected: Option<[u8; 16]>) -> Self {
        self.digest = expected.map(|expected| (Md5::new(), expected));
        self
    }

    fn fail(&self, fault: BodyFault) -> BodyFault {
        self.faults.record(fault)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for GuardedBody<B> {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(frame) => {
                    this.idle = None;
                    frame
                }
                Poll::Pending => {
                    let patience = this.patience;
                    let idle = this
                        .idle
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                    return match idle.as_mut().poll(cx) {
                        Poll::Ready(()) => Poll::Ready(Some(Err(this.fail(BodyFault::Idle)))),
                        Poll::Pending => Poll::Pending,
                    };
                }
            };
            let frame = match frame {
                None => {
                    let digest = this.digest.take();
                    let wrong = digest.is_some_and(|(digest, expected)| digest.finalize()[..] != expected);
                    return Poll::Ready(wrong.then(|| Err(this.fail(BodyFault::BadDigest))));
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(this.fail(BodyFault::Connection)))),
                Some(Ok(frame)) => frame,
            };
            let len = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(allowance) = this.allowance.checked_sub(len) else {
                return Poll::Ready(Some(Err(this.fail(BodyFault::TooLarge))));
            };
            this.allowance = allowance;
            if let (Some((digest, _)), Some(data)) = (&mut this.digest, frame.data_ref()) {
                digest.update(data);
            }
            let Some(chunks) = &mut this.chunks else {
                return Poll::Ready(Some(Ok(frame)));
            };
            if let Ok(data) = frame.into_data()
                && let Err(error) = chunks.feed(data, &mut this.ready)
            {
                let fault = match error {
                    ChunkError::TooLarge => BodyFault::ChunkTooLarge,
                    ChunkError::Malformed => BodyFault::BadFraming,
                };
                return Poll::Ready(Some(Err(this.fail(fault))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.digest.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.chunks.is_some() {
            SizeHint::default()
        } else {
            self.inner.size_hint()
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_client_that_stops_sending_is_dropped() {
        let faults = Arc::new(BodyFaults::default());
        let silent = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
        let body = GuardedBody::new(
            silent,
            Framing::Plain,
            Duration::from_millis(20),
            Arc::clone(&faults),
        );
        assert_eq!(body.collect().await.unwrap_err(), BodyFault::Idle);
        assert_eq!(faults.get(), Some(BodyFault::Idle));
    }

    #[tokio::test]
    async fn faults_of_the_connection_are_recorded() {
        let faults = Arc::new(BodyFaults::default());
        let broken = StreamBody::new(futures::stream::iter([
            Ok(Frame::data(Bytes::from_static(b"half"))),
            Err(std::io::Error::other("reset")),
        ]));
        let body = GuardedBody::new(broken, Framing::Plain, PATIENCE, Arc::clone(&faults));
        assert_eq!(body.collect().await.unwrap_err(), BodyFault::Connection);
        assert_eq!(faults.get(), Some(BodyFault::Connection));
    }

    #[tokio::test]
    async fn a_limited_body_ends_at_its_limit() {
        for (limit, fits) in [(3, true), (2, false)] {
            let faults = Arc::new(BodyFaults::default());
            let body = Full::new(Bytes::from_static(b"abc"));
            let body = GuardedBody::new(body, Framing::Plain, PATIENCE, Arc::clone(&faults)).limited(limit);
            assert_eq!(body.collect().await.is_ok(), fits);
            assert_eq!(faults.get(), (!fits).then_some(BodyFault::TooLarge));
        }
    }

    #[tokio::test]
    async fn a_document_has_its_digest() {
        let expected: [u8; 16] = Md5::digest(b"abc").into();
        for (text, fits) in [("abc", true), ("abd", false), ("", false)] {
            let faults = Arc::new(BodyFaults::default());
            let body = Full::new(Bytes::from_static(text.as_bytes()));
            let body = GuardedBody::new(body, Framing::Plain, PATIENCE, Arc::clone(&faults));
            assert_eq!(body.with_md5(Some(expected)).collect().await.is_ok(), fits);
            assert_eq!(faults.get(), (!fits).then_some(BodyFault::BadDigest));
        }
    }

    #[tokio::test]
    async fn a_plain_body_keeps_its_length_and_bytes() {
        let faults = Arc::new(BodyFaults::default());
        let body = GuardedBody::new(
            Full::new(Bytes::from_static(b"abc")),
            Framing::Plain,
            PATIENCE,
            faults,
        );
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }
}
