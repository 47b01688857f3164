//! Making clones of directories.
use meta::Durability;

use super::create::origin_of;
use super::{fold, unfold};
use crate::object::place::make_directories;
use crate::object::{Key, find, split_path};
use crate::schema::{self, InodeRecord};
use crate::snapshot::as_of::AsOf;
use crate::snapshot::row::{SNAPSHOTS, state};
use crate::snapshot::{Source, refuse_change};
use crate::{Attr, Error, Kind, Result, Vfs, bucket, clock, inode, names};

impl Vfs {
    /// Makes `to` a clone of a directory: a few rows, whatever lies below it.
    pub(super) async fn clone_directory(&self, source: Source, to: &str) -> Result<Attr> {
        let (bucket, key) = split_path(to.as_bytes())?;
        let file = Key::of_path(names::without_slash(key.bytes()));
        let key = Key::new(&names::suffix(file.bytes(), true))?;
        let bucket = bucket::find(&*self.core.snapshot()?, bucket)?;
        if source.domain != bucket.0 {
            return Err(Error::CrossBucket);
        }
        if source.root == bucket {
            return Err(Error::Invalid("a bucket is cloned directory by directory"));
        }
        if source.number.is_none() {
            self.core.unfold_below(source.root).await?;
            self.core.flush_below(source.root).await?;
        }
        let spare = self.core.new_inodes(1 + key.depth()).await?;
        if source.number.is_none() {
            // What is made from now on gets a number above the mark.
            self.core.numbers.begin_anew();
        }
        let (core, now) = (self.core.clone(), clock::now());
        self.core.folds.exist();
        let (ino, record, made) = self
            .core
            .write(Durability::Synced, move |tx| {
                refuse_change(&*tx, &core.known, bucket, key.bytes())?;
                for taken in [&key, &file] {
                    if find(&*tx, bucket, taken)?.is_some() {
                        return Err(Error::Exists);
                    }
                }
                if source.number.is_none() {
                    unfold::refuse_folded(&*tx, source.root)?;
                }
                let origin = origin_of(tx, &source, now)?;
                let old = {
                    let then = AsOf::new(&*tx, origin.snapshot, origin.mark);
                    inode::get(&then, origin.ino)?
                };
                if old.kind != Kind::Directory {
                    return Err(Error::NotDirectory);
                }
                let mut made = 0;
                let (parent, ino) = make_directories(tx, bucket, &key, spare, now, &mut made)?;
                let ino = ino.ok_or_else(|| schema::damaged("a directory vanished in its transaction"))?;
                if source.number.is_none() && fold::is_below(&*tx, parent, source.root)? {
                    return Err(Error::Invalid("a directory cannot be cloned into itself"));
                }
                let new = inode::get(&*tx, ino)?;
                let record = InodeRecord {
                    parent: new.parent,
                    name: new.name,
                    quota: new.quota,
                    upload: None,
                    // It does not go with its last entry.
                    explicit: true,
                    ..old
                };
                unfold::become_copy(tx, &core.store, ino, origin, &record)?;
                fold::fold(tx, bucket.0, ino, ino, origin)?;
                let mut state = state(&*tx)?;
                state.folded = true;
                state.changes += 1;
                tx.put(&[SNAPSHOTS], &schema::encode(&state)?)?;
                Ok((ino, record, made))
            })
            .await?;
        self.core.count_inodes(made);
        self.core.folds.told.notify_one();
        Ok(inode::attr(ino, &record))
    }
}
