//! Making, listing and deleting snapshots.
use std::sync::Arc;

use meta::Durability;
use serde::{Deserialize, Serialize};

use super::hidden::{self, Source};
use super::known::Snapshot;
use super::path;
use super::row::{self, SNAPSHOTS, SnapshotRecord};
use crate::schema;
use crate::vfs::Core;
use crate::{Error, InodeNo, Kind, Result, Timestamp, Vfs, clock, clone, inode, posix};

/// Longest name of a snapshot, in bytes: with the name of a file and `@` it still fits a component.
const NAME_MAX: usize = 100;

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// `bucket/key` of what it was taken of, a directory with a `/` at its end: as it is now, or was
    /// when the snapshot was taken if it has no name any more.
    pub path: String,
    /// Its name; `path@name` names it among all.
    pub name: String,
    /// Inode number of what it was taken of.
    pub ino: u64,
    /// When.
    pub created: Timestamp,
    /// Made and deleted by a retention rule.
    pub automatic: bool,
}

impl Vfs {
    /// Takes a snapshot of `bucket`, `bucket/directory/` or `bucket/key`. What was acknowledged
    /// before the call is in it, buffered writes included; durable when it returns. `Exists` when
    /// there is one of that name.
    pub async fn create_snapshot(&self, path: &str, name: &str) -> Result<SnapshotInfo> {
        let look = || path::root(&*self.core.snapshot()?, path.as_bytes());
        let root = self.core.unfolding(look).await?;
        self.core.create_snapshot(root, name.to_owned(), false).await
    }

    /// Snapshots of what is at `path`, or all, by path and time.
    pub async fn snapshots(&self, path: Option<&str>) -> Result<Vec<SnapshotInfo>> {
        let look = || {
            let read = self.core.snapshot()?;
            let known = self.core.known.at(&*read)?;
            let wanted: Vec<Arc<Snapshot>> = match path {
                None => known.visible().to_vec(),
                Some(path) => path::taken_of(&*read, &known, path.as_bytes())?,
            };
            wanted.iter().map(|snapshot| info(&*read, snapshot)).collect()
        };
        let mut infos: Vec<SnapshotInfo> = self.core.unfolding(look).await?;
        infos.sort_by(|a, b| (&a.path, a.created, &a.name).cmp(&(&b.path, b.created, &b.name)));
        Ok(infos)
    }

    /// Deletes a snapshot: out of sight and durably so when this returns; what only it needs is given
    /// back in the background, when no clone of it is left. Whoever reads it gets `NotFound` from now on.
    pub async fn delete_snapshot(&self, path: &str, name: &str) -> Result<()> {
        let look = || {
            let read = self.core.snapshot()?;
            let known = self.core.known.at(&*read)?;
            Ok(path::find(&*read, &known, path.as_bytes(), name)?.number)
        };
        let number = self.core.unfolding(look).await?;
        self.core.delete_snapshot(number).await
    }
}

/// What users see of a snapshot.
fn info(read: &(impl meta::Read + ?Sized), snapshot: &Snapshot) -> Result<SnapshotInfo> {
    let record = &snapshot.record;
    let path = posix::lookup::path(read, record.root)?.unwrap_or_else(|| record.path.clone());
    Ok(SnapshotInfo {
        path: String::from_utf8_lossy(&path).into_owned(),
        name: record.name.clone(),
        ino: record.root.0,
        created: record.created,
        automatic: record.automatic,
    })
}

/// A name that is one component of a path on every door, and has no `@`.
fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(Error::InvalidName("a snapshot's name is not empty or a dot"));
    }
    if name.contains(['/', '@']) || name.chars().any(char::is_control) {
        return Err(Error::InvalidName(
            "a snapshot's name has no slash, at sign or control character",
        ));
    }
    if name.len() > NAME_MAX {
        return Err(Error::NameTooLong);
    }
    Ok(())
}

impl Core {
    pub(super) async fn create_snapshot(
        self: &Arc<Self>,
        root: InodeNo,
        name: String,
        automatic: bool,
    ) -> Result<SnapshotInfo> {
        check_name(&name)?;
        let directory = inode::get(&*self.snapshot()?, root)?.kind == Kind::Directory;
        if directory {
            self.unfold_below(root).await?;
            self.flush_below(root).await?;
            // What is made from now on gets a number above the mark.
            self.numbers.begin_anew();
        } else {
            self.flush_inode(root).await?;
        }
        let (known, now) = (self.known.clone(), clock::now());
        let snapshot = self
            .write(Durability::Synced, move |tx| {
                if known.within(&*tx)?.named(root, &name).is_some() {
                    return Err(Error::Exists);
                }
                if directory {
                    clone::refuse_folded(&*tx, root)?;
                }
                let record = SnapshotRecord {
                    automatic,
                    ..hidden::record(tx, root, name.clone(), now)?
                };
                Ok(Snapshot {
                    number: hidden::put(tx, &record)?,
                    record,
                })
            })
            .await?;
        info(&*self.snapshot()?, &snapshot)
    }

    /// What is at `path`, else what `path` as `path@name` was in the snapshot of that name.
    pub(crate) fn clone_source(&self, path: &str) -> Result<Source> {
        let read = self.snapshot()?;
        let root = match (path::root(&*read, path.as_bytes()), path.rsplit_once('@')) {
            (Err(Error::NotFound | Error::NoSuchBucket), Some((path, name))) => {
                let found = path::find(&*read, &*self.known.at(&*read)?, path.as_bytes(), name)?;
                return Ok(Source {
                    number: Some(found.number),
                    root: found.record.root,
                    directory: found.record.directory,
                    domain: found.record.domain,
                });
            }
            (root, _) => root?,
        };
        let record = inode::get(&*read, root)?;
        Ok(Source {
            number: None,
            root,
            directory: record.kind == Kind::Directory,
            domain: record.domain,
        })
    }

    pub(super) async fn delete_snapshot(&self, number: u64) -> Result<()> {
        self.write(Durability::Synced, move |tx| {
            let key = row::snapshot_key(number);
            let row = tx.get(&key)?.ok_or(Error::NotFound)?;
            let mut record: SnapshotRecord = schema::decode(&row)?;
            if record.deleted {
                return Err(Error::NotFound);
            }
            record.deleted = true;
            let mut state = row::state(&*tx)?;
            state.changes += 1;
            tx.put(&key, &schema::encode(&record)?)?;
            Ok(tx.put(&[SNAPSHOTS], &schema::encode(&state)?)?)
        })
        .await?;
        self.clean_wanted.notify_one();
        Ok(())
    }

    /// Stores what is buffered of the inodes of the root's bucket.
    pub(crate) async fn flush_below(self: &Arc<Self>, root: InodeNo) -> Result<()> {
        let domain = inode::get(&*self.snapshot()?, root)?.domain;
        for ino in self.nodes.dirty() {
            let base = self.nodes.peek(ino).and_then(|node| node.state.lock().base);
            if base.is_some_and(|base| base.domain == domain) {
                self.flush_inode(ino).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component_without_an_at_sign() {
        for good in ["a", "2026-11-20T10:00Z", "vor dem Umbau", "é", ".x"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a@b", "a\0", "a\nb"] {
            assert!(matches!(check_name(bad), Err(Error::InvalidName(_))), "{bad:?}");
        }
        assert!(matches!(check_name(&"x".repeat(101)), Err(Error::NameTooLong)));
    }
}
