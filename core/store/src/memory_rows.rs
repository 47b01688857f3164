//! Rows in memory, for tests of code that reads and writes tables.
use std::collections::BTreeMap;
use std::ops::Bound;

use meta::{KeyValue, Read, Result, Transaction};

/// A transaction over nothing but memory; it cannot conflict.
#[derive(Default)]
pub(crate) struct Rows(BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows {
    /// Rows there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Read for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(key).cloned())
    }
    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        let rows = self
            .0
            .range::<[u8], _>((from, to))
            .map(|(k, v)| Ok((k.clone(), v.clone())));
        Ok(if reverse {
            Box::new(rows.rev())
        } else {
            Box::new(rows)
        })
    }
}

impl Transaction for Rows {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }
    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.0.remove(key);
        Ok(())
    }
    fn commit(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
