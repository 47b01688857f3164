//! What one transaction changes of what is counted.
use std::collections::BTreeMap;

use meta::Transaction;

use super::record::{self, Usage};
use super::room::{Quotas, Room};
use crate::schema::{self, USAGE};
use crate::{InodeNo, Result, inode};

/// Changes by the innermost quota.
#[derive(Default)]
pub(crate) struct Tally {
    changes: BTreeMap<InodeNo, Usage>,
}

/// Whether an inode's row says that it counts nowhere, without decoding it: its last field is a
/// number that is 0, and of no other number is the last byte 0.
fn counts_nowhere(row: &[u8]) -> bool {
    row.last() == Some(&0)
}

impl Tally {
    /// An inode's row is about to become `new` (`None`: to go). `old` looks up what it is now.
    pub(crate) fn inode(
        &mut self,
        old: impl FnOnce() -> meta::Result<Option<Vec<u8>>>,
        quotas: &Quotas,
        new: Option<&[u8]>,
    ) -> Result<()> {
        let new = new.filter(|row| !counts_nowhere(row));
        if new.is_none() && !quotas.may_exist() {
            return Ok(());
        }
        let old = old()?.filter(|row| !counts_nowhere(row));
        if let Some(old) = old {
            let record = inode::decode(&old)?;
            self.add(record.quota, Usage::of(&record).minus());
        }
        if let Some(new) = new {
            let record = inode::decode(new)?;
            self.add(record.quota, Usage::of(&record));
        }
        Ok(())
    }

    fn add(&mut self, quota: InodeNo, change: Usage) {
        self.changes.entry(quota).or_default().add(change);
    }

    /// Writes the changes. With `enforce`, what they take must be free: it is set aside for as long
    /// as the answer lives, which must be until the commit. [`crate::Error::QuotaExceeded`] if not.
    pub(crate) fn settle(&self, tx: &mut dyn Transaction, quotas: &Quotas, enforce: bool) -> Result<Room> {
        let mut room = Room::default();
        if self.changes.values().all(|change| change.is_nothing()) {
            return Ok(room);
        }
        let mut totals: BTreeMap<InodeNo, (record::QuotaRecord, Usage)> = BTreeMap::new();
        for (&innermost, &change) in &self.changes {
            if change.is_nothing() {
                continue;
            }
            for (root, quota) in record::chain(&*tx, innermost)? {
                let total = totals.entry(root).or_insert((quota, Usage::default()));
                total.1.add(change);
            }
        }
        for (root, (quota, change)) in totals {
            if change.is_nothing() {
                continue;
            }
            if enforce && quota.counted {
                room.merge(quotas.reserve(root, quota.limits, change.amounts())?);
            } else {
                quotas.grew(root, change.amounts());
            }
            put_change(tx, quotas, root, change)?;
        }
        Ok(room)
    }
}

/// Adds a row with a change to what `root` holds.
pub(crate) fn put_change(
    tx: &mut dyn Transaction,
    quotas: &Quotas,
    root: InodeNo,
    change: Usage,
) -> Result<()> {
    let key = schema::child_key(USAGE, root, &quotas.next_change());
    tx.put(&key, &schema::encode(&change)?)?;
    quotas.fold_wanted();
    Ok(())
}
