//! Which miners there are, and how they have behaved.
//!
//! Placing and reading share one judgement per miner ([`score`]): speed as a moving average,
//! failures that fade, and distrust for a miner that reported a fragment and then answered with
//! something else. It is kept across restarts ([`rows`]), so that a gateway which starts does not
//! learn again from its own uploads who is dead or lies.
//!
//! Miners to place on are drawn at random among the good ones, the faster and emptier the more
//! often: always taking the best would put everything on the same twelve, which then are neither
//! fast nor independent. Those that fail come after all good ones, those that lied come last.
mod rows;
mod score;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cess::AccountId;
use cess::chain::Miner;
use meta::{Durability, Meta, Read};
use parking_lot::Mutex;

use self::score::Score;
use crate::place::network::Network;
use crate::{Error, Result, clock, random};

/// Failures from which on a miner is not among the good ones.
const FAILING: f64 = 0.5;
/// Failures beyond which readers ask somebody else.
const AVOIDED: f64 = 1.5;
/// A miner with room for this many groups has enough; one with less is drawn the less often.
const ROOM: u128 = 64;

#[derive(Default)]
struct State {
    list: Vec<Miner>,
    listed_at: Option<Instant>,
    scores: HashMap<AccountId, Score>,
    /// Changed since they were last saved; a miner without a score is to be forgotten.
    unsaved: HashSet<AccountId>,
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
            list: listed,
            scores,
            unsaved,
            ..
        } = &mut *state;
        if scores.len() > 2 * listed.len() + 64 {
            let there: HashSet<_> = listed.iter().map(|miner| miner.account).collect();
            scores.retain(|account, _| {
                let stays = there.contains(account);
                if !stays {
                    unsaved.insert(*account);
                }
                stays
            });
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
        state.unsaved.insert(account);
    }

    /// A miner moved `bytes` in `elapsed`.
    pub(crate) fn succeeded(&self, account: AccountId, bytes: usize, elapsed: Duration) {
        let speed = bytes as f64 / elapsed.as_secs_f64().max(1e-4);
        self.score(account, |score, now| score.succeeded(speed, now));
    }

    /// A miner did not answer, or answered with an error.
    pub(crate) fn failed(&self, account: AccountId) {
        self.score(account, Score::failed);
    }

    /// A miner that reported a fragment does not have it, or has something else.
    pub(crate) fn distrust(&self, account: AccountId) {
        self.score(account, Score::distrust);
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
            .is_some_and(|score| score.failures(now) > AVOIDED)
    }

    /// Whether to ask a miner that is failing whether it is back: true once per `pause`, and never of
    /// one that lied.
    pub(crate) fn probe(&self, account: AccountId, pause: Duration) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        let Some(score) = state.scores.get_mut(&account) else {
            return false;
        };
        !score.distrusted(now) && score.failures(now) > AVOIDED && score.probe(pause, now)
    }

    /// The miners that can take a group of `space` bytes, in the order in which to ask them.
    pub(crate) async fn usable(&self, space: u128) -> cess::Result<Vec<Miner>> {
        let list = self.list().await?;
        Ok(self.ordered(list.into_iter().filter(|miner| takes(miner, space)), space))
    }

    /// Draws an order: good ones at random by weight, then failing ones, then those that lied.
    fn ordered(&self, miners: impl Iterator<Item = Miner>, space: u128) -> Vec<Miner> {
        let now = Instant::now();
        let mut drawn: Vec<((u8, f64), Miner)> = {
            let state = self.state.lock();
            miners
                .map(|miner| {
                    let score = state.scores.get(&miner.account).copied();
                    let score = score.unwrap_or_else(|| Score::new(now));
                    let failures = score.failures(now);
                    let place = if score.distrusted(now) {
                        (2, failures)
                    } else if failures >= FAILING {
                        (1, failures)
                    } else {
                        (0, lot(weight(&score, &miner, space, now)))
                    };
                    (place, miner)
                })
                .collect()
        };
        drawn.sort_by(|((tier, lot), _), ((other_tier, other_lot), _)| {
            tier.cmp(other_tier).then(lot.total_cmp(other_lot))
        });
        drawn.into_iter().map(|(_, miner)| miner).collect()
    }

    /// Takes over what was learned before this start.
    pub(crate) fn load<R: Read + ?Sized>(&self, read: &R) -> Result<()> {
        let (now, wall) = (Instant::now(), clock::wall());
        let known = rows::all(read)?;
        let mut state = self.state.lock();
        for (account, row) in known {
            state
                .scores
                .entry(account)
                .or_insert_with(|| Score::from_row(&row, now, wall));
        }
        Ok(())
    }

    /// Keeps what was learned since the last call.
    pub(crate) async fn save(&self, meta: &Meta) -> Result<()> {
        let (now, wall) = (Instant::now(), clock::wall());
        let changed: Vec<_> = {
            let mut state = self.state.lock();
            let unsaved = std::mem::take(&mut state.unsaved);
            unsaved
                .into_iter()
                .map(|account| {
                    let row = state.scores.get(&account).map(|score| score.to_row(now, wall));
                    (account, row)
                })
                .collect()
        };
        if changed.is_empty() {
            return Ok(());
        }
        let rows = changed.clone();
        let saved = meta
            .write::<(), Error, _>(Durability::Buffered, move |tx| {
                rows.iter().try_for_each(|(account, row)| match row {
                    Some(row) => rows::put(tx, *account, row),
                    None => rows::delete(tx, *account),
                })
            })
            .await;
        if saved.is_err() {
            let mut state = self.state.lock();
            state
                .unsaved
                .extend(changed.into_iter().map(|(account, _)| account));
        }
        saved
    }
}

