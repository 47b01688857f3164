//! S3, as the model sees it. Every answer to a change is durable.
use std::collections::{BTreeMap, BTreeSet};

use md5::{Digest as _, Md5};

use super::Reference;
use super::tree::{Id, Kind};
use crate::model::operation::{Condition, ObjectOperation, Place, TAG_XATTR};
use crate::model::outcome::{Etag, Expected, Refusal};
use crate::model::{MULTIPART_FIRST, tag_value};

const NO_SUCH_KEY: Expected = Expected::Refused(Refusal::S3(404, "NoSuchKey"));

impl Reference {
    pub(super) fn object(&mut self, operation: &ObjectOperation) -> Expected {
        use ObjectOperation as O;
        match operation {
            O::Put {
                at,
                body,
                tag,
                condition,
            } => {
                let exists = self.tree.object(at).is_some();
                match (condition, exists) {
                    (Condition::Absent | Condition::Never, true) => {
                        return Expected::Refused(Refusal::S3(412, "PreconditionFailed"));
                    }
                    (Condition::Present | Condition::Never, false) => return NO_SUCH_KEY,
                    _ => {}
                }
                let bytes = body.bytes();
                let etag = Etag::md5(&bytes);
                let tag = tag.map(|tag| tag_value(tag).into_bytes());
                self.put(at, bytes, etag.clone(), tag);
                Expected::Etag(etag)
            }
            O::Get { at, range } => {
                let Some(id) = self.tree.object(at) else {
                    return NO_SUCH_KEY;
                };
                let bytes = self.content(id);
                let bytes = match *range {
                    None => bytes.to_vec(),
                    Some((from, _)) if from >= bytes.len() as u64 => {
                        return Expected::Refused(Refusal::S3(416, "InvalidRange"));
                    }
                    Some((from, to)) => bytes[from as usize..bytes.len().min(to as usize + 1)].to_vec(),
                };
                self.shown(id, bytes.len() as u64, Some(bytes))
            }
            O::Head { at } => match self.tree.object(at) {
                Some(id) => self.shown(id, self.content(id).len() as u64, None),
                None => Expected::Refused(Refusal::S3(404, "")),
            },
            O::Delete { at } => {
                self.delete(at);
                Expected::Done
            }
            O::DeleteMany { bucket, paths } => {
                for path in paths {
                    self.delete(&Place {
                        bucket: *bucket,
                        path: path.clone(),
                    });
                }
                Expected::Done
            }
            O::Copy { from, to } => {
                let Some(id) = self.tree.object(from) else {
                    return NO_SUCH_KEY;
                };
                let version = self.version(id);
                let etag = match &version.etag {
                    Etag::Known(etag) if !etag.contains('-') => Etag::Known(etag.clone()),
                    _ => Etag::Unknown,
                };
                let bytes = version.bytes.to_vec();
                let tag = self.tree.inode(id).xattrs.get(TAG_XATTR).cloned();
                self.put(to, bytes, etag.clone(), tag);
                Expected::Etag(etag)
            }
            O::List {
                bucket,
                prefix,
                delimiter,
                ..
            } => self.list(*bucket, prefix, *delimiter),
            O::Multipart { at, first, last } => {
                let mut bytes = crate::content::bytes(*first, MULTIPART_FIRST);
                let last = last.bytes();
                let sums = [Md5::digest(&bytes), Md5::digest(&last)].concat();
                let etag = Etag::Known(format!("{}-2", hex::encode(Md5::digest(sums))));
                bytes.extend(last);
                self.put(at, bytes, etag.clone(), None);
                Expected::Etag(etag)
            }
            O::AbortMultipart { .. } => Expected::Done,
            O::PutDirectory { at } => {
                let parent = self.tree.make_parents(at);
                let id = self.tree.directory(at).unwrap_or_else(|| {
                    let id = self.tree.add(Kind::Directory {
                        entries: BTreeMap::new(),
                        explicit: true,
                    });
                    let name = at.path.rsplit('/').next().unwrap_or_default();
                    self.tree.attach(parent, name, id);
                    id
                });
                let inode = self.tree.inode_mut(id);
                // Its metadata is what this PUT brought: none.
                inode.xattrs.remove(TAG_XATTR);
                if let Kind::Directory { explicit, .. } = &mut inode.kind {
                    *explicit = true;
                }
                self.names_are_durable();
                Expected::Done
            }
            O::DeleteDirectory { at } => {
                let Some(id) = self.tree.directory(at) else {
                    return Expected::Done;
                };
                let Kind::Directory { entries, explicit } = &mut self.tree.inode_mut(id).kind else {
                    return Expected::Done;
                };
                let was = std::mem::replace(explicit, false);
                let is_empty = entries.is_empty();
                if was {
                    self.tree.inode_mut(id).xattrs.remove(TAG_XATTR);
                }
                if was && is_empty {
                    // As if the last key below it had gone.
                    let below = Place {
                        bucket: at.bucket,
                        path: format!("{}/x", at.path),
                    };
                    self.tree.drop_implied(&below);
                }
                if was {
                    self.names_are_durable();
                }
                Expected::Done
            }
        }
    }

    /// Makes an object: always a new inode, so that other names of the old one keep its content.
    fn put(&mut self, at: &Place, bytes: Vec<u8>, etag: Etag, tag: Option<Vec<u8>>) {
        let parent = self.tree.make_parents(at);
        let name = at.path.rsplit('/').next().unwrap_or_default();
        if self.tree.object(at).is_some() {
            self.tree.detach(parent, name);
        }
        let id = self.tree.add(Kind::File);
        self.tree.attach(parent, name, id);
        if let Some(tag) = tag {
            self.tree.inode_mut(id).xattrs.insert(TAG_XATTR.to_owned(), tag);
        }
        self.new_file(id, bytes, etag);
        self.names_are_durable();
    }

    fn delete(&mut self, at: &Place) {
        if self.tree.object(at).is_none() {
            return;
        }
        let parent = self.tree.make_parents(at);
        self.tree
            .detach(parent, at.path.rsplit('/').next().unwrap_or_default());
        self.tree.drop_implied(at);
        self.names_are_durable();
    }

    fn shown(&self, id: Id, size: u64, bytes: Option<Vec<u8>>) -> Expected {
        let tag = self.tree.inode(id).xattrs.get(TAG_XATTR);
        Expected::Object {
            size,
            etag: self.version(id).etag.clone(),
            tag: tag.map(|tag| String::from_utf8_lossy(tag).into_owned()),
            bytes,
        }
    }

    fn list(&self, bucket: usize, prefix: &str, delimiter: bool) -> Expected {
        let mut objects = BTreeMap::new();
        let mut prefixes = BTreeSet::new();
        for (key, id) in self.tree.keys(bucket) {
            let Some(rest) = key.strip_prefix(prefix) else {
                continue;
            };
            match rest.find('/').filter(|_| delimiter) {
                Some(at) => {
                    prefixes.insert(key[..=prefix.len() + at].to_owned());
                }
                None => {
                    let shown = match id {
                        Some(id) => (self.content(id).len() as u64, self.version(id).etag.clone()),
                        None => (0, Etag::Unknown),
                    };
                    objects.insert(key, shown);
                }
            }
        }
        Expected::Listing { objects, prefixes }
    }
}
