//! Closing packs.
//!
//! The packer looks at the chunks that no pack holds, and freezes a pack when
//! - enough of them wait to fill one ([`super::waiting`] says which go together);
//! - they take half of what staging may hold: the other half is for what is on its way out, and for
//!   who writes meanwhile. Where staging is too small for two packs of the size that is set, packs are
//!   made smaller for the same reason ([`crate::place::Settings::of`]);
//! - they are due by age: after `pack_max_age × (1 − fill)`, so that what almost fills its segments
//!   goes soon and what hardly does, which costs as much, goes late. [`super::age`] counts ages
//!   across restarts;
//! - somebody waits for a level above staged for one of them.
//!
//! Freezing is one transaction that reads the chunks again: what was released meanwhile is not
//! taken, and what turns out not to fill a pack goes on waiting.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cess::codec::FRAGMENTS;
use meta::Durability;

use crate::pack::layout::{self, Filling};
use crate::pack::record::{self, Record};
use crate::place::Shared;
use crate::place::age::{self, Ages};
use crate::place::local::unpacked;
use crate::place::waiting::{self, Gathering, Waiting};
use crate::{ChunkId, PackState, Result, clock, locations, random, steps};

/// What was seen of the chunks that wait.
struct Running {
    gathering: Gathering,
    /// Last chunk looked at.
    last: Option<ChunkId>,
    /// Lowest chunk that waits.
    oldest: Option<ChunkId>,
}

impl Running {
    fn new(segments: u32) -> Self {
        Self {
            gathering: Gathering::new(segments),
            last: None,
            oldest: None,
        }
    }
}

