//! Views, which can be taken back.
//!
//! To open the database anew, nobody may hold on to it. Whoever reads holds a view, some for as long as
//! a slow client takes, and one of them would keep everybody from writing. So the engine knows its
//! views, and takes away what they hold when it has waited for them long enough ([`Views::revoke`]):
//! they fail from then on, and whoever reads has to begin again.
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use fjall::{Readable, Snapshot};
use parking_lot::{Mutex, RwLock};

use super::{Open, from_fjall, shown};
use crate::bounds::is_empty_range;
use crate::{Error, KeyValue, Read, Result};

/// The views there are.
#[derive(Default)]
pub(super) struct Views {
    all: Mutex<HashMap<u64, Weak<Shared>>>,
    next: AtomicU64,
}

/// What a view reads, until it is taken away.
struct Shared {
    held: RwLock<Option<Held>>,
    revoked: AtomicBool,
}

// The database closes with the last of these: what holds on to it comes before it.
struct Held {
    snapshot: Snapshot,
    open: Arc<Open>,
}

impl Views {
    /// A view of everything committed so far.
    pub(super) fn begin(self: &Arc<Self>, open: Arc<Open>) -> View {
        let snapshot = open.db.read_tx();
        let shared = Arc::new(Shared {
            held: RwLock::new(Some(Held { snapshot, open })),
            revoked: AtomicBool::new(false),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.all.lock().insert(number, Arc::downgrade(&shared));
        View {
            shared,
            number,
            views: self.clone(),
        }
    }

    /// Takes what the views hold away from all of them. Who reads at this moment ends the row first.
    pub(super) fn revoke(&self) {
        let all: Vec<_> = self.all.lock().values().filter_map(Weak::upgrade).collect();
        if !all.is_empty() {
            tracing::warn!(
                views = all.len(),
                "whoever reads the old state has to begin again"
            );
        }
        for shared in all {
            shared.revoked.store(true, Ordering::SeqCst);
            *shared.held.write() = None;
        }
    }
}

/// A consistent view.
pub(super) struct View {
    shared: Arc<Shared>,
    number: u64,
    views: Arc<Views>,
}

impl Drop for View {
    fn drop(&mut self) {
        self.views.all.lock().remove(&self.number);
    }
}

fn revoked() -> Error {
    Error::Recovering("the metadata are opened anew; begin again".into())
}

impl Read for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if key.is_empty() {
            return Ok(None);
        }
        let held = self.shared.held.read();
        let Held { snapshot, open } = held.as_ref().ok_or_else(revoked)?;
        let value = snapshot.get(&open.rows, key).map_err(from_fjall)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        if is_empty_range(from, to) {
            return Ok(Box::new(std::iter::empty()));
        }
        let held = self.shared.held.read();
        let Held { snapshot, open } = held.as_ref().ok_or_else(revoked)?;
        let rows = Rows {
            held: Some((snapshot.range::<&[u8], _>(&open.rows, (from, to)), open.clone())),
            reverse,
            revoked: &self.shared.revoked,
        };
        Ok(Box::new(rows.filter(shown)))
    }
}

/// Rows of a view. They hold on to the database themselves, until they notice.
struct Rows<'a> {
    held: Option<(fjall::Iter, Arc<Open>)>,
    reverse: bool,
    revoked: &'a AtomicBool,
}

impl Iterator for Rows<'_> {
    type Item = Result<KeyValue>;

    fn next(&mut self) -> Option<Self::Item> {
        let (rows, _) = self.held.as_mut()?;
        if self.revoked.load(Ordering::Relaxed) {
            self.held = None;
            return Some(Err(revoked()));
        }
        let next = if self.reverse {
            rows.next_back()
        } else {
            rows.next()
        };
        next.map(super::row)
    }
}
