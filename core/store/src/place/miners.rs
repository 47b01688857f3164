//! Which miners there are, and how they have behaved.
//!
//! Placing and reading share one judgement per miner, kept in memory: speed as a moving average,
//! failures that fade with a half-life, and distrust for a miner that reported a fragment and
//! then answered with something else. A distrusted miner is the last choice for an hour.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cess::AccountId;
use cess::chain::Miner;
use parking_lot::Mutex;

use crate::place::network::Network;
use crate::random;

/// Half-life of a failure.
const FAILURE_FADES: Duration = Duration::from_mins(1);
/// How long a miner that lied is avoided.
const DISTRUST: Duration = Duration::from_hours(1);
/// Speed assumed of a miner never met, in bytes per second.
const UNKNOWN_SPEED: f64 = 4e6;
/// Weight of the newest measurement in the moving average.
const NEWEST: f64 = 0.3;

#[derive(Clone, Copy)]
struct Score {
    speed: f64,
    failures: f64,
    failed_at: Instant,
    distrusted_until: Option<Instant>,
}

impl Score {
    fn new(now: Instant) -> Self {
        Self {
            speed: UNKNOWN_SPEED,
            failures: 0.0,
            failed_at: now,
            distrusted_until: None,
        }
    }

    fn failures(&self, now: Instant) -> f64 {
        let halves =
            now.saturating_duration_since(self.failed_at).as_secs_f64() / FAILURE_FADES.as_secs_f64();
        self.failures * (-halves * std::f64::consts::LN_2).exp()
    }

    fn distrusted(&self, now: Instant) -> bool {
        self.distrusted_until.is_some_and(|until| until > now)
    }

    /// Lower is better: the seconds that a fragment would take, made longer by each failure.
    fn cost(&self, now: Instant) -> f64 {
        let trust = if self.distrusted(now) { 1e6 } else { 0.0 };
        trust + (1.0 + 30.0 * self.failures(now)) * 8e6 / self.speed.max(1.0)
    }
}

#[derive(Default)]
struct State {
    list: Vec<Miner>,
    listed_at: Option<Instant>,
    scores: HashMap<AccountId, Score>,
}

/// The miners of the network.
pub(crate) struct Miners {
    network: Arc<dyn Network>,
    fresh: Duration,
    state: Mutex<State>,
    /// One refresh at a time.
    refresh: tokio::sync::Mutex<()>,
}

impl Miners {
    /// Asks `network`; a list is believed for `fresh`.
    pub(crate) fn new(network: Arc<dyn Network>, fresh: Duration) -> Self {
        Self {
            network,
            fresh,
            state: Mutex::default(),
            refresh: tokio::sync::Mutex::new(()),
        }
    }

    fn known(&self) -> Option<Vec<Miner>> {
        let state = self.state.lock();
        let fresh = state.listed_at.is_some_and(|at| at.elapsed() < self.fresh);
        fresh.then(|| state.list.clone())
    }

    /// All miners, from the chain if what is known is old.
    pub(crate) async fn list(&self) -> cess::Result<Vec<Miner>> {
        if let Some(list) = self.known() {
            return Ok(list);
        }
        let _alone = self.refresh.lock().await;
        if let Some(list) = self.known() {
            return Ok(list);
        }
        let list = self.network.miners().await?;
        let mut state = self.state.lock();
        state.list.clone_from(&list);
        state.listed_at = Some(Instant::now());
        // Miners that left take their score with them, so that scores cannot pile up.
        let State {
            list: listed, scores, ..
        } = &mut *state;
        if scores.len() > 2 * listed.len() + 64 {
            scores.retain(|account, _| listed.iter().any(|miner| miner.account == *account));
        }
        Ok(list)
    }

    /// The endpoint of a miner as last listed.
    pub(crate) fn endpoint(&self, account: AccountId) -> Option<String> {
        let state = self.state.lock();
        state
            .list
            .iter()
            .find(|miner| miner.account == account)?
            .endpoint
            .clone()
    }

