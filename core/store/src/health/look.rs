//! One look at one segment: are its fragments still what was stored?
//!
//! There is no local copy any more to compare with, so three things take its place:
//! - the chunks' own tags. A frame, chosen at random, is read from the data fragment that it lies
//!   in and opened under its key;
//! - the erasure code. The same short range of all twelve fragments is read, where that frame
//!   lies, and the ranges are held against each other ([`crate::health::columns`]); so parity is
//!   checked as well as data. [`COLUMNS`] times, at random places that have content;
//! - the fragments' names. One fragment is read whole and hashed, in turn, another at the next
//!   look.
//!
//! When ranges do not agree, every fragment is read whole: its hash says for certain which is
//! wrong. A miner that lacks a part `f` of a fragment is found with a probability of at least
//! `1 − (1 − f)^4` at each look, and for certain at the twelfth.
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cess::codec::{FRAGMENT_SIZE, FRAGMENTS, ZERO_FRAGMENT};
use cess::{AccountId, Hash};
use futures::future::join_all;

use crate::health::Shared;
use crate::health::columns::{Agreement, agreement};
use crate::pack::layout::Slot;
use crate::pack::record::Names;
use crate::place::pace::Backoff;
use crate::{Error, random};

/// Random columns at each look.
const COLUMNS: usize = 4;
/// Most bytes of each fragment in a column.
const COLUMN: usize = 16 << 10;

/// The segment that is looked at.
pub(crate) struct Segment<'a> {
    /// File it belongs to.
    pub fid: Hash,
    /// Number in the pack.
    pub number: u32,
    /// Names and holders of the pack.
    pub names: &'a Names,
    /// Its frames.
    pub slots: &'a [Slot],
}

/// What a fragment turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// What was stored, as far as was looked.
    Good,
    /// Its miner cannot be asked.
    OutOfReach(String),
    /// Its miner does not have it.
    Missing(String),
    /// Its miner has something else.
    Corrupt(String),
}

/// Why a read failed, in the words of a finding.
fn finding(error: &cess::Error) -> Finding {
    match error {
        // Trouble of the miner's own says nothing about what it holds.
        cess::Error::Unreachable(_) | cess::Error::Miner { code: 500.., .. } => {
            Finding::OutOfReach(error.to_string())
        }
        cess::Error::Corrupt(_) => Finding::Corrupt(error.to_string()),
        _ => Finding::Missing(error.to_string()),
    }
}

/// A range of a fragment, and what one of the fragments surely has there.
struct Column {
    range: Range<u32>,
    anchor: Option<(usize, Bytes)>,
}

struct Looking<'a> {
    shared: &'a Shared,
    segment: &'a Segment<'a>,
    hashes: [Hash; FRAGMENTS],
    found: [Option<Finding>; FRAGMENTS],
}

/// Looks at a segment; reads fragment `whole` whole. Answers what each fragment is.
pub(crate) async fn look(shared: &Shared, segment: &Segment<'_>, whole: usize) -> [Finding; FRAGMENTS] {
    let hashes = segment
        .names
        .segments
        .get(segment.number as usize)
        .map_or([ZERO_FRAGMENT; FRAGMENTS], |names| names.fragments.map(Hash));
    let mut looking = Looking {
        shared,
        segment,
        hashes,
        // Zeros need no miner.
        found: hashes.map(|hash| (hash == ZERO_FRAGMENT).then_some(Finding::Good)),
    };
    looking.columns().await;
    if looking.open(whole) {
        looking.whole(whole).await;
    }
    looking.found.map(|found| found.unwrap_or(Finding::Good))
}

