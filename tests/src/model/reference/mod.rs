//! The model: what a gateway that keeps its promises answers.
//!
//! Everything the doors can see is a [`Tree`] of names and inodes, and the content of each file. To
//! know what a crash may leave, the model keeps more than the present:
//!
//! - *Names*: the trees since the last point that is known to be durable. S3 answers, fsync, FLUSH and
//!   FUA are such points, for everything before them: the namespace after a crash is a prefix of the
//!   acknowledged history.
//! - *Content*, of each file for itself: the versions since its last durable one. Content is stored
//!   behind the names' back, file by file; each file is in some state that it once had, not older than
//!   its last durable one.
//!
//! [`Reference::recover`] compares what is found after a crash with all of that, and goes on from it.
mod block;
mod crash;
mod file;
mod object;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::crash::{Recovered, Seen};
use self::tree::{Id, Tree};
use super::operation::{Event, Operation, SLOTS};
use super::outcome::{Content, Etag, Expected, Refusal};

/// A state of a file's content.
#[derive(Clone, Debug)]
struct Version {
    bytes: Content,
    etag: Etag,
}

/// An attached export.
#[derive(Clone, Copy, Debug)]
struct Attached {
    id: Id,
    size: u64,
    /// The gateway that it is attached at.
    gateway: usize,
}

/// The model.
#[derive(Clone)]
pub struct Reference {
    tree: Tree,
    /// Earlier trees that a crash may bring back, oldest first.
    undone: Vec<Tree>,
    /// Content of each file: the last durable state, and those after it.
    versions: BTreeMap<Id, Vec<Version>>,
    slots: [Option<Attached>; SLOTS],
    /// The gateway that operations go to.
    gateway: usize,
}

impl Default for Reference {
    fn default() -> Self {
        Self {
            tree: Tree::new(),
            undone: Vec::new(),
            versions: BTreeMap::new(),
            slots: [None; SLOTS],
            gateway: 0,
        }
    }
}

impl Reference {
    /// Operations go to this gateway from now on; the first one, until this is called.
    pub fn through(&mut self, gateway: usize) {
        self.gateway = gateway;
    }

    /// Carries an operation out on the model, and says what the gateway must answer. Not for kills:
    /// see [`Self::recover`].
    pub fn apply(&mut self, operation: &Operation) -> Expected {
        match operation {
            Operation::Object(operation) => self.object(operation),
            Operation::File(operation) => self
                .file(operation)
                .unwrap_or_else(|errno| Expected::Refused(Refusal::Posix(errno))),
            Operation::Block(operation) => self.block(operation),
            Operation::Event(event) => {
                if let Event::Flush { .. } = event {
                    let ids: Vec<_> = self.versions.keys().copied().collect();
                    for id in ids {
                        self.content_is_durable(id);
                    }
                    self.names_are_durable();
                }
                Expected::Done
            }
        }
    }

    /// The tree, to change in a way that a crash may undo.
    fn change(&mut self) -> &mut Tree {
        self.undone.push(self.tree.clone());
        &mut self.tree
    }

    /// Nothing before this can be undone.
    fn names_are_durable(&mut self) {
        self.undone.clear();
        self.forget();
    }

    /// The last version of a file cannot be undone.
    fn content_is_durable(&mut self, id: Id) {
        if let Some(versions) = self.versions.get_mut(&id) {
            versions.drain(..versions.len() - 1);
        }
    }

    /// Drops content that nothing can lead to any more.
    fn forget(&mut self) {
        let named = self.tree.ids();
        let slots = self.slots;
        self.versions
            .retain(|id, _| named.contains(id) || slots.iter().flatten().any(|attached| attached.id == *id));
    }

    fn version(&self, id: Id) -> &Version {
        self.versions[&id].last().expect("a file has a version")
    }

    fn content(&self, id: Id) -> &Content {
        &self.version(id).bytes
    }

    fn new_file(&mut self, tree_id: Id, bytes: Vec<u8>, etag: Etag) {
        self.versions.insert(
            tree_id,
            vec![Version {
                bytes: Arc::new(bytes),
                etag,
            }],
        );
    }

    /// A change of content that a crash may undo.
    fn edit(&mut self, id: Id, etag: Etag, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::clone(self.content(id));
        edit(&mut bytes);
        let version = Version {
            bytes: Arc::new(bytes),
            etag,
        };
        self.versions.entry(id).or_default().push(version);
    }

    fn write(&mut self, id: Id, offset: u64, data: &[u8]) {
        self.edit(id, Etag::Opaque, |bytes| {
            let (from, to) = (offset as usize, offset as usize + data.len());
            if bytes.len() < to {
                bytes.resize(to, 0);
            }
            bytes[from..to].copy_from_slice(data);
        });
    }

    fn zero(&mut self, id: Id, offset: u64, len: u64, extend: bool) {
        self.edit(id, Etag::Unknown, |bytes| {
            let to = (offset + len) as usize;
            if extend && bytes.len() < to {
                bytes.resize(to, 0);
            }
            let (from, to) = (bytes.len().min(offset as usize), bytes.len().min(to));
            bytes[from..to].fill(0);
        });
    }
}
