//! One sync for everybody who waits.
//!
//! A thread takes all waiters at once, syncs the engine, answers them, and takes whoever came in
//! the meantime. A waiter joins only after its commit, so the sync that answers it began after the
//! commit. A sync is skipped when nothing was committed since the last one began.
//!
//! A failed sync is final: the kernel may have dropped the dirty pages, and a second attempt that
//! succeeds would prove nothing. All writes fail from then on, until the store is opened anew.
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::guard::{COUNTER_KEY, Guard};
use crate::{Engine, Error, Result, failpoint};

type Waiter = oneshot::Sender<Result<(), String>>;

#[derive(Default)]
struct Queue {
    waiters: Vec<Waiter>,
    poisoned: Option<String>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Commits begun and commits ended, whatever their outcome. Equal to what they were when the
    /// last sync began means that it covered everything.
    begun: AtomicU64,
    ended: AtomicU64,
}

/// The sync thread and its queue.
pub(crate) struct GroupSync {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl GroupSync {
    pub(crate) fn start(engine: Arc<dyn Engine>, guard: Guard) -> Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
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

    /// Runs a commit so that the next sync knows about it.
    pub(crate) fn commit<T>(&self, commit: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check()?;
        self.shared.begun.fetch_add(1, Ordering::SeqCst);
        let result = commit();
        self.shared.ended.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// The error of a failed sync, for ever.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.shared.queue.lock().poisoned {
            Some(reason) => Err(Error::Engine(reason.clone())),
            None => Ok(()),
        }
    }

    /// Waits for a sync that begins after this call.
    pub(crate) async fn wait(&self) -> Result<()> {
        let (waiter, answer) = oneshot::channel();
        {
            let mut queue = self.shared.queue.lock();
            if let Some(reason) = &queue.poisoned {
                return Err(Error::Engine(reason.clone()));
            }
            queue.waiters.push(waiter);
            self.shared.wake.notify_one();
        }
        match answer.await {
            Ok(result) => result.map_err(Error::Engine),
            Err(_) => Err(Error::Engine("sync thread ended".into())),
        }
    }
}

impl Drop for GroupSync {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread holds the engine: only after it has ended can the store be opened again.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, engine: &dyn Engine, mut guard: Guard) {
    let mut covered = None;
    loop {
        let waiters = {
            let mut queue = shared.queue.lock();
            if queue.waiters.is_empty() && !queue.closed {
                // Idle: the guard's own flush delays nobody now. A failure shows at the next group.
                parking_lot::MutexGuard::unlocked(&mut queue, || {
                    if let Err(error) = guard.sync() {
                        tracing::error!(%error, "guard file of the metadata store cannot be synced");
                    }
                });
                while queue.waiters.is_empty() && !queue.closed {
                    shared.wake.wait(&mut queue);
                }
            }
            if queue.waiters.is_empty() {
                break;
            }
            std::mem::take(&mut queue.waiters)
        };
        let ended = shared.ended.load(Ordering::SeqCst);
        let result = if covered == Some(shared.begun.load(Ordering::SeqCst)) {
            Ok(())
        } else {
            // Without this thread nobody would be answered ever again: a panic is a failed sync.
            std::panic::catch_unwind(AssertUnwindSafe(|| sync_group(engine, &mut guard)))
                .unwrap_or_else(|_| Err(Error::Engine("the engine panicked".into())))
                .map_err(|error| error.to_string())
        };
        match &result {
            Ok(()) => covered = Some(ended),
            Err(reason) => {
                tracing::error!(%reason, "metadata sync failed; no write is accepted until a restart");
                shared.queue.lock().poisoned = Some(format!("an earlier sync failed: {reason}"));
            }
        }
        for waiter in waiters {
            // A waiter that went away does not need its answer.
            let _ = waiter.send(result.clone());
        }
        if result.is_err() {
            // Those who came between the failure and the poisoning.
            let late = std::mem::take(&mut shared.queue.lock().waiters);
            for waiter in late {
                let _ = waiter.send(result.clone());
            }
            break;
        }
    }
    if let Err(error) = guard.sync() {
        tracing::error!(%error, "guard file of the metadata store cannot be synced");
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::Engine(error.to_string())
}

fn sync_group(engine: &dyn Engine, guard: &mut Guard) -> Result<()> {
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
