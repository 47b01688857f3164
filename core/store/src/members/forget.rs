//! Giving a gateway up for good.
//!
//! What lies in the staging files of a gateway alone is lost with its disk. [`Store::forget_plan`] says what that
//! would be, [`Store::forget`] accepts it:
//! 1. A mark says that the member is given up, set in the transaction that sees it dead. A gateway looks for it when
//!    it joins, so that this one never comes back, with whatever it has on its disk.
//! 2. Of what it staged and no placed pack holds, this gateway *adopts* what can be had without that disk: frames
//!    that ride in the metadata, and chunks that are on their way out of an old pack, which the miners still have.
//!    The rest is noted as lost, as a restore notes it: reading it is an error, never zeros or older bytes.
//! 3. Its packs that no twelve miners hold are taken apart for that. What is placed is looked after as that of every
//!    gateway that is away ([`crate::place::absent`]).
//!
//! Each step may be done twice: a forgetting that was cut off goes on when it is asked for again.
use std::collections::BTreeSet;

use meta::{Durability, Read, Transaction};
use serde::{Deserialize, Serialize};

use super::rows;
use crate::pack::record;
use crate::place::levels;
use crate::place::local::unpacked;
use crate::place::waiting::Waiting;
use crate::staging::Staging;
use crate::tables::{self, DAMAGED, FREED};
use crate::{ChunkId, Error, Level, PackState, Result, Store, locations};

/// Chunks decided on in one transaction.
const BATCH: usize = 500;

/// What it means to give a gateway up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgetting {
    /// Number of the gateway.
    pub member: u16,
    /// Its name.
    pub name: String,
    /// Chunks that nobody else has.
    pub lost: Vec<u64>,
    /// Bytes of their frames.
    pub lost_bytes: u64,
    /// Chunks that the gateway that is asked takes over.
    pub adopted: u64,
}

/// What becomes of a chunk that the member staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its frame is in a row.
    InRow,
    /// The miners have it, in a pack that it comes from.
    OnNetwork,
    /// Its frame is on the disk of the member alone.
    Lost,
}

/// A chunk that the member staged and no placed pack holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    waiting: Waiting,
    fate: Fate,
}

fn fate<R: Read + ?Sized>(read: &R, member: u16, chunk: ChunkId) -> Result<Fate> {
    match Staging::row(read, chunk)? {
        Some(row) if row.place.is_inline() || row.place.member() != member => Ok(Fate::InRow),
        _ if levels::level(read, &[chunk])? > Level::Staged => Ok(Fate::OnNetwork),
        _ => Ok(Fate::Lost),
    }
}

/// Chunks of `member` that wait for a pack; at most `most`.
fn waiting<R: Read + ?Sized>(read: &R, member: u16, most: usize) -> Result<Vec<Held>> {
    unpacked::from(read, member, ChunkId(0))?
        .take(most)
        .map(|waiting| {
            let waiting = waiting?;
            let fate = fate(read, member, waiting.chunk)?;
            Ok(Held { waiting, fate })
        })
        .collect()
}

/// Packs of `member` that are not placed.
fn unplaced<R: Read + ?Sized>(read: &R, member: u16) -> Result<Vec<u64>> {
    let mut packs = Vec::new();
    for (pack, record) in record::all(read)? {
        if record.state < PackState::Placed && !record.retired && record::member(read, pack)? == member {
            packs.push(pack);
        }
    }
    Ok(packs)
}

/// What lives in a pack of `member`, and what is dead in it.
fn contents<R: Read + ?Sized>(
    read: &R,
    member: u16,
    pack: u64,
    segments: u32,
) -> Result<(Vec<Held>, Vec<ChunkId>)> {
    let dead: BTreeSet<ChunkId> = record::dead(read, pack)?
        .into_iter()
        .map(|(chunk, _)| chunk)
        .collect();
    let mut living = Vec::new();
    for number in 0..segments {
        for slot in record::contents(read, pack, number)? {
            if !dead.contains(&slot.chunk) {
                let waiting = Waiting {
                    chunk: slot.chunk,
                    len: slot.len,
                    stream: 0,
                };
                let fate = fate(read, member, slot.chunk)?;
                living.push(Held { waiting, fate });
            }
        }
    }
    Ok((living, dead.into_iter().collect()))
}

