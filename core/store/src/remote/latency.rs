//! How long miners take to answer.
//!
//! Per miner and per size of answer a moving mean and a moving mean deviation are kept, as TCP
//! keeps them of round trips (weights 1/8 and 1/4). An answer is *late* beyond mean + 3 deviations,
//! which about one answer in a hundred is: waiting less costs more requests than it saves time,
//! waiting longer lets one slow miner hold a reader up.
//!
//! What all miners together take of late tells a slow miner from a full line: when everybody is slow,
//! asking more of them makes it worse.
//!
//! A request that is given up because others were faster has no latency, but it took at least as
//! long as was waited. [`Latencies::at_least`] counts that, so that a miner that became slow is not
//! judged for ever by the answers of its better days. One that was given up several times in a row is
//! not waited for at all for a while ([`Latencies::given_up`]), if the others are quicker.
use std::collections::HashMap;
use std::time::{Duration, Instant};

use cess::AccountId;
use parking_lot::Mutex;

/// Answers up to these sizes in bytes are alike; beyond the last there is one more class.
const CLASSES: [usize; 3] = [64 << 10, 512 << 10, 4 << 20];
/// Deviations beyond the mean at which an answer is late.
const DEVIATIONS: f64 = 3.0;
/// Weight of the newest answer in the mean, and in the deviation.
const NEWEST_MEAN: f64 = 1.0 / 8.0;
const NEWEST_DEVIATION: f64 = 1.0 / 4.0;
/// Requests given up in a row after which a miner is left alone, and for how long.
const GIVEN_UP: u32 = 3;
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// Bytes per second assumed of a miner whose speed is not known.
const ASSUMED_SPEED: f64 = 16e6;
/// Miners remembered. Beyond that all are forgotten and measured again.
const MINERS: usize = 4096;

/// Seconds.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    mean: f64,
    deviation: f64,
}

impl Estimate {
    const fn first(sample: f64) -> Self {
        Self {
            mean: sample,
            deviation: sample / 2.0,
        }
    }

    fn add(&mut self, sample: f64) {
        self.deviation += NEWEST_DEVIATION * ((sample - self.mean).abs() - self.deviation);
        self.mean += NEWEST_MEAN * (sample - self.mean);
    }

    fn late(&self) -> Duration {
        Duration::from_secs_f64(self.mean + DEVIATIONS * self.deviation)
    }
}

type ByClass = [Option<Estimate>; CLASSES.len() + 1];

#[derive(Default)]
struct Known {
    by_class: ByClass,
    /// Requests given up since the last answer, and when the last of them was.
    given_up: u32,
    given_up_at: Option<Instant>,
}

fn class(bytes: usize) -> usize {
    CLASSES
        .iter()
        .position(|most| bytes <= *most)
        .unwrap_or(CLASSES.len())
}

/// The estimates of all miners.
#[derive(Default)]
pub(crate) struct Latencies {
    miners: Mutex<HashMap<AccountId, Known>>,
    /// Of all miners together.
    all: Mutex<ByClass>,
}

impl Latencies {
    /// A miner answered with `bytes` bytes.
    pub(crate) fn note(&self, miner: AccountId, bytes: usize, took: Duration) {
        self.sample(miner, bytes, took, true);
    }

    /// A miner was late and had not answered after `waited`, when nobody wanted the answer any more.
    pub(crate) fn at_least(&self, miner: AccountId, bytes: usize, waited: Duration) {
        self.sample(miner, bytes, waited, false);
    }

    /// What answers of `bytes` bytes take now, from whichever miner; zero when nothing is known.
    pub(crate) fn usual(&self, bytes: usize) -> Duration {
        self.all.lock()[class(bytes)].map_or(Duration::ZERO, |all| Duration::from_secs_f64(all.mean))
    }

    fn sample(&self, miner: AccountId, bytes: usize, took: Duration, answered: bool) {
        let sample = took.as_secs_f64();
        match &mut self.all.lock()[class(bytes)] {
            Some(estimate) => estimate.add(sample),
            none => *none = Some(Estimate::first(sample)),
        }
        let mut miners = self.miners.lock();
        if miners.len() >= MINERS && !miners.contains_key(&miner) {
            miners.clear();
        }
        let known = miners.entry(miner).or_default();
        match &mut known.by_class[class(bytes)] {
            Some(estimate) => estimate.add(sample),
            none => *none = Some(Estimate::first(sample)),
        }
        if answered {
            known.given_up = 0;
        } else {
            known.given_up += 1;
            known.given_up_at = Some(Instant::now());
        }
    }

