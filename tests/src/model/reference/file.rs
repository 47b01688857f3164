//! The mount, as the model sees it. Nothing is durable before an fsync. Where several errors apply,
//! Linux's order decides, and behind it the gateway's.
use std::collections::BTreeMap;

use super::Reference;
use super::tree::{Found, Id, Kind};
use crate::model::operation::{FileOperation, Place, RenameHow, XATTRS};
use crate::model::outcome::{Etag, Expected};
use crate::model::xattr_value;

impl Reference {
    /// The error is an errno.
    pub(super) fn file(&mut self, operation: &FileOperation) -> Result<Expected, i32> {
        use FileOperation as F;
        match operation {
            F::Create { at } => {
                let found = self.free(at)?;
                let tree = self.change();
                let id = tree.add(Kind::File);
                tree.attach(found.parent, &found.name, id);
                self.new_file(id, Vec::new(), Etag::Opaque);
            }
            F::Write { at, offset, body } => {
                let id = self.opened(at)?;
                self.write(id, *offset, &body.bytes());
            }
            F::Append { at, body } => {
                let id = self.opened(at)?;
                let end = self.content(id).len() as u64;
                self.write(id, end, &body.bytes());
            }
            F::Read { at, offset, len } => {
                let bytes = self.content(self.opened(at)?);
                let from = bytes.len().min(*offset as usize);
                let to = bytes.len().min(from + len);
                return Ok(Expected::Bytes(bytes[from..to].to_vec()));
            }
            F::Truncate { at, len } => {
                let id = self.opened(at)?;
                self.edit(id, Etag::Unknown, |bytes| bytes.resize(*len as usize, 0));
            }
            F::Punch { at, offset, len } => {
                let id = self.opened(at)?;
                self.zero(id, *offset, *len, false);
            }
            F::Rename { from, to, how } => self.rename(from, to, *how)?,
            F::Link { from, to } => {
                let id = self.tree.resolve(from)?;
                let found = self.free(to)?;
                if self.tree.is_directory(id) {
                    return Err(libc::EPERM);
                }
                if from.bucket != to.bucket {
                    return Err(libc::EXDEV);
                }
                self.change().attach(found.parent, &found.name, id);
            }
            F::Unlink { at } => {
                let found = self.tree.walk(at)?;
                let (id, entry) = found.entry.ok_or(libc::ENOENT)?;
                if self.tree.is_directory(id) {
                    return Err(libc::EISDIR);
                }
                let tree = self.change();
                tree.detach(found.parent, &entry);
                tree.emptied_by_mount(found.parent);
            }
            F::Mkdir { at } => {
                let found = self.free(at)?;
                let tree = self.change();
                let id = tree.add(Kind::Directory {
                    entries: BTreeMap::new(),
                    explicit: true,
                });
                tree.attach(found.parent, &found.name, id);
            }
            F::Rmdir { at } => {
                let found = self.tree.walk(at)?;
                let (id, entry) = found.entry.ok_or(libc::ENOENT)?;
                self.removable_directory(id)?;
                let tree = self.change();
                tree.detach(found.parent, &entry);
                tree.emptied_by_mount(found.parent);
            }
            F::Readdir { at } => {
                let id = self.tree.resolve(at)?;
                if !self.tree.is_directory(id) {
                    return Err(libc::ENOTDIR);
                }
                return Ok(Expected::Names(self.tree.shown(id).into_keys().collect()));
            }
            F::Symlink { at, target } => {
                let found = self.free(at)?;
                let tree = self.change();
                let id = tree.add(Kind::Symlink(target.clone()));
                tree.attach(found.parent, &found.name, id);
            }
            F::Readlink { at } => match &self.tree.inode(self.tree.resolve(at)?).kind {
                Kind::Symlink(target) => return Ok(Expected::Text(target.clone())),
                _ => return Err(libc::EINVAL),
            },
            F::SetXattr { at, name, value } => {
                let id = self.tree.resolve(at)?;
                let xattrs = &mut self.change().inode_mut(id).xattrs;
                xattrs.insert(XATTRS[*name].to_owned(), xattr_value(*value));
            }
            F::GetXattr { at, name } => {
                let xattrs = &self.tree.inode(self.tree.resolve(at)?).xattrs;
                let value = xattrs.get(XATTRS[*name]).ok_or(libc::ENODATA)?;
                return Ok(Expected::Bytes(value.clone()));
            }
            F::RemoveXattr { at, name } => {
                let id = self.tree.resolve(at)?;
                if !self.tree.inode(id).xattrs.contains_key(XATTRS[*name]) {
                    return Err(libc::ENODATA);
                }
                self.change().inode_mut(id).xattrs.remove(XATTRS[*name]);
            }
            F::ListXattr { at } => {
                let xattrs = &self.tree.inode(self.tree.resolve(at)?).xattrs;
                return Ok(Expected::Names(xattrs.keys().cloned().collect()));
            }
            F::Stat { at } => {
                let id = self.tree.resolve(at)?;
                let (size, kind) = match &self.tree.inode(id).kind {
                    Kind::Directory { .. } => (0, 'd'),
                    Kind::File => (self.content(id).len() as u64, 'f'),
                    Kind::Symlink(target) => (target.len() as u64, 'l'),
                };
                return Ok(Expected::Stat {
                    size,
                    links: self.tree.links(id),
                    kind,
                });
            }
            F::Fsync { at } => {
                let id = self.tree.resolve(at)?;
                self.content_is_durable(id);
                self.names_are_durable();
            }
        }
        Ok(Expected::Done)
    }

