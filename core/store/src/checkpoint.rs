//! Checkpoints: the metadata, sealed, on the network.
//!
//! A checkpoint is a consistent image of every row that cannot be rebuilt from the packs themselves
//! ([`image`]): names, attributes, extents, references, wrapped keys. Where chunks lie is not in it:
//! that the packs' own indexes say, so that a checkpoint needs no particular file to be still there,
//! and moving chunks around makes no checkpoint old.
//!
//! # How it travels
//! As chunks of a key domain of its own ([`DOMAIN`]), through the same staging, packs, read-back and
//! repair as everything else: a change of a few KiB costs no file of its own, it rides in the next
//! pack. The rows are cut into blocks at keys that a hash chooses, so a block whose rows did not
//! change is the same block again and is not written again: every checkpoint is a full one, and costs
//! what changed. Nor is such a block read again, while the engine tells what was committed ([`changed`]). A last chunk, the [`manifest`], lists the blocks. The owner that a segment's index
//! notes of each chunk says which chunks are manifests: whoever can open indexes finds them all.
//!
//! # When
//! At intervals, whenever something changed; before a wait for `placed` or `verified` ends well, so
//! that what was waited for can be restored; and when a file is about to be deleted, which waits
//! until a checkpoint is placed that does not need it ([`coverage`]).
//!
//! # How long
//! The last two that are verified stay, and the last one of the lineage before: now and then all
//! blocks are written anew, so that not every checkpoint there is shares a block with every other. One
//! with a chunk that nobody can give back any more is followed by one that shares nothing with it.
//!
//! # One gateway at a time
//! A restore begins a new *incarnation*, which numbers its packs above all earlier ones. A gateway
//! that finds a pack of a later incarnation under its account stops ([`fence`]).
mod changed;
pub(crate) mod coverage;
pub(crate) mod fence;
pub(crate) mod image;
mod keep;
pub(crate) mod live;
pub(crate) mod manifest;
pub(crate) mod owners;
pub(crate) mod rows;
pub(crate) mod status;
mod take;
#[cfg(test)]
pub(crate) mod tests;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::status::CheckpointStatus;
use self::take::Taker;
use crate::place::Placing;
use crate::place::network::Network;
use crate::remote::unlisted::Unlisted;
use crate::{ChunkId, DomainId, Result, Store};

/// Key domain of checkpoints. No bucket has this number; the lowest, so that its keys come first in
/// a segment's key table and are never left out.
pub(crate) const DOMAIN: DomainId = DomainId(0);
/// Owner inode of the chunks of a manifest.
pub(crate) const MANIFEST: u64 = u64::MAX - 1;
/// Owner inode of the chunks of blocks.
pub(crate) const BLOCK: u64 = u64::MAX - 2;

/// The running checkpointer. Dropping it stops it; [`Checkpoints::stop`] also waits.
pub(crate) struct Checkpoints {
    taker: Arc<Taker>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Checkpoints {
    /// Starts to take checkpoints of `store` every `interval`. `owner` is whose files are ours.
    pub(crate) fn start(
        store: Store,
        placing: Arc<Placing>,
        network: Arc<dyn Network>,
        owner: cess::AccountId,
        interval: Duration,
    ) -> Result<Self> {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let fence = fence::Watch::new(network, owner);
        let (changed, hearing) = changed::Changed::new(&store.inner.meta)?;
        tasks.spawn(stop.clone().run_until_cancelled_owned(hearing));
        let taker = Arc::new(Taker::new(store, placing, interval, changed));
        let running = worker::run(taker.clone(), fence);
        tasks.spawn(stop.clone().run_until_cancelled_owned(running));
        if taker.store.is_shared() {
            let asked = worker::take_what_others_ask(taker.clone());
            tasks.spawn(stop.clone().run_until_cancelled_owned(asked));
        }
        Ok(Self { taker, stop, tasks })
    }

    /// The chunks of a checkpoint that was begun after this call: it knows everything committed
    /// before. Callers at the same time share one. What was begun for a caller goes on when that one
    /// waits no longer: the next finds it done.
    pub(crate) async fn now(&self) -> Result<Vec<ChunkId>> {
        let (taker, asked) = (self.taker.clone(), self.taker.coverage.tick());
        let taking = async move { taker.taken(asked).await };
        let taking = self.stop.clone().run_until_cancelled_owned(taking);
        match self.tasks.spawn(taking).await {
            Ok(Some(taken)) => taken,
            Ok(None) | Err(_) => Err(crate::Error::ShuttingDown),
        }
    }

    /// What an operator sees.
    pub(crate) fn status(&self) -> Result<CheckpointStatus> {
        self.taker.status()
    }

    /// Stops between two awaits; a checkpoint that was not finished is garbage in staging.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The file `fid` as the chain lists it, if it is `owner`'s and can be a pack.
pub(crate) async fn listed(
    network: &dyn Network,
    owner: cess::AccountId,
    fid: cess::Hash,
    endpoint: impl Fn(cess::AccountId) -> Option<String>,
) -> Result<Option<Unlisted>> {
    let file = network.file(fid).await?;
    Ok(file
        .filter(|file| file.owners.contains(&owner))
        .and_then(|file| crate::pack::record::Names::listed(&file, endpoint))
        .map(|names| Unlisted::new(fid, names)))
}
