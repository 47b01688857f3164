//! What an operator sees of the network's health.
use cess::AccountId;
use cess::account::SS58_PREFIX;
use cess::codec::FRAGMENTS;
use meta::Read;
use serde::{Deserialize, Serialize};

use crate::health::judge::{judge, spacing};
use crate::health::now;
use crate::health::record::{self, FragmentState, Record};
use crate::health::repair::live;
use crate::health::settings::HealthSettings;
use crate::pack::record::{self as packs, Names};
use crate::{ChunkId, PackState, Result};

/// One fragment of a segment. Times in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentHealth {
    /// 0 to 3: data; 4 to 11: parity.
    pub index: u8,
    /// What the last look found; `None` before the pack is verified.
    pub state: Option<FragmentState>,
    /// Account (SS58) of the miner that holds it; `None` when nobody is known to.
    pub miner: Option<String>,
    /// Its endpoint when last seen.
    pub endpoint: Option<String>,
    /// All zeros: needs no miner to be rebuilt.
    pub zero: bool,
    /// When it was good last; 0: never seen.
    pub good: u64,
    /// Since when it is in its state.
    pub since: u64,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHealth {
    /// Number of its pack.
    pub pack: u64,
    /// Its number in the pack, from 0.
    pub segment: u32,
    /// Good fragments of twelve.
    pub good: u8,
    /// Fragments whose miners are out of reach and may come back.
    pub doubtful: u8,
    /// Fragments that are lost.
    pub lost: u8,
    /// Whether it is stored again.
    pub at_risk: bool,
    /// Live chunks of it that could not be rebuilt when that was tried last.
    pub lost_chunks: u64,
    /// When it was looked at last, in milliseconds since 1970-01-01 UTC; 0: never.
    pub looked: u64,
    /// Its fragments, by index.
    pub fragments: Vec<FragmentHealth>,
}

/// All segments that are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// Segments.
    pub segments: u64,
    /// How many of them have 0, 1, … 12 good fragments.
    pub by_good: [u64; FRAGMENTS + 1],
    /// Segments that are being stored again, or wait for it.
    pub at_risk: u64,
    /// Live chunks that could not be rebuilt when that was tried last.
    pub lost_chunks: u64,
    /// When the segment was looked at that was not for longest, in milliseconds since 1970-01-01
    /// UTC; `None` when there is none.
    pub oldest_look: Option<u64>,
    /// Segments whose next look is due.
    pub due: u64,
}

/// What a round of the scrubber found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Segments looked at.
    pub looked: u64,
    /// Of those: segments of which all twelve fragments are good.
    pub whole: u64,
    /// Of those: segments at risk.
    pub at_risk: u64,
    /// Chunks that were brought back to be stored again.
    pub moved_chunks: u64,
    /// Live chunks that could not be rebuilt.
    pub lost_chunks: u64,
    /// Segments that are not whole, the worst first; at most 100.
    pub segments: Vec<SegmentHealth>,
}

/// One segment, as it is known now; `known` is `None` before its pack is verified.
pub(crate) fn segment(
    names: Option<&Names>,
    pack: u64,
    number: u32,
    known: Option<&Record>,
    settings: &HealthSettings,
) -> SegmentHealth {
    let standing = known.map(|known| judge(known, settings, now()));
    let fragments = (0..FRAGMENTS)
        .map(|index| {
            let slot = known.map(|known| known.slots[index]);
            let holder = names.and_then(|names| names.holder(number as usize, index));
            FragmentHealth {
                index: index as u8,
                state: slot.map(|slot| slot.state),
                miner: holder.map(|holder| AccountId(holder.account).to_ss58(SS58_PREFIX)),
                endpoint: holder.and_then(|holder| holder.endpoint.clone()),
                zero: names.is_some_and(|names| names.is_zero(number, index)),
                good: slot.map_or(0, |slot| slot.good),
                since: slot.map_or(0, |slot| slot.since),
            }
        })
        .collect();
    SegmentHealth {
        pack,
        segment: number,
        good: standing.map_or(0, |standing| standing.good as u8),
        doubtful: standing.map_or(0, |standing| standing.doubtful as u8),
        lost: standing.map_or(0, |standing| standing.lost as u8),
        at_risk: standing.is_some_and(|standing| standing.at_risk),
        lost_chunks: known.map_or(0, |known| known.lost),
        looked: known.map_or(0, |known| known.looked),
        fragments,
    }
}

/// Every verified segment and what is known of it.
pub(crate) fn each<R: Read + ?Sized>(
    read: &R,
    mut see: impl FnMut(u64, u32, &Record) -> Result<()>,
) -> Result<()> {
    for (pack, about) in packs::all(read)? {
        if about.state < PackState::Verified || about.retired {
            continue;
        }
        for number in 0..about.segments {
            let known = record::get(read, pack, number)?.unwrap_or_else(Record::unknown);
            see(pack, number, &known)?;
        }
    }
    Ok(())
}

/// The whole network, as far as this gateway stored on it.
pub(crate) fn status<R: Read + ?Sized>(read: &R, settings: &HealthSettings) -> Result<HealthStatus> {
    let now = now();
    let mut status = HealthStatus::default();
    each(read, |_, _, known| {
        let standing = judge(known, settings, now);
        status.segments += 1;
        status.by_good[standing.good.min(FRAGMENTS)] += 1;
        status.at_risk += u64::from(standing.at_risk);
        status.lost_chunks += known.lost;
        status.oldest_look = Some(
            status
                .oldest_look
                .map_or(known.looked, |oldest| oldest.min(known.looked)),
        );
        let age = now.saturating_sub(known.looked);
        status.due +=
            u64::from(known.looked > now || u128::from(age) >= spacing(known, settings).as_millis());
        Ok(())
    })?;
    Ok(status)
}

/// Segments that are not whole, at most `most`.
pub(crate) fn unwell<R: Read + ?Sized>(
    read: &R,
    settings: &HealthSettings,
    most: usize,
) -> Result<Vec<SegmentHealth>> {
    let mut segments = Vec::new();
    each(read, |pack, number, known| {
        if segments.len() < most && (known.good() < FRAGMENTS || known.lost > 0 || known.unlisted > 0) {
            let names = packs::names(read, pack)?;
            segments.push(segment(names.as_ref(), pack, number, Some(known), settings));
        }
        Ok(())
    })?;
    Ok(segments)
}

/// Live chunks that could not be rebuilt when that was tried last, at most `most`.
pub(crate) fn lost_chunks<R: Read + ?Sized>(read: &R, most: usize) -> Result<Vec<ChunkId>> {
    let mut chunks = Vec::new();
    each(read, |pack, number, known| {
        if known.lost > 0 && chunks.len() < most {
            chunks.extend(live(read, pack, number)?.into_iter().map(|slot| slot.chunk));
        }
        Ok(())
    })?;
    chunks.truncate(most);
    Ok(chunks)
}
