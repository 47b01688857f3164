//! One sync for everybody who waits.
//!
//! A thread takes all waiters at once, syncs the engine, answers them, and takes whoever came in
//! the meantime. A waiter joins only after its commit, so the sync that answers it began after the
//! commit. A sync is skipped when nothing was committed since the last one began.
//!
//! Those who were answered together come back together, and some engines hold commits up while they
//! sync. So a sync that began with the first waiter would leave the others for the next one, and each
//! would serve a few. Before it begins, the thread therefore lets transactions that are under way come to
//! their end, for no longer than [`PATIENCE`] of what the last sync took: a disk that syncs slowly
//! is asked less often, and whoever is alone waits for nobody.
//!
//! A transaction that runs on the caller's own thread must not have to wait for a sync
//! ([`GroupSync::at_rest`]): the thread waits for those, and none begins before it is through.
//!
//! A failed sync proves that nothing since the last good one is on disk, and a second attempt that
//! succeeds would not prove the contrary: the kernel may have dropped the dirty pages. So a failure
//! of a sync or a commit stops all writes. The same thread then has the engine brought back
//! ([`Engine::recover`]), again and again until its disk is well: an engine that answers has written
//! everything that was visible anew. Nobody is told that a write is durable in between, and whoever
//! asks is told to come back.
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::oneshot;

use crate::guard::{COUNTER_KEY, Guard};
use crate::{Engine, Error, Result, failpoint};

/// First pause before an engine is brought back; doubled after each attempt in vain.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The part of the last sync's time that the next one waits for transactions under way: at most one in
/// so many.
const PATIENCE: u32 = 4;
/// The longest such wait, whatever the last sync took.
const PATIENCE_MAX: Duration = Duration::from_millis(2);

type Waiter = oneshot::Sender<Result<(), Failure>>;

/// The answer of a sync that begins after this was given out.
pub(crate) struct Answer(oneshot::Receiver<Result<(), Failure>>);

impl Answer {
    /// Waits for it.
    pub(crate) async fn wait(self) -> Result<()> {
        match self.0.await {
            Ok(result) => Ok(result?),
            Err(_) => Err(Error::Engine("sync thread ended".into())),
        }
    }
}

/// Why nothing is written.
#[derive(Clone, Debug)]
struct Failure {
    reason: String,
    /// Only a restart helps.
    lasting: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        if failure.lasting {
            Self::Engine(failure.reason)
        } else {
            Self::Recovering(failure.reason)
        }
    }
}

#[derive(Default)]
struct Queue {
    waiters: Vec<Waiter>,
    failure: Option<Failure>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Told when the thread has something to do.
    wake: Condvar,
    /// Told when no transaction is under way any more. Nobody waits for it but who is about to sync, so that
    /// a transaction which nobody waits for wakes no thread: that would take as long as all its reads.
    quiet: Condvar,
    recovers: bool,
    /// Commits begun and commits ended, whatever their outcome. Equal to what they were when the
    /// last sync began means that it covered everything.
    begun: AtomicU64,
    ended: AtomicU64,
    /// Transactions under way.
    running: AtomicU32,
    /// Held alone while the engine syncs or is brought back.
    rest: RwLock<()>,
}

/// A transaction under way, until it is dropped.
pub(crate) struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.quiet.notify_one();
        }
    }
}

impl Shared {
    /// Notes a failure, unless there is one already.
    fn fail(&self, reason: String) -> Failure {
        let mut queue = self.queue.lock();
        let lasting = !self.recovers;
        let failure = queue.failure.get_or_insert_with(|| {
            tracing::error!(%reason, lasting, "the metadata engine failed; nothing is written until it is back");
            Failure { reason, lasting }
        });
        failure.clone()
    }
}

