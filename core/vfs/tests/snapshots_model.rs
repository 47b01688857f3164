//! Snapshots against a model that copies whole trees: random operations, snapshots and deletions,
//! through files and objects. In the end everything is deleted, and nothing may be left.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use namespace::{Namespace, noise};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vfs::object::Commit;
use vfs::posix::Allocate;
use vfs::{InodeNo, Kind, ListRequest, Precondition, RenameFlags, SetAttr, XattrSet};

#[derive(Clone)]
enum Node {
    Directory(BTreeMap<String, InodeNo>),
    File { content: Vec<u8>, attribute: Option<u8> },
}

/// Inodes by number; those without a name stay and do no harm.
#[derive(Clone, Default)]
struct Tree(BTreeMap<InodeNo, Node>);

impl Tree {
    fn entries(&self, ino: InodeNo) -> &BTreeMap<String, InodeNo> {
        match &self.0[&ino] {
            Node::Directory(entries) => entries,
            Node::File { .. } => panic!("a file"),
        }
    }

    fn entries_mut(&mut self, ino: InodeNo) -> &mut BTreeMap<String, InodeNo> {
        match self.0.get_mut(&ino) {
            Some(Node::Directory(entries)) => entries,
            _ => panic!("no directory"),
        }
    }

    fn is_directory(&self, ino: InodeNo) -> bool {
        matches!(self.0[&ino], Node::Directory(_))
    }

    /// Directories and files below, with their keys; directories' end in a slash.
    fn below(&self, ino: InodeNo) -> Vec<(String, InodeNo)> {
        let mut found = Vec::new();
        for (name, &child) in self.entries(ino) {
            if self.is_directory(child) {
                found.push((format!("{name}/"), child));
                let below = self.below(child).into_iter();
                found.extend(below.map(|(key, ino)| (format!("{name}/{key}"), ino)));
            } else {
                found.push((name.clone(), child));
            }
        }
        found
    }
}

struct Taken {
    name: String,
    root: InodeNo,
    tree: Tree,
}

struct World {
    n: Namespace,
    random: StdRng,
    bucket: InodeNo,
    tree: Tree,
    taken: Vec<Taken>,
    snapshots: usize,
}

