//! An engine of this process that is opened several times, as several gateways open a database.
//!
//! For tests of what several gateways do with one namespace: without a database, and without a poll
//! between a commit and its being heard of. An opening can be ended by another, exactly as a start of a
//! gateway is.
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::RwLock;

use crate::changes::Changes;
use crate::{Engine, Error, KeyValue, Read, Result, Transaction};

struct Common {
    engine: Arc<dyn Engine>,
    last: AtomicU64,
    /// Openings that were ended. Held shared by every commit while it is under way.
    ended: RwLock<BTreeSet<u64>>,
}

/// One opening.
pub struct Opening {
    common: Arc<Common>,
    start: u64,
}

impl Opening {
    /// The first opening of `engine`, which nobody else may use.
    pub fn first(engine: Arc<dyn Engine>) -> Self {
        Self {
            common: Arc::new(Common {
                engine,
                last: AtomicU64::new(1),
                ended: RwLock::default(),
            }),
            start: 1,
        }
    }

    /// Another opening of the same engine.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            common: Arc::clone(&self.common),
            start: self.common.last.fetch_add(1, Ordering::SeqCst) + 1,
        }
    }
}

impl Engine for Opening {
    fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        self.common.engine.snapshot()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        Ok(Box::new(Write {
            below: self.common.engine.begin()?,
            opening: self,
        }))
    }

    fn sync(&self) -> Result<()> {
        self.common.engine.sync()
    }

    fn scour(&self) -> Result<()> {
        self.common.engine.scour()
    }

    fn subscribe(&self) -> Result<Changes> {
        self.common.engine.subscribe()
    }

    fn guarded(&self) -> bool {
        false
    }

    fn others(&self) -> Result<u64> {
        let ended = self.common.ended.read().len() as u64;
        Ok(self.common.last.load(Ordering::SeqCst) - ended - 1)
    }

    fn start(&self) -> Option<u64> {
        Some(self.start)
    }

    fn heard(&self) -> Option<Instant> {
        // The engine below tells of a commit before it returns.
        Some(Instant::now())
    }

    fn end(&self, start: u64) -> Result<()> {
        self.common.ended.write().insert(start);
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.common.engine.disk_bytes()
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.common.ended.write().insert(self.start);
    }
}

struct Write<'e> {
    below: Box<dyn Transaction + 'e>,
    opening: &'e Opening,
}

impl Read for Write<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.below.get(key)
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        self.below.range(from, to, reverse)
    }
}

impl Transaction for Write<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.below.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.below.delete(key)
    }

    fn doomed(&self) -> bool {
        self.below.doomed()
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let ended = self.opening.common.ended.read();
        if ended.contains(&self.opening.start) {
            return Err(Error::Ended);
        }
        self.below.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FjallEngine;

    #[test]
    fn an_opening_that_was_ended_commits_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(dir.path(), 1 << 20);
        let one = Opening::first(Arc::new(engine.unwrap()));
        let two = one.another();
        assert_eq!((one.start(), two.start()), (Some(1), Some(2)));
        assert_eq!((one.others().unwrap(), two.others().unwrap()), (1, 1));
        let mut begun = one.begin().unwrap();
        begun.put(b"a", b"1").unwrap();
        two.end(1).unwrap();
        assert!(matches!(begun.commit(), Err(Error::Ended)));
        let mut goes_on = two.begin().unwrap();
        assert_eq!(goes_on.get(b"a").unwrap(), None);
        goes_on.put(b"a", b"2").unwrap();
        goes_on.commit().unwrap();
        assert_eq!(two.others().unwrap(), 0);
        assert_eq!(one.snapshot().unwrap().get(b"a").unwrap(), Some(b"2".to_vec()));
    }
}
