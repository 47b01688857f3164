//! FLUSH and FUA of one connection.
//!
//! Where the level in force is above `staged`, a flush waits for miners: minutes. So it holds no place
//! of those that reads and writes need, and no payload: what a request writes is written before, and
//! then it changes to one of [`WAITING_FLUSHES`] places of its own.
//!
//! One flush serves many requests: a request joins the flush that is going to begin next, which covers
//! everything that was answered before the request came. One that has begun already might not, so it is
//! joined by nobody. At most [`RUNNING_FLUSHES`] of a connection run at a time, however many wait: each
//! goes over the whole file to know what it waits for.
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::command::patiently;
use crate::export::Device;

/// Requests of one connection that may wait for a flush. While there are as many, further ones hold
/// the places of other requests.
pub const WAITING_FLUSHES: usize = 1024;

/// Flushes of one connection that run at a time. More than one, so that who comes late need not wait
/// for the end of all that came before.
pub const RUNNING_FLUSHES: usize = 4;

type Flush = Shared<BoxFuture<'static, Result<(), vfs::Error>>>;

/// The flushes of one connection.
pub struct Flushes<D> {
    device: Arc<D>,
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
    /// The flush that has not begun.
    next: Arc<Mutex<Option<Flush>>>,
}

impl<D: Device> Flushes<D> {
    pub fn new(device: Arc<D>) -> Self {
        Self {
            device,
            places: Arc::new(Semaphore::new(WAITING_FLUSHES)),
            running: Arc::new(Semaphore::new(RUNNING_FLUSHES)),
            next: Arc::default(),
        }
    }

    /// A place to wait in, once there is one; `None` never comes while the connection lives.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// Makes everything durable that was answered before the call.
    pub async fn flush(&self) -> Result<(), vfs::Error> {
        let flush = self.next.lock().get_or_insert_with(|| self.prepare()).clone();
        flush.await
    }

    /// A flush that begins when it has its turn.
    fn prepare(&self) -> Flush {
        let (device, running) = (self.device.clone(), self.running.clone());
        // A flush that never began must not keep itself, and the export, alive.
        let next = Arc::downgrade(&self.next);
        async move {
            let Ok(_turn) = running.acquire().await else {
                return Err(vfs::Error::ShuttingDown);
            };
            if let Some(next) = next.upgrade() {
                // It begins: who comes from here on takes the one after it.
                next.lock().take();
            }
            patiently(|| device.flush()).await
        }
        .boxed()
        .shared()
    }
}
