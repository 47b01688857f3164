//! What is in memory of one inode.
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::Layer;
use crate::quota::Room;
use crate::read_ahead::InodeReaders;
use crate::schema::InodeRecord;

/// One inode that is open, in use or dirty.
#[derive(Default)]
pub(crate) struct Node {
    /// Changes and what a flush needs. Held for moments, never across an await.
    pub state: Mutex<State>,
    /// One flush, or one change that flushes must not pass, at a time.
    pub gate: tokio::sync::Mutex<()>,
    /// Held shared by writers, exclusively by changes that bypass the buffer.
    pub content: tokio::sync::RwLock<()>,
}

/// What the stored inode said when its first change came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    /// Stored size, or the size after the changes being flushed.
    pub size: u64,
    /// The size is not the writer's to change.
    pub fixed_size: bool,
    /// Key domain for its chunks.
    pub domain: u64,
}

/// Changes of one inode.
#[derive(Default)]
pub(crate) struct State {
    /// Takes changes. Readers may hold on to it: who changes it then leaves it to them and goes on with
    /// a copy.
    pub active: Option<Arc<Layer>>,
    /// Being stored. Stays when a flush fails, and goes first in the next one.
    pub flushing: Option<Arc<Layer>>,
    /// What is set aside of quotas for `active`.
    pub room: Room,
    /// What is set aside of quotas for `flushing`.
    pub flushing_room: Room,
    /// Set while there are changes.
    pub base: Option<Base>,
    /// Number of the last change.
    pub written: u64,
    /// Number of the last change in `flushing`.
    pub flushing_to: u64,
    /// Number of the last change that is committed.
    pub flushed: u64,
    /// Since when the active layer has changes.
    pub dirty_since: Option<Instant>,
    /// How many openers have still to be told that a change was lost.
    pub lost: u32,
    /// Who reads it, and where they are.
    pub readers: InodeReaders,
}

impl State {
    /// Whether there are changes that are not stored.
    pub(crate) fn is_dirty(&self) -> bool {
        self.active.is_some() || self.flushing.is_some()
    }

    /// The layer with the newest size and times.
    pub(crate) fn newest(&self) -> Option<&Layer> {
        self.active.as_deref().or(self.flushing.as_deref())
    }

    /// Size of the file with the changes, over the stored one.
    pub(crate) fn size_over(&self, stored: u64) -> u64 {
        self.layers().fold(stored, |size, layer| layer.size_over(size))
    }

    /// Memory that both layers take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.layers().map(|layer| layer.bytes()).sum()
    }

    /// Both layers, the lower one first.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Arc<Layer>> {
        self.flushing.iter().chain(&self.active)
    }

    /// Lays size, times and the coming generation over the stored record.
    pub(crate) fn overlay(&self, record: &mut InodeRecord) {
        let Some(newest) = self.newest() else { return };
        let size = self.size_over(record.size);
        record.size = size;
        record.mtime = newest.mtime;
        record.ctime = record.ctime.max(newest.ctime);
        record.modified = newest.ctime;
        record.mtime_is_posix = true;
        // Counts overwritten bytes twice until the flush; a file never has more than its size.
        let data: u64 = self.layers().map(|layer| layer.data_bytes()).sum();
        record.allocated = (record.allocated + data).min(size);
        record.generation += u64::from(self.active.is_some()) + u64::from(self.flushing.is_some());
        record.etag = None;
        record.parts = None;
    }
}
