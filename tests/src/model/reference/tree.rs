//! The namespace of the model: inodes and names, as both S3 and POSIX see them. No content: a tree is
//! small, and the model keeps one per step that a crash may undo.
use std::collections::{BTreeMap, BTreeSet};

use crate::model::operation::{BUCKETS, Place};

/// Names an inode for as long as the test runs.
pub type Id = u64;

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Entries by name; directories' names end in `/`, so that a file and a directory of one name are
    /// two entries. S3 lists a directory that is explicit.
    Directory {
        /// Entries.
        entries: BTreeMap<String, Id>,
        /// Made for its own sake.
        explicit: bool,
    },
    /// Its content is kept apart.
    File,
    /// Where it points.
    Symlink(String),
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Names of a non-directory.
    pub links: u64,
}

/// All inodes and names.
#[derive(Clone, Debug)]
pub struct Tree {
    inodes: BTreeMap<Id, Inode>,
    next: Id,
}

/// What a POSIX path leads to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The directory.
    pub parent: Id,
    /// The last component.
    pub name: String,
    /// The inode behind it, and the entry's name in the directory.
    pub entry: Option<(Id, String)>,
}

impl Tree {
    /// Empty buckets. The id of bucket `n` is `n`.
    pub fn new() -> Self {
        let mut tree = Self {
            inodes: BTreeMap::new(),
            next: 0,
        };
        for _ in BUCKETS {
            tree.add(Kind::Directory {
                entries: BTreeMap::new(),
                explicit: true,
            });
        }
        tree
    }

    /// Makes an inode without a name.
    pub fn add(&mut self, kind: Kind) -> Id {
        let id = self.next;
        self.next += 1;
        self.inodes.insert(
            id,
            Inode {
                kind,
                xattrs: BTreeMap::new(),
                links: 0,
            },
        );
        id
    }

    /// An inode.
    pub fn inode(&self, id: Id) -> &Inode {
        &self.inodes[&id]
    }

    /// An inode, to change.
    pub fn inode_mut(&mut self, id: Id) -> &mut Inode {
        self.inodes
            .get_mut(&id)
            .expect("ids are only of inodes in the tree")
    }

    /// Entries of a directory.
    pub fn entries(&self, id: Id) -> &BTreeMap<String, Id> {
        match &self.inode(id).kind {
            Kind::Directory { entries, .. } => entries,
            _ => unreachable!("inode {id} is no directory"),
        }
    }

    fn entries_mut(&mut self, id: Id) -> &mut BTreeMap<String, Id> {
        match &mut self.inode_mut(id).kind {
            Kind::Directory { entries, .. } => entries,
            _ => unreachable!("inode {id} is no directory"),
        }
    }

    /// Whether an inode is a directory.
    pub fn is_directory(&self, id: Id) -> bool {
        matches!(self.inode(id).kind, Kind::Directory { .. })
    }

    /// Whether an inode is a file.
    pub fn is_file(&self, id: Id) -> bool {
        self.inode(id).kind == Kind::File
    }

    /// What `stat` says of the links.
    pub fn links(&self, id: Id) -> u64 {
        match &self.inode(id).kind {
            Kind::Directory { entries, .. } => {
                2 + entries.keys().filter(|name| name.ends_with('/')).count() as u64
            }
            _ => self.inode(id).links,
        }
    }

    /// Gives an inode a name, which is free.
    pub fn attach(&mut self, parent: Id, name: &str, id: Id) {
        let name = if self.is_directory(id) {
            format!("{name}/")
        } else {
            name.to_owned()
        };
        self.inode_mut(id).links += 1;
        let before = self.entries_mut(parent).insert(name, id);
        assert_eq!(before, None, "the name was taken");
    }

    /// Takes a name away (as in [`Found::entry`]), and the inode too if it was the last.
    pub fn detach(&mut self, parent: Id, entry: &str) -> Id {
        let id = self.take(parent, entry);
        if self.inode(id).links == 0 {
            self.inodes.remove(&id);
        }
        id
    }

    /// Takes a name away; the inode stays, to be attached elsewhere.
    pub fn take(&mut self, parent: Id, entry: &str) -> Id {
        let id = self
            .entries_mut(parent)
            .remove(entry)
            .expect("the entry was found before");
        self.inode_mut(id).links -= 1;
        id
    }

    /// Walks a POSIX path. The error is an errno.
    pub fn walk(&self, place: &Place) -> Result<Found, i32> {
        let mut parent = place.bucket as Id;
        let (directories, name) = place.path.rsplit_once('/').unwrap_or(("", &place.path));
        for component in directories.split('/').filter(|component| !component.is_empty()) {
            let entries = self.entries(parent);
            parent = match entries.get(&format!("{component}/")) {
                Some(id) => *id,
                None if entries.contains_key(component) => return Err(libc::ENOTDIR),
                None => return Err(libc::ENOENT),
            };
        }
        let entries = self.entries(parent);
        // A directory hides the file of its name.
        let entry = [format!("{name}/"), name.to_owned()]
            .into_iter()
            .find_map(|entry| entries.get(&entry).map(|id| (*id, entry)));
        Ok(Found {
            parent,
            name: name.to_owned(),
            entry,
        })
    }

