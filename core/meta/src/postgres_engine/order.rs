//! The order in which this process tells of its own commits.
//!
//! A commit takes a number just before the database is asked to commit. A transaction that saw the
//! writes of another began after that one was committed, so its number is greater; telling of commits in the order
//! of their numbers keeps a commit behind all that it saw. Those whose answer is under way hold up
//! those after them, for as long as an answer takes at most.
use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::wait;
use crate::changes::{Changes, Publisher, Subscribers};

/// Numbers and what became of them.
pub(super) struct Order {
    state: Mutex<State>,
    told: Condvar,
}

struct State {
    /// The next number; they begin at 1.
    next: u64,
    /// Numbers in use: the keys of those that were committed, and `None` while nobody knows.
    open: BTreeMap<u64, Option<Vec<Vec<u8>>>>,
    /// Greatest number that was committed and told of.
    last: u64,
    /// Number of the last change that was told of, whoever committed it.
    sequence: u64,
    publisher: Publisher,
}

impl Order {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                next: 1,
                open: BTreeMap::new(),
                last: 0,
                sequence: 0,
                publisher: Publisher::default(),
            }),
            told: Condvar::new(),
        }
    }

    pub(super) fn subscribe(&self) -> Changes {
        self.state.lock().publisher.subscribe()
    }

    pub(super) fn hand_over(&self) -> Subscribers {
        self.state.lock().publisher.hand_over()
    }

    pub(super) fn take_over(&self, subscribers: Subscribers) {
        self.state.lock().publisher.take_over(subscribers);
    }

    /// A number for a transaction that is about to be committed.
    pub(super) fn take(&self) -> u64 {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.open.insert(number, None);
        number
    }

    /// The last number that was committed; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.state.lock().last
    }

    /// All numbers up to this one are settled.
    pub(super) fn settled(&self) -> u64 {
        let state = self.state.lock();
        let first = state.open.first_key_value().map(|(number, _)| *number);
        first.unwrap_or(state.next) - 1
    }

    /// Nothing was committed under `number`, or it will never be known.
    pub(super) fn withdraw(&self, number: u64) {
        let mut state = self.state.lock();
        state.open.remove(&number);
        state.tell();
        self.told.notify_all();
    }

    /// `keys` were committed under `number`. Returns when that was told.
    pub(super) fn committed(&self, number: u64, keys: Vec<Vec<u8>>, deadline: Instant) {
        {
            let mut state = self.state.lock();
            state.open.insert(number, Some(keys));
            state.tell();
            self.told.notify_all();
            if !state.open.contains_key(&number) {
                return;
            }
        }
        wait::yielding(|| {
            let mut state = self.state.lock();
            while state.open.contains_key(&number) {
                if self.told.wait_until(&mut state, deadline).timed_out() {
                    // Whoever committed must not go on before the others know.
                    state.publisher.lose();
                    return;
                }
            }
        });
    }

    /// Other gateways committed to these keys.
    pub(super) fn heard(&self, keys: Vec<Vec<u8>>) {
        let mut state = self.state.lock();
        state.publish(keys);
    }

    /// Changes of other gateways were missed.
    pub(super) fn lose(&self) {
        self.state.lock().publisher.lose();
    }
}

impl State {
    fn tell(&mut self) {
        while let Some(first) = self.open.first_entry() {
            if first.get().is_none() {
                return;
            }
            self.last = *first.key();
            if let Some(keys) = first.remove() {
                self.publish(keys);
            }
        }
    }

    fn publish(&mut self, keys: Vec<Vec<u8>>) {
        self.sequence += 1;
        self.publisher.publish(self.sequence, keys);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::changes::Change;

    fn key(n: u64) -> Vec<Vec<u8>> {
        vec![[b"k", &n.to_be_bytes()[..]].concat()]
    }

    fn told(changes: &mut Changes) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| changes.try_next())
            .map(|change| match change {
                Change::Commit { keys, .. } => keys[0].clone(),
                Change::Lost => b"lost".to_vec(),
            })
            .collect()
    }

    #[test]
    fn commits_are_told_in_the_order_of_their_numbers() {
        let order = Order::new();
        let mut changes = order.subscribe();
        let numbers: Vec<u64> = (0..4).map(|_| order.take()).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert_eq!(order.settled(), 0);
        let later = Instant::now() + Duration::from_secs(60);
        std::thread::scope(|threads| {
            // Waits for the first.
            let second = threads.spawn(|| order.committed(2, key(2), later));
            while order.state.lock().open[&2].is_none() {
                std::thread::yield_now();
            }
            assert_eq!(changes.try_next(), None);
            order.withdraw(3);
            order.committed(1, key(1), later);
            second.join().unwrap();
        });
        assert_eq!(told(&mut changes), [key(1).concat(), key(2).concat()]);
        assert_eq!(order.settled(), 3);
        order.heard(key(9));
        order.committed(4, key(4), later);
        assert_eq!(told(&mut changes), [key(9).concat(), key(4).concat()]);
        assert_eq!((order.settled(), order.last()), (4, 4));
        order.withdraw(order.take());
        assert_eq!((order.settled(), order.last()), (5, 4));
    }

    #[test]
    fn who_waits_too_long_for_another_says_that_something_was_lost() {
        let order = Order::new();
        let mut changes = order.subscribe();
        let (stuck, quick) = (order.take(), order.take());
        order.committed(quick, key(2), Instant::now() + Duration::from_millis(10));
        assert_eq!(told(&mut changes), [b"lost".to_vec()]);
        order.committed(stuck, key(1), Instant::now() + Duration::from_secs(60));
        assert_eq!(told(&mut changes), [key(1).concat(), key(2).concat()]);
    }
}
