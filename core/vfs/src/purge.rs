//! Removing what no name leads to any more.
//!
//! The transaction that takes an inode's last name only leaves an ORPHAN row; its extents may be
//! millions. This worker removes them in transactions of bounded size once nobody has the inode
//! open, and goes on where it was after a restart. An orphan that was open when the gateway stopped
//! is purged at the next start. Other gateways on the namespace are asked first whether they use it
//! ([`crate::inquiry`]); what they do is looked at again every [`LOOK`].
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Transaction};
use store::DomainId;

use crate::clone::row::COPIED;
use crate::schema::{
    self, ATTACHED, BUCKET, DIR_TIME, EXTENT, ExtentRecord, INODE, LINK, LOCKS, ORPHAN, RAGGED, VERSION_ID,
    VOLUME, XATTR,
};
use crate::vfs::Core;
use crate::{Error, InodeNo, Kind, Result, clone, inode, snapshot, tree};

/// Rows removed in one transaction.
const ROWS: usize = 1000;
/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Pause between two looks at what another gateway uses.
const LOOK: Duration = Duration::from_secs(5);

/// The inode lost its last name.
pub(crate) fn orphan(tx: &mut dyn Transaction, ino: InodeNo) -> Result<()> {
    Ok(tx.put(&schema::inode_key(ORPHAN, ino), &schema::encode_raw(&[]))?)
}

/// The background worker.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        if core.only_reads() {
            return core.stopped().await;
        }
        let mut passed = pass(&core).await;
        if let Err(error) = core.take_back_question().await {
            passed = passed.and(Err(error));
        }
        let used = match passed {
            Ok(used) => used,
            Err(error) => {
                tracing::warn!(%error, "purging nameless inodes failed; it will be tried again");
                tokio::select! {
                    () = core.stopped() => return,
                    () = tokio::time::sleep(RETRY_PAUSE) => continue,
                }
            }
        };
        tokio::select! {
            () = core.stopped() => return,
            () = core.purge_wanted.notified() => {}
            () = core.nodes.freed.notified() => {}
            () = tokio::time::sleep(LOOK), if used => {}
        }
    }
}

/// What became of a claimed inode in one transaction.
enum Purged {
    /// All rows are gone.
    Gone,
    /// Rows are left for the next transaction.
    Partly,
    /// A bucket whose key is still needed.
    Kept,
}

/// Purges every orphan there is now, except those in use. Answers whether another gateway uses some.
async fn pass(core: &Arc<Core>) -> Result<bool> {
    let (mut gone, mut kept, mut shed, mut used) = (0, 0, false, false);
    let mut from = schema::inode_key(ORPHAN, InodeNo(0));
    while !core.is_stopping() {
        let mut found = Vec::new();
        let mut more = false;
        for row in schema::scan_from(&*core.snapshot()?, &[ORPHAN], std::ops::Bound::Included(&from))? {
            let ino = InodeNo(schema::number_at(&row?.0, 1)?);
            if found.len() == ROWS / 4 {
                more = true;
                break;
            }
            from = schema::inode_key(ORPHAN, InodeNo(ino.0 + 1));
            found.push(ino);
        }
        let elsewhere = core.given_up_elsewhere(&found).await?;
        used |= elsewhere.is_any_used();
        let mut claimed = Vec::new();
        for ino in found {
            let is_orphan = || Ok(core.snapshot()?.get(&schema::inode_key(ORPHAN, ino))?.is_some());
            if !elsewhere.is_used(ino)
                && let Ok(node) = core.nodes.claim_for_purge(ino, is_orphan)
            {
                if let Some(node) = node {
                    let mut state = node.state.lock();
                    core.budget.release(state.bytes());
                    *state = Default::default();
                }
                claimed.push(ino);
            }
        }
        let result = purge(core, &claimed).await;
        for ino in claimed {
            core.nodes.purge_ended(ino);
        }
        let done = result?;
        gone += done.gone;
        kept += done.kept;
        shed |= done.shed;
        if !more {
            break;
        }
    }
    if gone > 0 {
        // The last clone of a deleted snapshot may have been among them.
        core.clean_wanted.notify_one();
    }
    if shed || (kept > 0 && gone > 0) {
        // What directories held has no name either now, or the last inode that needed a kept bucket's key
        // may have been among them.
        core.purge_wanted.notify_one();
    }
    Ok(used)
}

