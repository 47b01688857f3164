//! The thread that makes blocks: on a clock, or as soon as there is something to put in.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::node::Node;
use crate::error::{Error, Result};

/// How long an instant block waits for company after the first extrinsic arrived.
const GATHER: Duration = Duration::from_millis(3);
/// Least time between instant blocks, so that a signed era of a few dozen blocks does not end
/// while its extrinsic is on the way.
const SPACING: Duration = Duration::from_millis(20);
/// Pause after a block could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// The running author. Stop it with [`Author::stop`].
pub struct Author {
    node: Arc<Node>,
    thread: Option<JoinHandle<()>>,
}

impl Author {
    /// Starts making blocks.
    pub fn start(node: Arc<Node>) -> Result<Self> {
        let thread = std::thread::Builder::new()
            .name("block-author".into())
            .spawn({
                let node = node.clone();
                move || run(&node)
            })
            .map_err(Error::io("starting the block author"))?;
        Ok(Self {
            node,
            thread: Some(thread),
        })
    }

    /// Stops after the block under construction.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        *self.node.stopping.lock() = true;
        self.node.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread ends by itself; a panic in it has been reported by then.
            let _ = thread.join();
        }
    }
}

impl Drop for Author {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Sleeps until `deadline` (for ever where `None`) or a wake-up. Answers whether to stop.
fn sleep(node: &Node, deadline: Option<Instant>, ready: impl Fn() -> bool) -> bool {
    let mut stopping = node.stopping.lock();
    // Checked under the lock that a wake-up takes, so that none is lost.
    if *stopping || ready() {
        return *stopping;
    }
    match deadline {
        Some(deadline) => {
            node.wake.wait_until(&mut stopping, deadline);
        }
        None => node.wake.wait(&mut stopping),
    }
    *stopping
}

fn run(node: &Node) {
    let mut last = Instant::now();
    loop {
        let sealing = node.sealing();
        let due = last + sealing.period;
        let instant = sealing.period.is_zero();
        let make = if sealing.stalled {
            false
        } else if instant {
            node.wants_block(sealing)
        } else {
            Instant::now() >= due
        };
        if !make {
            let deadline = (!sealing.stalled && !instant).then_some(due);
            let ready = || {
                let now = node.sealing();
                now != sealing || (instant && !now.stalled && node.wants_block(now))
            };
            if sleep(node, deadline, ready) {
                return;
            }
            continue;
        }
        if instant {
            std::thread::sleep(GATHER.max(SPACING.saturating_sub(last.elapsed())));
        }
        last = Instant::now();
        if let Err(error) = node.seal() {
            tracing::error!(%error, "no block");
            if sleep(node, Some(Instant::now() + RETRY), || false) {
                return;
            }
        }
        if *node.stopping.lock() {
            return;
        }
    }
}
