//! Connections that are used again.
use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::connection::{Connection, Connector};
use super::failure::Failure;
use super::wait;

/// At most so many connections; whoever wants one more waits.
pub(super) struct Pool {
    connector: Arc<Connector>,
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    /// Connections that are in use or being made.
    used: usize,
}

impl Pool {
    pub(super) fn new(connector: Arc<Connector>, most: usize) -> Arc<Self> {
        Arc::new(Self {
            connector,
            most,
            state: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    /// A connection with a transaction begun in it by `begin`, which is tried on one connection after the
    /// other: those that lay idle may be dead.
    pub(super) fn begin(
        self: &Arc<Self>,
        deadline: Instant,
        begin: impl AsyncFn(&Connection) -> Result<(), Failure>,
    ) -> Result<Lease, Failure> {
        loop {
            let (lease, fresh) = self.take(deadline)?;
            match wait::until(deadline, begin(&lease)).unwrap_or_else(|| Err(Failure::late())) {
                Ok(()) => return Ok(lease),
                Err(failure) => {
                    lease.give_up();
                    if fresh || !matches!(failure, Failure::Lost(_)) || Instant::now() >= deadline {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// A connection, and whether it is a new one.
    pub(super) fn take(self: &Arc<Self>, deadline: Instant) -> Result<(Lease, bool), Failure> {
        let idle = wait::yielding(|| {
            let mut state = self.state.lock();
            loop {
                state.idle.retain(|connection| !connection.client.is_closed());
                if let Some(connection) = state.idle.pop() {
                    state.used += 1;
                    return Ok(Some(connection));
                }
                if state.used < self.most {
                    state.used += 1;
                    return Ok(None);
                }
                if self.freed.wait_until(&mut state, deadline).timed_out() {
                    return Err(Failure::Lost(format!(
                        "all {} connections to the database are in use",
                        self.most
                    )));
                }
            }
        })?;
        if let Some(connection) = idle {
            return Ok((self.lease(connection), false));
        }
        match self.connector.connect(deadline) {
            Ok(connection) => Ok((self.lease(connection), true)),
            Err(failure) => {
                self.release(None);
                Err(failure)
            }
        }
    }

    fn lease(self: &Arc<Self>, connection: Connection) -> Lease {
        Lease {
            pool: Arc::clone(self),
            connection: Some(connection),
            broken: Cell::new(false),
        }
    }

    fn release(&self, connection: Option<Connection>) {
        let mut state = self.state.lock();
        state.used -= 1;
        state.idle.extend(connection);
        self.freed.notify_one();
    }
}

/// A connection in use; it goes back when this is dropped.
pub(super) struct Lease {
    pool: Arc<Pool>,
    connection: Option<Connection>,
    broken: Cell<bool>,
}

impl Lease {
    /// Closes the connection instead of using it again: nobody knows what it is at.
    pub(super) fn give_up(&self) {
        self.broken.set(true);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.broken.get()
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        // Taken by `drop` alone.
        self.connection.as_ref().expect("a lease holds its connection")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = self.connection.take().filter(|_| !self.broken.get());
        self.pool.release(connection);
    }
}