impl World {
    async fn new(seed: u64) -> Self {
        let n = Namespace::new().await;
        let bucket = n.bucket("b").await;
        let tree = Tree([(bucket, Node::Directory(BTreeMap::new()))].into());
        Self {
            n,
            random: StdRng::seed_from_u64(seed),
            bucket,
            tree,
            taken: Vec::new(),
            snapshots: 0,
        }
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.random.random_range(0..all.len())].clone())
    }

    /// A directory with its key (empty for the bucket).
    fn directory(&mut self) -> (String, InodeNo) {
        let mut all = vec![(String::new(), self.bucket)];
        all.extend(
            self.tree
                .below(self.bucket)
                .into_iter()
                .filter(|(key, _)| key.ends_with('/')),
        );
        self.pick(&all).unwrap()
    }

    fn file(&mut self) -> Option<(String, InodeNo)> {
        let mut all = self.tree.below(self.bucket);
        all.retain(|(key, _)| !key.ends_with('/'));
        self.pick(&all)
    }

    fn name(&mut self) -> String {
        format!("n{}", self.random.random_range(0..5))
    }

    /// A name in a directory: where it is, and what it leads to.
    fn entry(&mut self) -> Option<(InodeNo, String, InodeNo)> {
        let (_, directory) = self.directory();
        let entries: Vec<_> = self.tree.entries(directory).clone().into_iter().collect();
        let (name, ino) = self.pick(&entries)?;
        Some((directory, name, ino))
    }

    async fn step(&mut self) {
        let n = &self.n.vfs.clone();
        match self.random.random_range(0..100) {
            0..8 => {
                let ((_, directory), name) = (self.directory(), self.name());
                let creator = vfs::Creator {
                    mode: 0o755,
                    ..namespace::ME
                };
                if let Ok(made) = n.mkdir(directory, name.as_bytes(), creator).await {
                    self.tree.entries_mut(directory).insert(name, made.ino);
                    self.tree.0.insert(made.ino, Node::Directory(BTreeMap::new()));
                }
            }
            8..18 => {
                let ((_, directory), name) = (self.directory(), self.name());
                let made = n
                    .mknod(directory, name.as_bytes(), Kind::File, 0, namespace::ME)
                    .await;
                if let Ok(made) = made {
                    self.tree.entries_mut(directory).insert(name, made.ino);
                    let content = Vec::new();
                    self.tree.0.insert(
                        made.ino,
                        Node::File {
                            content,
                            attribute: None,
                        },
                    );
                }
            }
            18..42 => self.change_content().await,
            42..50 => self.put().await,
            50..55 => {
                if let Some((key, _)) = self.file() {
                    assert!(
                        n.delete_object("b", key.as_bytes(), Precondition::default())
                            .await
                            .unwrap()
                    );
                    self.forget(&key);
                }
            }
            55..62 => {
                if let Some((directory, name, ino)) = self.entry() {
                    let gone = if self.tree.is_directory(ino) {
                        n.rmdir(directory, name.as_bytes()).await
                    } else {
                        n.unlink(directory, name.as_bytes()).await
                    };
                    if gone.is_ok() {
                        self.tree.entries_mut(directory).remove(&name);
                    }
                }
            }
            62..72 => self.rename().await,
            72..76 => {
                if let Some((_, ino)) = self.file() {
                    let ((_, directory), name) = (self.directory(), self.name());
                    if n.link(ino, directory, name.as_bytes()).await.is_ok() {
                        self.tree.entries_mut(directory).insert(name, ino);
                    }
                }
            }
            76..80 => {
                if let Some((_, ino)) = self.file() {
                    let value: u8 = self.random.random();
                    let Some(Node::File { attribute, .. }) = self.tree.0.get_mut(&ino) else {
                        panic!("a file");
                    };
                    if attribute.is_some() && value < 100 {
                        n.removexattr(ino, b"user.x").await.unwrap();
                        *attribute = None;
                    } else {
                        n.setxattr(ino, b"user.x", &[value], XattrSet::Any).await.unwrap();
                        *attribute = Some(value);
                    }
                }
            }
            80..86 => self.take().await,
            86..89 => self.clone_directory().await,
            89..94 => {
                if !self.taken.is_empty() {
                    let at = self.random.random_range(0..self.taken.len());
                    let taken = self.taken.swap_remove(at);
                    let path = self.path_of(&taken).await;
                    n.delete_snapshot(&path, &taken.name).await.unwrap();
                }
            }
            _ => {
                if !self.taken.is_empty() {
                    let at = self.random.random_range(0..self.taken.len());
                    self.verify(at).await;
                }
            }
        }
    }

    async fn change_content(&mut self) {
        let Some((_, ino)) = self.file() else { return };
        let offset = self.random.random_range(0..400_000usize);
        let len = self.random.random_range(1..150_000usize);
        let what = self.random.random_range(0..10);
        let seed = self.random.random();
        let Some(Node::File { content, .. }) = self.tree.0.get_mut(&ino) else {
            panic!("a file");
        };
        let n = &self.n.vfs;
        match what {
            0 => {
                content.resize(offset, 0);
                let size = SetAttr {
                    size: Some(offset as u64),
                    ..SetAttr::default()
                };
                n.setattr(ino, size).await.unwrap();
            }
            1 => {
                let end = (offset + len).min(content.len());
                if offset < end {
                    content[offset..end].fill(0);
                }
                n.allocate(ino, offset as u64, len as u64, Allocate::Punch)
                    .await
                    .unwrap();
            }
            _ => {
                let data = noise(seed, len);
                if content.len() < offset + len {
                    content.resize(offset + len, 0);
                }
                content[offset..offset + len].copy_from_slice(&data);
                n.write(ino, offset as u64, Bytes::from(data)).await.unwrap();
            }
        }
        if what % 2 == 0 {
            n.fsync(ino, None).await.unwrap();
        }
    }

    async fn put(&mut self) {
        let ((key, directory), name) = (self.directory(), self.name());
        let there = self.tree.entries(directory).get(&name).copied();
        if there.is_some_and(|ino| self.tree.is_directory(ino)) {
            return;
        }
        let len = self.random.random_range(0..300_000);
        let data = noise(self.random.random(), len);
        let key = format!("{key}{name}");
        let commit = Commit {
            etag: "e".into(),
            ..Commit::default()
        };
        let info = self.n.put_as("b", key.as_bytes(), &data, commit).await.unwrap();
        self.tree.entries_mut(directory).insert(name, info.ino);
        let node = Node::File {
            content: data,
            attribute: None,
        };
        self.tree.0.insert(info.ino, node);
    }

    async fn rename(&mut self) {
        let Some((from, name, ino)) = self.entry() else {
            return;
        };
        let ((_, to), new_name) = (self.directory(), self.name());
        let exchange = self.random.random_range(0..4) == 0;
        let flags = RenameFlags {
            exchange,
            ..RenameFlags::default()
        };
        let done = self
            .n
            .vfs
            .rename(from, name.as_bytes(), to, new_name.as_bytes(), flags)
            .await;
        let there = self.tree.entries(to).get(&new_name).copied();
        if done.is_err() || there == Some(ino) {
            return;
        }
        self.tree.entries_mut(from).remove(&name);
        self.tree.entries_mut(to).insert(new_name, ino);
        if exchange {
            self.tree.entries_mut(from).insert(name, there.unwrap());
        }
    }

    fn forget(&mut self, key: &str) {
        let mut at = self.bucket;
        let mut names = key.split('/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                self.tree.entries_mut(at).remove(name);
                return;
            }
            at = self.tree.entries(at)[name];
        }
    }

    async fn take(&mut self) {
        let (key, root) = match self.random.random_range(0..3) {
            0 => match self.file() {
                Some(found) => found,
                None => return,
            },
            _ => self.directory(),
        };
        let name = format!("s{}", self.snapshots);
        self.snapshots += 1;
        let path = if key.is_empty() {
            "b".into()
        } else {
            format!("b/{key}")
        };
        let info = self.n.vfs.create_snapshot(&path, &name).await.unwrap();
        assert_eq!(info.ino, root.0);
        self.taken.push(Taken {
            name,
            root,
            tree: self.tree.clone(),
        });
    }

    /// Clones a directory as it is, or as it was in a snapshot.
    async fn clone_directory(&mut self) {
        let of_snapshots: Vec<usize> = (0..self.taken.len())
            .filter(|at| {
                let taken = &self.taken[*at];
                taken.root != self.bucket && taken.tree.is_directory(taken.root)
            })
            .collect();
        let (from, root, then) = match self.pick(&of_snapshots) {
            Some(at) if self.random.random() => {
                let taken = &self.taken[at];
                let path = self.path_of(taken).await;
                (format!("{path}@{}", taken.name), taken.root, taken.tree.clone())
            }
            _ => {
                let (key, root) = self.directory();
                (format!("b/{key}"), root, self.tree.clone())
            }
        };
        let ((key, directory), name) = (self.directory(), self.name());
        // Trees that grow by half with each clone would take all the time.
        if root == self.bucket || then.below(root).len() + self.tree.below(self.bucket).len() > 150 {
            return;
        }
        let made = match self.n.vfs.make_clone(&from, &format!("b/{key}{name}")).await {
            Ok(made) => made.ino,
            Err(vfs::Error::Exists | vfs::Error::Invalid(_)) => return,
            Err(error) => panic!("{from}: {error}"),
        };
        // What changes now is not in it, though nobody has looked at it yet.
        for _ in 0..3 {
            self.change_content().await;
        }
        let mut copies = BTreeMap::new();
        self.learn(&then, root, made, &mut copies).await;
        self.tree.entries_mut(directory).insert(name, made);
    }

    /// Notes the inodes of a clone, which are one for each of the origin's.
    async fn learn(
        &mut self,
        then: &Tree,
        origin: InodeNo,
        clone: InodeNo,
        copies: &mut BTreeMap<InodeNo, InodeNo>,
    ) {
        assert_eq!(
            *copies.entry(origin).or_insert(clone),
            clone,
            "one inode for one inode"
        );
        let node = match &then.0[&origin] {
            Node::File { .. } => then.0[&origin].clone(),
            Node::Directory(entries) => {
                let mut own = BTreeMap::new();
                for (name, &child) in entries {
                    let found = self.n.lookup(clone, name).await.unwrap().ino;
                    Box::pin(self.learn(then, child, found, copies)).await;
                    own.insert(name.clone(), found);
                }
                Node::Directory(own)
            }
        };
        self.tree.0.insert(clone, node);
    }

    /// The path by which the snapshot is known now.
    async fn path_of(&self, taken: &Taken) -> String {
        let all = self.n.vfs.snapshots(None).await.unwrap();
        let found = all.into_iter().find(|info| info.name == taken.name).unwrap();
        assert_eq!(found.ino, taken.root.0);
        found.path
    }

    /// Compares a snapshot with the tree as it was.
    async fn verify(&self, at: usize) {
        let taken = &self.taken[at];
        if !taken.tree.is_directory(taken.root) {
            let path = self.path_of(taken).await;
            let export = format!("{path}@{}", taken.name);
            let ino = self.n.vfs.export(export.as_bytes()).await.unwrap().ino;
            return self.same_file(taken, taken.root, ino).await;
        }
        let is_there = taken.root == self.bucket
            || self
                .tree
                .below(self.bucket)
                .iter()
                .any(|(_, ino)| *ino == taken.root);
        if !is_there {
            return;
        }
        let list = self.n.lookup(taken.root, ".snapshots").await.unwrap().ino;
        let root = self.n.lookup(list, &taken.name).await.unwrap().ino;
        self.same_directory(taken, taken.root, root).await;
        let path = self.path_of(taken).await;
        let (_, key) = path.split_once('/').unwrap_or(("b", ""));
        let prefix = format!("{key}.snapshots/{}/", taken.name);
        let request = ListRequest {
            prefix: prefix.clone().into_bytes(),
            max: 10_000,
            ..ListRequest::default()
        };
        let page = self.n.vfs.list_objects("b", request).await.unwrap();
        let listed = page
            .objects
            .into_iter()
            .map(|object| String::from_utf8(object.key).unwrap());
        let mut keys: Vec<_> = taken
            .tree
            .below(taken.root)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        keys.sort();
        let keys = keys.into_iter().map(|key| format!("{prefix}{key}"));
        assert!(listed.eq(keys));
    }

    async fn same_directory(&self, taken: &Taken, then: InodeNo, view: InodeNo) {
        let entries = taken.tree.entries(then);
        assert!(
            self.n.names(view).await.iter().eq(entries.keys()),
            "{}",
            taken.name
        );
        for (name, &child) in entries {
            let attr = self.n.lookup(view, name).await.unwrap();
            if taken.tree.is_directory(child) {
                assert_eq!(attr.kind, Kind::Directory);
                Box::pin(self.same_directory(taken, child, attr.ino)).await;
            } else {
                self.same_file(taken, child, attr.ino).await;
            }
        }
    }

    async fn same_file(&self, taken: &Taken, then: InodeNo, view: InodeNo) {
        let Node::File { content, attribute } = &taken.tree.0[&then] else {
            panic!("a file");
        };
        assert!(self.n.read(view).await == *content, "{} {then:?}", taken.name);
        let found = self.n.vfs.getxattr(view, b"user.x").await.ok();
        assert_eq!(found, attribute.map(|value| vec![value]));
    }

    /// Deletes everything in random order, and looks for what is left.
    async fn end(mut self) {
        for at in 0..self.taken.len() {
            self.verify(at).await;
        }
        let mut entries = self.tree.below(self.bucket);
        entries.reverse();
        while !self.taken.is_empty() || !entries.is_empty() {
            if entries.is_empty() || (!self.taken.is_empty() && self.random.random_range(0..3) == 0) {
                let at = self.random.random_range(0..self.taken.len());
                let taken = self.taken.swap_remove(at);
                let path = self.path_of(&taken).await;
                self.n.vfs.delete_snapshot(&path, &taken.name).await.unwrap();
            } else {
                let key = entries.remove(0).0;
                let mut at = self.bucket;
                let mut names: Vec<_> = key.trim_end_matches('/').split('/').collect();
                let last = names.pop().unwrap();
                for name in names {
                    at = self.n.lookup(at, name).await.unwrap().ino;
                }
                if key.ends_with('/') {
                    self.n.vfs.rmdir(at, last.as_bytes()).await.unwrap();
                } else {
                    self.n.vfs.unlink(at, last.as_bytes()).await.unwrap();
                }
                for at in 0..self.taken.len() {
                    if self.taken[at].root == self.bucket {
                        self.verify(at).await;
                    }
                }
            }
        }
        for _ in 0..6000 {
            if self.n.rows(0x31) == 0 && self.n.rows(0x3c) == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.n.settle().await;
        assert_eq!(self.n.rows(0x03), 1, "the bucket");
        for table in [
            0x04, 0x05, 0x07, 0x0a, 0x0c, 0x31, 0x32, 0x33, 0x34, 0x35, 0x3a, 0x3b, 0x3c,
        ] {
            assert_eq!(self.n.rows(table), 0, "table {table:#x}");
        }
        assert_eq!(self.n.chunks(), 0);
    }
}

async fn run(seed: u64, steps: usize) {
    let mut world = World::new(seed).await;
    for step in 0..steps {
        world.step().await;
        if step % 50 == 49 {
            world.n.vfs.compact().await.unwrap();
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_copies_of_trees() {
    for seed in 0..6 {
        run(seed, 300).await;
    }
}
