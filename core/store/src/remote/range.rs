//! A range of a segment, from whoever gives it first.
//!
//! A range lies in one data fragment, or straddles two; each piece is read on its own, in parallel.
//! The miner that holds the fragment is asked first. If it is late by its own measure
//! ([`super::latency`]), or answers with an error, the same range of four other fragments is read
//! and the piece rebuilt from them; whichever is first wins. A miner that keeps failing is asked
//! only when the others cannot help, and beside them once in a while: it may be back.
//!
//! Nothing is verified here: what comes out must be authenticated by the frames in it.
use std::ops::Range;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cess::codec::{DATA_FRAGMENTS, FRAGMENT_SIZE, FRAGMENTS, ZERO_FRAGMENT, reconstruct_fragment};
use cess::{AccountId, Hash};
use futures::StreamExt;
use futures::future::{Either, select, try_join_all};
use futures::stream::FuturesUnordered;

use super::latency::transfer;
use super::{Known, Remote};
use crate::read::trace::{Log, ReadOutcome, ReadSource};

/// Shortest time before others are asked: below it a timer is not worth setting.
const SHORTEST: Duration = Duration::from_millis(3);

/// How much longer who reads ahead, or has no hedge left, waits: in patiences, and a quarter of the
/// limit at most.
const OUT_OF_TURN: u32 = 4;
/// An answer that takes less than this many times the usual is not late: the line is full then, and
/// asking others would make it fuller.
const BUSY: u32 = 3;
/// A miner that was given up lately is not asked when it is so many times slower than others.
const SLOWER: u32 = 2;

/// Whom a range is read from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The holders of the data fragments, others when those are late.
    Direct,
    /// The same, with more patience: nobody may be waiting yet.
    Ahead,
    /// Others only.
    Around,
}

/// Bytes of a range, not authenticated.
pub(super) struct Found {
    pub bytes: Bytes,
    /// Miners whose bytes are in it as they came.
    pub direct: Vec<AccountId>,
}

/// What is asked of a fragment.
#[derive(Clone)]
pub(super) enum Part {
    /// All of it, checked by hash.
    Whole,
    /// A range, unchecked.
    Range(Range<u32>),
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Whole => FRAGMENT_SIZE,
            Self::Range(range) => range.len(),
        }
    }
}

/// A fragment that can be asked for.
struct Candidate {
    /// Order: those that fail last, the quickest first.
    rank: (bool, Duration),
    index: usize,
    account: AccountId,
    endpoint: String,
}

/// A request under way. Dropped before its end, it counts as given up.
struct Asking<'a> {
    remote: &'a Remote,
    account: AccountId,
    bytes: usize,
    began: Instant,
    log: &'a Log,
    number: usize,
    ended: bool,
}

impl<'a> Asking<'a> {
    fn begin(remote: &'a Remote, account: AccountId, fragment: usize, bytes: usize, log: &'a Log) -> Self {
        Self {
            remote,
            account,
            bytes,
            began: Instant::now(),
            log,
            number: log.ask(account, fragment, bytes),
            ended: false,
        }
    }

    fn end<T>(mut self, result: cess::Result<T>) -> cess::Result<T> {
        self.ended = true;
        let took = self.began.elapsed();
        let outcome = match &result {
            Ok(_) => {
                self.remote.miners.succeeded(self.account, self.bytes, took);
                self.remote.latencies.note(self.account, self.bytes, took);
                ReadOutcome::Answered
            }
            Err(error) => {
                self.remote.miners.failed(self.account);
                ReadOutcome::Failed(error.to_string())
            }
        };
        self.log.ended(self.number, took, outcome);
        result
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let waited = self.began.elapsed();
            // What was given up before its time says nothing.
            if waited >= self.remote.late(self.account, self.bytes) {
                self.remote.latencies.at_least(self.account, self.bytes, waited);
            }
            self.log.ended(self.number, waited, ReadOutcome::GivenUp);
        }
    }
}

impl Remote {
    /// Bytes `range` of a segment; or why they cannot be had.
    pub(super) async fn range(
        &self,
        known: &Known,
        segment: u32,
        range: Range<u32>,
        way: Way,
        log: &Log,
    ) -> Result<Found, String> {
        let pieces = pieces(range)
            .into_iter()
            .map(|(index, part)| self.piece(known, segment, index, part, way, log));
        let mut parts = try_join_all(pieces).await?;
        let direct: Vec<AccountId> = parts.iter().filter_map(|(_, from)| *from).collect();
        log.source(if direct.len() == parts.len() {
            ReadSource::Range
        } else {
            ReadSource::Rebuilt
        });
        let bytes = if parts.len() == 1 {
            parts.swap_remove(0).0
        } else {
            let mut bytes = BytesMut::with_capacity(parts.iter().map(|(part, _)| part.len()).sum());
            for (part, _) in &parts {
                bytes.extend_from_slice(part);
            }
            bytes.freeze()
        };
        Ok(Found { bytes, direct })
    }