impl Looking<'_> {
    /// Whether nothing was decided about a fragment yet.
    fn open(&self, index: usize) -> bool {
        self.found.get(index).is_some_and(Option::is_none)
    }

    async fn columns(&mut self) {
        for _ in 0..COLUMNS {
            let Some(column) = self.column().await else {
                return;
            };
            let reads = (0..FRAGMENTS)
                .filter(|index| self.open(*index))
                .filter(|index| column.anchor.as_ref().is_none_or(|(anchor, _)| anchor != index))
                .map(|index| self.range(index, column.range.clone()));
            let mut columns: [Option<Bytes>; FRAGMENTS] = std::array::from_fn(|index| {
                (self.hashes[index] == ZERO_FRAGMENT).then(|| Bytes::from(vec![0; column.range.len()]))
            });
            for (index, read) in join_all(reads).await {
                match read {
                    Ok(bytes) => columns[index] = Some(bytes),
                    Err(finding) => self.found[index] = Some(finding),
                }
            }
            if let Some((index, bytes)) = column.anchor {
                columns[index] = Some(bytes);
            }
            if agreement(&columns) != Agreement::All {
                for index in 0..FRAGMENTS {
                    if self.open(index) {
                        self.whole(index).await;
                        self.found[index].get_or_insert(Finding::Good);
                    }
                }
                return;
            }
        }
    }

    /// A random place that has content; anchored, if the frame there can be opened.
    async fn column(&mut self) -> Option<Column> {
        let slots = self.segment.slots;
        let slot = slots.get(random::u64() as usize % slots.len().max(1))?;
        let size = FRAGMENT_SIZE as u32;
        let (first, last) = (
            slot.offset / size,
            slot.offset.saturating_add(slot.len - 1) / size,
        );
        // Of a frame that straddles fragments, the part in one of them.
        let index = first + (random::u64() % u64::from(last - first + 1)) as u32;
        let begin = slot.offset.max(index * size) - index * size;
        let end = (slot.offset + slot.len).min((index + 1) * size) - index * size;
        let len = (end - begin).min(COLUMN as u32);
        let start = begin + (random::u64() % u64::from(end - begin - len + 1)) as u32;
        let range = start..start + len;
        let index = index as usize;
        let mut anchor = None;
        if first == last && self.open(index) {
            match self.range(index, begin..end).await.1 {
                Err(finding) => self.found[index] = Some(finding),
                Ok(frame) => match self.shared.inner.open_frame(slot.chunk, &frame) {
                    Ok(_) => {
                        let part = (start - begin) as usize;
                        anchor = Some((index, frame.slice(part..part + len as usize)));
                    }
                    // Nobody can open it any more; the other ranges and the hashes still tell.
                    Err(Error::Key(_) | Error::Meta(_)) => {}
                    Err(error) => {
                        if let Some(holder) = self.segment.names.holder(self.segment.number as usize, index) {
                            self.shared.miners.distrust(AccountId(holder.account));
                        }
                        self.found[index] = Some(Finding::Corrupt(error.to_string()));
                    }
                },
            }
        }
        Some(Column { range, anchor })
    }

    /// A range of a fragment.
    async fn range(&self, index: usize, range: Range<u32>) -> (usize, Result<Bytes, Finding>) {
        let len = range.len();
        let read = self
            .read(index, len, |endpoint| {
                let range = range.clone();
                async move {
                    let hash = self.hashes[index];
                    self.shared
                        .network
                        .get_range(&endpoint, self.segment.fid, hash, range)
                        .await
                }
            })
            .await;
        let read = read.and_then(|(bytes, _, _)| {
            if bytes.len() == len {
                Ok(bytes)
            } else {
                Err(Finding::Corrupt("a range of another length".into()))
            }
        });
        (index, read)
    }

    /// A whole fragment, by its hash.
    async fn whole(&mut self, index: usize) {
        let (hash, fid) = (self.hashes[index], self.segment.fid);
        let network = &self.shared.network;
        let read = self
            .read(index, FRAGMENT_SIZE, |endpoint| async move {
                network.get(&endpoint, fid, hash).await
            })
            .await;
        match read {
            Ok((bytes, account, took)) => self.shared.miners.succeeded(account, bytes.len(), took),
            Err(finding) => self.found[index] = Some(finding),
        }
    }

    /// Reads from the miner of a fragment, several times if it must be.
    async fn read<F>(
        &self,
        index: usize,
        len: usize,
        get: impl Fn(String) -> F,
    ) -> Result<(Bytes, AccountId, Duration), Finding>
    where
        F: Future<Output = cess::Result<Bytes>>,
    {
        let Some(holder) = self.segment.names.holder(self.segment.number as usize, index) else {
            return Err(Finding::OutOfReach("nobody is known to hold it".into()));
        };
        let account = AccountId(holder.account);
        let pace = &self.shared.pace;
        let mut backoff = Backoff::new(pace.retry, pace.retry_max);
        let mut tries = 0;
        loop {
            let endpoint = self.shared.miners.endpoint(account);
            let Some(endpoint) = endpoint.or_else(|| holder.endpoint.clone()) else {
                return Err(Finding::OutOfReach("no endpoint is known".into()));
            };
            self.shared.worker.take(len as u64).await;
            let began = Instant::now();
            let answer = tokio::time::timeout(pace.get_timeout, get(endpoint))
                .await
                .unwrap_or_else(|_| {
                    let text = format!("no answer in {:?}", pace.get_timeout);
                    Err(cess::Error::Unreachable(text))
                });
            tries += 1;
            match answer {
                Ok(bytes) => {
                    self.shared.worker.count("bytes read", len as u64);
                    return Ok((bytes, account, began.elapsed()));
                }
                Err(error) if tries >= pace.verify_tries => {
                    let finding = finding(&error);
                    match finding {
                        Finding::OutOfReach(_) => self.shared.miners.failed(account),
                        _ => self.shared.miners.distrust(account),
                    }
                    return Err(finding);
                }
                Err(_) => tokio::time::sleep(backoff.pause(random::u64())).await,
            }
        }
    }
}
