//! Placed → Verified: reading back while there still is a local copy.
//!
//! A miner's report proves nothing. So the segments are built once more, and of every fragment,
//! parity too, random ranges are fetched from the miner that the chain names and compared; of each
//! segment one whole fragment, chosen at random, is fetched and hashed, too.
//!
//! # What it finds
//! The part of a fragment that has content (a short pack ends in zeros) is cut into [`RANGES`]
//! equal stretches, and one range of [`RANGE`] bytes is read at a random place in each. A miner that
//! stored nothing, or garbage, never passes. One that lacks a part `f` of a fragment passes with a
//! probability of at most `(1 − f)^8`: 0.4 % of those that lack half of it, 10 % of those that lack
//! a quarter, whatever the pattern; when what it lacks is in one piece and at least a quarter,
//! it holds a whole stretch and is found for certain. A loss too small for that (one bad sector) is
//! found by the whole read with a probability of 1/12 here, and by the scrub (see
//! [`crate::health`]) within twelve rounds for certain; one fragment of twelve is no danger until
//! then. Miners cannot tell these reads from those of a reader.
//!
//! A fragment that cannot be verified after several tries keeps the pack at `placed`, with the
//! miner's name in its record and its space in staging kept. When the miner was wrong, or stays
//! out of reach for long, and twelve others can be had, the pack is *retired*: its live chunks are
//! packed again, which places them elsewhere (the network has no way to push a fragment of a
//! finished file again), and the old file is deleted once the new ones are verified.
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use cess::codec::{FRAGMENT_SIZE, FRAGMENTS, PARITY_FRAGMENTS};
use cess::{AccountId, Hash};
use futures::future::join_all;
use meta::Durability;

use crate::health;
use crate::pack::record::{self, Names, Record};
use crate::place::absent::ReadBack;
use crate::place::build::{self, Built};
use crate::place::drive::{self, Memory, Step};
use crate::place::local::unpacked;
use crate::place::pace::Backoff;
use crate::place::waiting::Waiting;
use crate::place::{Shared, StepError};
use crate::reclaim::moved;
use crate::{ChunkId, Error, PackState, locations, random, steps};

/// Bytes of one range read back.
const RANGE: usize = 16 << 10;
/// Ranges read back of every fragment: 128 KiB in all, 1.6 % of it.
const RANGES: usize = 8;

/// Why a fragment is not verified.
enum Doubt {
    /// The miner does not have it, or has something else.
    Wrong(String),
    /// The miner cannot be asked.
    OutOfReach(String),
}

/// A fragment that is not verified.
struct Failure {
    index: usize,
    account: AccountId,
    doubt: Doubt,
}

/// Reads one pack back.
pub(crate) async fn verify(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    memory: &mut Memory,
) -> Result<Step, StepError> {
    let fid = drive::fid(record)?;
    let names = record::names(&*shared.meta.snapshot()?, pack)?
        .ok_or_else(|| Error::from(meta::Error::Damaged("pack table: no names".into())))?;
    // For endpoints that changed; the ones noted in the pack do when the chain is away.
    let _ = shared.miners.list().await;
    let mut failures = Vec::new();
    for number in shared.kept.first(pack, record.segments) {
        let open: Vec<usize> = (0..FRAGMENTS)
            .filter(|index| {
                holder_of(&names, number, *index)
                    .is_none_or(|holder| !memory.verified.contains(&(number, *index, holder)))
            })
            .collect();
        if open.is_empty() {
            continue;
        }
        let name = names
            .segments
            .get(number as usize)
            .map(|segment| Hash(segment.segment))
            .ok_or_else(|| Error::from(meta::Error::Damaged("pack table: a segment has no names".into())))?;
        // Only what is compared is kept: miners that do not answer would hold the whole segment.
        let expected: Vec<(usize, Expected)> = {
            let built = build::build(shared, pack, record, number, name).await?;
            let whole = random::u64() as usize % FRAGMENTS;
            open.into_iter()
                .map(|index| (index, Expected::of(&built.fragment(index), index == whole)))
                .collect()
        };
        let checks = expected
            .iter()
            .map(|(index, expected)| check(shared, fid, &names, number, *index, expected));
        let outcomes = join_all(checks).await;
        let wrong: Vec<usize> = outcomes
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Err((_, Doubt::Wrong(_)))))
            .map(|(index, _)| *index)
            .collect();
        if !wrong.is_empty() {
            let built = build::build(shared, pack, record, number, name).await?;
            for index in wrong {
                own_copy(&built, &names, number, index)?;
            }
        }
        for (index, outcome) in outcomes {
            match outcome {
                Ok(()) => {
                    let holder = holder_of(&names, number, index);
                    memory
                        .verified
                        .extend(holder.map(|holder| (number, index, holder)));
                }
                Err((account, doubt)) => failures.push(Failure {
                    index,
                    account,
                    doubt,
                }),
            }
        }
    }
    if failures.is_empty() {
        verified(shared, pack, record.segments).await?;
        return Ok(Step::Next);
    }
    doubted(shared, pack, record, memory, failures).await
}

