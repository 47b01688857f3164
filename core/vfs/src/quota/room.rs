//! Room: what is set aside of a quota for what is not committed yet.
//!
//! Kept in memory. Whoever is about to take something sets it aside first and lets go of it once it
//! is committed (or given up); so what is stored, looked at under the same lock, and what is set
//! aside are together never less than what there is. Looking costs a scan. So each quota has a
//! *ceiling*, which is not less than both: it grows with everything that is set aside, never falls by
//! itself, and only when something does not fit under the limit is it looked up anew.
//!
//! **Several gateways** do not see what the others set aside, only what they committed. So where there
//! may be others, what is stored is looked up each time, and a limit is exceeded by no more than what
//! they have under way at that moment: their write buffers, and the requests that they serve.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use meta::Meta;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::QuotaLimits;
use super::record::{self, Amounts};
use crate::schema::{self, QUOTA};
use crate::{Error, InodeNo, Result};

/// What is known of all quotas in this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Quotas {
    shared: Arc<Shared>,
    /// Told when a directory is to be counted.
    pub count_wanted: Arc<Notify>,
}

struct Shared {
    meta: Meta,
    may_exist: AtomicBool,
    /// There are changes to fold.
    unfolded: AtomicBool,
    /// Makes the keys of changes this process's own.
    origin: u64,
    next: AtomicU64,
    quotas: Mutex<HashMap<InodeNo, Known>>,
}

#[derive(Default)]
struct Known {
    aside: Amounts,
    ceiling: Option<Amounts>,
}

/// Something set aside, until it is dropped.
#[derive(Default)]
pub(crate) struct Room {
    from: Option<Quotas>,
    amounts: Vec<(InodeNo, Amounts)>,
}

impl Quotas {
    /// Those of a namespace.
    pub(crate) fn open(meta: Meta) -> Result<Self> {
        let some = schema::scan(&*meta.snapshot()?, &[QUOTA])?.next().transpose()?;
        // Another gateway may set one at any time.
        let may_exist = some.is_some() || meta.is_shared();
        Ok(Self {
            shared: Arc::new(Shared {
                meta,
                may_exist: AtomicBool::new(may_exist),
                unfolded: AtomicBool::new(may_exist),
                origin: store::random::u64(),
                next: AtomicU64::new(0),
                quotas: Mutex::default(),
            }),
            count_wanted: Arc::default(),
        })
    }

    /// There is a quota from now on.
    pub(crate) fn exist(&self) {
        self.shared.may_exist.store(true, Ordering::SeqCst);
    }

    /// Whether there may be one.
    pub(crate) fn may_exist(&self) -> bool {
        self.shared.may_exist.load(Ordering::SeqCst)
    }

    /// The number of a new change. No other change of any process has it.
    pub(super) fn next_change(&self) -> [u8; 16] {
        let mut number = [0; 16];
        number[..8].copy_from_slice(&self.shared.origin.to_be_bytes());
        number[8..].copy_from_slice(&self.shared.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        number
    }

    /// There are changes to fold.
    pub(super) fn fold_wanted(&self) {
        self.shared.unfolded.store(true, Ordering::Relaxed);
    }

    /// Whether there were since the last call.
    pub(super) fn take_fold_wanted(&self) -> bool {
        self.shared.unfolded.swap(false, Ordering::Relaxed)
    }

    /// Sets `growth` aside in the quota of `root`, if its limits leave it.
    pub(super) fn reserve(&self, root: InodeNo, limits: QuotaLimits, growth: Amounts) -> Result<Room> {
        let fits = |held: Amounts| {
            let within = |held: u64, growth: u64, limit: Option<u64>| {
                growth == 0 || limit.is_none_or(|limit| held.saturating_add(growth) <= limit)
            };
            within(held.bytes, growth.bytes, limits.bytes)
                && within(held.inodes, growth.inodes, limits.inodes)
        };
        let mut quotas = self.shared.quotas.lock();
        let known = quotas.entry(root).or_default();
        if self.shared.meta.is_shared() || !known.ceiling.is_some_and(fits) {
            // Under the lock: whatever was let go of before is committed, and seen here.
            let stored = record::usage(&*self.shared.meta.snapshot()?, root)?.amounts();
            let ceiling = stored.plus(known.aside);
            known.ceiling = Some(ceiling);
            if !fits(ceiling) {
                return Err(Error::QuotaExceeded);
            }
        }
        known.ceiling = known.ceiling.map(|ceiling| ceiling.plus(growth));
        known.aside = known.aside.plus(growth);
        drop(quotas);
        Ok(Room {
            from: Some(self.clone()),
            amounts: vec![(root, growth)],
        })
    }

    /// `root` is about to hold more without having been asked.
    pub(super) fn grew(&self, root: InodeNo, growth: Amounts) {
        if growth == Amounts::default() {
            return;
        }
        let mut quotas = self.shared.quotas.lock();
        let known = quotas.entry(root).or_default();
        known.ceiling = known.ceiling.map(|ceiling| ceiling.plus(growth));
    }

    /// Looks at all quotas around `innermost` and sets `growth` aside in each.
    pub(crate) fn reserve_around(&self, innermost: InodeNo, growth: Amounts) -> Result<Room> {
        let mut room = Room::default();
        // The view ends here: reserving takes another one.
        let around = record::chain(&*self.shared.meta.snapshot()?, innermost)?;
        for (root, quota) in around {
            if quota.counted {
                room.merge(self.reserve(root, quota.limits, growth)?);
            }
        }
        Ok(room)
    }

    fn release(&self, amounts: &[(InodeNo, Amounts)]) {
        let mut quotas = self.shared.quotas.lock();
        for (root, amounts) in amounts {
            if let Some(known) = quotas.get_mut(root) {
                known.aside.bytes -= amounts.bytes;
                known.aside.inodes -= amounts.inodes;
                if known.aside == Amounts::default() && known.ceiling.is_none() {
                    quotas.remove(root);
                }
            }
        }
    }

    /// The directory is gone.
    pub(super) fn forget(&self, root: InodeNo) {
        let mut quotas = self.shared.quotas.lock();
        if let Some(known) = quotas.get_mut(&root) {
            known.ceiling = None;
            if known.aside == Amounts::default() {
                quotas.remove(&root);
            }
        }
    }
}

impl Amounts {
    fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes.saturating_add(other.inodes),
        }
    }
}

impl Room {
    /// Holds what `other` holds, too.
    pub(crate) fn merge(&mut self, mut other: Self) {
        if self.from.is_none() {
            self.from = other.from.take();
        }
        for (root, more) in std::mem::take(&mut other.amounts) {
            match self.amounts.iter_mut().find(|(known, _)| *known == root) {
                Some((_, amounts)) => *amounts = amounts.plus(more),
                None => self.amounts.push((root, more)),
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(quotas) = self.from.take() {
            quotas.release(&self.amounts);
        }
    }
}
