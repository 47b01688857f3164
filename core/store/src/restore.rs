//! Restore: a namespace from the chain, the miners and a passphrase alone.
//!
//! 1. The chain lists the files of an account. One of the newest, or one that is named, gives the root
//!    row; the passphrase has to open it before anything else is read ([`root`]).
//! 2. Every segment says which chunks it holds and carries their keys ([`packs`]). From that alone all
//!    rows about packs are made anew: which chunk lies where is never taken from a checkpoint.
//! 3. Among the chunks are the manifests of checkpoints. The newest one of which every block can be
//!    read and is what its digest says is chosen; one that is damaged is passed over ([`choose`]).
//! 4. Its rows are put back, and what no pack holds is noted as lost ([`apply`]): bytes that never
//!    reached the network. Reading those is an error, for ever; they are never zeros or older bytes.
//! 5. A new incarnation begins, with numbers of its own for packs, chunks and epochs.
//!
//! Without any checkpoint there are still the chunks and who asked for them ([`Report::found`]).
//!
//! Everything goes into an empty metadata store under a mark that no gateway opens. A restore that was
//! cut off goes on when it is run again: packs that are done stay done, and the rest repeats.
mod apply;
mod choose;
mod packs;
mod root;
#[cfg(test)]
mod tests;

pub use self::apply::finish;

use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use cess::{AccountId, Hash};
use meta::{Durability, Meta};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::checkpoint::rows;
use crate::place::isolate;
use crate::place::miners::Miners;
use crate::place::network::{Live, Network};
use crate::remote::Remote;
use crate::restore::root::Roots;
use crate::{ChunkId, DomainId, Error, Owner, RestoredStatus, Result, Store, StoreConfig};

/// What to restore.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// This checkpoint and no other; `None`: the newest one that can be read.
    pub checkpoint: Option<u32>,
    /// Go on without packs that cannot be read now: what is in them is lost for the restored namespace.
    pub accept_loss: bool,
    /// Files to look at beside those that the chain lists for the account. The first of them whose key
    /// opens says which namespace is restored, if the account has several.
    pub more: Vec<Hash>,
    /// Build names from the packs' indexes when no checkpoint can be read.
    pub without_checkpoint: bool,
    /// Chunks, chosen at random, that are read back at the end.
    pub sample: usize,
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Files looked at, of how many.
    Files(u64, u64),
    /// Blocks of the checkpoint read and checked, of how many.
    Blocks(u64, u64),
    /// Rows put back, of how many.
    Rows(u64, u64),
}

/// A checkpoint that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its number.
    pub number: u32,
    /// The incarnation that took it.
    pub incarnation: u32,
    /// When its image was taken, in milliseconds since 1970-01-01 UTC.
    pub taken: u64,
    /// Rows in it.
    pub rows: u64,
    /// Why it was not used, if it was not.
    pub passed_over: Option<String>,
}

/// A chunk that a pack holds, as the pack's index describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundChunk {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its key domain.
    pub domain: DomainId,
    /// Who asked for it.
    pub owner: Owner,
    /// Bytes of plaintext.
    pub len: u32,
}

/// What a restore did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Files of the account that were looked at.
    pub files: u64,
    /// Those of them that are of something else.
    pub foreign: u64,
    /// A file of each other namespace that the account holds and the passphrase opens; named in the
    /// request, it has that one restored.
    pub other_namespaces: Vec<String>,
    /// Packs brought back.
    pub packs: u64,
    /// Segments of them. Nobody has read them back yet: what lies in them counts as placed until the
    /// scrubber has looked at them.
    pub segments: u64,
    /// Chunks in them.
    pub chunks: u64,
    /// Bytes of the chunks' frames.
    pub bytes: u64,
    /// FIDs of packs that could not be read, and why.
    pub unreadable: Vec<(String, String)>,
    /// The checkpoint that was used; `None`: there was none.
    pub checkpoint: Option<Found>,
    /// Checkpoints that were found and not used.
    pub others: Vec<Found>,
    /// Chunks that the checkpoint calls live and no pack holds.
    pub lost: Vec<u64>,
    /// Chunks in packs that nothing refers to.
    pub dead: u64,
    /// Chunks that were read back at the end.
    pub sampled: u64,
    /// What was wrong with those that could not be.
    pub sample_failed: Vec<String>,
    /// The incarnation that begins.
    pub incarnation: u32,
    /// Seconds it took.
    pub seconds: f64,
    /// Chunks for names to be made from; filled without a checkpoint only.
    #[serde(skip)]
    pub found: Vec<FoundChunk>,
}

