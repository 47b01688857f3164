//! What goes along with every transaction of the namespace.
//!
//! Operations write rows and know nothing of who else has to learn of it. Every transaction passes
//! through [`Watched`], which looks at the keys that are written: what inodes count for goes to the
//! quotas ([`crate::quota`]), and what is kept of rows in memory is forgotten
//! ([`crate::row_cache`]).
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Bound;

use meta::{KeyValue, Read, Transaction};

use crate::quota::{Quotas, Room, Tally};
use crate::row_cache::{Change, RowCache};
use crate::schema::INODE;
use crate::{Error, Result};

/// A transaction that is looked at.
pub(crate) struct Watched<'a> {
    tx: &'a mut dyn Transaction,
    quotas: &'a Quotas,
    tally: Tally,
    /// Inodes as they were read or written last in this transaction: who changes one has read it. Only where
    /// there may be quotas: nobody else compares.
    inodes: RefCell<HashMap<Vec<u8>, Option<Vec<u8>>>>,
    /// Keys of rows that the cache may hold.
    written: Keys,
}

/// Keys, one behind the other: most transactions write a few short ones, which are one allocation this way.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    /// Where each ends in them.
    ends: Vec<usize>,
}

impl Keys {
    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends
            .iter()
            .map(move |&end| &self.bytes[std::mem::replace(&mut begin, end)..end])
    }
}

/// What has to be kept until the transaction has committed, or has not.
#[derive(Default)]
pub(crate) struct Kept {
    _room: Room,
    _change: Option<Change>,
}

impl Kept {
    /// What an earlier run kept is of no use: it did not commit.
    pub(crate) fn let_go(&mut self) {
        *self = Self::default();
    }
}

impl<'a> Watched<'a> {
    pub(crate) fn new(tx: &'a mut dyn Transaction, quotas: &'a Quotas) -> Self {
        Self {
            tx,
            quotas,
            tally: Tally::default(),
            inodes: RefCell::default(),
            written: Keys::default(),
        }
    }

    /// The operation is through: writes what goes along with it. With `enforce`, the quotas must have
    /// room for it.
    pub(crate) fn settle(self, cache: &RowCache, enforce: bool) -> Result<Kept> {
        Ok(Kept {
            _room: self.tally.settle(self.tx, self.quotas, enforce)?,
            _change: (!self.written.is_empty()).then(|| cache.change(self.written.iter())),
        })
    }

    fn note(&mut self, key: &[u8], value: Option<&[u8]>) -> meta::Result<()> {
        if key.first() == Some(&INODE) {
            let inodes = self.inodes.get_mut();
            let old = || match inodes.get(key) {
                Some(seen) => Ok(seen.clone()),
                None => self.tx.get(key),
            };
            self.tally.inode(old, self.quotas, value).map_err(below)?;
            if self.quotas.may_exist() {
                inodes.insert(key.to_vec(), value.map(<[u8]>::to_vec));
            }
        }
        if RowCache::keeps(key) {
            self.written.push(key);
        }
        Ok(())
    }
}

/// An error of this crate as one of the engine, so that it passes through the engine's traits.
pub(crate) fn below(error: Error) -> meta::Error {
    match error {
        Error::Conflict => meta::Error::Conflict,
        Error::Damaged(text) => meta::Error::Damaged(text),
        other => meta::Error::Engine(other.to_string()),
    }
}

impl Read for Watched<'_> {
    fn get(&self, key: &[u8]) -> meta::Result<Option<Vec<u8>>> {
        let value = self.tx.get(key)?;
        if key.first() == Some(&INODE) && self.quotas.may_exist() {
            self.inodes.borrow_mut().insert(key.to_vec(), value.clone());
        }
        Ok(value)
    }

    fn range<'b>(
        &'b self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> meta::Result<Box<dyn Iterator<Item = meta::Result<KeyValue>> + 'b>> {
        self.tx.range(from, to, reverse)
    }
}

impl Transaction for Watched<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> meta::Result<()> {
        self.note(key, Some(value))?;
        self.tx.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> meta::Result<()> {
        self.note(key, None)?;
        self.tx.delete(key)
    }

    fn commit(self: Box<Self>) -> meta::Result<()> {
        Err(meta::Error::Engine(
            "who began a transaction commits it, not who works in it".into(),
        ))
    }
}
