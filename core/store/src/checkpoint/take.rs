//! Taking a checkpoint.
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cess::Hash;
use meta::Durability;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::checkpoint::changed::{Changed, Plan, Table, Tracked};
use crate::checkpoint::coverage::Coverage;
use crate::checkpoint::keep::{self, Worth};
use crate::checkpoint::manifest::{Block, Manifest};
use crate::checkpoint::rows::{self, Kept};
use crate::checkpoint::status::CheckpointStatus;
use crate::checkpoint::{BLOCK, DOMAIN, image};
use crate::place::Placing;
use crate::workers::Worker;
use crate::{CHUNK_MAX, ChunkId, Error, Level, Owner, Result, StagedChunk, Store, health, steps, tables};

/// Checkpoints that share blocks with each other, at most. Then all blocks are written anew.
const LINEAGE: u32 = 256;
/// Numbers left out after a restore: the gateway that was lost may have used some.
const APART: u32 = 1 << 16;
/// Blocks between the thread that cuts and the task that stages.
const AHEAD: usize = 4;
/// Pause before staging that is full is tried again.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Takes checkpoints, one at a time.
pub(super) struct Taker {
    pub(super) store: Store,
    pub(super) placing: Arc<Placing>,
    pub(super) interval: Duration,
    pub(super) worker: Worker,
    pub(super) coverage: Arc<Coverage>,
    turn: tokio::sync::Mutex<Last>,
    known: Mutex<Known>,
    changed: Changed,
}

/// The last one taken by this process.
#[derive(Default)]
struct Last {
    /// Tick at which it was begun.
    begun: u64,
    number: u32,
    chunks: Vec<ChunkId>,
}

/// What the status needs beside the rows.
#[derive(Default)]
struct Known {
    /// When the newest image was taken that is placed, and is still what a new one would be, if it
    /// is: (number, moment in ms).
    looked: (u32, u64),
    /// (tick, number) of looks whose checkpoint is not placed yet.
    pending: Vec<(u64, u32)>,
}

/// A block as it was cut.
enum Laying {
    /// One of the last look that did not change.
    Same(Tracked),
    /// One that was read.
    Read {
        first: Vec<u8>,
        rows: u64,
        digest: [u8; 16],
        /// Compressed; `None` when the last checkpoint has it.
        bytes: Option<Vec<u8>>,
    },
}

/// What staging the blocks gave.
struct Laid {
    blocks: Vec<Tracked>,
    staged: Vec<StagedChunk>,
}

impl Taker {
    pub(super) fn new(store: Store, placing: Arc<Placing>, interval: Duration, changed: Changed) -> Self {
        Self {
            worker: store.inner.workers.register("checkpointer"),
            coverage: store.inner.coverage.clone(),
            store,
            placing,
            interval,
            turn: tokio::sync::Mutex::default(),
            known: Mutex::default(),
            changed,
        }
    }

    /// The chunks of a checkpoint that was begun after the tick `asked`. The keeper takes it, which may be
    /// another gateway.
    pub(super) async fn taken(&self, asked: u64) -> Result<Vec<ChunkId>> {
        let inner = &self.store.inner;
        if inner.keeper.is_open() {
            return Ok(self.since(asked).await?.1);
        }
        let number = inner.members.ask_for_checkpoint().await?;
        // One that came after it knows as much.
        let kept = rows::kept(&*inner.meta.snapshot()?)?;
        let found = kept.iter().find(|kept| kept.manifest.number >= number);
        Ok(found.map(rows::Kept::chunks).unwrap_or_default())
    }

    /// The number and the chunks of a checkpoint that was begun after this call.
    pub(super) async fn now(&self) -> Result<(u32, Vec<ChunkId>)> {
        self.since(self.coverage.tick()).await
    }