/// Reads a pack back whose bytes this gateway does not have: every fragment whole, which its name tells from anything
/// else. What is in `read_back` already is not asked for again.
pub(crate) async fn verify_whole(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    read_back: &mut ReadBack,
) -> Result<(), StepError> {
    let fid = drive::fid(record)?;
    let names = record::names(&*shared.meta.snapshot()?, pack)?
        .ok_or_else(|| Error::from(meta::Error::Damaged("pack table: no names".into())))?;
    // For endpoints that changed; the ones noted in the pack do when the chain is away.
    let _ = shared.miners.list().await;
    let mut failures = Vec::new();
    for number in 0..record.segments {
        let checks = (0..FRAGMENTS)
            .filter(|index| {
                holder_of(&names, number, *index)
                    .is_none_or(|holder| !read_back.contains(&(number, *index, holder)))
            })
            .map(|index| check(shared, fid, &names, number, index, &Expected::Whole));
        for (index, outcome) in join_all(checks).await {
            match outcome {
                Ok(()) => {
                    let holder = holder_of(&names, number, index);
                    read_back.extend(holder.map(|holder| (number, index, holder)));
                }
                Err((account, doubt)) => failures.push(Failure {
                    index,
                    account,
                    doubt,
                }),
            }
        }
    }
    if failures.is_empty() {
        return verified(shared, pack, record.segments).await;
    }
    Err(StepError::Unverified(noted(shared, pack, &failures).await?))
}

/// Whom the chain names for a fragment.
fn holder_of(names: &Names, number: u32, index: usize) -> Option<AccountId> {
    let holder = names.holder(number as usize, index)?;
    Some(AccountId(holder.account))
}

/// What a miner is to answer about one fragment.
enum Expected {
    /// All of it, which its name tells from anything else.
    Whole,
    /// These ranges of it.
    Ranges(Vec<(Range<usize>, Vec<u8>)>),
}

impl Expected {
    fn of(fragment: &[u8], whole: bool) -> Self {
        if whole {
            return Self::Whole;
        }
        let sample = |range: Range<usize>| (range.clone(), fragment[range].to_vec());
        Self::Ranges(ranges(content(fragment)).into_iter().map(sample).collect())
    }
}

/// Before a miner is blamed: is the local copy what was placed?
fn own_copy(built: &Built, names: &Names, number: u32, index: usize) -> Result<(), StepError> {
    let placed = names
        .segments
        .get(number as usize)
        .map(|segment| Hash(segment.fragments[index]));
    if placed == Some(Hash::of(&built.fragment(index))) {
        return Ok(());
    }
    Err(Error::Disk("the local copy in staging is not what was placed".into()).into())
}

async fn verified(shared: &Shared, pack: u64, segments: u32) -> Result<(), StepError> {
    steps::reach_async(steps::VERIFY).await?;
    let now = health::now();
    // Durable before staging forgets anything.
    shared
        .meta
        .write(Durability::Synced, move |tx| -> crate::Result<()> {
            let Some(mut record) = record::get(tx, pack)? else {
                return Ok(());
            };
            if record.state != PackState::Placed || record.retired {
                return Ok(());
            }
            record.state = PackState::Verified;
            record.unverified = 0;
            record.last_error = None;
            record::put(tx, pack, &record)?;
            for number in 0..segments {
                health::record::put(tx, pack, number, &health::record::Record::verified(now))?;
            }
            Ok(())
        })
        .await?;
    steps::reach_async(steps::VERIFIED).await?;
    shared.progressed();
    tracing::info!(pack, "pack verified");
    Ok(())
}

