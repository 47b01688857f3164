//! The change feed: which keys were committed, in order, for whoever keeps copies of rows.
//!
//! An engine tells its [`Publisher`] about every commit as it becomes visible; each subscriber has a
//! queue of its own. Nobody waits for a subscriber: one whose queue is full loses all of it and is told
//! so ([`Change::Lost`]), whereupon it has to forget whatever it keeps and goes on from there. So the
//! memory of a feed is bounded by [`QUEUE_BYTES`] per subscriber, however slow that one is.
//!
//! The promise: a commit is in the queues before whoever committed it hears of its success, and a
//! commit that saw the writes of another comes after it. A subscriber that drops what it keeps of every key named,
//! and everything after [`Change::Lost`], keeps nothing that is older than what it was told last.
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Most bytes of changes that wait for one subscriber: its keys, and [`ENTRY_BYTES`] for each of them.
pub const QUEUE_BYTES: usize = 4 << 20;
/// What a key and a commit count beside their bytes.
const ENTRY_BYTES: usize = 48;

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A transaction was committed.
    Commit {
        /// Grows from one commit to the next; numbers are left out. Means nothing to another process
        /// or after a restart.
        sequence: u64,
        /// The keys it wrote or deleted, each once, in key order; without those of table 0x00, this crate's.
        keys: Arc<[Vec<u8>]>,
    },
    /// Changes were dropped: anything may have changed. What comes next is complete again.
    Lost,
}

/// A subscription; it ends when it is dropped.
pub struct Changes {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    changes: VecDeque<Change>,
    bytes: usize,
    closed: bool,
}

impl Changes {
    /// The next change; `None` when the engine is closed and everything before that was taken. Nothing is lost when
    /// the future is dropped.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let closed = self.queue.waiting.lock().closed;
            if let Some(change) = self.try_next() {
                return Some(change);
            }
            if closed {
                return None;
            }
            // A change since then has left its wake-up behind.
            self.queue.wake.notified().await;
        }
    }

    /// The next change, if there is one already.
    pub fn try_next(&mut self) -> Option<Change> {
        let mut waiting = self.queue.waiting.lock();
        let change = waiting.changes.pop_front()?;
        waiting.bytes -= weight(&change);
        Some(change)
    }
}

fn weight(change: &Change) -> usize {
    match change {
        Change::Lost => ENTRY_BYTES,
        Change::Commit { keys, .. } => {
            ENTRY_BYTES + keys.iter().map(|key| key.len() + ENTRY_BYTES).sum::<usize>()
        }
    }
}

/// The engine's side of the feed.
#[derive(Default)]
pub(crate) struct Publisher {
    subscribers: Mutex<Vec<Weak<Queue>>>,
}

impl Publisher {
    /// A subscription to everything that is published from now on.
    pub(crate) fn subscribe(&self) -> Changes {
        let queue = Arc::new(Queue::default());
        self.subscribers.lock().push(Arc::downgrade(&queue));
        Changes { queue }
    }

    /// Tells everybody about a commit to `keys`. Called in the order of the commits.
    pub(crate) fn publish(&self, sequence: u64, mut keys: Vec<Vec<u8>>) {
        let mut subscribers = self.subscribers.lock();
        if subscribers.is_empty() {
            return;
        }
        // The rows of this crate are nobody else's business.
        keys.retain(|key| key.first().is_some_and(|table| *table != 0));
        if keys.is_empty() {
            return;
        }
        keys.sort_unstable();
        keys.dedup();
        let keys: Arc<[Vec<u8>]> = keys.into();
        let change = Change::Commit { sequence, keys };
        subscribers.retain(|subscriber| deliver(subscriber, &change));
    }

    /// Everybody who subscribed; nothing is told to them here any more.
    pub(crate) fn hand_over(&self) -> Subscribers {
        Subscribers(std::mem::take(&mut *self.subscribers.lock()))
    }

    /// Tells those who subscribed elsewhere that changes were missed, and everything from now on.
    pub(crate) fn take_over(&self, mut from: Subscribers) {
        let mut arrived = std::mem::take(&mut from.0);
        arrived.retain(|subscriber| deliver(subscriber, &Change::Lost));
        self.subscribers.lock().append(&mut arrived);
    }

    /// Tells everybody that changes were missed.
    pub(crate) fn lose(&self) {
        self.subscribers
            .lock()
            .retain(|subscriber| deliver(subscriber, &Change::Lost));
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        drop(Subscribers(std::mem::take(self.subscribers.get_mut())));
    }
}

/// Everybody who subscribed to an engine's feed, on the way to another one. Dropped, it ends their
/// subscriptions.
#[derive(Default)]
pub struct Subscribers(Vec<Weak<Queue>>);

impl Drop for Subscribers {
    fn drop(&mut self) {
        for queue in self.0.iter().filter_map(Weak::upgrade) {
            queue.waiting.lock().closed = true;
            queue.wake.notify_one();
        }
    }
}

