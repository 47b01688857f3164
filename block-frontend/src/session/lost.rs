//! What a lost write means to everybody who has the export.
//!
//! The namespace tells each opener once that writes were lost, through whichever flush comes first. But
//! one client may have many connections, and several flushes on each; the flush that is told need not
//! be the one that somebody waits for. So the connections that have an export at the same time are a
//! group: once one of them is told, all of them answer every write and every flush with an error, and
//! only read, until the client connects anew. Then it knows that what it did not see flushed may be
//! gone.
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use vfs::InodeNo;

use crate::export::Device;

/// Longest wait for a flush that only takes up what is still to be told.
const PATIENCE: Duration = Duration::from_secs(10);

/// The groups of a door's connections, by export.
#[derive(Default)]
pub struct Groups {
    last: Mutex<HashMap<InodeNo, Weak<Group>>>,
}

/// Connections that have one export.
#[derive(Default)]
pub struct Group {
    lost: AtomicBool,
    members: AtomicUsize,
}

/// One connection of a group, until it is dropped.
pub struct Member {
    group: Arc<Group>,
}

impl Groups {
    /// The group of a new connection: of those that are there, unless a write was lost under them.
    pub fn join(&self, export: InodeNo) -> Member {
        let mut last = self.last.lock();
        last.retain(|_, group| group.strong_count() > 0);
        if let Some(group) = last.get(&export).and_then(Weak::upgrade)
            && !group.has_lost()
        {
            return Member::of(group);
        }
        let group = Arc::new(Group::default());
        last.insert(export, Arc::downgrade(&group));
        Member::of(group)
    }
}

impl Member {
    fn of(group: Arc<Group>) -> Self {
        group.members.fetch_add(1, Ordering::SeqCst);
        Self { group }
    }

    /// The group.
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.group.members.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Group {
    /// Whether a write of one of the connections was lost.
    pub fn has_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// One of the connections was told. Answers how many others have to be told no more: the namespace
    /// would tell those who come after them.
    pub fn lose(&self) -> usize {
        if self.lost.swap(true, Ordering::SeqCst) {
            0
        } else {
            self.members.load(Ordering::SeqCst).saturating_sub(1)
        }
    }
}

/// Takes up what the namespace has still to tell `others`, who know already.
pub async fn take_up<D: Device>(device: &D, others: usize) {
    for _ in 0..others {
        let told = tokio::time::timeout(PATIENCE, device.flush()).await;
        if !matches!(told, Ok(Err(vfs::Error::WriteLost))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_connects_after_a_loss_is_in_another_group() {
        let groups = Groups::default();
        let (a, b) = (groups.join(InodeNo(1)), groups.join(InodeNo(1)));
        let other = groups.join(InodeNo(2));
        assert!(Arc::ptr_eq(a.group(), b.group()) && !Arc::ptr_eq(a.group(), other.group()));
        drop(groups.join(InodeNo(1)));
        assert_eq!((a.group().lose(), b.group().lose()), (1, 0));
        assert!(b.group().has_lost() && !other.group().has_lost());
        let anew = groups.join(InodeNo(1));
        assert!(!anew.group().has_lost());
        assert!(Arc::ptr_eq(anew.group(), groups.join(InodeNo(1)).group()));
        drop((a, b, anew));
        assert!(!groups.join(InodeNo(1)).group().has_lost());
    }
}