/// Tells how far it is.
pub type Tell<'a> = dyn Fn(Progress) + Send + Sync + 'a;

/// Restores into `meta`, which must be empty or hold a restore that was cut off. Without a checkpoint
/// the caller makes names of [`Report::found`] and calls [`finish`]; otherwise all is done.
///
/// [`Error::Key`] when the passphrase opens no pack of `owner`; [`Error::CannotRestore`] when there is
/// no pack, packs cannot be read now, or no checkpoint can.
pub async fn restore(
    config: StoreConfig,
    meta: Meta,
    passphrase: Zeroizing<Vec<u8>>,
    network: (cess::chain::Chain, cess::miner::MinerClient),
    owner: AccountId,
    request: &Request,
    tell: &Tell<'_>,
) -> Result<Report> {
    let network = Arc::new(Live::new(network.0, network.1)) as Arc<dyn Network>;
    restore_over(config, meta, passphrase, network, owner, request, tell).await
}

/// [`restore`] over any network.
pub(crate) async fn restore_over(
    config: StoreConfig,
    meta: Meta,
    passphrase: Zeroizing<Vec<u8>>,
    network: Arc<dyn Network>,
    owner: AccountId,
    request: &Request,
    tell: &Tell<'_>,
) -> Result<Report> {
    let began = Instant::now();
    begin(&meta).await?;
    let miners = Arc::new(Miners::new(network.clone(), config.pace.miners_fresh));
    miners.list().await?;
    let mut fids = network.held(owner).await?;
    for fid in &request.more {
        if !fids.contains(fid) {
            fids.push(*fid);
        }
    }
    let remote = Remote::new(meta.clone(), network.clone(), miners.clone(), &config.pace, 0);
    let roots = Roots {
        passphrase: &passphrase,
        remote: &remote,
        network: &*network,
        miners: &miners,
        owner,
    };
    let others = roots.open(&meta, &fids, &request.more).await?;
    drop(remote);
    let inner = Store::parts(
        config,
        meta.clone(),
        passphrase,
        Some((network.clone(), miners.clone())),
    )
    .await?;
    let store = Store::bare(inner);
    let outcome = go_on(&store, &*network, &miners, owner, fids, request, tell).await;
    store.shutdown().await;
    let mut report = outcome?;
    report.other_namespaces = others.iter().map(Hash::to_string).collect();
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// What follows once the keys are open.
async fn go_on(
    store: &Store,
    network: &dyn Network,
    miners: &Miners,
    owner: AccountId,
    fids: Vec<Hash>,
    request: &Request,
    tell: &Tell<'_>,
) -> Result<Report> {
    let mut report = Report::default();
    let packs = packs::Packs {
        store,
        network,
        miners,
        owner,
    };
    let read = packs.rebuild(&fids, request, &mut report, tell).await?;
    match choose::choose(store, request, &mut report, tell).await? {
        Some(chosen) => apply::apply(store, &chosen, read, &mut report, tell).await?,
        None => {
            report.found = packs.found().await?;
            apply::without_checkpoint(store, read, &mut report).await?;
        }
    }
    (report.sampled, report.sample_failed) = apply::sample(store, request.sample).await?;
    Ok(report)
}

/// What an operator sees of the restore that this incarnation began with; `unseen`: segments that nobody
/// has looked at since.
pub(crate) fn status<R: meta::Read + ?Sized>(read: &R, unseen: u64) -> Result<Option<RestoredStatus>> {
    let Some(restored) = rows::restored(read)? else {
        return Ok(None);
    };
    let missing = isolate::all(read)?.len() - isolate::rotten(read)?.len();
    Ok(Some(RestoredStatus {
        incarnation: rows::incarnation(read)?,
        at: restored.at,
        checkpoint: restored.checkpoint.map(|(number, _)| number),
        taken: restored.checkpoint.map(|(_, taken)| taken),
        lost_chunks: restored.lost,
        missing_chunks: missing as u64,
        unreadable_packs: restored.unreadable,
        unseen_segments: unseen,
    }))
}

/// Marks `meta` as being restored.
async fn begin(meta: &Meta) -> Result<()> {
    meta.write(Durability::Synced, |tx| {
        if rows::restoring(tx)? != rows::Restoring::Not {
            return Ok(());
        }
        let first = tx
            .range(Bound::Included(&[0x01]), Bound::Unbounded, false)?
            .next()
            .transpose()?;
        if first.is_some() {
            return Err(Error::CannotRestore(
                "the directory holds a namespace already; choose an empty one".into(),
            ));
        }
        rows::put_restoring(tx, None)
    })
    .await
}