/// Notes that nobody has `chunk` any more.
fn lose(tx: &mut dyn Transaction, chunk: ChunkId) -> Result<()> {
    tx.delete(&tables::chunk_key(tables::STAGED, chunk))?;
    // Of no length: nobody is promised it any more.
    Ok(tx.put(&tables::chunk_key(DAMAGED, chunk), &0u32.to_be_bytes())?)
}

/// Deletes what `member` would still have to give back on its disk.
pub(crate) async fn drop_freed(meta: &meta::Meta, member: u16) -> Result<()> {
    loop {
        let left = meta
            .write(Durability::Buffered, move |tx| -> Result<bool> {
                let keys = tables::member_rows(tx, FREED, member, ChunkId(0))?
                    .take(BATCH)
                    .map(|row| Ok(row?.0))
                    .collect::<Result<Vec<_>>>()?;
                for key in &keys {
                    tx.delete(key)?;
                }
                Ok(!keys.is_empty())
            })
            .await?;
        if !left {
            return Ok(());
        }
    }
}

impl Store {
    /// What would be lost if `member` were given up now. [`Error::Elsewhere`] while it lives, and of this gateway.
    pub fn forget_plan(&self, member: u16) -> Result<Forgetting> {
        let snapshot = self.inner.meta.snapshot()?;
        let name = require_away(&*snapshot, self.me().member, member)?;
        let mut plan = Forgetting {
            member,
            name,
            ..Forgetting::default()
        };
        let mut count = |held: &Held| match held.fate {
            Fate::Lost => {
                plan.lost.push(held.waiting.chunk.0);
                plan.lost_bytes += u64::from(held.waiting.len);
            }
            Fate::InRow | Fate::OnNetwork => plan.adopted += 1,
        };
        waiting(&*snapshot, member, usize::MAX)?
            .iter()
            .for_each(&mut count);
        for pack in unplaced(&*snapshot, member)? {
            let segments = record::get(&*snapshot, pack)?.map_or(0, |record| record.segments);
            let (living, _) = contents(&*snapshot, member, pack, segments)?;
            living.iter().for_each(&mut count);
        }
        Ok(plan)
    }

    /// Gives `member` up; answers what was lost. Errors as [`Self::forget_plan`]; [`Error::Unavailable`] while the
    /// miners do not give back what only they have: ask again.
    pub async fn forget(&self, member: u16) -> Result<Forgetting> {
        self.inner.fence.check()?;
        let own = self.me().member;
        // From here on it does not come back, and what it holds does not change.
        self.inner
            .meta
            .write(Durability::Synced, move |tx| -> Result<()> {
                require_away(tx, own, member)?;
                rows::put_forgotten(tx, member)
            })
            .await?;
        // What the chain lists by now is no loss, and its file has to be ours still.
        if let Some(placing) = &self.placing {
            let packs = unplaced(&*self.inner.meta.snapshot()?, member)?;
            placing.watch_orders(packs).await?;
        }
        let store = self.clone();
        let plan = tokio::task::spawn_blocking(move || store.forget_plan(member))
            .await
            .map_err(|_| Error::ShuttingDown)??;
        let mut highest = ChunkId(0);
        loop {
            let batch: Vec<Held> = {
                let snapshot = self.inner.meta.snapshot()?;
                waiting(&*snapshot, member, BATCH)?
            };
            if batch.is_empty() {
                break;
            }
            self.heal(&batch).await?;
            highest = highest.max(self.adopt_waiting(member, batch).await?);
        }
        let packs = unplaced(&*self.inner.meta.snapshot()?, member)?;
        for pack in packs {
            highest = highest.max(self.take_over(member, pack).await?);
        }
        drop_freed(&self.inner.meta, member).await?;
        if let Some(placing) = &self.placing {
            placing.pack_again(highest);
            placing.retired();
        }
        tracing::warn!(member, lost = plan.lost.len(), "a gateway is given up for good");
        Ok(plan)
    }

