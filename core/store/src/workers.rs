//! Background work as named workers: what each is doing, and a hand on each.
//!
//! Everything that the store does by itself is done under a name: an operator sees who is at work
//! on what, what it has done and why it failed last, and can pause it, let it go on, or limit its
//! bytes per second. A worker is a name, not a task: several tasks may work under one name (one
//! per pack, say), and they share its limit.
//!
//! A worker asks for its [`Worker::turn`] before each piece of work and waits there while it is
//! paused; what is under way is finished. One that moves bytes is registered as such and calls
//! [`Worker::take`] before; only such a worker can be limited.
//!
//! Pauses and limits live as long as the process: a gateway that starts does all its work, so that
//! a forgotten pause cannot outlive the reason for it.
//!
//! ```ignore
//! let worker = workers.register_mover("scrubber");
//! loop {
//!     worker.turn().await;
//!     let work = worker.working(format!("pack {pack}"));
//!     worker.take(range.len() as u64).await;
//!     match read(range).await {
//!         Ok(()) => worker.count("ranges read", 1),
//!         Err(error) => worker.failed(&error),
//!     }
//!     drop(work);
//!     worker.waits(pause);
//!     tokio::time::sleep(pause).await;
//! }
//! ```
mod rate;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use self::rate::Rate;
pub use self::status::{WorkerError, WorkerState, WorkerStatus};
use crate::clock;

/// The workers of a store. Cheap to clone.
#[derive(Clone, Default)]
pub struct Workers {
    known: Arc<Mutex<BTreeMap<&'static str, Worker>>>,
}

/// One named worker. Cheap to clone; all clones are the same worker.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

/// A piece of work, listed while this lives.
#[must_use = "the work is listed only while this lives"]
pub struct Work {
    shared: Arc<Shared>,
    number: u64,
}

/// An order that no worker can follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no worker of that name.
    #[error("there is no worker {name:?}; there are: {known}")]
    NoSuchWorker {
        /// The name asked for.
        name: String,
        /// The names there are, separated by commas.
        known: String,
    },
    /// It moves no bytes, so there is nothing to limit.
    #[error("the worker {name:?} moves no bytes and cannot be limited; those that can: {movers}")]
    MovesNothing {
        /// The name asked for.
        name: String,
        /// The names of those that move bytes, separated by commas.
        movers: String,
    },
}

struct Shared {
    name: &'static str,
    /// It asks before it moves bytes.
    is_mover: AtomicBool,
    state: Mutex<State>,
    /// What an operator wants; whoever waits is woken when it changes.
    orders: watch::Sender<Orders>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    paused: bool,
    /// Bytes per second.
    limit: Option<u64>,
}

#[derive(Default)]
struct State {
    /// Numbers the pieces of work.
    next: u64,
    work: BTreeMap<u64, String>,
    waits_until: Option<Instant>,
    counters: BTreeMap<&'static str, u64>,
    failures: u64,
    last_error: Option<WorkerError>,
    rate: Rate,
}

impl Workers {
    /// The worker of that name, made at the first call.
    pub fn register(&self, name: &'static str) -> Worker {
        self.known
            .lock()
            .entry(name)
            .or_insert_with(|| Worker::new(name))
            .clone()
    }

    /// As [`Self::register`], of a worker that moves bytes: it can be limited.
    pub fn register_mover(&self, name: &'static str) -> Worker {
        let worker = self.register(name);
        worker.shared.is_mover.store(true, Ordering::Relaxed);
        worker
    }

    /// What all workers are doing, by name.
    pub fn list(&self) -> Vec<WorkerStatus> {
        let known: Vec<Worker> = self.known.lock().values().cloned().collect();
        known.iter().map(Worker::status).collect()
    }

    /// Makes a worker wait before its next piece of work.
    pub fn pause(&self, name: &str) -> Result<(), OrderError> {
        self.find(name)?.order(|orders| orders.paused = true);
        Ok(())
    }

    /// Lets a paused worker go on.
    pub fn resume(&self, name: &str) -> Result<(), OrderError> {
        self.find(name)?.order(|orders| orders.paused = false);
        Ok(())
    }