/// Checks one fragment, several times if it must be.
async fn check(
    shared: &Shared,
    fid: Hash,
    names: &Names,
    number: u32,
    index: usize,
    expected: &Expected,
) -> (usize, Result<(), (AccountId, Doubt)>) {
    let (Some(holder), Some(segment)) = (
        names.holder(number as usize, index),
        names.segments.get(number as usize),
    ) else {
        let doubt = Doubt::OutOfReach("nobody is known to hold it".into());
        return (index, Err((AccountId([0; 32]), doubt)));
    };
    let account = AccountId(holder.account);
    let fragment = Hash(segment.fragments[index]);
    let pace = &shared.settings.pace;
    let mut backoff = Backoff::new(pace.retry, pace.retry_max);
    let mut tries = 0;
    loop {
        // A miner may come back under another endpoint.
        let endpoint = shared
            .miners
            .endpoint(account)
            .or_else(|| holder.endpoint.clone());
        let outcome = match endpoint {
            None => Err(Doubt::OutOfReach("no endpoint is known".into())),
            Some(endpoint) => {
                let _memory = match expected {
                    Expected::Whole => Some(shared.fragment_memory().await),
                    Expected::Ranges(_) => None,
                };
                let read = read_back(shared, &endpoint, fid, fragment, expected);
                tokio::time::timeout(pace.get_timeout, read)
                    .await
                    .unwrap_or_else(|_| {
                        Err(Doubt::OutOfReach(format!("no answer in {:?}", pace.get_timeout)))
                    })
            }
        };
        tries += 1;
        match outcome {
            Ok(()) => return (index, Ok(())),
            Err(doubt) if tries >= pace.verify_tries => {
                shared.miners.failed(account);
                return (index, Err((account, doubt)));
            }
            Err(_) => tokio::time::sleep(backoff.pause(random::u64())).await,
        }
    }
}

async fn read_back(
    shared: &Shared,
    endpoint: &str,
    fid: Hash,
    fragment: Hash,
    expected: &Expected,
) -> Result<(), Doubt> {
    let doubt = |error: cess::Error| match error {
        cess::Error::Unreachable(_) => Doubt::OutOfReach(error.to_string()),
        // Trouble of its own, as miners report it; says nothing about what it holds.
        cess::Error::Miner { code: 500.., .. } => Doubt::OutOfReach(error.to_string()),
        _ => Doubt::Wrong(error.to_string()),
    };
    let ranges = match expected {
        Expected::Whole => {
            // The client checks the hash.
            shared.network.get(endpoint, fid, fragment).await.map_err(doubt)?;
            return Ok(());
        }
        Expected::Ranges(ranges) => ranges,
    };
    for (range, ours) in ranges {
        let theirs = shared
            .network
            .get_range(endpoint, fid, fragment, range.start as u32..range.end as u32)
            .await
            .map_err(doubt)?;
        if theirs[..] != ours[..] {
            return Err(Doubt::Wrong(format!("bytes {range:?} are not what was stored")));
        }
    }
    Ok(())
}

/// Bytes of a fragment up to its last that is not zero.
fn content(fragment: &[u8]) -> usize {
    fragment
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(FRAGMENT_SIZE, |last| last + 1)
}

/// Ranges to read back of a fragment whose first `used` bytes have content: one at a random place
/// in each stretch of them.
fn ranges(used: usize) -> Vec<Range<usize>> {
    let stretch = used / RANGES;
    if stretch <= RANGE {
        // All of it, in pieces of that size.
        return (0..used.div_ceil(RANGE))
            .map(|piece| piece * RANGE..(piece + 1) * RANGE)
            .collect();
    }
    (0..RANGES)
        .map(|number| {
            let begin = number * used / RANGES;
            let end = (number + 1) * used / RANGES;
            let start = begin + (random::u64() % (end - begin - RANGE + 1) as u64) as usize;
            start..start + RANGE
        })
        .collect()
}

/// Notes what is not verified, and remembers miners that were wrong; answers it in words.
async fn noted(shared: &Shared, pack: u64, failures: &[Failure]) -> Result<String, StepError> {
    for failure in failures {
        if matches!(failure.doubt, Doubt::Wrong(_)) {
            shared.miners.distrust(failure.account);
        }
    }
    let count = failures.len() as u32;
    let mut text = failures
        .iter()
        .take(4)
        .map(|failure| {
            let miner = failure.account.to_ss58(cess::account::SS58_PREFIX);
            let (Doubt::Wrong(why) | Doubt::OutOfReach(why)) = &failure.doubt;
            format!("fragment {} at {miner}: {why}", failure.index)
        })
        .collect::<Vec<_>>()
        .join("; ");
    if failures.len() > 4 {
        text = format!("{text}; and {} more", failures.len() - 4);
    }
    shared
        .update(pack, Durability::Buffered, move |record| {
            record.unverified = count;
        })
        .await?;
    Ok(text)
}