    /// The inode that a POSIX path leads to. The error is an errno.
    pub fn resolve(&self, place: &Place) -> Result<Id, i32> {
        if place.path.is_empty() {
            return Ok(place.bucket as Id);
        }
        self.walk(place)?.entry.map(|(id, _)| id).ok_or(libc::ENOENT)
    }

    /// The file that is the object of a key.
    pub fn object(&self, place: &Place) -> Option<Id> {
        let (parent, name) = self.key_parent(place)?;
        self.entries(parent)
            .get(name)
            .copied()
            .filter(|id| self.is_file(*id))
    }

    /// The directory of a key.
    pub fn directory(&self, place: &Place) -> Option<Id> {
        let (parent, name) = self.key_parent(place)?;
        self.entries(parent).get(&format!("{name}/")).copied()
    }

    fn key_parent<'a>(&self, place: &'a Place) -> Option<(Id, &'a str)> {
        let mut parent = place.bucket as Id;
        let (directories, name) = place.path.rsplit_once('/').unwrap_or(("", &place.path));
        for component in directories.split('/').filter(|component| !component.is_empty()) {
            parent = *self.entries(parent).get(&format!("{component}/"))?;
        }
        Some((parent, name))
    }

    /// The directory that holds a key, made if needed: implied by the key, not explicit.
    pub fn make_parents(&mut self, place: &Place) -> Id {
        let mut parent = place.bucket as Id;
        let directories = place
            .path
            .rsplit_once('/')
            .map_or("", |(directories, _)| directories);
        for component in directories.split('/').filter(|component| !component.is_empty()) {
            parent = match self.entries(parent).get(&format!("{component}/")) {
                Some(id) => *id,
                None => {
                    let id = self.add(Kind::Directory {
                        entries: BTreeMap::new(),
                        explicit: false,
                    });
                    self.attach(parent, component, id);
                    id
                }
            };
        }
        parent
    }

    /// Takes away directories that only a key implied and that are empty now, from the key's up.
    pub fn drop_implied(&mut self, place: &Place) {
        let mut path = place.path.as_str();
        while let Some((directories, _)) = path.rsplit_once('/') {
            let at = Place {
                bucket: place.bucket,
                path: directories.to_owned(),
            };
            let Some(id) = self.directory(&at) else { return };
            let Kind::Directory {
                entries,
                explicit: false,
            } = &self.inode(id).kind
            else {
                return;
            };
            if !entries.is_empty() {
                return;
            }
            let (parent, name) = self.key_parent(&at).expect("it holds the directory just found");
            self.detach(parent, &format!("{name}/"));
            path = directories;
        }
    }

    /// The mount took something out of a directory: if that leaves an implied one empty, it becomes
    /// explicit.
    pub fn emptied_by_mount(&mut self, id: Id) {
        if let Kind::Directory { entries, explicit } = &mut self.inode_mut(id).kind
            && entries.is_empty()
        {
            *explicit = true;
        }
    }

    /// Whether `id` is `directory` or below it.
    pub fn is_below(&self, id: Id, directory: Id) -> bool {
        id == directory
            || self.is_directory(directory)
                && self
                    .entries(directory)
                    .values()
                    .any(|child| self.is_directory(*child) && self.is_below(id, *child))
    }

    /// Keys of a bucket: objects by inode, explicit directories without.
    pub fn keys(&self, bucket: usize) -> BTreeMap<String, Option<Id>> {
        let mut keys = BTreeMap::new();
        self.collect_keys(bucket as Id, "", &mut keys);
        keys
    }

    fn collect_keys(&self, id: Id, prefix: &str, keys: &mut BTreeMap<String, Option<Id>>) {
        for (name, &child) in self.entries(id) {
            let key = format!("{prefix}{name}");
            match &self.inode(child).kind {
                Kind::File => {
                    keys.insert(key, Some(child));
                }
                Kind::Directory { explicit, .. } => {
                    self.collect_keys(child, &key, keys);
                    if *explicit {
                        keys.insert(key, None);
                    }
                }
                Kind::Symlink(_) => {}
            }
        }
    }

    /// Names of a directory as the mount shows them, with their inodes.
    pub fn shown(&self, id: Id) -> BTreeMap<String, Id> {
        let entries = self.entries(id);
        let shown = |entry: &String| match entry.strip_suffix('/') {
            Some(name) => name.to_owned(),
            None if entries.contains_key(&format!("{entry}/")) => format!(".cess~file~{entry}"),
            None => entry.clone(),
        };
        entries.iter().map(|(entry, id)| (shown(entry), *id)).collect()
    }

    /// All inodes that have a name.
    pub fn ids(&self) -> BTreeSet<Id> {
        self.inodes.keys().copied().collect()
    }
}
