//! Restore: a namespace from the chain, the miners and a passphrase alone.
//!
//! 1. The chain lists the files of an account. One of the newest gives the root row; the passphrase
//!    has to open it before anything else is read.
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

use crate::checkpoint::{listed, rows};
use crate::keys::passphrase;
use crate::place::miners::Miners;
use crate::place::network::{Live, Network};
use crate::remote::Remote;
use crate::{ChunkId, DomainId, Error, Owner, Result, Store, StoreConfig, tables};

/// Files that are asked for a root row before the passphrase is called wrong; and those of them that
/// are asked in a way that nobody can lie about, which costs a whole segment each.
const ROOT_TRIES: [(bool, usize); 2] = [(false, 8), (true, 1)];

/// What to restore.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// This checkpoint and no other; `None`: the newest one that can be read.
    pub checkpoint: Option<u32>,
    /// Go on without packs that cannot be read now: what is in them is lost for the restored namespace.
    pub accept_loss: bool,
    /// Files to look at beside those that the chain lists for the account.
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
    /// Packs brought back.
    pub packs: u64,
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
    open_root(&meta, &passphrase, &remote, &*network, &miners, owner, &fids).await?;
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

/// Finds a root row that the passphrase opens, and keeps it.
async fn open_root(
    meta: &Meta,
    passphrase: &Zeroizing<Vec<u8>>,
    remote: &Remote,
    network: &dyn Network,
    miners: &Miners,
    owner: AccountId,
    fids: &[Hash],
) -> Result<()> {
    if meta.snapshot()?.get(&[tables::ROOT])?.is_some() {
        return Ok(());
    }
    let mut tried: Vec<Vec<u8>> = Vec::new();
    let mut failed = None;
    // The newest last: they were written under the passphrase of today. First as fast as it goes, then
    // from fragments that are checked, in case somebody lied.
    for (checked, most) in ROOT_TRIES {
        let mut left = most;
        for fid in fids.iter().rev() {
            if left == 0 {
                break;
            }
            let Some(file) = listed(network, owner, *fid, |account| miners.endpoint(account)).await? else {
                continue;
            };
            let row = match remote.root_row(&file, checked).await {
                Ok(Some(row)) if !tried.contains(&row) => row,
                // A file of something else says nothing.
                Ok(None) => continue,
                Ok(Some(_)) => {
                    left -= 1;
                    continue;
                }
                Err(error) => {
                    left -= 1;
                    failed = Some(error);
                    continue;
                }
            };
            left -= 1;
            tried.push(row.clone());
            let (secret, candidate) = (passphrase.clone(), row.clone());
            let opened = tokio::task::spawn_blocking(move || passphrase::open(&secret, &candidate).is_ok())
                .await
                .map_err(|_| Error::ShuttingDown)?;
            if opened {
                return meta
                    .write(Durability::Synced, move |tx| Ok(tx.put(&[tables::ROOT], &row)?))
                    .await;
            }
        }
    }
    Err(match (tried.is_empty(), failed) {
        (false, _) => Error::Key(format!(
            "the passphrase does not open the packs of {}",
            owner.to_ss58(cess::account::SS58_PREFIX)
        )),
        (true, Some(error)) => error,
        (true, None) => Error::CannotRestore(format!(
            "the chain lists no pack of {} among {} files",
            owner.to_ss58(cess::account::SS58_PREFIX),
            fids.len()
        )),
    })
}