    /// The inode of a file that is opened to read or write its bytes.
    fn opened(&self, at: &Place) -> Result<Id, i32> {
        let id = self.tree.resolve(at)?;
        match self.tree.inode(id).kind {
            Kind::File => Ok(id),
            Kind::Directory { .. } => Err(libc::EISDIR),
            Kind::Symlink(_) => Err(libc::ELOOP),
        }
    }

    /// Where something new can be made.
    fn free(&self, at: &Place) -> Result<Found, i32> {
        let found = self.tree.walk(at)?;
        if found.entry.is_some() {
            Err(libc::EEXIST)
        } else {
            Ok(found)
        }
    }

    fn removable_directory(&self, id: Id) -> Result<(), i32> {
        if !self.tree.is_directory(id) {
            Err(libc::ENOTDIR)
        } else if self.tree.entries(id).is_empty() {
            Ok(())
        } else {
            Err(libc::ENOTEMPTY)
        }
    }

    fn rename(&mut self, from: &Place, to: &Place, how: RenameHow) -> Result<(), i32> {
        let source = self.tree.walk(from)?;
        let target = self.tree.walk(to)?;
        let (id, entry) = source.entry.clone().ok_or(libc::ENOENT)?;
        match (how, &target.entry) {
            (RenameHow::NoReplace, Some(_)) => return Err(libc::EEXIST),
            (RenameHow::Exchange, None) => return Err(libc::ENOENT),
            _ => {}
        }
        if self.tree.is_directory(id) && self.tree.is_below(target.parent, id) {
            return Err(libc::EINVAL);
        }
        if let Some((old, _)) = &target.entry
            && self.tree.is_directory(*old)
            && self.tree.is_below(source.parent, *old)
        {
            return Err(if how == RenameHow::Exchange {
                libc::EINVAL
            } else {
                libc::ENOTEMPTY
            });
        }
        let is_directory = self.tree.is_directory(id);
        if let Some((old, _)) = &target.entry {
            if *old == id {
                return Ok(());
            }
            if how != RenameHow::Exchange {
                match (is_directory, self.tree.is_directory(*old)) {
                    (true, false) => return Err(libc::ENOTDIR),
                    (false, true) => return Err(libc::EISDIR),
                    _ => {}
                }
            }
        }
        if from.bucket != to.bucket {
            return Err(libc::EXDEV);
        }
        if how == RenameHow::Exchange {
            return self.exchange(&source, &target);
        }
        if let Some((old, _)) = &target.entry
            && is_directory
        {
            self.removable_directory(*old)?;
        }
        let tree = self.change();
        if let Some((_, old_entry)) = &target.entry {
            tree.detach(target.parent, old_entry);
        }
        tree.take(source.parent, &entry);
        tree.attach(target.parent, &target.name, id);
        tree.emptied_by_mount(source.parent);
        Ok(())
    }

    fn exchange(&mut self, source: &Found, target: &Found) -> Result<(), i32> {
        let (Some((id, entry)), Some((old, old_entry))) = (source.entry.clone(), target.entry.clone()) else {
            return Err(libc::ENOENT);
        };
        // A file and a directory trade names: the name that one of them gets may be a hidden file's.
        let taken = |parent, name: &str, id| {
            let name = if self.tree.is_directory(id) {
                format!("{name}/")
            } else {
                name.to_owned()
            };
            self.tree.entries(parent).get(&name).is_some_and(|there| {
                ![source, target]
                    .iter()
                    .any(|found| found.entry.as_ref().is_some_and(|(own, _)| own == there))
            })
        };
        if taken(target.parent, &target.name, id) || taken(source.parent, &source.name, old) {
            return Err(libc::EEXIST);
        }
        let tree = self.change();
        tree.take(source.parent, &entry);
        tree.take(target.parent, &old_entry);
        tree.attach(target.parent, &target.name, id);
        tree.attach(source.parent, &source.name, old);
        Ok(())
    }
}