/// Closes packs until everything stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let segments = shared.settings.pack_segments;
    let longest = shared.settings.pack_max_age;
    let member = shared.settings.role.member;
    let loaded = shared
        .meta
        .snapshot()
        .map_err(crate::Error::from)
        .and_then(|snapshot| Ages::load(&*snapshot, member, longest, clock::monotonic(), clock::wall()));
    let mut ages = match loaded {
        Ok(ages) => ages,
        Err(error) => {
            // Everything else fails for the same reason, and says so to those who wait.
            tracing::error!(%error, "packs cannot be closed: the metadata cannot be read");
            return;
        }
    };
    let mut running = Running::new(segments);
    let mut served = None;
    let worker = &shared.workers.packer;
    loop {
        worker.turn().await;
        if shared.rescan.swap(false, Ordering::AcqRel) {
            running = Running::new(segments);
        }
        if let Err(error) = serve(&shared, &mut served) {
            tracing::debug!(%error, "cannot read what other gateways wait for");
        }
        let (seen, made) = match look(&shared, running, &mut ages).await {
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

/// Orders what another gateway waits for; `served` is its last request.
fn serve(shared: &Shared, served: &mut Option<u64>) -> Result<()> {
    if let Some((chunk, request)) = shared.settings.role.asked_to_pack()?
        && *served != Some(request)
    {
        shared.awaited.order(chunk);
        *served = Some(request);
    }
    Ok(())
}

/// Looks at chunks recorded since the last look; freezes a pack if one is due.
async fn look(shared: &Arc<Shared>, mut running: Running, ages: &mut Ages) -> Result<(Running, Option<u64>)> {
    let meta = shared.meta.clone();
    let held = shared.held.load(Ordering::Acquire);
    let awaited = shared.awaited.look();
    let member = shared.settings.role.member;
    let looking = move || -> Result<Running> {
        let snapshot = meta.snapshot()?;
        running.oldest = unpacked::from(&*snapshot, member, ChunkId(0))?
            .find(|one| one.as_ref().map_or(true, |one| !is_held(held, one)))
            .transpose()?
            .map(|waiting| waiting.chunk);
        let from = running
            .last
            .map_or(ChunkId(0), |last| ChunkId(last.0.saturating_add(1)));
        if !running.gathering.is_full() {
            for waiting in unpacked::from(&*snapshot, member, from)? {
                let waiting = waiting?;
                running.last = Some(waiting.chunk);
                if !is_held(held, &waiting) && !running.gathering.push(waiting) {
                    break;
                }
            }
        }
        Ok(running)
    };
    let mut running = shared.blocking(looking).await?;
    // A chunk may be recorded after one with a higher id; a waiter's chunk must not be missed.
    let awaited = shared.awaited.includes(awaited, running.oldest);
    let waiting = running.oldest.zip(running.last.max(running.oldest));
    count(shared, ages, waiting).await?;
    shared
        .unpacked
        .store(running.gathering.bytes(), Ordering::Relaxed);
    let Some((_, last)) = waiting else {
        return Ok((Running::new(shared.settings.pack_segments), None));
    };
    let wait = shared
        .settings
        .pack_max_age
        .mul_f64((1.0 - running.gathering.fill()).clamp(0.0, 1.0));
    let pressing = running.gathering.bytes() >= shared.settings.most_waiting;
    let due = pressing || ages.oldest() >= wait;
    if !running.gathering.is_full() && !awaited && !due {
        return Ok((running, None));
    }
    let only_full = !awaited && !due;
    let made = freeze(shared, last, only_full, held).await?;
    running = Running::new(shared.settings.pack_segments);
    Ok((running, made))
}

/// Whether a chunk is not to be packed yet, because others are coming back from old packs with it.
const fn is_held(held: bool, one: &Waiting) -> bool {
    held && one.stream == waiting::MOVED
}

/// Counts the ages on, and keeps them when it is time.
async fn count(shared: &Shared, ages: &mut Ages, waiting: Option<(ChunkId, ChunkId)>) -> Result<()> {
    let now = clock::monotonic();
    ages.count(now, waiting);
    if !ages.is_due(now) {
        return Ok(());
    }
    let row = ages.take_row(now, clock::wall())?;
    let member = shared.settings.role.member;
    shared
        .meta
        .write(Durability::Buffered, move |tx| age::keep(tx, member, &row))
        .await
}

/// Freezes chunks up to `last` into a new pack; answers its number. With `only_full`, nothing
/// happens unless they fill it.
async fn freeze(shared: &Arc<Shared>, last: ChunkId, only_full: bool, held: bool) -> Result<Option<u64>> {
    steps::reach_async(steps::PACK_FREEZE).await?;
    let segments = shared.settings.pack_segments;
    let member = shared.settings.role.member;
    let frozen = shared
        .meta
        .write(
            Durability::Buffered,
            move |tx| -> Result<Option<(u64, usize, u64)>> {
                // Nothing above `last` is read: chunks that are recorded meanwhile are no conflict.
                let mut gathering = Gathering::new(segments);
                let mut seen = Vec::new();
                for one in unpacked::between(tx, member, ChunkId(0), last)? {
                    let one = one?;
                    if is_held(held, &one) {
                        continue;
                    }
                    seen.push(one);
                    if !gathering.push(one) {
                        break;
                    }
                }
                let Some(filling) = waiting::choose(&seen, segments, only_full) else {
                    return Ok(None);
                };
                let (chunks, bytes) = (filling.chunks(), filling.bytes());
                let pack = put(tx, member, filling)?;
                Ok(Some((pack, chunks, bytes)))
            },
        )
        .await?;
    if frozen.is_some() {
        steps::reach_async(steps::PACK_FROZEN).await?;
    }
    Ok(frozen.map(|(pack, chunks, bytes)| {
        tracing::info!(pack, chunks, bytes, "pack closed");
        pack
    }))
}

/// Writes the rows of a new pack of `member`; answers its number.
fn put(tx: &mut dyn meta::Transaction, member: u16, filling: Filling) -> Result<u64> {
    let (chunks, bytes) = (filling.chunks(), filling.bytes());
    let laid_out = filling.into_segments();
    let ids = || laid_out.iter().flatten().map(|slot| slot.chunk.0);
    let mut nonce = [0; 16];
    random::fill(&mut nonce);
    let record = Record {
        state: PackState::Closed,
        nonce,
        file_name: random::u64().to_be_bytes(),
        segments: laid_out.len() as u32,
        chunks: chunks as u64,
        bytes,
        first: ids().min().unwrap_or(0),
        last: ids().max().unwrap_or(0),
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
    record::put_member(tx, pack, member)?;
    for (number, slots) in laid_out.iter().enumerate() {
        record::put_contents(tx, pack, number as u32, slots)?;
        for slot in slots {
            unpacked::delete(tx, member, slot.chunk)?;
        }
    }
    let mut places: Vec<_> = layout::locations(pack, &laid_out).collect();
    // Rows of neighbours are read and written once.
    places.sort_unstable_by_key(|(chunk, _)| *chunk);
    locations::set(tx, places)?;
    Ok(pack)
}
