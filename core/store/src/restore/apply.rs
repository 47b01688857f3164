//! Putting rows back.
use std::collections::HashSet;

use futures::StreamExt as _;
use meta::{Durability, Meta, Transaction};

use crate::checkpoint::rows::{self, FOUND_DOMAIN, FOUND_LIVE, FOUND_PART, Kept};
use crate::checkpoint::{fence, image, live};
use crate::locations::IDS_PER_ROW;
use crate::pack::record;
use crate::restore::choose::{self, BLOCKS};
use crate::restore::packs::Highest;
use crate::restore::{Progress, Report, Tell};
use crate::tables::{self, DAMAGED};
use crate::{ChunkId, Error, Result, Store, health, locations, random, references};

/// Chunks judged in one transaction.
const BATCH: usize = 4096;
/// Numbers left out, which the gateway that is lost may have used after what is known of it.
const CHUNKS_APART: u64 = 1 << 24;
const EPOCHS_APART: u32 = 1 << 10;

/// Puts a checkpoint's rows back and begins a new incarnation.
pub(super) async fn apply(
    store: &Store,
    chosen: &Kept,
    highest: Highest,
    report: &mut Report,
    tell: &Tell<'_>,
) -> Result<()> {
    let meta = &store.inner.meta;
    let number = chosen.manifest.number;
    meta.write(Durability::Synced, move |tx| {
        rows::put_restoring(tx, Some(number))
    })
    .await?;
    put_rows(store, chosen, tell).await?;
    let mine: HashSet<ChunkId> = chosen.chunks().into_iter().collect();
    let highest_live = lose(meta, report).await?;
    let is_live = |bits: Option<&live::Bits>, chunk| {
        mine.contains(&chunk) || bits.is_some_and(|bits| live::is_set(bits, chunk))
    };
    report.dead = bury(meta, is_live).await?;
    let kept = chosen.clone();
    meta.write(Durability::Buffered, move |tx| rows::put_kept(tx, &kept))
        .await?;
    let highest = Highest {
        chunk: highest.chunk.max(highest_live),
        incarnation: highest.incarnation.max(chosen.manifest.incarnation),
        ..highest
    };
    begin_incarnation(meta, highest, report).await?;
    finish(meta, &[]).await
}

/// Goes on without a checkpoint: every chunk is taken for live, with the keys that packs carry. The
/// mark of the restore stays: names have to be made first, then [`finish`].
pub(super) async fn without_checkpoint(store: &Store, highest: Highest, report: &mut Report) -> Result<()> {
    let meta = &store.inner.meta;
    meta.write(Durability::Buffered, |tx| -> Result<()> {
        let domains = rows::part(tx, FOUND_DOMAIN)?.collect::<meta::Result<Vec<_>>>()?;
        for (key, wrapped) in domains {
            let domain = crate::DomainId(rows::number_at(&key, 0)?);
            tx.put(&tables::domain_key(domain), &wrapped)?;
        }
        Ok(())
    })
    .await?;
    begin_incarnation(meta, highest, report).await
}

/// Ends a restore: the directory can be opened. `uses` says how often chunks are referred to of which
/// that is not once; of those that were taken for live without a checkpoint.
pub async fn finish(meta: &Meta, uses: &[(ChunkId, u32)]) -> Result<()> {
    for batch in uses.chunks(BATCH) {
        let batch = batch.to_vec();
        meta.write(Durability::Buffered, move |tx| -> Result<()> {
            for (chunk, uses) in &batch {
                match uses {
                    0 => die(tx, *chunk)?,
                    1 => {}
                    more => tx.put(&tables::chunk_key(tables::REFS, *chunk), &more.to_be_bytes())?,
                }
            }
            Ok(())
        })
        .await?;
    }
    for part in [FOUND_DOMAIN, FOUND_PART, FOUND_LIVE] {
        loop {
            let left = meta
                .write(Durability::Buffered, move |tx| -> Result<bool> {
                    let keys = rows::part(tx, part)?
                        .take(BATCH)
                        .map(|row| row.map(|(key, _)| key))
                        .collect::<meta::Result<Vec<_>>>()?;
                    for key in &keys {
                        tx.delete(key)?;
                    }
                    Ok(!keys.is_empty())
                })
                .await?;
            if !left {
                break;
            }
        }
    }
    meta.write(Durability::Synced, |tx| rows::delete_restoring(tx))
        .await
}

/// Puts the rows of every block, and what it says of chunks aside.
async fn put_rows(store: &Store, chosen: &Kept, tell: &Tell<'_>) -> Result<()> {
    let of = chosen.manifest.rows;
    let mut blocks = futures::stream::iter(&chosen.manifest.blocks)
        .map(|one| choose::block(store, one))
        .buffered(BLOCKS);
    let mut done = 0;
    tell(Progress::Rows(0, of));
    while let Some(block) = blocks.next().await {
        let block = block.map_err(Error::CannotRestore)?;
        done += store
            .inner
            .meta
            .write(Durability::Buffered, move |tx| -> Result<u64> {
                let rows = image::rows(&block).ok_or_else(|| tables::damaged("a block of a checkpoint"))?;
                for (key, value) in &rows {
                    if key.first() == Some(&image::LIVE) {
                        let row = tables::u64_from(&key[1..])?;
                        tx.put(&rows::key(FOUND_LIVE, &[row]), value)?;
                    } else {
                        tx.put(key, value)?;
                    }
                }
                Ok(rows.len() as u64)
            })
            .await?;
        tell(Progress::Rows(done, of));
    }
    Ok(())
}

