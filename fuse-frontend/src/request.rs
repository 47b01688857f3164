//! Serving a request: a task of its own, a deadline, and exactly one answer.
//!
//! A task whose deadline has passed answers `ETIMEDOUT` and then *goes on*: tearing an operation off
//! at an arbitrary point would leave the question open whether it happened, and could leave an inode
//! open for ever. What it then yields is dropped, which undoes it where that matters ([`OpenInode`]).
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fuser::Errno;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use vfs::{InodeNo, Vfs};

use crate::errno::Failure;

/// Longest a process waits for any request but a sync. `fuser` does not tell us that a process was
/// interrupted, so this is also how long one can be stuck beyond `kill`; the kernel calls a task hung
/// after 120 s. The vfs's own limits on network waits are shorter.
pub(crate) const REQUEST_DEADLINE: Duration = Duration::from_secs(110);

/// Longest a process waits for a sync. How long a level above `staged` may take is a setting of the
/// vfs, which answers by itself; this only bounds a fault of the vfs.
pub(crate) const SYNC_DEADLINE: Duration = Duration::from_hours(1);

/// How long a writer is held back while staging is full before it is told `EAGAIN`. One last try may
/// begin at the end of it, in which the vfs waits up to a minute by itself; together less than
/// [`REQUEST_DEADLINE`], so that the writer learns why.
const PATIENCE: Duration = Duration::from_secs(45);

/// Shortest and longest pause between two tries of a writer that is held back.
const PAUSE: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(5);

/// A kernel that has more to send sends it as soon as an event loop reads; this is that time many
/// times over.
const QUIET: Duration = Duration::from_millis(100);

/// A reply that can be an error: all of them.
pub(crate) trait Refuse: Send + 'static {
    /// Answers with an error.
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ident),* $(,)?) => {
        $(impl Refuse for fuser::$reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        })*
    };
}

refuse!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyDirectoryPlus,
    ReplyEmpty,
    ReplyEntry,
    ReplyLock,
    ReplyLseek,
    ReplyOpen,
    ReplyStatfs,
    ReplyWrite,
    ReplyXattr,
);

/// Runs requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    runtime: Handle,
    running: TaskTracker,
    started: Arc<AtomicU64>,
    closed: Arc<AtomicBool>,
}

impl Requests {
    /// Requests run on `runtime`.
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            running: TaskTracker::new(),
            started: Arc::default(),
            closed: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Runs `work` in a task and answers with what it yields.
    pub(crate) fn serve<R, T>(
        &self,
        operation: &'static str,
        reply: R,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) where
        R: Refuse,
        T: Send + 'static,
    {
        self.serve_within(REQUEST_DEADLINE, operation, reply, work, answer);
    }

    /// As [`Self::serve`], with a deadline of its own.
    pub(crate) fn serve_within<R, T>(
        &self,
        deadline: Duration,
        operation: &'static str,
        reply: R,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) where
        R: Refuse,
        T: Send + 'static,
    {
        if self.is_closed() {
            return reply.refuse(Errno::ENOTCONN);
        }
        self.spawn(async move {
            tokio::pin!(work);
            match tokio::time::timeout(deadline, &mut work).await {
                Ok(Ok(value)) => answer(reply, value),
                Ok(Err(failure)) => reply.refuse(report(operation, &failure)),
                Err(_elapsed) => {
                    tracing::warn!(operation, ?deadline, "request not done by its deadline");
                    reply.refuse(Errno::ETIMEDOUT);
                    let late = work.await;
                    tracing::warn!(operation, done = late.is_ok(), "late request ended");
                }
            }
        });
    }