    /// Limits a worker to `bytes` per second; `None` or zero: no limit. Takes effect at once, also
    /// on who waits. [`OrderError::MovesNothing`] of one that is no mover.
    pub fn limit(&self, name: &str, bytes: Option<u64>) -> Result<(), OrderError> {
        let worker = self.find(name)?;
        if !worker.is_mover() {
            return Err(OrderError::MovesNothing {
                name: name.to_owned(),
                movers: self.names(Worker::is_mover),
            });
        }
        worker.order(|orders| orders.limit = bytes.filter(|bytes| *bytes > 0));
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Worker, OrderError> {
        let found = self.known.lock().get(name).cloned();
        found.ok_or_else(|| OrderError::NoSuchWorker {
            name: name.to_owned(),
            known: self.names(|_| true),
        })
    }

    /// The names of those workers for which `wanted`, separated by commas.
    fn names(&self, wanted: impl Fn(&Worker) -> bool) -> String {
        let known = self.known.lock();
        let names = known.values().filter(|worker| wanted(worker));
        names
            .map(|worker| worker.shared.name)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Worker {
    fn new(name: &'static str) -> Self {
        let shared = Shared {
            name,
            is_mover: AtomicBool::new(false),
            state: Mutex::default(),
            orders: watch::Sender::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn is_mover(&self) -> bool {
        self.shared.is_mover.load(Ordering::Relaxed)
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.shared.orders.send_modify(change);
    }

    /// Waits while the worker is paused.
    pub async fn turn(&self) {
        let mut orders = self.shared.orders.subscribe();
        // The sender lives in `self`.
        let _ = orders.wait_for(|orders| !orders.paused).await;
    }

    /// Waits until the limit lets `bytes` through. The tasks of one worker share its limit; a piece
    /// larger than what a second allows goes through whole, and the next waits the longer. Who calls
    /// this is a mover from then on, however it was registered.
    pub async fn take(&self, bytes: u64) {
        self.shared.is_mover.store(true, Ordering::Relaxed);
        let mut orders = self.shared.orders.subscribe();
        loop {
            let limit = orders.borrow_and_update().limit;
            let now = tokio::time::Instant::now();
            let wait = self.shared.state.lock().rate.take(bytes, limit, now);
            let Some(wait) = wait else { return };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = orders.changed() => {}
            }
        }
    }

    /// The worker is at work on `what` (an object of "is working on …") for as long as the answer
    /// lives.
    pub fn working(&self, what: impl Into<String>) -> Work {
        let mut state = self.shared.state.lock();
        let number = state.next;
        state.next += 1;
        state.work.insert(number, what.into());
        state.waits_until = None;
        Work {
            shared: self.shared.clone(),
            number,
        }
    }

    /// The worker does nothing for `pause`, unless it is woken.
    pub fn waits(&self, pause: Duration) {
        self.shared.state.lock().waits_until = clock::monotonic().checked_add(pause);
    }

    /// Adds to one of its counters; a counter's name is a plural ("packs closed", "bytes pushed").
    pub fn count(&self, counter: &'static str, by: u64) {
        *self.shared.state.lock().counters.entry(counter).or_default() += by;
    }

    /// Notes that a piece of work failed, and why.
    pub fn failed(&self, error: &dyn std::fmt::Display) {
        let mut state = self.shared.state.lock();
        state.failures += 1;
        state.last_error = Some(WorkerError {
            text: error.to_string(),
            at: clock::wall().as_secs(),
        });
    }

    /// What the worker is doing.
    pub fn status(&self) -> WorkerStatus {
        let orders = *self.shared.orders.borrow();
        let state = self.shared.state.lock();
        let left = state
            .waits_until
            .map(|until| until.saturating_duration_since(clock::monotonic()))
            .filter(|left| !left.is_zero());
        let doing = match left {
            _ if !state.work.is_empty() => WorkerState::Working,
            _ if orders.paused => WorkerState::Paused,
            Some(left) => WorkerState::Waiting {
                seconds: left.as_secs_f64().ceil() as u64,
            },
            None => WorkerState::Idle,
        };
        WorkerStatus {
            name: self.shared.name.to_owned(),
            state: doing,
            paused: orders.paused,
            working_on: state.work.values().cloned().collect(),
            limit: orders.limit,
            counters: state
                .counters
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            failures: state.failures,
            last_error: state.last_error.clone(),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.shared.state.lock().work.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn one(workers: &Workers) -> WorkerStatus {
        let mut list = workers.list();
        assert_eq!(list.len(), 1);
        list.remove(0)
    }

    #[test]
    fn a_worker_shows_what_it_does() {
        let workers = Workers::default();
        let worker = workers.register("packer");
        assert_eq!(one(&workers).state, WorkerState::Idle);
        worker.waits(Duration::from_secs(10));
        assert_eq!(one(&workers).state, WorkerState::Waiting { seconds: 10 });
        let first = worker.working("pack 1");
        let second = workers.register("packer").working("pack 2");
        let status = one(&workers);
        assert_eq!(status.state, WorkerState::Working);
        assert_eq!(status.working_on, ["pack 1", "pack 2"]);
        drop(first);
        assert_eq!(one(&workers).working_on, ["pack 2"]);
        drop(second);
        assert_eq!(one(&workers).state, WorkerState::Idle);
        worker.count("packs closed", 2);
        worker.count("packs closed", 1);
        worker.failed(&"no space");
        worker.failed(&"no miners");
        let status = one(&workers);
        assert_eq!(status.counters["packs closed"], 3);
        assert_eq!(status.failures, 2);
        let error = status.last_error.unwrap();
        assert_eq!(error.text, "no miners");
        assert!(error.at > 0);
    }

    #[tokio::test]
    async fn a_paused_worker_finishes_what_it_does_and_waits_for_its_turn() {
        let workers = Workers::default();
        let worker = workers.register("scrubber");
        worker.turn().await;
        let work = worker.working("pack 1");
        workers.pause("scrubber").unwrap();
        assert_eq!(one(&workers).state, WorkerState::Working);
        drop(work);
        assert_eq!(one(&workers).state, WorkerState::Paused);
        assert!(worker.turn().now_or_never().is_none());
        let waiting = tokio::spawn(async move { worker.turn().await });
        tokio::task::yield_now().await;
        workers.resume("scrubber").unwrap();
        waiting.await.unwrap();
        assert_eq!(one(&workers).state, WorkerState::Idle);
    }

    #[tokio::test]
    async fn tasks_of_one_worker_share_its_limit_and_lifting_it_frees_who_waits() {
        let workers = Workers::default();
        let worker = workers.register_mover("scrubber");
        workers.limit("scrubber", Some(1)).unwrap();
        assert_eq!(one(&workers).limit, Some(1));
        let other = workers.register("scrubber");
        // Days of debt.
        worker.take(1_000_000).await;
        assert!(other.take(1).now_or_never().is_none());
        let waiting = tokio::spawn(async move { other.take(1).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        workers.limit("scrubber", Some(0)).unwrap();
        waiting.await.unwrap();
        assert_eq!(one(&workers).limit, None);
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_there_are() {
        let workers = Workers::default();
        workers.register("packer");
        workers.register("declarer");
        let error = workers.pause("paker").unwrap_err().to_string();
        assert_eq!(error, "there is no worker \"paker\"; there are: declarer, packer");
    }

    #[test]
    fn who_moves_no_bytes_is_not_limited_and_those_who_do_are_named() {
        let workers = Workers::default();
        workers.register("packer");
        workers.register_mover("scrubber");
        workers.register_mover("placer");
        for bytes in [Some(1), None] {
            let error = workers.limit("packer", bytes).unwrap_err().to_string();
            assert_eq!(
                error,
                "the worker \"packer\" moves no bytes and cannot be limited; those that can: placer, scrubber"
            );
        }
        workers.limit("placer", Some(1)).unwrap();
        // Who turns out to move bytes is one of them.
        let late = workers.register("packer").take(1).now_or_never();
        assert!(late.is_some());
        workers.limit("packer", Some(1)).unwrap();
        assert!(matches!(
            workers.limit("paker", Some(1)),
            Err(OrderError::NoSuchWorker { .. })
        ));
    }
}
