//! The keeper: the one gateway that does what must be done once for all of them.
//!
//! Reclaim, scrub, repair, checkpoints, deletions on the chain and the housekeeping of the namespace change what
//! belongs to everybody. The holder of one lease does them; when it dies or ends, another one takes over.
//! A keeper stays one as long as it runs: if it is declared dead, its program ends.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Members;
use super::lease::{Lease, Wish};
use crate::{Error, Result};

/// Name of its lease.
pub(super) const NAME: &[u8] = b"keeper";
/// Pause after an attempt that failed.
const PAUSE: Duration = Duration::from_secs(3);

/// Opens when this gateway becomes the keeper, and stays open.
#[derive(Clone, Debug)]
pub(crate) struct Keeper(Arc<watch::Sender<bool>>);

/// Open: of a gateway that is alone.
impl Default for Keeper {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }
}

impl Keeper {
    /// Asks once at the start, so that a gateway that is alone does not wait for itself. The lease is
    /// to be handed to [`run`].
    pub(crate) async fn begin(members: &Arc<Members>) -> Result<(Self, Option<Lease>)> {
        let lease = match members.lease(NAME).await? {
            Wish::Granted(lease) => Some(lease),
            Wish::Taken { .. } => None,
        };
        Ok((Self(Arc::new(watch::Sender::new(lease.is_some()))), lease))
    }

    /// Whether this gateway is the keeper.
    pub(crate) fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// [`Error::Elsewhere`] unless it is: `what` is done by the keeper alone.
    pub(crate) fn require(&self, what: &str) -> Result<()> {
        if self.is_open() {
            return Ok(());
        }
        Err(Error::Elsewhere(format!(
            "another gateway of this namespace does {what} for all of them: ask the one that `status` calls the keeper"
        )))
    }

    /// Returns when it is.
    pub(crate) async fn opened(&self) {
        // The sender is in `self`.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// Becomes the keeper when it can.
pub(crate) async fn run(members: Arc<Members>, keeper: Keeper, lease: Option<Lease>) {
    let lease = match lease {
        Some(lease) => lease,
        None => loop {
            match members.await_lease(NAME).await {
                Ok(lease) => {
                    tracing::info!("this gateway does the work of all from now on");
                    break lease;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot ask to be the keeper");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        },
    };
    lease.keep();
    keeper.0.send_replace(true);
}