    /// The number and the chunks of a checkpoint that was begun after the tick `asked`.
    async fn since(&self, asked: u64) -> Result<(u32, Vec<ChunkId>)> {
        let mut last = self.turn.lock().await;
        if last.begun > asked {
            return Ok((last.number, last.chunks.clone()));
        }
        self.worker.turn().await;
        let work = self.worker.working("taking a checkpoint");
        let begun = self.coverage.tick();
        let began = Instant::now();
        let kept = self.take().await.inspect_err(|error| {
            tracing::warn!(%error, "a checkpoint cannot be taken");
            self.worker.failed(error);
        })?;
        drop(work);
        tracing::debug!(number = kept.manifest.number, took = ?began.elapsed(), "looked for a checkpoint");
        {
            let mut known = self.known.lock();
            known.looked = (kept.manifest.number, health::now());
            known.pending.push((begun, kept.manifest.number));
        }
        *last = Last {
            begun,
            number: kept.manifest.number,
            chunks: kept.chunks(),
        };
        Ok((last.number, last.chunks.clone()))
    }

    /// Takes one, or answers the last one if nothing has changed since.
    async fn take(&self) -> Result<Kept> {
        let store = &self.store;
        self.make_domain().await?;
        let taken = health::now();
        let (look, plan) = self.changed.look(&store.inner.meta).await?;
        let Plan {
            view: snapshot,
            known: before,
        } = plan;
        let incarnation = rows::incarnation(&*snapshot)?;
        let kept = rows::kept(&*snapshot)?;
        let last = kept.last().cloned();
        // The last of a lineage is followed by one that shares nothing with it.
        let shared = last
            .as_ref()
            .filter(|last| last.manifest.number - last.manifest.lineage < LINEAGE);
        let shared = match shared {
            Some(last) if keep::worth(&*snapshot, last)? == Worth::Spoilt => None,
            shared => shared,
        };
        let known: HashMap<[u8; 16], Block> = shared
            .map(|last| &last.manifest.blocks)
            .into_iter()
            .flatten()
            .map(|block| (block.digest, block.clone()))
            .collect();
        let before =
            before.filter(|(table, _)| shared.is_some_and(|last| last.manifest.number == table.number));
        let laid = self.lay(snapshot, known, before).await?;
        let blocks: Vec<Block> = laid.blocks.iter().map(|tracked| tracked.block.clone()).collect();
        if let Some(last) = &last
            && shared.is_some()
            && last.manifest.blocks == blocks
            && last.manifest.incarnation == incarnation
        {
            look.end(Table {
                number: last.manifest.number,
                blocks: laid.blocks,
            });
            return Ok(last.clone());
        }
        let number = match &last {
            None => 1,
            Some(last) => last
                .manifest
                .number
                .checked_add(if last.manifest.incarnation == incarnation {
                    1
                } else {
                    APART
                })
                .ok_or_else(|| tables::damaged("checkpoint numbers are used up"))?,
        };
        let lineage = shared.map_or(number, |last| last.manifest.lineage);
        let rows = laid.blocks.iter().map(|tracked| tracked.rows).sum();
        let manifest = Manifest::new(incarnation, number, lineage, taken, rows, blocks);
        let mut staged = laid.staged;
        let mut parts = Vec::new();
        let cut = manifest
            .parts()
            .ok_or_else(|| tables::damaged("a manifest cannot be encoded"))?;
        for (owner, bytes) in cut {
            let chunk = self.stage(owner, bytes.into()).await?;
            parts.push(chunk.id);
            staged.push(chunk);
        }
        store.sync_staged().await?;
        steps::reach_async(steps::CHECKPOINT_NOTE).await?;
        let kept = Kept { manifest, parts };
        let (row, new, named) = (kept.clone(), staged.len() as u64, store.clone());
        store
            .inner
            .meta
            .write(Durability::Synced, move |tx| -> Result<()> {
                for chunk in &staged {
                    named.record(tx, chunk)?;
                }
                rows::put_kept(tx, &row)
            })
            .await?;
        steps::reach_async(steps::CHECKPOINT_NOTED).await?;
        self.worker.count("checkpoints taken", 1);
        self.worker.count("chunks written", new);
        look.end(Table {
            number,
            blocks: laid.blocks,
        });
        Ok(kept)
    }

