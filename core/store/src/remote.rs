//! Reading back from the miners.
//!
//! The usual way is one ranged read of the data fragment in which the frame lies, from the miner
//! that holds it; the frame's own tag says whether the bytes are right, so nothing else is fetched
//! ([`range`]). When that miner is late, failing or wrong, the same range of any four other
//! fragments gives the bytes as well: the code works column by column. Only what does not
//! authenticate then takes whole fragments ([`decode`]), each checked by hash. Decoded segments
//! stay in memory for a moment, because the neighbours are wanted next.
//!
//! How long a miner may take before it counts as late is measured ([`latency`]), how often readers
//! may ask twice is limited ([`allowance`]), and so is the memory for all of it ([`memory`]).
//! Neighbours that are fetched ahead of a reader come in one request ([`run`]).
//!
//! Hashes, holders and endpoints come from the pack table, so reads need no chain. Only when
//! too few fragments can be had is the chain asked whether somebody else holds them now.
mod allowance;
mod authentic;
pub(crate) mod decode;
mod index;
pub(crate) mod latency;
pub(crate) mod memory;
mod range;
pub(crate) mod run;
pub(crate) mod unlisted;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cess::{AccountId, Hash};
use meta::{Durability, Meta};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use self::allowance::Allowance;
use self::decode::Segments;
use self::latency::Latencies;
use self::memory::ReadMemory;
use self::range::Way;
use crate::locations::{self, Location};
use crate::pack::record::{self, Names, SegmentNames};
use crate::place::miners::Miners;
use crate::place::network::Network;
use crate::place::pace::Pace;
use crate::read::trace::{Log, ReadSource};
use crate::reclaim::moved;
use crate::{ChunkId, Error, PackState, Result};

/// Memory for the names of packs, in bytes.
const PACKS_KNOWN: u64 = 16 << 20;
/// How often a read follows a chunk that was packed anew while it was read.
const MOVES: usize = 3;

/// What reading a pack takes.
struct Known {
    pack: u64,
    fid: Hash,
    names: Names,
}

/// Weighs names by what they take in memory, about.
#[derive(Clone)]
struct ByNames;

impl Weighter<u64, Arc<Known>> for ByNames {
    fn weight(&self, _: &u64, known: &Arc<Known>) -> u64 {
        let names = &known.names;
        (512 + names.segments.len() * (size_of::<SegmentNames>() + 32) + names.holders.len() * 128) as u64
    }
}

impl Known {
    fn segment(&self, segment: u32) -> std::result::Result<&SegmentNames, String> {
        self.names
            .segments
            .get(segment as usize)
            .ok_or_else(|| "the pack has no such segment".to_owned())
    }
}

/// Reads frames from the network. Cheap to share.
pub(crate) struct Remote {
    meta: Meta,
    network: Arc<dyn Network>,
    miners: Arc<Miners>,
    /// Patience with a miner whose latency is not known.
    hedge: Duration,
    /// Longest time for one request.
    limit: Duration,
    /// How often a failing miner is asked whether it is back.
    probe: Duration,
    latencies: Latencies,
    allowance: Allowance,
    memory: ReadMemory,
    known: Cache<u64, Arc<Known>, ByNames>,
    segments: Segments,
}

impl Remote {
    /// Reads over `network`, with the judgement of `miners`, in at most `memory` bytes.
    pub(crate) fn new(
        meta: Meta,
        network: Arc<dyn Network>,
        miners: Arc<Miners>,
        pace: &Pace,
        memory: u64,
    ) -> Self {
        let memory = ReadMemory::new(memory);
        Self {
            meta,
            network,
            miners,
            hedge: pace.hedge,
            limit: pace.get_timeout,
            probe: pace.probe,
            latencies: Latencies::default(),
            allowance: Allowance::default(),
            known: Cache::with_weighter(4096, PACKS_KNOWN, ByNames),
            segments: Segments::new(memory.segments_kept()),
            memory,
        }
    }

    /// Forgets decoded segments.
    pub(crate) fn forget(&self) {
        self.segments.clear();
        self.known.clear();
    }

    /// The pools of memory for reading.
    pub(crate) const fn memory(&self) -> &ReadMemory {
        &self.memory
    }

    /// Bytes in use for reading beside the caches.
    pub(crate) fn memory_used(&self) -> u64 {
        self.memory.used() + self.segments.bytes()
    }

    /// The sealed frame of `chunk`. `authentic` says whether bytes are that frame.
    ///
    /// [`Error::UnknownChunk`]: no pack holds it. [`Error::Unavailable`]: too few miners answer.
    /// [`Error::Damaged`]: the fragments are what was stored, and the frame in them is not.
    pub(crate) async fn fetch_frame(
        &self,
        chunk: ChunkId,
        authentic: &(dyn Fn(&[u8]) -> bool + Sync),
        log: &Log,
    ) -> Result<Bytes> {
        let mut place = self.place(chunk)?;
        let mut moves = 0;
        loop {
            let failed = match self.fetch_from(place, chunk, authentic, log).await {
                Err(error @ (Error::Unavailable { .. } | Error::Damaged(_))) => error,
                done => return done,
            };
            // It may have been packed anew meanwhile, and the old file be gone.
            let now = self.place(chunk)?;
            moves += 1;
            if now != place && moves < MOVES {
                place = now;
                continue;
            }
            // The pack that it came from may still be there.
            let Some(other) = moved::other(&*self.meta.snapshot()?, chunk, place.pack)? else {
                return Err(failed);
            };
            let found = self.fetch_from(other, chunk, authentic, log).await;
            return found.map_err(|error| match error {
                Error::Unavailable { .. } | Error::Damaged(_) => failed,
                error => error,
            });
        }
    }

