//! Closing packs.
//!
//! The packer keeps a running layout of the chunks that no pack holds, in the order of their ids,
//! and freezes a pack when
//! - the layout is full;
//! - it is due by age: after `pack_max_age × (1 − fill)` since its first chunk was seen, so that
//!   an almost full pack goes soon and an almost empty one, which costs as much, goes late;
//! - somebody waits for a level above staged for one of its chunks.
//!
//! Freezing is one transaction that reads the chunks again: what was released meanwhile is not
//! taken, and a layout that turns out not to be full goes on filling.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cess::codec::FRAGMENTS;
use meta::Durability;

use crate::pack::layout::{self, Filling};
use crate::pack::record::{self, Record};
use crate::place::Shared;
use crate::place::local::unpacked;
use crate::{ChunkId, PackState, Result, locations, random};

/// The layout as far as it was looked at.
struct Running {
    filling: Filling,
    first: Option<ChunkId>,
    /// Last chunk looked at.
    last: Option<ChunkId>,
    since: Instant,
    /// The chunk that did not fit any more.
    overflow: Option<ChunkId>,
}

impl Running {
    fn new(segments: u32) -> Self {
        Self {
            filling: Filling::new(segments),
            first: None,
            last: None,
            since: Instant::now(),
            overflow: None,
        }
    }
}

/// Closes packs until everything stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let segments = shared.settings.pack_segments;
    let mut running = Running::new(segments);
    let worker = &shared.workers.packer;
    loop {
        worker.turn().await;
        let (seen, made) = match look(&shared, running).await {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "cannot close packs");
                worker.failed(&error);
                (Running::new(segments), None)
            }
        };
        running = seen;
        if let Some(pack) = made {
            worker.count("packs closed", 1);
            shared.progressed();
            shared.drive(pack);
            continue;
        }
        tokio::select! {
            () = shared.packer.notified() => {}
            () = tokio::time::sleep(shared.settings.pace.tick) => {}
        }
    }
}

/// Looks at chunks recorded since the last look; freezes a pack if one is due.
async fn look(shared: &Arc<Shared>, mut running: Running) -> Result<(Running, Option<u64>)> {
    let meta = shared.meta.clone();
    let looking = move || -> Result<Running> {
        let snapshot = meta.snapshot()?;
        let from = running
            .last
            .map_or(ChunkId(0), |last| ChunkId(last.0.saturating_add(1)));
        if running.overflow.is_none() {
            for row in unpacked::from(&*snapshot, from)? {
                let (chunk, len) = row?;
                if running.first.is_none() {
                    running.first = Some(chunk);
                    running.since = Instant::now();
                }
                if !running.filling.push(chunk, len) {
                    running.overflow = Some(chunk);
                    break;
                }
                running.last = Some(chunk);
            }
        }
        Ok(running)
    };
    let mut running = shared.blocking(looking).await?;

    let Some(last) = running.last else {
        return Ok((running, None));
    };
    let close_below = shared.close_below.load(Ordering::Acquire);
    // A chunk may be recorded after one with a higher id; a waiter's chunk must not be missed.
    let awaited = close_below > 0
        && unpacked::from(&*shared.meta.snapshot()?, ChunkId(0))?
            .next()
            .transpose()?
            .is_some_and(|(chunk, _)| chunk.0 < close_below);
    let wait = shared
        .settings
        .pack_max_age
        .mul_f64((1.0 - running.filling.fill()).clamp(0.0, 1.0));
    let due = running.since.elapsed() >= wait;
    let full = running.overflow.is_some();
    if !full && !awaited && !due {
        return Ok((running, None));
    }
    let only_full = full && !awaited && !due;
    let made = freeze(shared, running.overflow.unwrap_or(last), only_full).await?;
    running = Running::new(shared.settings.pack_segments);
    Ok((running, made))
}

/// Freezes the chunks up to `last`, as many as fit, into a new pack; answers its number. With
/// `only_full`, nothing happens unless they fill it.
async fn freeze(shared: &Arc<Shared>, last: ChunkId, only_full: bool) -> Result<Option<u64>> {
    let segments = shared.settings.pack_segments;
    let frozen = shared
        .meta
        .write(
            Durability::Buffered,
            move |tx| -> Result<Option<(u64, usize, u64)>> {
                let mut filling = Filling::new(segments);
                let mut full = false;
                // Nothing above `last` is read: chunks that are recorded meanwhile are no conflict.
                for row in unpacked::between(tx, ChunkId(0), last)? {
                    let (chunk, len) = row?;
                    if !filling.push(chunk, len) {
                        full = true;
                        break;
                    }
                }
                if filling.chunks() == 0 || (only_full && !full) {
                    return Ok(None);
                }
                let (chunks, bytes) = (filling.chunks(), filling.bytes());
                let laid_out = filling.into_segments();
                let mut nonce = [0; 16];
                random::fill(&mut nonce);
                let record = Record {
                    state: PackState::Closed,
                    nonce,
                    file_name: random::u64().to_be_bytes(),
                    segments: laid_out.len() as u32,
                    chunks: chunks as u64,
                    bytes,
                    first: laid_out
                        .iter()
                        .flatten()
                        .map(|slot| slot.chunk.0)
                        .min()
                        .unwrap_or(0),
                    last: laid_out
                        .iter()
                        .flatten()
                        .map(|slot| slot.chunk.0)
                        .max()
                        .unwrap_or(0),
                    fid: None,
                    declaring: false,
                    assigned: [None; FRAGMENTS],
                    unverified: 0,
                    reclaimed: false,
                    retired: false,
                    last_error: None,
                };
                let pack = record::next_pack(tx)?;
                record::put(tx, pack, &record)?;
                for (number, slots) in laid_out.iter().enumerate() {
                    record::put_contents(tx, pack, number as u32, slots)?;
                    for slot in slots {
                        unpacked::delete(tx, slot.chunk)?;
                    }
                }
                locations::set(tx, layout::locations(pack, &laid_out))?;
                Ok(Some((pack, chunks, bytes)))
            },
        )
        .await?;
    Ok(frozen.map(|(pack, chunks, bytes)| {
        tracing::info!(pack, chunks, bytes, "pack closed");
        pack
    }))
}