/// Whether a miner can take a group of `space` bytes at all.
fn takes(miner: &Miner, space: u128) -> bool {
    miner.is_positive() && miner.endpoint.is_some() && miner.idle_space >= space
}

/// How often a good miner is drawn, relative to others: by the root of its speed, so that a miner
/// a hundred times as fast gets ten times as much and not all, and by its room.
fn weight(score: &Score, miner: &Miner, space: u128, now: Instant) -> f64 {
    let enough = space.max(1).saturating_mul(ROOM);
    let room = miner.idle_space.min(enough) as f64 / enough as f64;
    score.speed(now).sqrt() * room.max(1e-3)
}

/// A number that is the lower the more often, the higher the weight: sorting by it draws without
/// putting back.
fn lot(weight: f64) -> f64 {
    let uniform = ((random::u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    -uniform.ln() / weight.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::network::fake::Fake;
    use crate::testing;

    async fn order(miners: &Miners, space: u128) -> Vec<AccountId> {
        let usable = miners.usable(space).await.unwrap();
        usable.into_iter().map(|miner| miner.account).collect()
    }

    #[tokio::test]
    async fn failures_and_lies_move_a_miner_to_the_back() {
        let fake = Arc::new(Fake::new(5));
        let accounts: Vec<_> = fake.accounts();
        let miners = Miners::new(fake.clone(), Duration::from_mins(1));
        miners.distrust(accounts[0]);
        miners.failed(accounts[1]);
        miners.failed(accounts[2]);
        miners.failed(accounts[2]);
        for _ in 0..20 {
            let order = order(&miners, 1).await;
            assert_eq!(order[2..], [accounts[1], accounts[2], accounts[0]]);
        }
        assert!(miners.distrusted(accounts[0]) && !miners.distrusted(accounts[1]));
    }

    #[tokio::test]
    async fn load_spreads_over_good_miners_by_speed_and_room() {
        let fake = Arc::new(Fake::new(4));
        let accounts: Vec<_> = fake.accounts();
        // As fast as the others, but almost full.
        fake.change_miner(3, |miner| miner.idle_space = 8);
        let miners = Miners::new(fake.clone(), Duration::from_mins(1));
        for _ in 0..20 {
            miners.succeeded(accounts[0], 400_000_000, Duration::from_secs(1));
            miners.succeeded(accounts[1], 4_000_000, Duration::from_secs(1));
        }
        let mut first = HashMap::new();
        for _ in 0..2000 {
            *first.entry(order(&miners, 1).await[0]).or_insert(0) += 1;
        }
        let times = |miner: usize| first.get(&accounts[miner]).copied().unwrap_or(0);
        // Weights 10 : 1 : 1 : 1/8 of 12.1.
        assert!((1400..1900).contains(&times(0)), "{first:?}");
        assert!((80..300).contains(&times(1)), "{first:?}");
        assert!((80..300).contains(&times(2)), "{first:?}");
        assert!(times(3) < times(1), "{first:?}");
    }

    #[tokio::test]
    async fn only_positive_miners_with_endpoint_and_space_are_usable() {
        let fake = Arc::new(Fake::new(4));
        fake.change_miner(0, |miner| miner.state = "frozen".into());
        fake.change_miner(1, |miner| miner.endpoint = None);
        fake.change_miner(2, |miner| miner.idle_space = 7);
        let miners = Miners::new(fake.clone(), Duration::from_mins(1));
        assert_eq!(order(&miners, 8).await, [fake.accounts()[3]]);
    }

    #[tokio::test]
    async fn what_was_learned_survives_a_restart_and_those_who_left_are_forgotten() {
        let dir = tempfile::TempDir::new().unwrap();
        let meta = testing::meta(dir.path());
        let fake = Arc::new(Fake::new(3));
        let accounts = fake.accounts();
        let miners = Miners::new(fake.clone(), Duration::ZERO);
        miners.distrust(accounts[0]);
        for _ in 0..3 {
            miners.failed(accounts[1]);
        }
        miners.succeeded(accounts[2], 1 << 30, Duration::from_secs(1));
        miners.save(&meta).await.unwrap();

        let again = Miners::new(fake.clone(), Duration::ZERO);
        again.load(&*meta.snapshot().unwrap()).unwrap();
        assert!(again.distrusted(accounts[0]));
        assert!(again.failing(accounts[1]));
        assert_eq!(order(&again, 1).await, [accounts[2], accounts[1], accounts[0]]);

        // A crowd of strangers goes once it is much larger than the list.
        for number in 0..200 {
            again.failed(AccountId([number; 32]));
        }
        again.save(&meta).await.unwrap();
        assert!(rows::all(&*meta.snapshot().unwrap()).unwrap().len() >= 200);
        again.list().await.unwrap();
        again.save(&meta).await.unwrap();
        assert_eq!(rows::all(&*meta.snapshot().unwrap()).unwrap().len(), 3);
    }
}
