//! What the handle, the readers and the workers of an open store share.
use std::collections::HashMap;
use std::sync::Arc;

use meta::Meta;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::disk::DiskCache;
use crate::cache::memory::MemoryCache;
use crate::checkpoint::coverage::Coverage;
use crate::checkpoint::fence::Fence;
use crate::chunk_ids::ChunkIds;
use crate::domains::Domains;
use crate::keys::Keys;
use crate::members::{Keeper, Members};
use crate::peers::Peers;
use crate::read::Flight;
use crate::read::trace::Traces;
use crate::remote::Remote;
use crate::staging::Staging;
use crate::workers::Workers;
use crate::{ChunkId, Error, Result, StoreConfig};

/// The parts of an open store. When the last handle goes, its workers stop.
pub(crate) struct Inner {
    pub config: StoreConfig,
    pub meta: Meta,
    /// This gateway among those on the namespace.
    pub members: Arc<Members>,
    /// Open when it does the work of all.
    pub keeper: Keeper,
    /// Asks other gateways for what lies in their staging.
    pub peers: Peers,
    pub keys: Keys,
    pub domains: Domains,
    pub ids: ChunkIds,
    pub staging: Staging,
    pub memory: MemoryCache,
    pub disk: DiskCache,
    /// Reads from miners; `None` without a network.
    pub remote: Option<Remote>,
    /// Reads that others can join.
    pub flights: Mutex<HashMap<ChunkId, Flight>>,
    /// How the last reads went.
    pub traces: Traces,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    pub workers: Workers,
    /// Whether this gateway may go on with the namespace.
    pub fence: Arc<Fence>,
    /// Which files may be deleted, as far as checkpoints know.
    pub coverage: Arc<Coverage>,
}

impl Inner {
    /// Refuses new work once the store is closing.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.stop.is_cancelled() {
            Err(Error::ShuttingDown)
        } else {
            Ok(())
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