/// Notes the chunks that live and that no pack holds; answers the highest chunk that lives.
async fn lose(meta: &Meta, report: &mut Report) -> Result<u64> {
    let mut highest = 0;
    let mut lost = Vec::new();
    {
        let snapshot = meta.snapshot()?;
        for row in rows::part(&*snapshot, FOUND_LIVE)? {
            let (key, bits) = row?;
            let chunks: Vec<ChunkId> = live::chunks(rows::number_at(&key, 0)?, &bits_from(&bits)?).collect();
            highest = chunks.last().map_or(highest, |last| highest.max(last.0));
            let held: HashSet<ChunkId> = locations::get_many(&*snapshot, &chunks)?
                .into_iter()
                .map(|(chunk, _)| chunk)
                .collect();
            lost.extend(chunks.into_iter().filter(|chunk| !held.contains(chunk)));
        }
    }
    for batch in lost.chunks(BATCH) {
        let batch = batch.to_vec();
        meta.write(Durability::Buffered, move |tx| -> Result<()> {
            for chunk in &batch {
                tx.put(&tables::chunk_key(DAMAGED, *chunk), &0u32.to_be_bytes())?;
            }
            Ok(())
        })
        .await?;
    }
    report.lost = lost.into_iter().map(|chunk| chunk.0).collect();
    Ok(highest)
}

/// Notes the chunks in packs that nothing refers to; answers how many there are.
async fn bury(meta: &Meta, is_live: impl Fn(Option<&live::Bits>, ChunkId) -> bool) -> Result<u64> {
    let mut dead = Vec::new();
    {
        let snapshot = meta.snapshot()?;
        let mut open: Option<(u64, Option<live::Bits>)> = None;
        for row in locations::all(&*snapshot)? {
            let (chunk, _) = row?;
            let number = chunk.0 / IDS_PER_ROW;
            if open.as_ref().is_none_or(|(row, _)| *row != number) {
                let bits = snapshot.get(&rows::key(FOUND_LIVE, &[number]))?;
                open = Some((number, bits.map(|bits| bits_from(&bits)).transpose()?));
            }
            let bits = open.as_ref().and_then(|(_, bits)| bits.as_ref());
            if !is_live(bits, chunk) {
                dead.push(chunk);
            }
        }
    }
    for batch in dead.chunks(BATCH) {
        let batch = batch.to_vec();
        meta.write(Durability::Buffered, move |tx| -> Result<()> {
            for chunk in &batch {
                die(tx, *chunk)?;
            }
            Ok(())
        })
        .await?;
    }
    Ok(dead.len() as u64)
}

/// Nothing refers to a chunk that a pack holds. May be said twice.
fn die(tx: &mut dyn Transaction, chunk: ChunkId) -> Result<()> {
    let Some(place) = locations::get(tx, chunk)? else {
        return Ok(());
    };
    if tx.get(&record::dead_key(place.pack, chunk))?.is_none() {
        references::die(tx, place.pack, chunk, place.len)?;
    }
    Ok(())
}

fn bits_from(row: &[u8]) -> Result<live::Bits> {
    row.try_into()
        .map_err(|_| tables::damaged("bits of a wrong length"))
}

/// Takes numbers that nobody has used.
async fn begin_incarnation(meta: &Meta, highest: Highest, report: &mut Report) -> Result<()> {
    let incarnation = highest
        .incarnation
        .checked_add(1)
        .ok_or_else(|| tables::damaged("incarnations are used up"))?;
    report.incarnation = incarnation;
    let restored = rows::Restored {
        at: health::now(),
        checkpoint: report
            .checkpoint
            .as_ref()
            .map(|found| (found.number, found.taken)),
        lost: report.lost.len() as u64,
        unreadable: report.unreadable.len() as u64,
    };
    meta.write(Durability::Buffered, move |tx| -> Result<()> {
        rows::put_incarnation(tx, incarnation)?;
        rows::put_restored(tx, &restored)?;
        record::begin_at(tx, fence::first_pack(incarnation))?;
        let next = highest
            .chunk
            .checked_add(CHUNKS_APART)
            .ok_or_else(|| tables::damaged("chunk ids are used up"))?;
        let ids = tx
            .get(&[tables::IDS])?
            .map_or(Ok(1), |row| tables::u64_from(&row))?;
        tx.put(&[tables::IDS], &ids.max(next).to_be_bytes())?;
        let epoch = tx
            .get(&[tables::EPOCH])?
            .map_or(Ok(0), |row| tables::u32_from(&row))?;
        let next = highest
            .epoch
            .max(epoch)
            .checked_add(EPOCHS_APART)
            .ok_or_else(|| tables::damaged("epochs are used up"))?;
        Ok(tx.put(&[tables::EPOCH], &next.to_be_bytes())?)
    })
    .await
}

/// Reads `count` chunks that live, chosen at random, from the miners; answers how many were read and
/// what is wrong with the others.
pub(super) async fn sample(store: &Store, count: usize) -> Result<(u64, Vec<String>)> {
    let mut chosen: Vec<ChunkId> = Vec::with_capacity(count);
    {
        let snapshot = store.inner.meta.snapshot()?;
        let mut seen = 0u64;
        for row in locations::all(&*snapshot)? {
            let (chunk, place) = row?;
            if snapshot.get(&record::dead_key(place.pack, chunk))?.is_some() {
                continue;
            }
            seen += 1;
            if chosen.len() < count {
                chosen.push(chunk);
            } else if let Some(place) = chosen.get_mut((random::u64() % seen) as usize) {
                *place = chunk;
            }
        }
    }
    let mut reads = futures::stream::iter(&chosen)
        .map(|chunk| store.inner.plain(*chunk))
        .buffer_unordered(BLOCKS);
    let (mut read, mut failed) = (0, Vec::new());
    while let Some(outcome) = reads.next().await {
        match outcome {
            Ok(_) => read += 1,
            Err(error) => failed.push(error.to_string()),
        }
    }
    Ok((read, failed))
}