/// Some fragments are not verified: says so, and stores the pack elsewhere if it is time.
async fn doubted(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    memory: &mut Memory,
    failures: Vec<Failure>,
) -> Result<Step, StepError> {
    let since = *memory.unverified_since.get_or_insert_with(Instant::now);
    let wrong = failures
        .iter()
        .any(|failure| matches!(failure.doubt, Doubt::Wrong(_)));
    let text = noted(shared, pack, &failures).await?;
    if !wrong && since.elapsed() < shared.settings.pace.verify_patience {
        return Err(StepError::Unverified(text));
    }
    let others = shared
        .usable(record)
        .await?
        .0
        .into_iter()
        .filter(|miner| {
            !shared.miners.distrusted(miner.account)
                && !failures.iter().any(|failure| failure.account == miner.account)
        })
        .count();
    if others < FRAGMENTS {
        return Err(StepError::Unverified(format!(
            "{text}; {others} other miners are usable, {FRAGMENTS} would be needed to store it again"
        )));
    }
    tracing::warn!(pack, reason = %text, "pack is stored again");
    // No segment lacks more fragments than failed: four of each are there.
    let held = failures.len() <= PARITY_FRAGMENTS;
    retire(shared, pack, held, text).await?;
    Ok(Step::Done)
}

/// Hands the live chunks of `pack` to new packs. They keep its level until they have come as far
/// again, unless `held` is false: then too little of them is on the network to speak of a level.
pub(crate) async fn retire(
    shared: &Arc<Shared>,
    pack: u64,
    held: bool,
    reason: String,
) -> Result<(), StepError> {
    steps::reach_async(steps::RETIRE).await?;
    let highest = shared
        .meta
        .write(
            Durability::Buffered,
            move |tx| -> crate::Result<Option<ChunkId>> {
                let Some(mut record) = record::get(tx, pack)? else {
                    return Ok(None);
                };
                if record.state != PackState::Placed || record.retired {
                    return Ok(None);
                }
                let dead: std::collections::BTreeSet<_> = record::dead(tx, pack)?
                    .into_iter()
                    .map(|(chunk, _)| chunk)
                    .collect();
                let mut chunks = Vec::new();
                for number in 0..record.segments {
                    for slot in record::contents(tx, pack, number)? {
                        if dead.contains(&slot.chunk) {
                            tx.delete(&record::dead_key(pack, slot.chunk))?;
                        } else {
                            let waiting = Waiting {
                                chunk: slot.chunk,
                                len: slot.len,
                                stream: 0,
                            };
                            unpacked::put(tx, waiting)?;
                            if held {
                                moved::put(tx, slot.chunk, pack)?;
                            }
                        }
                        chunks.push(slot.chunk);
                    }
                }
                let highest = chunks.iter().max().copied();
                locations::remove(tx, pack, chunks)?;
                record.retired = true;
                record.last_error = Some(reason.clone());
                record::put(tx, pack, &record)?;
                Ok(highest)
            },
        )
        .await?;
    steps::reach_async(steps::RETIRED).await?;
    if let Some(highest) = highest {
        shared.close_through(highest);
    }
    shared.progressed();
    shared.upkeep.notify_one();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lie_in_the_fragment_and_where_it_has_content() {
        for used in [1, RANGE, RANGE + 1, RANGES * RANGE, 1 << 20, FRAGMENT_SIZE] {
            for _ in 0..50 {
                let ranges = ranges(used);
                assert!(!ranges.is_empty() && ranges.len() <= RANGES, "{used}: {ranges:?}");
                for range in &ranges {
                    assert_eq!(range.len(), RANGE);
                    assert!(range.start < used && range.end <= FRAGMENT_SIZE);
                }
                let read: usize = ranges.iter().map(ExactSizeIterator::len).sum();
                assert!(read >= used.min(RANGES * RANGE), "{used}: {ranges:?}");
            }
        }
    }

    #[test]
    fn content_ends_with_the_last_byte_that_is_not_zero() {
        let mut fragment = vec![0; FRAGMENT_SIZE];
        assert_eq!(content(&fragment), FRAGMENT_SIZE, "zeros are looked at all over");
        fragment[70_000] = 1;
        assert_eq!(content(&fragment), 70_001);
    }

    #[test]
    fn a_quarter_in_one_piece_is_never_missed() {
        for used in [1 << 20, FRAGMENT_SIZE] {
            for round in 0..1000 {
                // A window of a quarter contains one whole stretch, wherever it begins.
                let begin = round * (used - used / 4) / 999;
                let lost = begin..begin + used / 4;
                let hit = ranges(used)
                    .into_iter()
                    .any(|range| range.start < lost.end && lost.start < range.end);
                assert!(hit, "{used}: {lost:?}");
            }
        }
    }
}