    /// Range `part` of data fragment `index`, and who sent it if it came as it is.
    async fn piece(
        &self,
        known: &Known,
        segment: u32,
        index: usize,
        part: Range<u32>,
        way: Way,
        log: &Log,
    ) -> Result<(Bytes, Option<AccountId>), String> {
        if known.segment(segment)?.fragments[index] == ZERO_FRAGMENT.0 {
            return Ok((Bytes::from(vec![0; part.len()]), None));
        }
        let rebuilt = || async {
            let bytes = self.rebuild(known, segment, index, part.clone(), log).await?;
            Ok((bytes, None))
        };
        let Some((account, endpoint)) = self.holder(known, segment, index).filter(|_| way != Way::Around)
        else {
            return rebuilt().await;
        };
        let direct = || async {
            let asked = Part::Range(part.clone());
            self.ask(known, segment, index, (account, &endpoint), &asked, log)
                .await
                .map(|bytes| (bytes, Some(account)))
                .map_err(|error| format!("fragment {index}: {error}"))
        };
        self.allowance.earn();
        let own = self.late(account, part.len());
        let busy = self.busy(part.len());
        let others = self.others(known, segment, index, part.len()).max(busy);
        let slow = self.latencies.given_up(account) && own > SLOWER * others;
        // Asked beside the others at once: it costs the reader no time if it is still away.
        let probed = !slow && self.miners.probe(account, self.probe);
        if slow || (!probed && self.hopeless(account)) {
            return match rebuilt().await {
                Ok(found) => Ok(found),
                Err(reason) => direct().await.map_err(|own| format!("{reason}; {own}")),
            };
        }
        // Until it is late by its own measure, but not much longer than the others would take.
        let patience = own.min(SLOWER * others).max(busy).clamp(SHORTEST, self.limit);
        let waiting = async {
            tokio::time::sleep(patience).await;
            if way == Way::Ahead || !self.allowance.spend() {
                tokio::time::sleep((OUT_OF_TURN * patience).min(self.limit / 4)).await;
            }
        };
        let mut direct = pin!(direct());
        if !probed {
            match select(direct.as_mut(), pin!(waiting)).await {
                Either::Left((Ok(found), _)) => return Ok(found),
                Either::Left((Err(own), _)) => {
                    return rebuilt().await.map_err(|reason| format!("{own}; {reason}"));
                }
                Either::Right(((), _)) => {}
            }
        }
        match select(direct, pin!(rebuilt())).await {
            Either::Left((Ok(found), _)) | Either::Right((Ok(found), _)) => Ok(found),
            Either::Left((Err(own), others)) => others.await.map_err(|reason| format!("{own}; {reason}")),
            Either::Right((Err(reason), direct)) => direct.await.map_err(|own| format!("{own}; {reason}")),
        }
    }

    /// Whether a miner is asked only when nobody else is left.
    fn hopeless(&self, account: AccountId) -> bool {
        self.miners.failing(account) || self.miners.distrusted(account)
    }

    /// When an answer counts as late.
    fn late(&self, account: AccountId, bytes: usize) -> Duration {
        self.latencies
            .late(account, bytes)
            .unwrap_or_else(|| self.hedge + transfer(bytes))
    }

    /// Shortest patience with anybody now: several times what everybody takes, but no more than one
    /// would have with a stranger on a slow line.
    fn busy(&self, bytes: usize) -> Duration {
        (BUSY * self.latencies.usual(bytes)).min(self.hedge + BUSY * transfer(bytes))
    }

    /// When the last of the best four others counts as late.
    fn others(&self, known: &Known, segment: u32, index: usize, bytes: usize) -> Duration {
        self.candidates(known, segment, Some(index), bytes)
            .get(DATA_FRAGMENTS - 1)
            .map_or(self.limit, |fourth| fourth.rank.1)
    }

    /// Fragments of a segment that can be asked for, best first; those of zeros left out.
    fn candidates(
        &self,
        known: &Known,
        segment: u32,
        without: Option<usize>,
        bytes: usize,
    ) -> Vec<Candidate> {
        let Ok(names) = known.segment(segment) else {
            return Vec::new();
        };
        let mut candidates: Vec<Candidate> = (0..FRAGMENTS)
            .filter(|index| Some(*index) != without && names.fragments[*index] != ZERO_FRAGMENT.0)
            .filter_map(|index| {
                let (account, endpoint) = self.holder(known, segment, index)?;
                let late = self.late(account, bytes);
                Some(Candidate {
                    rank: (self.hopeless(account), late),
                    index,
                    account,
                    endpoint,
                })
            })
            .collect();
        // Equals stay in order: data fragments, which need less arithmetic, first.
        candidates.sort_by_key(|candidate| candidate.rank);
        candidates
    }

    /// Range `part` of fragment `index`, computed from the same range of four others.
    async fn rebuild(
        &self,
        known: &Known,
        segment: u32,
        index: usize,
        part: Range<u32>,
        log: &Log,
    ) -> Result<Bytes, String> {
        let _memory = self.memory.rebuild(part.len()).await;
        let others = self
            .any_four(known, segment, Some(index), &Part::Range(part), log)
            .await?;
        let compute = move || {
            let parts: Vec<(usize, &[u8])> = others.iter().map(|(index, bytes)| (*index, &**bytes)).collect();
            reconstruct_fragment(&parts, index)
        };
        tokio::task::spawn_blocking(compute)
            .await
            .map_err(|_| "rebuilding was stopped".to_owned())?
            .map(Bytes::from)
            .map_err(|error| error.to_string())
    }

