//! A metadata engine whose disk fails on demand.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use meta::changes::Changes;
use meta::{Engine, Error, KeyValue, Read, Result, Transaction};

/// What fails now. The engine is brought back only while nothing does.
#[derive(Default)]
pub(crate) struct Faults {
    /// Commits.
    pub commits: AtomicBool,
    /// Syncs.
    pub syncs: AtomicBool,
}

impl Faults {
    fn check(fault: &AtomicBool) -> Result<()> {
        if fault.load(Ordering::SeqCst) {
            return Err(Error::Engine("fault".into()));
        }
        Ok(())
    }

    /// Lets nothing fail any more.
    pub(crate) fn heal(&self) {
        self.commits.store(false, Ordering::SeqCst);
        self.syncs.store(false, Ordering::SeqCst);
    }
}

/// An engine with [`Faults`]. What fails never reaches the engine below.
pub(crate) struct Failing<E> {
    pub(crate) engine: E,
    pub(crate) faults: Arc<Faults>,
}

impl<E: Engine> Engine for Failing<E> {
    fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        self.engine.snapshot()
    }
    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        Ok(Box::new(Write {
            tx: self.engine.begin()?,
            faults: &self.faults,
        }))
    }
    fn sync(&self) -> Result<()> {
        Faults::check(&self.faults.syncs)?;
        self.engine.sync()
    }
    fn scour(&self) -> Result<()> {
        self.engine.scour()
    }
    fn recovers(&self) -> bool {
        true
    }
    fn recover(&self) -> Result<()> {
        Faults::check(&self.faults.commits)?;
        Faults::check(&self.faults.syncs)
    }
    fn subscribe(&self) -> Result<Changes> {
        self.engine.subscribe()
    }
    fn disk_bytes(&self) -> Result<u64> {
        self.engine.disk_bytes()
    }
}

struct Write<'a> {
    tx: Box<dyn Transaction + 'a>,
    faults: &'a Faults,
}

impl Read for Write<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.tx.get(key)
    }
    fn range<'a>(
        &'a self,
        from: std::ops::Bound<&[u8]>,
        to: std::ops::Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        self.tx.range(from, to, reverse)
    }
}

impl Transaction for Write<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.tx.put(key, value)
    }
    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.tx.delete(key)
    }
    fn commit(self: Box<Self>) -> Result<()> {
        Faults::check(&self.faults.commits)?;
        self.tx.commit()
    }
}
