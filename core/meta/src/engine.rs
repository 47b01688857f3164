//! What an engine must offer.
use std::ops::Bound;
use std::time::Instant;

use crate::Result;
use crate::changes::{Changes, Subscribers};

/// Longest key in bytes that every engine takes. PostgreSQL's index entries are the shortest: 2,704 bytes with
/// their header.
pub const KEY_MAX: usize = 2560;
/// Longest value in bytes that every engine takes.
pub const VALUE_MAX: usize = 16 << 20;

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Visible and ordered; durable with the next sync. A crash keeps a prefix of all commits.
    Buffered,
    /// On stable storage.
    Synced,
}

/// A consistent view.
pub trait Read {
    /// Value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Rows between the bounds in key order, or in reverse. Bounds that cross give no rows.
    ///
    /// Inside a transaction the whole range counts as read, however few rows are taken: keep bounds
    /// tight, or transactions that write anywhere between them conflict with this one.
    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>>;
}

/// A serializable read-write transaction; reads see its own writes. Dropping it rolls back.
pub trait Transaction: Read {
    /// Sets `key` (1..=[`KEY_MAX`] bytes) to `value` (at most [`VALUE_MAX`] bytes).
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;
    /// Removes `key` if there.
    fn delete(&mut self, key: &[u8]) -> Result<()>;
    /// Whether it can only be retried: a read was refused because of what others committed. What it
    /// answered since then is an error, [`crate::Error::Conflict`], and so is its commit.
    fn doomed(&self) -> bool {
        false
    }
    /// Commits as [`Durability::Buffered`]; [`crate::Error::Conflict`] when it must be retried. An engine
    /// may see conflicts where there are none.
    fn commit(self: Box<Self>) -> Result<()>;
}

/// An engine. Calls may block on disk.
pub trait Engine: Send + Sync + 'static {
    /// A view of everything committed so far. `Send`, so that readers can move to other threads.
    fn snapshot(&self) -> Result<Box<dyn Read + Send>>;
    /// Begins a transaction.
    fn begin(&self) -> Result<Box<dyn Transaction + '_>>;
    /// Makes every commit of this process before this call durable. After an error nothing committed since the last
    /// success may be taken for durable, not even when a later call succeeds.
    fn sync(&self) -> Result<()>;
    /// Rewrites what the engine keeps on disk, so that nothing is left of rows that were deleted or
    /// replaced before this call, in tables or in logs. Versions that an older snapshot can still see
    /// stay. Costs reading and writing the whole store: for a command, not for a schedule.
    fn scour(&self) -> Result<()>;
    /// Whether a transaction of a few rows takes microseconds and waits for nobody, as long as no
    /// [`Self::sync`] and no [`Self::recover`] is under way.
    fn is_quick(&self) -> bool {
        false
    }
    /// Why [`Self::scour`] is refused, and what to do instead; `None`: it is not.
    fn cannot_scour(&self) -> Option<&'static str> {
        None
    }
    /// Whether [`Self::recover`] can bring this engine back. If not, a failure lasts until a restart.
    fn recovers(&self) -> bool {
        false
    }
    /// Brings the engine back after a sync or a commit failed, as soon as its disk is well again. When
    /// it answers `Ok`, exactly what was visible before is there and durable, and nothing of a commit
    /// that failed (a shared database may have taken a commit whose answer was lost). After [`crate::Error::Damaged`] it must not be asked again; after any other error
    /// nothing has changed, and it may.
    fn recover(&self) -> Result<()> {
        Err(crate::Error::Engine(
            "it takes a restart to bring this engine back".into(),
        ))
    }
    /// The keys of everything that is committed from now on, by this process or another one that uses
    /// the same store ([`crate::changes`]).
    fn subscribe(&self) -> Result<Changes>;
    /// Everybody who subscribed, to be handed to the engine that the namespace was moved to.
    fn hand_over(&self) -> Subscribers {
        Subscribers::default()
    }
    /// Goes on telling those who subscribed elsewhere: first that changes were missed, and then all that comes.
    fn take_over(&self, subscribers: Subscribers) {
        drop(subscribers);
    }
    /// A moment, by this machine's monotonic clock: whatever other processes had committed by then was
    /// told to every subscriber. `None` while nothing was heard yet, and always where only one process at a
    /// time can use the store: there is nobody to hear of.
    fn heard(&self) -> Option<Instant> {
        None
    }
    /// Whether a call of [`Self::subscribe`] ends only when every commit that a view showed before the call
    /// was told to everybody who had subscribed. Not so where other processes commit, too.
    fn tells_before_subscribing(&self) -> bool {
        false
    }
    /// Whether its log lies on this machine alone, so that a guard file beside it can tell whether the
    /// log lost acknowledged commits. If not, the engine has to know by itself.
    fn guarded(&self) -> bool {
        true
    }
    /// How many other processes use the same store now, or did within the last half minute and did not say
    /// goodbye.
    fn others(&self) -> Result<u64> {
        Ok(0)
    }
    /// The number of this opening among all that a shared store ever had; `None` when only one process at a time
    /// can use the store.
    fn start(&self) -> Option<u64> {
        None
    }
    /// Ends another opening of the same store for good: when this returns, everything it committed is visible,
    /// and it commits nothing any more ([`crate::Error::Ended`]). One that has ended already stays so.
    fn end(&self, start: u64) -> Result<()> {
        Err(crate::Error::Engine(format!(
            "opening {start} cannot be ended: only one process at a time can use this engine"
        )))
    }
    /// Bytes on disk, here or where the engine keeps them.
    fn disk_bytes(&self) -> Result<u64>;
}