/// What became of several.
#[derive(Default)]
struct Done {
    /// Inodes that are gone.
    gone: usize,
    /// Buckets that were kept.
    kept: usize,
    /// Directories among them had names: what those led to may be orphans now.
    shed: bool,
}

/// Purges several. One whose rows cannot be read is left where it is, and holds up no other.
async fn purge(core: &Arc<Core>, claimed: &[InodeNo]) -> Result<Done> {
    let mut rest = claimed.to_vec();
    let mut all = Done::default();
    // As many as fit; one by one once there is one among them that fails.
    let mut together = rest.len();
    while !rest.is_empty() && !core.is_stopping() {
        let (store, inodes) = (core.store.clone(), rest[..together.min(rest.len())].to_vec());
        let alone = inodes.len() == 1;
        let done = core
            .write_beyond_limits(Durability::Buffered, move |tx| {
                let mut budget = ROWS;
                let mut done = Done::default();
                for &ino in &inodes {
                    match purge_some(tx, &store, ino, &mut budget, &mut done.shed)? {
                        Purged::Gone => done.gone += 1,
                        Purged::Kept => done.kept += 1,
                        Purged::Partly => break,
                    }
                }
                Ok(done)
            })
            .await;
        let done = match done {
            Err(Error::Damaged(_)) if !alone => {
                together = 1;
                continue;
            }
            Err(Error::Damaged(reason)) => {
                tracing::error!(
                    ino = rest[0].0,
                    reason,
                    "a nameless inode cannot be purged; it stays"
                );
                rest.remove(0);
                continue;
            }
            done => done?,
        };
        core.count_inodes(-(done.gone as i64));
        rest.drain(..done.gone + done.kept);
        all.gone += done.gone;
        all.kept += done.kept;
        all.shed |= done.shed;
    }
    Ok(all)
}

/// Removes up to `budget` rows of the inode. Sets `shed` when it was a directory that had names.
fn purge_some(
    tx: &mut dyn Transaction,
    store: &store::Store,
    ino: InodeNo,
    budget: &mut usize,
    shed: &mut bool,
) -> Result<Purged> {
    let is_directory = match inode::load_timeless(&*tx, ino) {
        Ok(record) => record.is_some_and(|record| record.kind == Kind::Directory),
        // It goes all the same.
        Err(Error::Damaged(_)) => false,
        Err(error) => return Err(error),
    };
    if is_directory {
        let before = *budget;
        let more = tree::shed(tx, ino, budget)?;
        *shed |= *budget < before;
        if more {
            return Ok(Purged::Partly);
        }
    }
    // First: what is left are a clone's own extents.
    clone::row::leave_origin(tx, ino)?;
    for table in [EXTENT, COPIED, XATTR, LINK] {
        let rows: Vec<_> = schema::scan(&*tx, &schema::inode_key(table, ino))?
            .take(*budget)
            .collect::<Result<_, _>>()?;
        *budget -= rows.len();
        for (key, value) in rows {
            // Before the release: a snapshot may take a reference of its own.
            tx.delete(&key)?;
            if table == EXTENT {
                let extent: ExtentRecord = schema::decode(&value)?;
                store.release(tx, extent.chunk)?;
            }
        }
        if *budget == 0 {
            return Ok(Purged::Partly);
        }
    }
    *budget -= 1;
    if tx.get(&schema::inode_key(BUCKET, ino))?.is_some() {
        if open_orphans_of(tx, ino)? || snapshot::any_in_bucket(&*tx, ino, true)? {
            return Ok(Purged::Kept);
        }
        store.destroy_domain(tx, DomainId(ino.0))?;
        tx.delete(&schema::inode_key(BUCKET, ino))?;
    }
    for table in [INODE, DIR_TIME, VOLUME, ORPHAN, RAGGED, VERSION_ID] {
        tx.delete(&schema::inode_key(table, ino))?;
    }
    if store.is_shared() {
        for table in [LOCKS, ATTACHED] {
            tx.delete(&schema::inode_key(table, ino))?;
        }
    }
    Ok(Purged::Gone)
}

/// Whether a nameless inode other than the bucket's own still needs the bucket's key.
fn open_orphans_of(tx: &mut dyn Transaction, bucket: InodeNo) -> Result<bool> {
    for row in schema::scan(&*tx, &[ORPHAN])? {
        let ino = InodeNo(schema::number_at(&row?.0, 1)?);
        if ino != bucket && inode::load_timeless(&*tx, ino)?.is_some_and(|record| record.domain == bucket.0) {
            return Ok(true);
        }
    }
    Ok(false)
}
