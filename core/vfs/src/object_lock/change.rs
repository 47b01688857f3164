//! Changing what holds a version.
use std::sync::Arc;

use meta::{Durability, Transaction};

use super::{Governance, ObjectLock, Retention, held, of_bucket, rules};
use crate::object::{Key, place};
use crate::version::ino_of;
use crate::vfs::Core;
use crate::{
    Error, InodeNo, Kind, ObjectInfo, Result, VersionId, Vfs, bucket, clock, inode, snapshot, xattrs,
};

/// One change.
#[derive(Clone)]
struct Change {
    bucket: String,
    key: Key,
    version: Option<VersionId>,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Retention(Option<Retention>, Governance),
    LegalHold(bool),
}

impl Vfs {
    /// Sets or ends the retention of an object, or of one version of it; durable when it returns.
    /// [`Error::Locked`] where the present one forbids it; [`Error::Invalid`] in a bucket without
    /// Object Lock; [`Error::NotFound`] for no object and for a delete marker.
    pub async fn set_retention(
        &self,
        bucket: &str,
        key: &[u8],
        version: Option<VersionId>,
        retention: Option<Retention>,
        governance: Governance,
    ) -> Result<ObjectInfo> {
        let what = What::Retention(retention, governance);
        self.change_lock(bucket, key, version, what).await
    }

    /// Puts a legal hold on an object, or on one version of it, or takes it off; durable when it
    /// returns. Errors as [`Self::set_retention`].
    pub async fn set_legal_hold(
        &self,
        bucket: &str,
        key: &[u8],
        version: Option<VersionId>,
        on: bool,
    ) -> Result<ObjectInfo> {
        self.change_lock(bucket, key, version, What::LegalHold(on)).await
    }

    async fn change_lock(
        &self,
        bucket: &str,
        key: &[u8],
        version: Option<VersionId>,
        what: What,
    ) -> Result<ObjectInfo> {
        let change = Change {
            bucket: bucket.to_owned(),
            key: Key::new(key)?,
            version,
            what,
        };
        loop {
            let found = || {
                let snapshot = self.core.snapshot()?;
                let bucket = bucket::find(&*snapshot, &change.bucket)?;
                ino_of(&*snapshot, bucket, &change.key, change.version)
            };
            let ino = self.core.unfolding(found).await?.ok_or(Error::NotFound)?;
            // Runs on although the caller goes away: it holds the inode's locks until it has committed.
            let task = tokio::spawn(apply(self.core.clone(), ino, change.clone()));
            let done = task
                .await
                .map_err(|error| Error::Internal(format!("changing a lock: {error}")))?;
            match done {
                // The key leads elsewhere by now.
                Err(Error::Conflict) => {}
                done => return done,
            }
        }
    }
}

/// What was written before and is only buffered is stored first, while nothing more comes in: a write
/// that was answered is part of what is held from now on.
async fn apply(core: Arc<Core>, ino: InodeNo, change: Change) -> Result<ObjectInfo> {
    let Ok(guard) = core.nodes.enter(ino) else {
        return Err(Error::Conflict);
    };
    let _content = guard.node.content.write().await;
    let _gate = guard.node.gate.lock().await;
    core.flush_gated(&guard).await?;
    let inner = core.clone();
    core.write(Durability::Synced, move |tx| commit(tx, &inner, ino, &change))
        .await
}

fn commit(tx: &mut dyn Transaction, core: &Core, ino: InodeNo, change: &Change) -> Result<ObjectInfo> {
    let (bucket, now) = (bucket::find(&*tx, &change.bucket)?, clock::now());
    let key = change.key.bytes();
    snapshot::refuse_change(&*tx, &core.known, bucket, key)?;
    if of_bucket(&*tx, bucket)?.is_none() {
        return Err(Error::Invalid("the bucket has no Object Lock"));
    }
    if ino_of(&*tx, bucket, &change.key, change.version)? != Some(ino) {
        return Err(Error::Conflict);
    }
    let mut record = inode::get(&*tx, ino)?;
    if record.kind != Kind::File {
        return Err(Error::Invalid("only the object of a file can be locked"));
    }
    let old = held::of(&*tx, ino)?;
    let new = match change.what {
        What::LegalHold(on) => ObjectLock {
            legal_hold: Some(on),
            ..old
        },
        What::Retention(retention, governance) => {
            if !rules::may_change(old.retention, retention, now, governance) {
                return Err(Error::Locked);
            }
            ObjectLock { retention, ..old }
        }
    };
    for (name, value) in new.settings() {
        let name = [xattrs::SETTING, name.as_bytes()].concat();
        match value {
            Some(value) => xattrs::set(tx, ino, &name, value.as_bytes())?,
            None => xattrs::remove(tx, ino, &name)?,
        }
    }
    record.ctime = now;
    inode::put(tx, ino, &record)?;
    place::info(&*tx, ino, key, &record)
}
