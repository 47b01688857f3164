//! How long a connection may do nothing.
//!
//! Under HTTP/2 a client can open streams, let their answers begin and then take no more bytes, while the
//! connection itself looks alive; or keep a connection open that it does not use. Neither shows on the
//! socket ([`super::patience`] sees that). So each connection counts the requests under way and notes,
//! for each answer's body, since when a piece of it has been waiting for the client; it is cut when a
//! piece waits too long, and when it has been of no use for too long.
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use s3s::{Body, StdError};

/// Looks per shortest wait.
const LOOKS: u32 = 4;

/// Since when the client has been waited for; `None`: the gateway is at work.
type Waiting = Mutex<Option<Instant>>;

struct State {
    bodies: Vec<Weak<Waiting>>,
    requests: usize,
    unused_since: Instant,
}

/// What a connection has under way.
pub(super) struct Life {
    state: Mutex<State>,
    stalled: Duration,
    unused: Duration,
}

impl Life {
    /// Of a connection whose client may make an answer wait for `stalled`, and that may be without a
    /// request for `unused`.
    pub(super) fn new(stalled: Duration, unused: Duration) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                bodies: Vec::new(),
                requests: 0,
                unused_since: Instant::now(),
            }),
            stalled,
            unused,
        })
    }

    /// A request has come.
    pub(super) fn request(self: &Arc<Self>) -> UnderWay {
        self.state.lock().requests += 1;
        UnderWay(Arc::clone(self))
    }

    /// Comes back when the connection is to be cut, and says why.
    pub(super) async fn over(&self) -> &'static str {
        let pause = self.stalled.min(self.unused) / LOOKS;
        loop {
            tokio::time::sleep(pause).await;
            let now = Instant::now();
            let mut state = self.state.lock();
            if state.requests == 0 && now.duration_since(state.unused_since) > self.unused {
                return "it was of no use";
            }
            let (mut stalled, mut longest) = (0, Duration::ZERO);
            state.bodies.retain(|body| {
                let Some(body) = body.upgrade() else { return false };
                let waited = body
                    .lock()
                    .map_or(Duration::ZERO, |since| now.duration_since(since));
                stalled += usize::from(waited > self.stalled);
                longest = longest.max(waited);
                true
            });
            // One paused answer must not end what else the connection does, but not for ever.
            if stalled > 0 && (stalled >= state.requests || longest > self.stalled * PAUSES) {
                return "an answer was not read";
            }
        }
    }
}

/// How many times longer than others an answer may wait beside others that are read.
const PAUSES: u32 = 10;

/// A request until its answer is handed over.
pub(super) struct UnderWay(Arc<Life>);

impl UnderWay {
    /// Watches the body of its answer.
    pub(super) fn watch(self, body: Body) -> Watched {
        let waiting = Arc::new(Waiting::default());
        if !body.is_end_stream() {
            self.0.state.lock().bodies.push(Arc::downgrade(&waiting));
        }
        Watched {
            body,
            waiting,
            _under_way: self,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.requests -= 1;
        state.unused_since = Instant::now();
    }
}

/// The body of an answer that notes when it waits for the client.
pub(super) struct Watched {
    body: Body,
    waiting: Arc<Waiting>,
    _under_way: UnderWay,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        *self.waiting.lock() = None;
        let poll = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = &poll {
            *self.waiting.lock() = Some(Instant::now());
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        hyper::body::Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    const SHORT: Duration = Duration::from_millis(40);
    const LONG: Duration = Duration::from_secs(600);

    fn pieces(count: usize) -> Body {
        let pieces = std::iter::repeat_with(|| Ok::<_, StdError>(Frame::data(Bytes::from_static(b"piece"))));
        Body::http_body_unsync(StreamBody::new(futures::stream::iter(pieces.take(count))))
    }

    #[tokio::test]
    async fn a_connection_without_requests_ends() {
        let life = Life::new(LONG, SHORT);
        let request = life.request();
        tokio::time::timeout(SHORT * 4, life.over()).await.unwrap_err();
        drop(request);
        assert_eq!(life.over().await, "it was of no use");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_read_ends_its_connection() {
        let life = Life::new(SHORT, LONG);
        let mut read = life.request().watch(pieces(3));
        read.frame().await.unwrap().unwrap();
        assert_eq!(life.over().await, "an answer was not read");
        // What is read to its end holds nothing up.
        while read.frame().await.is_some() {}
        drop(read);
        tokio::time::timeout(SHORT * 4, life.over()).await.unwrap_err();
    }

    #[tokio::test]
    async fn the_time_that_the_gateway_takes_does_not_count() {
        let life = Life::new(SHORT, LONG);
        let silent = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, StdError>>());
        let mut slow = life.request().watch(Body::http_body_unsync(silent));
        let frame = tokio::time::timeout(SHORT / 2, slow.frame());
        assert!(frame.await.is_err());
        tokio::time::timeout(SHORT * 4, life.over()).await.unwrap_err();
    }
}
