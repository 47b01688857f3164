//! Where chunks are, how they came there, and how well they are kept: for people.
use std::collections::{BTreeMap, BTreeSet};

use cess::Hash;
use cess::codec::FRAGMENTS;
use meta::Read;
use serde::{Deserialize, Serialize};

use crate::health::life::{self, Life};
use crate::health::record::{self, Record};
use crate::health::report::{self, SegmentHealth};
use crate::health::seen::Seen;
use crate::health::settings::HealthSettings;
use crate::inner::Inner;
use crate::locations::{self, Location};
use crate::pack::record as packs;
use crate::read::trace::ReadTrace;
use crate::reclaim::moved;
use crate::{ChunkId, Level, PackState, Result};

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkLife {
    /// Its id.
    pub chunk: u64,
    /// Level reached.
    pub level: Level,
    /// Whether its plaintext is in the memory cache.
    pub memory: bool,
    /// Whether its frame is in the disk cache.
    pub disk: bool,
    /// Whether its frame is in staging, where this gateway can read it.
    pub staging: bool,
    /// The gateway in whose staging its frame is, if that is another one.
    #[serde(default)]
    pub staged_by: Option<String>,
    /// Where it lies in a pack; `None` while no pack holds it.
    pub place: Option<ChunkPlace>,
    /// The last read of it that memory could not answer, if it is remembered.
    pub last_read: Option<ReadTrace>,
}

/// A place in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkPlace {
    /// Number of the pack.
    pub pack: u64,
    /// Segment in the pack, from 0.
    pub segment: u32,
    /// Bytes from the start of the segment to its frame.
    pub offset: u32,
    /// Length of the frame in bytes.
    pub len: u32,
}

/// One pack, as far as the chunks asked about lie in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackLife {
    /// Its number.
    pub id: u64,
    /// State reached.
    pub state: PackState,
    /// FID, once hashed (64 hex digits).
    pub fid: Option<String>,
    /// Name of the file on chain.
    pub file_name: String,
    /// Segments in it.
    pub segments: u32,
    /// Steps and blocks.
    pub life: Life,
    /// Fragments that the last read-back could not verify.
    pub unverified: u32,
    /// Why the last step did not succeed, if it did not.
    pub last_error: Option<String>,
    /// The segments that the chunks lie in, with the miners that hold them; empty before the pack
    /// is placed.
    pub health: Vec<SegmentHealth>,
}

/// What became of chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Different chunks asked about.
    pub count: u64,
    /// Of those: how many are staged, placed and verified.
    pub staged: u64,
    /// See `staged`.
    pub placed: u64,
    /// See `staged`.
    pub verified: u64,
    /// Verified segments they lie in, by number of good fragments.
    pub by_good: [u64; FRAGMENTS + 1],
    /// Segments they lie in that are at risk.
    pub at_risk: u64,
    /// Packs they lie in.
    pub pack_count: u64,
    /// The chunks that were wanted one by one, by id.
    pub chunks: Vec<ChunkLife>,
    /// The packs that hold those.
    pub packs: Vec<PackLife>,
}

/// Explains chunks; one by one those for which `wanted`.
pub(crate) async fn explain(
    inner: &Inner,
    chunks: &[ChunkId],
    wanted: impl Fn(ChunkId) -> bool,
) -> Result<Explained> {
    let mut explained = Explained::default();
    let mut listed = Vec::new();
    let mut shown: BTreeSet<u64> = BTreeSet::new();
    {
        let snapshot = inner.meta.snapshot()?;
        let settings = &inner.config.health;
        let different: BTreeSet<ChunkId> = chunks.iter().copied().collect();
        let seen = Seen::new(&*snapshot)?;
        let mut states: BTreeMap<(u64, u32), Level> = BTreeMap::new();
        let mut segments: BTreeSet<(u64, u32)> = BTreeSet::new();
        let places: BTreeMap<ChunkId, Location> =
            locations::get_many(&*snapshot, &different.iter().copied().collect::<Vec<_>>())?
                .into_iter()
                .collect();
        for chunk in &different {
            let place = places.get(chunk);
            let level = match place {
                None => Level::Staged,
                Some(place) => {
                    segments.insert((place.pack, place.segment));
                    let segment = (place.pack, place.segment);
                    match states.get(&segment) {
                        Some(level) => *level,
                        None => {
                            let about = packs::get(&*snapshot, place.pack)?;
                            let state = about.map_or(PackState::Closed, |about| about.state);
                            let level = seen.level(&*snapshot, place, state)?;
                            states.insert(segment, level);
                            level
                        }
                    }
                }
            };
            let level = moved::level(&*snapshot, seen, *chunk, level)?;
            match level {
                Level::Staged => explained.staged += 1,
                Level::Placed => explained.placed += 1,
                Level::Verified => explained.verified += 1,
            }
            if wanted(*chunk) {
                shown.extend(place.map(|place| place.pack));
                listed.push((*chunk, level, place.copied()));
            }
        }
        explained.count = different.len() as u64;
        let packs: BTreeSet<u64> = segments.iter().map(|(pack, _)| *pack).collect();
        explained.pack_count = packs.len() as u64;
        for (pack, number) in &segments {
            if states.get(&(*pack, *number)) == Some(&Level::Verified) {
                let known = record::get(&*snapshot, *pack, *number)?.unwrap_or_else(Record::unknown);
                let standing = crate::health::judge::judge(&known, settings, crate::health::now());
                explained.by_good[standing.good.min(FRAGMENTS)] += 1;
                explained.at_risk += u64::from(standing.at_risk);
            }
        }
        for pack in shown {
            let here = segments
                .range((pack, 0)..=(pack, u32::MAX))
                .map(|(_, number)| *number);
            explained
                .packs
                .extend(pack_life(&*snapshot, pack, here, settings)?);
        }
    }
    for (chunk, level, place) in listed {
        let staged_by = inner.staged_elsewhere(chunk)?;
        explained.chunks.push(ChunkLife {
            chunk: chunk.0,
            level,
            memory: inner.memory.contains(chunk),
            disk: inner.disk.contains(chunk).await,
            staging: staged_by.is_none() && inner.staging.holds(chunk)?,
            staged_by,
            last_read: inner.traces.last(chunk),
            place: place.map(|place| ChunkPlace {
                pack: place.pack,
                segment: place.segment,
                offset: place.offset,
                len: place.len,
            }),
        });
    }
    Ok(explained)
}

fn pack_life<R: Read + ?Sized>(
    read: &R,
    pack: u64,
    numbers: impl Iterator<Item = u32>,
    settings: &HealthSettings,
) -> Result<Option<PackLife>> {
    let Some(about) = packs::get(read, pack)? else {
        return Ok(None);
    };
    let names = packs::names(read, pack)?;
    let mut health = Vec::new();
    if about.state >= PackState::Placed {
        for number in numbers {
            let known = match about.state {
                PackState::Verified => Some(record::get(read, pack, number)?.unwrap_or_else(Record::unknown)),
                _ => None,
            };
            health.push(report::segment(
                names.as_ref(),
                pack,
                number,
                known.as_ref(),
                settings,
            ));
        }
    }
    Ok(Some(PackLife {
        id: pack,
        state: about.state,
        fid: about.fid.map(|fid| Hash(fid).to_string()),
        file_name: hex::encode(about.file_name),
        segments: about.segments,
        life: life::get(read, pack)?,
        unverified: about.unverified,
        last_error: about.last_error,
        health,
    }))
}