/// Answers whether the subscriber is still there.
fn deliver(subscriber: &Weak<Queue>, change: &Change) -> bool {
    let Some(queue) = subscriber.upgrade() else {
        return false;
    };
    {
        let mut waiting = queue.waiting.lock();
        let bytes = weight(change);
        let lost = *change == Change::Lost || waiting.bytes + bytes > QUEUE_BYTES;
        if lost {
            waiting.changes.clear();
            waiting.changes.push_back(Change::Lost);
            waiting.bytes = weight(&Change::Lost);
        } else {
            waiting.changes.push_back(change.clone());
            waiting.bytes += bytes;
        }
    }
    queue.wake.notify_one();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(of: &Change) -> Vec<Vec<u8>> {
        match of {
            Change::Commit { keys, .. } => keys.to_vec(),
            Change::Lost => Vec::new(),
        }
    }

    #[test]
    fn everybody_hears_everything_from_their_subscription_on() {
        let publisher = Publisher::default();
        publisher.publish(1, vec![b"before".to_vec()]);
        let (mut one, gone) = (publisher.subscribe(), publisher.subscribe());
        publisher.publish(2, vec![b"b".to_vec(), b"a".to_vec(), b"b".to_vec()]);
        drop(gone);
        let mut two = publisher.subscribe();
        publisher.publish(3, vec![b"c".to_vec(), b"\0own".to_vec()]);
        publisher.publish(4, vec![b"\0own".to_vec()]);
        let first = one.try_next().unwrap();
        assert_eq!(keys(&first), [b"a".to_vec(), b"b".to_vec()]);
        assert!(matches!(first, Change::Commit { sequence: 2, .. }));
        for changes in [&mut one, &mut two] {
            assert_eq!(keys(&changes.try_next().unwrap()), [b"c".to_vec()]);
            assert_eq!(changes.try_next(), None);
        }
        assert_eq!(publisher.subscribers.lock().len(), 2);
    }

    #[test]
    fn a_slow_subscriber_loses_track_and_goes_on() {
        let publisher = Publisher::default();
        let (mut slow, mut quick) = (publisher.subscribe(), publisher.subscribe());
        let key = |n: u64| [vec![b'k'; 1000], n.to_be_bytes().to_vec()].concat();
        let mut lost_at = None;
        for n in 1..10_000 {
            publisher.publish(n, vec![key(n)]);
            assert_eq!(keys(&quick.try_next().unwrap()), [key(n)]);
            let waiting = slow.queue.waiting.lock();
            assert!(waiting.bytes <= QUEUE_BYTES);
            if lost_at.is_none() && waiting.changes.front() == Some(&Change::Lost) {
                lost_at = Some(n);
            }
        }
        let lost_at = lost_at.unwrap();
        assert!(lost_at > 1000);
        // Only the last loss counts, and after it nothing is missing.
        assert_eq!(slow.try_next(), Some(Change::Lost));
        let mut next = 10_000 - slow.queue.waiting.lock().changes.len() as u64;
        while let Some(change) = slow.try_next() {
            assert_eq!(keys(&change), [key(next)]);
            next += 1;
        }
        assert_eq!(next, 10_000);
        assert_eq!(slow.queue.waiting.lock().bytes, 0);
    }

    #[test]
    fn what_cannot_be_told_is_lost() {
        let publisher = Publisher::default();
        let mut changes = publisher.subscribe();
        publisher.publish(1, vec![b"a".to_vec()]);
        publisher.lose();
        publisher.publish(2, vec![b"b".to_vec()]);
        assert_eq!(changes.try_next(), Some(Change::Lost));
        assert_eq!(keys(&changes.try_next().unwrap()), [b"b".to_vec()]);
        // A commit larger than the whole queue.
        publisher.publish(
            3,
            (0..100_000u32)
                .map(|n| [b"k", &n.to_be_bytes()[..]].concat())
                .collect(),
        );
        assert_eq!(changes.try_next(), Some(Change::Lost));
        assert_eq!(changes.try_next(), None);
    }

    #[tokio::test]
    async fn subscribers_move_from_one_feed_to_another() {
        let (one, two) = (Publisher::default(), Publisher::default());
        let mut changes = one.subscribe();
        one.publish(1, vec![b"a".to_vec()]);
        two.take_over(one.hand_over());
        one.publish(2, vec![b"b".to_vec()]);
        drop(one);
        two.publish(1, vec![b"c".to_vec()]);
        assert_eq!(changes.next().await, Some(Change::Lost));
        assert_eq!(keys(&changes.next().await.unwrap()), [b"c".to_vec()]);
        drop(two.hand_over());
        assert_eq!(changes.next().await, None);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_a_commit_and_by_the_end() {
        let publisher = Publisher::default();
        let mut changes = publisher.subscribe();
        let waits = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(change) = changes.next().await {
                heard.extend(keys(&change));
            }
            heard
        });
        tokio::task::yield_now().await;
        publisher.publish(1, vec![b"a".to_vec()]);
        tokio::task::yield_now().await;
        publisher.publish(2, vec![b"b".to_vec()]);
        drop(publisher);
        assert_eq!(waits.await.unwrap(), [b"a".to_vec(), b"b".to_vec()]);
    }
}