/// The sync thread and its queue.
pub(crate) struct GroupSync {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl GroupSync {
    pub(crate) fn start(engine: Arc<dyn Engine>, guard: Option<Guard>) -> Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            quiet: Condvar::new(),
            recovers: engine.recovers(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            running: AtomicU32::new(0),
            rest: RwLock::new(()),
        });
        let thread = std::thread::Builder::new()
            .name("meta-sync".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared, engine.as_ref(), guard)
            })
            .map_err(|error| Error::Engine(format!("sync thread: {error}")))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// A transaction begins: the next sync may wait for its end.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        Running(&self.shared)
    }

    /// For as long as the answer lives, the engine neither syncs nor is brought back. `None` when it does
    /// now, or is about to.
    pub(crate) fn at_rest(&self) -> Option<RwLockReadGuard<'_, ()>> {
        self.shared.rest.try_read()
    }

    /// Runs a commit so that the next sync knows about it. With `joins`, whoever commits is among those
    /// whom that sync answers.
    pub(crate) fn commit(&self, joins: bool, commit: impl FnOnce() -> Result<()>) -> Result<Option<Answer>> {
        self.check()?;
        self.shared.begun.fetch_add(1, Ordering::SeqCst);
        let result = commit();
        self.shared.ended.fetch_add(1, Ordering::SeqCst);
        match result {
            Err(Error::Engine(reason)) if self.shared.recovers => {
                let failure = self.shared.fail(reason);
                self.shared.wake.notify_one();
                Err(failure.into())
            }
            Err(error) => Err(error),
            Ok(()) if joins => self.join().map(Some),
            Ok(()) => Ok(None),
        }
    }

    /// Nothing is written or acknowledged any more, until a restart.
    pub(crate) fn end(&self, reason: &str) {
        tracing::error!(%reason, "nothing is written to the metadata until a restart");
        self.shared.queue.lock().failure = Some(Failure {
            reason: reason.to_owned(),
            lasting: true,
        });
        self.shared.wake.notify_one();
    }

    /// The error of a failed sync or commit, until the engine is back.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.shared.queue.lock().failure {
            Some(failure) => Err(failure.clone().into()),
            None => Ok(()),
        }
    }

    /// Asks for a sync that begins after this call.
    fn join(&self) -> Result<Answer> {
        let (waiter, answer) = oneshot::channel();
        let mut queue = self.shared.queue.lock();
        if let Some(failure) = &queue.failure {
            return Err(failure.clone().into());
        }
        queue.waiters.push(waiter);
        self.shared.wake.notify_one();
        Ok(Answer(answer))
    }

    /// Waits for a sync that begins after this call.
    pub(crate) async fn wait(&self) -> Result<()> {
        self.join()?.wait().await
    }
}

impl Drop for GroupSync {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_one();
        self.shared.quiet.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread holds the engine: only after it has ended can the store be opened again.
            let _ = thread.join();
        }
    }
}

/// What the thread has to do next.
enum Task {
    Sync(Vec<Waiter>),
    Recover,
    End,
}

fn next(shared: &Shared, guard: &mut Option<Guard>) -> Task {
    let mut queue = shared.queue.lock();
    let idle = |queue: &Queue| queue.waiters.is_empty() && queue.failure.is_none() && !queue.closed;
    if idle(&queue) {
        // Idle: the guard's own flush delays nobody now. A failure shows at the next group.
        parking_lot::MutexGuard::unlocked(&mut queue, || sync_guard(guard));
        while idle(&queue) {
            shared.wake.wait(&mut queue);
        }
    }
    if let Some(failure) = &queue.failure {
        // Those who came between the failure and its being noted.
        let failure = failure.clone();
        answer(std::mem::take(&mut queue.waiters), &Err(failure.clone()));
        return if queue.closed || failure.lasting {
            Task::End
        } else {
            Task::Recover
        };
    }
    if queue.waiters.is_empty() {
        return Task::End;
    }
    Task::Sync(std::mem::take(&mut queue.waiters))
}

fn answer(waiters: Vec<Waiter>, result: &Result<(), Failure>) {
    for waiter in waiters {
        // A waiter that went away does not need its answer.
        let _ = waiter.send(result.clone());
    }
}

