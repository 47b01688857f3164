//! Threads for the arithmetic of packs, which give way to everything else.
//!
//! Laying out, erasure-coding and hashing a segment takes a processor for a tenth of a second.
//! Nobody waits for it the way somebody waits for the answer of a door, so it runs on threads of
//! its own with a low priority: on a busy machine the kernel gives all other threads nine tenths of
//! the time. Not the lowest, with which packs would hardly get anywhere for as long as the machine is
//! busy, and staging would fill.
#![allow(unsafe_code)]
// Reason: the priority of one thread, as opposed to that of the process, can be set by bare system
// calls only.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{Error, Result};

/// Weighs a tenth of a common thread.
const NICE: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when the pool is dropped and what was handed in is done.
pub(crate) struct Pool {
    jobs: mpsc::Sender<Job>,
}

impl Pool {
    /// One thread per processor, at most `most`.
    pub(crate) fn new(most: usize) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for number in 0..processors.clamp(1, most.max(1)) {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name(format!("pack-{number}"))
                .spawn(move || {
                    give_way();
                    loop {
                        // One waits for a job, the others for their turn to wait.
                        let job = queue.lock().recv();
                        let Ok(job) = job else { return };
                        job();
                    }
                })
                .map_err(|error| Error::Disk(format!("cannot start a thread for packs: {error}")))?;
        }
        Ok(Self { jobs })
    }

    /// Runs `work` on one of the threads. When the caller goes away, it is done all the same.
    pub(crate) async fn run<T, E>(&self, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            // A panic must not take the thread along; its caller gets no answer and says so.
            if let Ok(result) = std::panic::catch_unwind(AssertUnwindSafe(work)) {
                // The caller may have gone away.
                let _ = answer.send(result);
            }
        });
        if self.jobs.send(job).is_err() {
            return Err(Error::ShuttingDown.into());
        }
        match answered.await {
            Ok(result) => result,
            Err(_) => Err(Error::Disk("the arithmetic of a pack was cut off".into()).into()),
        }
    }
}

/// Lets every other thread go before this one.
fn give_way() {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread; the parameter outlives the call.
    let scheduled = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameter) };
    // SAFETY: no pointer is passed; 0 is the calling thread, which Linux treats apart from its
    // process.
    let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    if scheduled != 0 || set != 0 {
        // Lowering is always allowed; a sandbox may forbid the calls. Packs are built all the same.
        tracing::debug!("the threads for packs keep their priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_at_a_low_priority_and_a_panic_ends_no_thread() {
        let pool = Pool::new(1).unwrap();
        for _ in 0..3 {
            let cut_off = pool
                .run(|| -> Result<()> { std::panic::panic_any("on purpose") })
                .await;
            assert!(matches!(cut_off, Err(Error::Disk(_))));
        }
        let (nice, policy) = pool
            .run(|| -> Result<_> {
                // SAFETY: no pointer is passed; 0 is the calling thread.
                Ok(unsafe {
                    (
                        libc::getpriority(libc::PRIO_PROCESS, 0),
                        libc::sched_getscheduler(0),
                    )
                })
            })
            .await
            .unwrap();
        assert_eq!((nice, policy), (NICE, libc::SCHED_BATCH));
        // SAFETY: as above.
        let here = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        assert!(here < NICE, "this thread keeps its own");
    }
}