    /// Whether a miner was given up several times in a row, the last time a moment ago.
    pub(crate) fn given_up(&self, miner: AccountId) -> bool {
        self.miners.lock().get(&miner).is_some_and(|known| {
            known.given_up >= GIVEN_UP && known.given_up_at.is_some_and(|at| at.elapsed() < LEFT_ALONE)
        })
    }

    /// When an answer of `bytes` bytes counts as late; `None` of a miner that never answered.
    pub(crate) fn late(&self, miner: AccountId, bytes: usize) -> Option<Duration> {
        let miners = self.miners.lock();
        let known = &miners.get(&miner)?.by_class;
        let class = class(bytes);
        // A larger answer errs on the patient side; a smaller one says nothing of the transfer.
        let larger = known[class..].iter().flatten().next().map(|known| known.late());
        let smaller = || {
            known[..class]
                .iter()
                .rev()
                .flatten()
                .next()
                .map(|known| known.late() + transfer(bytes))
        };
        larger.or_else(smaller)
    }
}

/// What moving `bytes` bytes is assumed to take where nothing is known.
pub(crate) fn transfer(bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 / ASSUMED_SPEED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINER: AccountId = AccountId([1; 32]);
    const SMALL: usize = 4096;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_steady_miner_is_late_soon_and_an_erratic_one_later() {
        let latencies = Latencies::default();
        assert_eq!(latencies.late(MINER, SMALL), None);
        let erratic = AccountId([2; 32]);
        for round in 0..200 {
            latencies.note(MINER, SMALL, ms(20));
            latencies.note(erratic, SMALL, ms(if round % 2 == 0 { 5 } else { 35 }));
        }
        let steady = latencies.late(MINER, SMALL).unwrap();
        assert!(steady >= ms(20) && steady < ms(22), "{steady:?}");
        let erratic = latencies.late(erratic, SMALL).unwrap();
        assert!(erratic > ms(50) && erratic < ms(90), "{erratic:?}");
    }

    #[test]
    fn given_up_requests_raise_the_estimate_of_a_miner_that_became_slow() {
        let latencies = Latencies::default();
        for _ in 0..100 {
            latencies.note(MINER, SMALL, ms(10));
        }
        assert!(latencies.late(MINER, SMALL).unwrap() < ms(11));
        assert!(!latencies.given_up(MINER));
        for _ in 0..40 {
            latencies.at_least(MINER, SMALL, ms(1000));
        }
        assert!(latencies.late(MINER, SMALL).unwrap() > ms(500));
        assert!(latencies.given_up(MINER));
        latencies.note(MINER, SMALL, ms(10));
        assert!(!latencies.given_up(MINER));
    }

    #[test]
    fn sizes_are_judged_apart_and_stand_in_for_each_other() {
        let latencies = Latencies::default();
        latencies.note(MINER, 8 << 20, ms(400));
        assert_eq!(latencies.late(MINER, SMALL), Some(ms(1000)));
        for _ in 0..50 {
            latencies.note(MINER, SMALL, ms(4));
        }
        assert!(latencies.late(MINER, SMALL).unwrap() < ms(6));
        assert_eq!(latencies.late(MINER, 5 << 20), Some(ms(1000)));
        assert_eq!(
            (latencies.usual(5 << 20), latencies.usual(1 << 20)),
            (ms(400), ms(0))
        );
        assert_eq!(latencies.late(MINER, 1 << 20), Some(ms(1000)));
        let small = AccountId([2; 32]);
        latencies.note(small, SMALL, ms(2));
        let large = latencies.late(small, 4 << 20).unwrap();
        assert!(
            large > transfer(4 << 20),
            "an answer of a thousand times the size takes longer"
        );
    }

    #[test]
    fn memory_is_bounded() {
        let latencies = Latencies::default();
        for number in 0..10_000u32 {
            let mut account = [0; 32];
            account[..4].copy_from_slice(&number.to_le_bytes());
            latencies.note(AccountId(account), SMALL, ms(1));
        }
        assert!(latencies.miners.lock().len() <= MINERS);
    }
}