    /// The same part of any four fragments but `without`, or why there are fewer. Four are asked at
    /// first, one more whenever one fails or all that are asked are late. Fragments of zeros cost
    /// nothing.
    pub(super) async fn any_four(
        &self,
        known: &Known,
        segment: u32,
        without: Option<usize>,
        part: &Part,
        log: &Log,
    ) -> Result<Vec<(usize, Bytes)>, String> {
        self.any_four_of(known, segment, without, part, &[], log).await
    }

    /// As [`Self::any_four`]; fragments in `first` are asked for before all others.
    pub(super) async fn any_four_of(
        &self,
        known: &Known,
        segment: u32,
        without: Option<usize>,
        part: &Part,
        first: &[usize],
        log: &Log,
    ) -> Result<Vec<(usize, Bytes)>, String> {
        let names = known.segment(segment)?;
        let mut have: Vec<(usize, Bytes)> = Vec::with_capacity(DATA_FRAGMENTS);
        for index in (0..FRAGMENTS).filter(|index| Some(*index) != without) {
            if names.fragments[index] == ZERO_FRAGMENT.0 && have.len() < DATA_FRAGMENTS {
                let zeros = have
                    .first()
                    .map_or_else(|| Bytes::from(vec![0; part.len()]), |(_, zeros)| zeros.clone());
                have.push((index, zeros));
            }
        }
        let mut candidates = self.candidates(known, segment, without, part.len());
        candidates.sort_by_key(|candidate| !first.contains(&candidate.index));
        let mut candidates = candidates.into_iter();
        let mut running = FuturesUnordered::new();
        let start = |candidate: Candidate| async move {
            let miner = (candidate.account, candidate.endpoint.as_str());
            let answer = self.ask(known, segment, candidate.index, miner, part, log).await;
            (candidate.index, answer)
        };
        let mut reasons = Vec::new();
        let mut patience = Duration::ZERO;
        while have.len() < DATA_FRAGMENTS {
            while have.len() + running.len() < DATA_FRAGMENTS {
                let Some(candidate) = candidates.next() else { break };
                patience = patience.max(candidate.rank.1).clamp(SHORTEST, self.limit);
                running.push(start(candidate));
            }
            if running.is_empty() {
                return Err(format!(
                    "{} of {DATA_FRAGMENTS} fragments can be had: {}",
                    have.len(),
                    reasons.join("; ")
                ));
            }
            match tokio::time::timeout(patience, running.next()).await {
                Ok(Some((index, Ok(bytes)))) => have.push((index, bytes)),
                Ok(Some((index, Err(error)))) => reasons.push(format!("fragment {index}: {error}")),
                Ok(None) => {}
                Err(_) => running.extend(candidates.next().map(start)),
            }
        }
        Ok(have)
    }

    /// One request, within the time limit; how the miner did is remembered.
    async fn ask(
        &self,
        known: &Known,
        segment: u32,
        index: usize,
        (account, endpoint): (AccountId, &str),
        part: &Part,
        log: &Log,
    ) -> cess::Result<Bytes> {
        let hash = known
            .segment(segment)
            .map(|names| Hash(names.fragments[index]))
            .map_err(cess::Error::Invalid)?;
        let asking = Asking::begin(self, account, index, part.len(), log);
        let read = async {
            match part {
                Part::Whole => self.network.get(endpoint, known.fid, hash).await,
                Part::Range(range) => {
                    self.network
                        .get_range(endpoint, known.fid, hash, range.clone())
                        .await
                }
            }
        };
        let answer = tokio::time::timeout(self.limit, read)
            .await
            .unwrap_or_else(|_| Err(cess::Error::Unreachable("no answer in time".into())))
            .and_then(|bytes| {
                if bytes.len() == part.len() {
                    Ok(bytes)
                } else {
                    Err(cess::Error::Corrupt("a miner sent another length".into()))
                }
            });
        asking.end(answer)
    }
}

/// The parts of a segment's range by data fragment.
fn pieces(range: Range<u32>) -> Vec<(usize, Range<u32>)> {
    let size = FRAGMENT_SIZE as u32;
    let mut pieces = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let index = start / size;
        let end = range.end.min((index + 1) * size);
        pieces.push((index as usize, start - index * size..end - index * size));
        start = end;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_split_where_fragments_meet() {
        let size = FRAGMENT_SIZE as u32;
        assert_eq!(pieces(5..10), [(0, 5..10)]);
        assert_eq!(pieces(size..size + 1), [(1, 0..1)]);
        assert_eq!(pieces(size - 3..size + 4), [(0, size - 3..size), (1, 0..4)]);
        assert_eq!(pieces(3 * size..4 * size), [(3, 0..size)]);
        assert!(pieces(7..7).is_empty());
    }
}
