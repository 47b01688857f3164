//! Why a read took as long as it did: the last reads, in memory.
//!
//! Every read that memory could not answer leaves a trace: where the bytes came from, how long it
//! took, and each request to a miner with its outcome. The newest [`KEPT`] are kept; a trace has at
//! most [`STEPS`] requests of a few dozen bytes, and chunks that were fetched together share them.
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cess::AccountId;
use cess::account::SS58_PREFIX;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{ChunkId, clock};

/// Traces kept.
const KEPT: usize = 1024;
/// Requests kept of one read; a read that makes more has told its story by then.
const STEPS: usize = 40;
/// Longest text of a failure, in bytes.
const REASON: usize = 200;

/// Where the bytes of a read came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadSource {
    /// Ciphertext in the disk cache.
    DiskCache,
    /// Staging: the network does not have it for certain yet.
    Staging,
    /// The staging of another gateway.
    Gateway,
    /// A range of the data fragments in which the chunk lies, from the miners that hold them.
    Range,
    /// The same range, at least in part rebuilt from ranges of four other fragments.
    Rebuilt,
    /// A whole segment, decoded from four whole fragments.
    Decoded,
    /// A segment that was decoded for an earlier read.
    KeptSegment,
}

/// How a request to a miner ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadOutcome {
    /// With bytes.
    Answered,
    /// With an error, or with nothing in time.
    Failed(String),
    /// It was not waited for: others were faster.
    GivenUp,
}

/// One request to a miner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadStep {
    /// Miner account (SS58).
    pub miner: String,
    /// Fragment of the segment, 0 to 11; 0 to 3 hold the data.
    pub fragment: u8,
    /// Bytes asked for.
    pub bytes: u32,
    /// Microseconds from the begin of the read to the request.
    pub after_us: u64,
    /// Microseconds that it took, or was waited for.
    pub took_us: u64,
    /// How it ended.
    pub outcome: ReadOutcome,
}

/// One read of a chunk that was not in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadTrace {
    /// The chunk.
    pub chunk: ChunkId,
    /// When it began: milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
    /// Microseconds until its bytes were there.
    pub took_us: u64,
    /// Where they came from; `None` when the read failed.
    pub source: Option<ReadSource>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether it was fetched ahead of a reader, together with its neighbours.
    pub ahead: bool,
    /// Requests to miners, in the order of their begin.
    pub steps: Vec<ReadStep>,
}

struct Step {
    miner: AccountId,
    fragment: u8,
    bytes: u32,
    after: Duration,
    took: Duration,
    outcome: ReadOutcome,
}

#[derive(Default)]
struct Story {
    source: Option<ReadSource>,
    steps: Vec<Step>,
}

/// What one read, or several that are served together, did so far.
pub(crate) struct Log {
    began: Instant,
    at: Duration,
    ahead: bool,
    story: Mutex<Story>,
}

impl Log {
    /// Begins now.
    pub(crate) fn new(ahead: bool) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            at: clock::wall(),
            ahead,
            story: Mutex::default(),
        })
    }

    /// Where the bytes come from, as far as is known by now.
    pub(crate) fn source(&self, source: ReadSource) {
        self.story.lock().source = Some(source);
    }

    /// A request begins. Answers its number.
    pub(crate) fn ask(&self, miner: AccountId, fragment: usize, bytes: usize) -> usize {
        let mut story = self.story.lock();
        if story.steps.len() < STEPS {
            story.steps.push(Step {
                miner,
                fragment: fragment as u8,
                bytes: bytes as u32,
                after: self.began.elapsed(),
                took: Duration::ZERO,
                outcome: ReadOutcome::GivenUp,
            });
            story.steps.len() - 1
        } else {
            STEPS
        }
    }

    /// Request `number` ended.
    pub(crate) fn ended(&self, number: usize, took: Duration, outcome: ReadOutcome) {
        if let Some(step) = self.story.lock().steps.get_mut(number) {
            step.took = took;
            step.outcome = match outcome {
                ReadOutcome::Failed(mut reason) => {
                    reason.truncate(reason.floor_char_boundary(REASON));
                    ReadOutcome::Failed(reason)
                }
                other => other,
            };
        }
    }
}

struct Kept {
    chunk: ChunkId,
    took: Duration,
    error: Option<String>,
    log: Arc<Log>,
}

/// The last reads.
#[derive(Default)]
pub(crate) struct Traces {
    kept: Mutex<VecDeque<Kept>>,
}

impl Traces {
    /// A read of `chunk` ended.
    pub(crate) fn add(&self, chunk: ChunkId, log: Arc<Log>, error: Option<String>) {
        let took = log.began.elapsed();
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(Kept {
            chunk,
            took,
            error,
            log,
        });
    }

    /// The last read of `chunk` that is still remembered.
    pub(crate) fn last(&self, chunk: ChunkId) -> Option<ReadTrace> {
        let kept = self.kept.lock();
        let found = kept.iter().rev().find(|kept| kept.chunk == chunk)?;
        let story = found.log.story.lock();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let steps = story.steps.iter().map(|step| ReadStep {
            miner: step.miner.to_ss58(SS58_PREFIX),
            fragment: step.fragment,
            bytes: step.bytes,
            after_us: micros(step.after),
            took_us: micros(step.took),
            outcome: step.outcome.clone(),
        });
        Some(ReadTrace {
            chunk,
            at_ms: u64::try_from(found.log.at.as_millis()).unwrap_or(u64::MAX),
            took_us: micros(found.took),
            source: story.source.filter(|_| found.error.is_none()),
            error: found.error.clone(),
            ahead: found.log.ahead,
            steps: steps.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_read_of_a_chunk_is_told_and_old_ones_are_forgotten() {
        let traces = Traces::default();
        let log = Log::new(false);
        let number = log.ask(AccountId([1; 32]), 2, 4096);
        log.ended(number, Duration::from_micros(7), ReadOutcome::Answered);
        log.ask(AccountId([2; 32]), 5, 4096);
        log.source(ReadSource::Rebuilt);
        traces.add(ChunkId(1), Log::new(false), Some("nobody answers".into()));
        traces.add(ChunkId(1), log, None);
        let told = traces.last(ChunkId(1)).unwrap();
        assert_eq!(told.source, Some(ReadSource::Rebuilt));
        assert_eq!(told.steps.len(), 2);
        assert_eq!((told.steps[0].took_us, told.steps[0].fragment), (7, 2));
        assert_eq!(told.steps[1].outcome, ReadOutcome::GivenUp);
        assert_eq!(told.steps[0].miner, AccountId([1; 32]).to_ss58(SS58_PREFIX),);
        for chunk in 2..2 + KEPT as u64 {
            traces.add(ChunkId(chunk), Log::new(true), None);
        }
        assert_eq!(traces.last(ChunkId(1)), None);
        assert!(traces.last(ChunkId(2)).unwrap().ahead);
        assert_eq!(traces.kept.lock().len(), KEPT);
    }

    #[test]
    fn a_read_with_many_requests_and_long_reasons_stays_small() {
        let log = Log::new(false);
        for _ in 0..10 * STEPS {
            let number = log.ask(AccountId([1; 32]), 0, 1);
            log.ended(number, Duration::ZERO, ReadOutcome::Failed("ä".repeat(1000)));
        }
        let story = log.story.lock();
        assert_eq!(story.steps.len(), STEPS);
        for step in &story.steps {
            assert!(matches!(&step.outcome, ReadOutcome::Failed(reason) if reason.len() <= REASON));
        }
    }
}