    /// Runs a task that [`Self::drain`] waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.running.spawn_on(task, &self.runtime);
    }

    /// Waits until none runs and none has come for [`QUIET`], at most `limit`. Answers whether that
    /// was so.
    pub(crate) async fn calm(&self, limit: Duration) -> bool {
        let calm = async {
            loop {
                let before = self.started.load(Ordering::Relaxed);
                tokio::time::sleep(QUIET).await;
                if self.running.is_empty() && self.started.load(Ordering::Relaxed) == before {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, calm).await.is_ok()
    }

    /// Answers every request from now on with `ENOTCONN`.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether requests are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits until no request runs, at most `limit`. Answers whether none does.
    pub(crate) async fn drain(&self, limit: Duration) -> bool {
        self.running.close();
        tokio::time::timeout(limit, self.running.wait()).await.is_ok()
    }
}

/// The errno of a failure, after a word to the log where the errno says too little.
pub(crate) fn report(operation: &'static str, failure: &Failure) -> Errno {
    let errno = failure.errno();
    match failure {
        Failure::Vfs(error @ (vfs::Error::Internal(_) | vfs::Error::Damaged(_) | vfs::Error::WriteLost)) => {
            tracing::error!(operation, %error, errno = errno.code(), "request failed");
        }
        Failure::Vfs(
            error @ (vfs::Error::Unavailable(_)
            | vfs::Error::NotYet(_)
            | vfs::Error::SlowDown { .. }
            | vfs::Error::NoSpace
            | vfs::Error::Conflict),
        ) => tracing::warn!(operation, %error, errno = errno.code(), "request failed"),
        _ => tracing::trace!(operation, errno = errno.code(), "request refused"),
    }
    errno
}

/// Tries `operation` again while the vfs asks its callers to slow down. A system call on a file has
/// no way to say "later", and programs take `EAGAIN` from a file for a failure.
pub(crate) async fn patiently<T, F>(operation: impl FnMut() -> F) -> vfs::Result<T>
where
    F: Future<Output = vfs::Result<T>>,
{
    patiently_within(PATIENCE, operation).await
}

async fn patiently_within<T, F>(patience: Duration, mut operation: impl FnMut() -> F) -> vfs::Result<T>
where
    F: Future<Output = vfs::Result<T>>,
{
    let give_up = Instant::now() + patience;
    loop {
        match operation().await {
            Err(vfs::Error::SlowDown { retry_after }) => {
                let pause = retry_after.clamp(*PAUSE.start(), *PAUSE.end());
                if Instant::now() + pause > give_up {
                    return Err(vfs::Error::SlowDown { retry_after });
                }
                tokio::time::sleep(pause).await;
            }
            result => return result,
        }
    }
}

/// One count on an open inode. Dropping it closes the inode unless the kernel has taken it over.
pub(crate) struct OpenInode {
    /// Where to close it; `None` once the kernel holds the count.
    owner: Option<(Vfs, Requests)>,
    ino: InodeNo,
}

impl OpenInode {
    /// Opens `ino`.
    pub(crate) async fn open(vfs: &Vfs, requests: &Requests, ino: InodeNo) -> vfs::Result<Self> {
        vfs.open_inode(ino).await?;
        Ok(Self {
            owner: Some((vfs.clone(), requests.clone())),
            ino,
        })
    }

    /// The kernel will say when to close it (RELEASE).
    pub(crate) fn hand_over(mut self) {
        self.owner = None;
    }
}

impl Drop for OpenInode {
    fn drop(&mut self) {
        if let Some((vfs, requests)) = self.owner.take() {
            let ino = self.ino;
            requests.spawn(async move {
                if let Err(error) = vfs.close(ino).await {
                    tracing::warn!(ino = ino.0, %error, "cannot close an inode whose opener gave up");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    use tokio::sync::oneshot;

    use super::*;

    /// Passes on what is answered.
    struct Reply(UnboundedSender<Result<u32, i32>>);

    impl Refuse for Reply {
        fn refuse(self, errno: Errno) {
            let _ = self.0.send(Err(errno.code()));
        }
    }

    fn reply() -> (Reply, UnboundedReceiver<Result<u32, i32>>) {
        let (sender, receiver) = unbounded_channel();
        (Reply(sender), receiver)
    }

    fn ok(reply: Reply, value: u32) {
        let _ = reply.0.send(Ok(value));
    }

    /// Everything that is ever answered.
    async fn all(mut answers: UnboundedReceiver<Result<u32, i32>>) -> Vec<Result<u32, i32>> {
        let mut all = Vec::new();
        while let Some(answer) = answers.recv().await {
            all.push(answer);
        }
        all
    }

    #[tokio::test]
    async fn a_request_is_answered_once_with_its_result_or_its_error() {
        let requests = Requests::new(Handle::current());
        let (done, answers) = reply();
        requests.serve("test", done, async { Ok(7) }, ok);
        assert_eq!(all(answers).await, [Ok(7)]);
        let (failed, answers) = reply();
        requests.serve("test", failed, async { Err(vfs::Error::NotEmpty.into()) }, ok);
        assert_eq!(all(answers).await, [Err(libc::ENOTEMPTY)]);
        assert!(requests.drain(REQUEST_DEADLINE).await);
    }

    #[tokio::test]
    async fn a_late_request_is_answered_in_time_and_still_finishes() {
        let requests = Requests::new(Handle::current());
        let (reply, answers) = reply();
        let (release, held) = oneshot::channel::<()>();
        let finished = Arc::new(AtomicBool::new(false));
        let flag = finished.clone();
        let work = async move {
            let _ = held.await;
            flag.store(true, Ordering::SeqCst);
            Ok(7)
        };
        requests.serve_within(Duration::from_millis(1), "test", reply, work, ok);
        assert_eq!(all(answers).await, [Err(libc::ETIMEDOUT)]);
        assert!(!requests.drain(Duration::from_millis(1)).await, "it still runs");
        assert!(!finished.load(Ordering::SeqCst));
        release.send(()).expect("the work was torn off");
        assert!(requests.drain(REQUEST_DEADLINE).await);
        assert!(finished.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn after_close_every_request_is_refused() {
        let requests = Requests::new(Handle::current());
        requests.close();
        let (reply, answers) = reply();
        requests.serve("test", reply, async { Ok(7) }, ok);
        assert_eq!(all(answers).await, [Err(libc::ENOTCONN)]);
    }

    #[tokio::test]
    async fn a_writer_is_held_back_while_told_to_slow_down() {
        let tries = AtomicUsize::new(0);
        let slow = || vfs::Error::SlowDown {
            retry_after: Duration::ZERO,
        };
        let result = patiently(|| async {
            if tries.fetch_add(1, Ordering::SeqCst) < 3 {
                Err(slow())
            } else {
                Ok(5)
            }
        })
        .await;
        assert_eq!(result.expect("in the end"), 5);
        assert_eq!(tries.load(Ordering::SeqCst), 4);

        let result: vfs::Result<()> = patiently_within(Duration::ZERO, || async { Err(slow()) }).await;
        assert!(matches!(result, Err(vfs::Error::SlowDown { .. })));
        assert_eq!(tries.load(Ordering::SeqCst), 4);
    }

    /// A writer must learn that staging is full before its request runs out of time.
    #[test]
    fn patience_ends_before_the_deadline() {
        const { assert!(PATIENCE.as_secs() + 60 < REQUEST_DEADLINE.as_secs()) }
    }
}
