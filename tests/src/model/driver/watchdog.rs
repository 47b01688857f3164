//! Ends a test whose gateway hangs. A system call on a mount cannot be given up from within; killing
//! the gateway fails it.
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A thread that kills a gateway when it is watched too long.
pub struct Watchdog {
    orders: Sender<Option<Pid>>,
}

impl Watchdog {
    /// Starts the thread; it ends with the watchdog.
    pub fn start(patience: Duration) -> Self {
        let (orders, told) = channel();
        std::thread::spawn(move || guard(&told, patience));
        Self { orders }
    }

    /// The clock runs for this process from now on.
    pub fn watch(&self, process: u32) {
        // The thread ends after this handle only.
        let _ = self.orders.send(i32::try_from(process).ok().map(Pid::from_raw));
    }

    /// The clock stops.
    pub fn rest(&self) {
        let _ = self.orders.send(None);
    }
}

fn guard(told: &Receiver<Option<Pid>>, patience: Duration) {
    let mut watched: Option<Pid> = None;
    loop {
        watched = match watched {
            None => match told.recv() {
                Ok(next) => next,
                Err(_) => return,
            },
            Some(process) => match told.recv_timeout(patience) {
                Ok(next) => next,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("nothing moved for {patience:?}: killing the gateway");
                    // It may have ended by itself.
                    let _ = kill(process, Signal::SIGKILL);
                    None
                }
            },
        };
    }
}
