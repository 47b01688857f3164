//! Waiting for a database from calls that block.
//!
//! The [`Engine`](crate::Engine) trait blocks, and its callers are threads of all kinds: those of the blocking pool,
//! and workers of a runtime that cannot be blocked by that runtime's own means. The client's requests
//! need no runtime of their own (the sockets are served by the engine's thread), so the calling thread
//! polls them itself and sleeps in between.
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use tokio::runtime::{Handle, RuntimeFlavor};

struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs `future` on this thread; `None` when it is not done by `deadline`.
///
/// It must not depend on the runtime that the thread belongs to: no timers, no sockets, no tasks.
pub(super) fn until<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    yielding(|| {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Sleeper(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Some(output);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            std::thread::park_timeout(left);
        }
    })
}

/// Runs what blocks, after letting the other tasks of this thread move elsewhere.
pub(super) fn yielding<T>(blocks: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(blocks)
        }
        _ => blocks(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::channel::oneshot;

    use super::*;

    fn answer_of_another_thread() -> Option<u32> {
        let (answer, answered) = oneshot::channel();
        let thread = std::thread::spawn(move || answer.send(7));
        let got = until(Instant::now() + Duration::from_secs(30), answered);
        thread.join().unwrap().unwrap();
        got.map(Result::unwrap)
    }

    #[test]
    fn waits_on_a_plain_thread() {
        assert_eq!(answer_of_another_thread(), Some(7));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn waits_on_a_worker_and_on_the_blocking_pool() {
        assert_eq!(
            tokio::spawn(async { answer_of_another_thread() }).await.unwrap(),
            Some(7)
        );
        assert_eq!(
            tokio::task::spawn_blocking(answer_of_another_thread)
                .await
                .unwrap(),
            Some(7)
        );
    }

    #[tokio::test]
    async fn waits_in_a_runtime_of_one_thread() {
        assert_eq!(answer_of_another_thread(), Some(7));
    }

    #[test]
    fn ends_at_the_deadline() {
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(until(soon, std::future::pending::<()>()), None);
        assert!(Instant::now() >= soon);
    }
}