    /// Stages a part, once there is room: a full staging is how writers are slowed down, and no reason
    /// to give up what somebody waits for. Who waits has a deadline.
    async fn stage(&self, owner: Owner, part: Bytes) -> Result<StagedChunk> {
        loop {
            match self.store.stage(DOMAIN, owner, part.clone()).await {
                Err(Error::StagingFull { .. }) => {
                    // What is being read meanwhile would keep the metadata from coming back.
                    self.store.inner.meta.check()?;
                    tokio::time::sleep(NO_ROOM).await;
                }
                done => return done,
            }
        }
    }

    /// Cuts the image and stages the blocks that are not `known`. Of those that were there `before`, only
    /// the ones that may have changed are read.
    async fn lay(
        &self,
        snapshot: Box<dyn meta::Read + Send>,
        known: HashMap<[u8; 16], Block>,
        before: Option<(Table, BTreeSet<usize>)>,
    ) -> Result<Laid> {
        let (sender, mut cuts) = mpsc::channel::<Laying>(AHEAD);
        let digests: HashSet<_> = known.keys().copied().collect();
        let cutting =
            tokio::task::spawn_blocking(move || cut(&*snapshot, &digests, before.as_ref(), &sender));
        let (mut blocks, mut staged) = (Vec::new(), Vec::new());
        while let Some(laying) = cuts.recv().await {
            let (first, rows, digest, bytes) = match laying {
                Laying::Same(tracked) => {
                    blocks.push(tracked);
                    continue;
                }
                Laying::Read {
                    first,
                    rows,
                    digest,
                    bytes,
                } => (first, rows, digest, bytes),
            };
            let block = match (bytes, known.get(&digest)) {
                (None, Some(block)) => block.clone(),
                (bytes, _) => {
                    let bytes = Bytes::from(bytes.unwrap_or_default());
                    self.worker.take(bytes.len() as u64).await;
                    let mut chunks = Vec::new();
                    for at in (0..bytes.len()).step_by(CHUNK_MAX) {
                        let part = bytes.slice(at..bytes.len().min(at + CHUNK_MAX));
                        let owner = Owner {
                            inode: BLOCK,
                            offset: 0,
                        };
                        let chunk = self.stage(owner, part).await?;
                        chunks.push(chunk.id);
                        staged.push(chunk);
                    }
                    Block { digest, chunks }
                }
            };
            blocks.push(Tracked { first, rows, block });
        }
        cutting.await.map_err(|_| Error::ShuttingDown)??;
        Ok(Laid { blocks, staged })
    }

    /// Makes the key domain of checkpoints the first time.
    async fn make_domain(&self) -> Result<()> {
        let key = tables::domain_key(DOMAIN);
        if self.store.inner.meta.snapshot()?.get(&key)?.is_some() {
            return Ok(());
        }
        let store = self.store.clone();
        self.store
            .inner
            .meta
            .write(Durability::Synced, move |tx| store.create_domain(tx, DOMAIN))
            .await
    }

    /// Notes which checkpoints are placed by now, for who waits to delete files, and lets those go that
    /// are not needed any more.
    pub(super) async fn settle(&self) -> Result<()> {
        // One that is being taken shares chunks with the last: nothing is forgotten meanwhile.
        let Ok(_turn) = self.turn.try_lock() else {
            return Ok(());
        };
        let (kept, worth) = {
            let snapshot = self.store.inner.meta.snapshot()?;
            let kept = rows::kept(&*snapshot)?;
            let worth = kept
                .iter()
                .map(|one| Ok((one.manifest.number, keep::worth(&*snapshot, one)?)))
                .collect::<Result<HashMap<u32, Worth>>>()?;
            (kept, worth)
        };
        // One that is gone or spoilt brings nothing back: the next one counts for it.
        let worth_of = |number: u32| worth.get(&number).copied().unwrap_or(Worth::Spoilt);
        self.known.lock().pending.retain(|(tick, number)| {
            let worth = worth_of(*number);
            if worth >= Worth::Placed {
                self.coverage.placed(*tick);
            }
            worth == Worth::Coming
        });
        let gone = keep::superfluous(&kept, |one| worth_of(one.manifest.number));
        if gone.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        self.store
            .inner
            .meta
            .write(Durability::Buffered, move |tx| keep::forget(tx, &store, &gone))
            .await?;
        Ok(())
    }