    fn score(&self, account: AccountId, change: impl FnOnce(&mut Score, Instant)) {
        let now = Instant::now();
        let mut state = self.state.lock();
        change(
            state.scores.entry(account).or_insert_with(|| Score::new(now)),
            now,
        );
    }

    /// A miner moved `bytes` in `elapsed`.
    pub(crate) fn succeeded(&self, account: AccountId, bytes: usize, elapsed: Duration) {
        let speed = bytes as f64 / elapsed.as_secs_f64().max(1e-4);
        self.score(account, |score, now| {
            score.speed += NEWEST * (speed - score.speed);
            score.failures = score.failures(now) / 2.0;
            score.failed_at = now;
        });
    }

    /// A miner did not answer, or answered with an error.
    pub(crate) fn failed(&self, account: AccountId) {
        self.score(account, |score, now| {
            score.failures = score.failures(now) + 1.0;
            score.failed_at = now;
        });
    }

    /// A miner that reported a fragment does not have it, or has something else.
    pub(crate) fn distrust(&self, account: AccountId) {
        self.score(account, |score, now| {
            score.distrusted_until = Some(now + DISTRUST);
        });
    }

    /// Whether a miner was caught lying lately.
    pub(crate) fn distrusted(&self, account: AccountId) -> bool {
        let now = Instant::now();
        self.state
            .lock()
            .scores
            .get(&account)
            .is_some_and(|score| score.distrusted(now))
    }

    /// Whether a miner failed more than once lately.
    pub(crate) fn failing(&self, account: AccountId) -> bool {
        let now = Instant::now();
        self.state
            .lock()
            .scores
            .get(&account)
            .is_some_and(|score| score.failures(now) > 1.5)
    }

    /// What reading from a miner is expected to cost; lower is better.
    pub(crate) fn cost(&self, account: AccountId) -> f64 {
        let now = Instant::now();
        let state = self.state.lock();
        state
            .scores
            .get(&account)
            .copied()
            .unwrap_or_else(|| Score::new(now))
            .cost(now)
    }

    /// The miners that can take a group of `space` bytes, best first, ties at random.
    pub(crate) async fn usable(&self, space: u128) -> cess::Result<Vec<Miner>> {
        let list = self.list().await?;
        let mut ranked: Vec<(f64, Miner)> = list
            .into_iter()
            .filter(|miner| miner.is_positive() && miner.endpoint.is_some() && miner.idle_space >= space)
            .map(|miner| {
                // Up to a fifth at random, so that equals share the load.
                let jitter = 1.0 + (random::u64() % 1024) as f64 / 5120.0;
                (self.cost(miner.account) * jitter, miner)
            })
            .collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(ranked.into_iter().map(|(_, miner)| miner).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::network::fake::Fake;

    #[tokio::test]
    async fn failures_and_lies_move_a_miner_to_the_back() {
        let fake = Arc::new(Fake::new(4));
        let accounts: Vec<_> = fake.accounts();
        let miners = Miners::new(fake.clone(), Duration::from_mins(1));
        miners.distrust(accounts[0]);
        miners.failed(accounts[1]);
        miners.succeeded(accounts[2], 80_000_000, Duration::from_secs(1));
        let order: Vec<_> = miners
            .usable(1)
            .await
            .unwrap()
            .into_iter()
            .map(|miner| miner.account)
            .collect();
        assert_eq!(order, [accounts[2], accounts[3], accounts[1], accounts[0]]);
        assert!(miners.distrusted(accounts[0]) && !miners.distrusted(accounts[1]));
    }

    #[tokio::test]
    async fn only_positive_miners_with_endpoint_and_space_are_usable() {
        let fake = Arc::new(Fake::new(4));
        fake.change_miner(0, |miner| miner.state = "frozen".into());
        fake.change_miner(1, |miner| miner.endpoint = None);
        fake.change_miner(2, |miner| miner.idle_space = 7);
        let miners = Miners::new(fake.clone(), Duration::from_mins(1));
        let usable = miners.usable(8).await.unwrap();
        assert_eq!(usable.len(), 1);
        assert_eq!(usable[0].account, fake.accounts()[3]);
    }
}