    /// Fetches what the miners have into this gateway's staging.
    async fn heal(&self, held: &[Held]) -> Result<()> {
        for one in held.iter().filter(|one| one.fate == Fate::OnNetwork) {
            let chunk = one.waiting.chunk;
            if !self.inner.heal(chunk).await? {
                let reason = "it left its staging meanwhile; ask again".to_owned();
                return Err(Error::Unavailable { chunk, reason });
            }
        }
        Ok(())
    }

    /// Has chunks wait here that waited at `member`; answers the highest.
    async fn adopt_waiting(&self, member: u16, batch: Vec<Held>) -> Result<ChunkId> {
        let staging = self.inner.staging.parts();
        let (highest, bytes) = self
            .inner
            .meta
            .write(Durability::Buffered, move |tx| -> Result<(ChunkId, u64)> {
                let (mut highest, mut bytes) = (ChunkId(0), 0);
                for held in &batch {
                    let chunk = held.waiting.chunk;
                    let key = tables::member_key(tables::UNPACKED, member, chunk);
                    // Released meanwhile, or decided already.
                    if tx.get(&key)?.is_none() {
                        continue;
                    }
                    tx.delete(&key)?;
                    if held.fate == Fate::Lost {
                        lose(tx, chunk)?;
                    } else {
                        bytes += staging.adopt(tx, chunk)?;
                        unpacked::put(tx, held.waiting)?;
                        highest = highest.max(chunk);
                    }
                }
                Ok((highest, bytes))
            })
            .await?;
        self.inner.staging.adopted(bytes);
        Ok(highest)
    }

    /// Takes an unplaced pack of `member` apart; answers the highest chunk that waits here now.
    async fn take_over(&self, member: u16, pack: u64) -> Result<ChunkId> {
        let living = {
            let snapshot = self.inner.meta.snapshot()?;
            let segments = record::get(&*snapshot, pack)?.map_or(0, |record| record.segments);
            contents(&*snapshot, member, pack, segments)?.0
        };
        self.heal(&living).await?;
        let staging = self.inner.staging.parts();
        let (highest, bytes) = self
            .inner
            .meta
            .write(Durability::Buffered, move |tx| -> Result<(ChunkId, u64)> {
                let (mut highest, mut bytes) = (ChunkId(0), 0);
                let Some(mut record) = record::get(tx, pack)? else {
                    return Ok((highest, bytes));
                };
                if record.retired || record.state >= PackState::Placed {
                    return Ok((highest, bytes));
                }
                let (living, dead) = contents(tx, member, pack, record.segments)?;
                for chunk in &dead {
                    tx.delete(&record::dead_key(pack, *chunk))?;
                }
                let chunks: Vec<_> = living.iter().map(|held| held.waiting.chunk).chain(dead).collect();
                locations::remove(tx, pack, chunks)?;
                for held in living {
                    let chunk = held.waiting.chunk;
                    // What the miners have was fetched before, and lies here.
                    if held.fate == Fate::Lost {
                        lose(tx, chunk)?;
                    } else {
                        bytes += staging.adopt(tx, chunk)?;
                        unpacked::put(tx, held.waiting)?;
                        highest = highest.max(chunk);
                    }
                }
                record.retired = true;
                record.last_error = Some("its gateway was given up".to_owned());
                record::put(tx, pack, &record)?;
                Ok((highest, bytes))
            })
            .await?;
        self.inner.staging.adopted(bytes);
        Ok(highest)
    }
}

/// The name of `member`, which is another one than `own` and does not run.
fn require_away<R: Read + ?Sized>(read: &R, own: u16, member: u16) -> Result<String> {
    let row = rows::get(read, member)?;
    let row = row.ok_or_else(|| Error::Elsewhere(format!("there never was a gateway {member}")))?;
    if member == own || row.alive {
        return Err(Error::Elsewhere(format!(
            "gateway {} runs: stop it, or wait until it is declared dead",
            row.name
        )));
    }
    Ok(row.name)
}