    /// See [`super::Checkpoints::status`].
    pub(super) fn status(&self) -> Result<CheckpointStatus> {
        let snapshot = self.store.inner.meta.snapshot()?;
        let kept = rows::kept(&*snapshot)?;
        let mut status = CheckpointStatus {
            incarnation: rows::incarnation(&*snapshot)?,
            window_limit: self.limit().as_secs(),
            superseded: self.store.inner.fence.reason(),
            ..CheckpointStatus::default()
        };
        let now = health::now();
        let looked = self.known.lock().looked;
        for one in kept.iter().rev() {
            let (manifest, worth) = (&one.manifest, keep::worth(&*snapshot, one)?);
            if status.number == 0 {
                status.number = manifest.number;
                status.taken = manifest.taken;
                status.level = match worth {
                    Worth::Spoilt => None,
                    Worth::Coming => Some(Level::Staged),
                    Worth::Placed => Some(Level::Placed),
                    Worth::Good => Some(Level::Verified),
                };
                status.rows = manifest.rows;
                status.blocks = manifest.blocks.len() as u64;
            }
            if worth >= Worth::Placed {
                // As long as nothing changed, the last look says as much as a new checkpoint would.
                let until = if looked.0 == manifest.number {
                    looked.1.max(manifest.taken)
                } else {
                    manifest.taken
                };
                status.restorable = Some(until);
                status.window = Some(now.saturating_sub(until) / 1000);
                break;
            }
        }
        Ok(status)
    }

    /// Longest time from a change until a checkpoint that knows it is in a closed pack.
    fn limit(&self) -> Duration {
        let waits = self.store.inner.config.pack_max_age;
        self.interval.saturating_add(waits)
    }
}

/// Cuts the image into blocks and sends each. With `before`, only blocks that may have changed are read:
/// from where each begins, until a cut meets the beginning of one that did not change.
fn cut(
    snapshot: &dyn meta::Read,
    digests: &HashSet<[u8; 16]>,
    before: Option<&(Table, BTreeSet<usize>)>,
    sender: &mpsc::Sender<Laying>,
) -> Result<()> {
    let send = |laying| sender.blocking_send(laying).map_err(|_| Error::ShuttingDown);
    let read = |from: &[u8], until: &dyn Fn(&[u8]) -> Option<usize>| -> Result<Option<usize>> {
        let mut met = None;
        image::blocks(snapshot, from, &mut |cut, next| {
            let mut digest = [0; 16];
            digest.copy_from_slice(&Hash::of(&cut.bytes).0[..16]);
            let bytes = if digests.contains(&digest) {
                None
            } else {
                let made = zstd::bulk::compress(&cut.bytes, 3);
                Some(made.map_err(|error| tables::damaged(&format!("a block: {error}")))?)
            };
            send(Laying::Read {
                first: cut.first,
                rows: cut.rows,
                digest,
                bytes,
            })?;
            met = next.and_then(until);
            Ok(if met.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        Ok(met)
    };
    let Some((table, dirty)) = before else {
        return read(&[], &|_| None).map(drop);
    };
    let unchanged = |key: &[u8]| table.beginning_with(key).filter(|at| !dirty.contains(at));
    let mut at = 0;
    while let Some(tracked) = table.blocks.get(at) {
        if !dirty.contains(&at) {
            send(Laying::Same(tracked.clone()))?;
            at += 1;
            continue;
        }
        // Rows may have come before what was the very first.
        let from: &[u8] = if at == 0 { &[] } else { tracked.first.as_slice() };
        at = match read(from, &unchanged)? {
            Some(met) => met,
            None => break,
        };
    }
    Ok(())
}