    fn place(&self, chunk: ChunkId) -> Result<Location> {
        let snapshot = self.meta.snapshot()?;
        let own = locations::get(&*snapshot, chunk)?;
        let place = match own {
            Some(place) if self.known.get(&place.pack).is_some() => own,
            _ => moved::find(&*snapshot, chunk, own)?,
        };
        place.ok_or(Error::UnknownChunk(chunk))
    }

    async fn fetch_from(
        &self,
        place: Location,
        chunk: ChunkId,
        authentic: &(dyn Fn(&[u8]) -> bool + Sync),
        log: &Log,
    ) -> Result<Bytes> {
        let known = self.known(chunk, place.pack)?;
        if let Some(segment) = self.segments.kept(place.pack, place.segment) {
            log.source(ReadSource::KeptSegment);
            return cut(&segment, place, chunk, authentic);
        }
        let range = frame_range(place);
        match self
            .range(&known, place.segment, range.clone(), Way::Direct, log)
            .await
        {
            Ok(found) if authentic(&found.bytes) => return Ok(found.bytes),
            // Somebody sent something else. Without those who were asked first it may be right.
            Ok(found) if !found.direct.is_empty() => {
                let around = self.range(&known, place.segment, range, Way::Around, log).await;
                if let Ok(rebuilt) = around
                    && authentic(&rebuilt.bytes)
                {
                    for miner in found.direct {
                        tracing::warn!(chunk = chunk.0, miner = %hex::encode(miner.0), "a miner sent other bytes than it holds for us");
                        self.miners.failed(miner);
                    }
                    return Ok(rebuilt.bytes);
                }
            }
            Ok(_) => {}
            Err(reason) => tracing::debug!(chunk = chunk.0, reason, "no range of a segment can be had"),
        }
        let segment = self.segment(&known, place.segment, chunk, log).await?;
        log.source(ReadSource::Decoded);
        cut(&segment, place, chunk, authentic)
    }

    /// Forgets who holds a pack: it is noted anew.
    pub(crate) fn forget_pack(&self, pack: u64) {
        self.known.remove(&pack);
    }

    fn known(&self, chunk: ChunkId, pack: u64) -> Result<Arc<Known>> {
        if let Some(known) = self.known.get(&pack) {
            return Ok(known);
        }
        let unavailable = |reason: &str| Error::Unavailable {
            chunk,
            reason: reason.into(),
        };
        let snapshot = self.meta.snapshot()?;
        let record = record::get(&*snapshot, pack)?.ok_or_else(|| unavailable("its pack is forgotten"))?;
        let (Some(fid), true) = (record.fid, record.state >= PackState::Placed) else {
            return Err(unavailable("its pack is not on the network yet"));
        };
        let names = record::names(&*snapshot, pack)?.ok_or_else(|| unavailable("its pack has no names"))?;
        let known = Arc::new(Known {
            pack,
            fid: Hash(fid),
            names,
        });
        self.known.insert(pack, known.clone());
        Ok(known)
    }

    /// Who has fragment `index` of a segment, and where.
    fn holder(&self, known: &Known, segment: u32, index: usize) -> Option<(AccountId, String)> {
        let holder = known.names.holder(segment as usize, index)?;
        let account = AccountId(holder.account);
        let endpoint = self
            .miners
            .endpoint(account)
            .or_else(|| holder.endpoint.clone())?;
        Some((account, endpoint))
    }

    /// Asks the chain again who holds the fragments of a pack.
    async fn ask_chain(&self, known: &Known) -> Option<Arc<Known>> {
        self.miners.list().await.ok()?;
        let file = self.network.file(known.fid).await.ok()??;
        let mut names = known.names.clone();
        if !names.note_holders(&file, |account| self.miners.endpoint(account)) {
            return None;
        }
        let fresh = Arc::new(Known {
            pack: known.pack,
            fid: known.fid,
            names,
        });
        if fresh.names != known.names {
            let (pack, names) = (known.pack, fresh.names.clone());
            let noted = self
                .meta
                .write(Durability::Buffered, move |tx| -> Result<()> {
                    if record::get(tx, pack)?.is_some() {
                        record::put_names(tx, pack, &names)?;
                    }
                    Ok(())
                })
                .await;
            if let Err(error) = noted {
                tracing::warn!(pack, %error, "cannot note who holds a pack");
            }
        }
        self.known.insert(known.pack, fresh.clone());
        Some(fresh)
    }
}

const fn frame_range(place: Location) -> Range<u32> {
    place.offset..place.offset.saturating_add(place.len)
}

/// The frame in a segment that was decoded from checked fragments.
fn cut(
    segment: &Bytes,
    place: Location,
    chunk: ChunkId,
    authentic: &(dyn Fn(&[u8]) -> bool + Sync),
) -> Result<Bytes> {
    let range = frame_range(place);
    segment
        .get(range.start as usize..range.end as usize)
        .filter(|bytes| authentic(bytes))
        // A copy, so that a cached frame does not keep the whole segment in memory.
        .map(Bytes::copy_from_slice)
        .ok_or(Error::Damaged(chunk))
}