fn sync_guard(guard: &mut Option<Guard>) {
    if let Some(guard) = guard
        && let Err(error) = guard.sync()
    {
        tracing::error!(%error, "guard file of the metadata store cannot be synced");
    }
}

fn run(shared: &Shared, engine: &dyn Engine, mut guard: Option<Guard>) {
    let mut covered = None;
    let mut patience = Duration::ZERO;
    loop {
        let mut waiters = match next(shared, &mut guard) {
            Task::Sync(waiters) => waiters,
            Task::Recover => {
                recover(shared, engine);
                covered = None;
                continue;
            }
            Task::End => break,
        };
        let resting = gather(shared, patience, &mut waiters);
        let ended = shared.ended.load(Ordering::SeqCst);
        let result = if covered == Some(shared.begun.load(Ordering::SeqCst)) {
            Ok(())
        } else {
            let began = Instant::now();
            let result = attempt(|| sync_group(engine, &mut guard));
            patience = (began.elapsed() / PATIENCE).min(PATIENCE_MAX);
            result.map_err(|error| shared.fail(error.to_string()))
        };
        drop(resting);
        if result.is_ok() {
            covered = Some(ended);
        }
        answer(waiters, &result);
    }
    sync_guard(&mut guard);
}

/// Lets transactions that are under way come to their end, for as long as `patience` lasts, and those on
/// their callers' threads in any case; adds whoever waits then.
fn gather<'a>(shared: &'a Shared, patience: Duration, waiters: &mut Vec<Waiter>) -> RwLockWriteGuard<'a, ()> {
    let until = Instant::now() + patience;
    let mut queue = shared.queue.lock();
    while shared.running.load(Ordering::SeqCst) > 0 && !queue.closed {
        if shared.quiet.wait_until(&mut queue, until).timed_out() {
            break;
        }
    }
    drop(queue);
    let resting = shared.rest.write();
    waiters.append(&mut shared.queue.lock().waiters);
    resting
}

/// Without this thread nobody would be answered ever again: a panic is a failure like others.
fn attempt(work: impl FnOnce() -> Result<()>) -> Result<()> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::Engine("the engine panicked".into())))
}

/// Asks the engine to come back until it does, or until nobody needs it any more.
fn recover(shared: &Shared, engine: &dyn Engine) {
    let mut pause = PAUSE_FIRST;
    loop {
        {
            let mut queue = shared.queue.lock();
            if !queue.closed {
                shared.wake.wait_for(&mut queue, pause);
            }
            if queue.closed {
                return;
            }
        }
        pause = (2 * pause).min(PAUSE_MAX);
        let resting = shared.rest.write();
        let recovered = attempt(|| engine.recover());
        drop(resting);
        match recovered {
            Ok(()) => {
                shared.queue.lock().failure = None;
                tracing::warn!("the metadata engine is back");
                return;
            }
            Err(error @ (Error::Damaged(_) | Error::Ended)) => {
                tracing::error!(%error, "the metadata engine cannot come back; nothing is written until a restart");
                shared.queue.lock().failure = Some(Failure {
                    reason: error.to_string(),
                    lasting: true,
                });
                return;
            }
            Err(error) => tracing::debug!(%error, "the metadata engine is not back yet"),
        }
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::Engine(error.to_string())
}

fn sync_group(engine: &dyn Engine, guard: &mut Option<Guard>) -> Result<()> {
    let Some(guard) = guard else {
        failpoint::SYNC.reach().map_err(failed)?;
        engine.sync()?;
        return failpoint::SYNCED.reach().map_err(failed);
    };
    let counter = guard.acknowledged() + 1;
    let mut tx = engine.begin()?;
    tx.put(COUNTER_KEY, &counter.to_be_bytes())?;
    tx.commit()?;
    failpoint::SYNC.reach().map_err(failed)?;
    engine.sync()?;
    failpoint::SYNCED.reach().map_err(failed)?;
    guard.record(counter)?;
    failpoint::GUARDED.reach().map_err(failed)
}
