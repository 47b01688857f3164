//! Random POSIX and object operations against a small model of the namespace, with restarts and
//! crash images in between.
//!
//! The model is a map from keys to things: a file (bytes, shared by hard links), an explicit or
//! implicit directory (its key ends in `/`). Every operation is applied to both; results must agree,
//! and now and then everything that any door shows is compared.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meta::shared::Opening;
use meta::{FjallEngine, Meta};
use namespace::{ME, Namespace, noise};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use vfs::object::CopyMeta;
use vfs::{Error, InodeNo, Kind, Precondition, RenameFlags, Result, SetAttr};

type Content = Rc<RefCell<Vec<u8>>>;

#[derive(Clone)]
enum Thing {
    File(Content),
    Directory { explicit: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    NotFound,
    Exists,
    NotDirectory,
    IsDirectory,
    NotEmpty,
    Invalid,
}

fn outcome<T>(result: Result<T>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(Error::NotFound) => Outcome::NotFound,
        Err(Error::Exists) => Outcome::Exists,
        Err(Error::NotDirectory) => Outcome::NotDirectory,
        Err(Error::IsDirectory) => Outcome::IsDirectory,
        Err(Error::NotEmpty) => Outcome::NotEmpty,
        Err(Error::Invalid(_)) => Outcome::Invalid,
        Err(error) => panic!("unexpected: {error}"),
    }
}

#[derive(Default)]
struct Model {
    /// Keys in the bucket.
    things: BTreeMap<String, Thing>,
}

fn parent(key: &str) -> &str {
    let bare = key.strip_suffix('/').unwrap_or(key);
    bare.rfind('/').map_or("", |at| &bare[..=at])
}

impl Model {
    fn directory(&self, key: &str) -> bool {
        key.is_empty() || matches!(self.things.get(key), Some(Thing::Directory { .. }))
    }

    fn file(&self, key: &str) -> Option<Content> {
        match self.things.get(key) {
            Some(Thing::File(content)) => Some(content.clone()),
            _ => None,
        }
    }

    fn is_empty(&self, directory: &str) -> bool {
        !self
            .things
            .keys()
            .any(|key| key.starts_with(directory) && key != directory)
    }

    /// The key of what a mount shows as `path` (no trailing slash): the directory wins.
    fn shown(&self, path: &str) -> Option<String> {
        let directory = format!("{path}/");
        if self.things.contains_key(&directory) {
            return Some(directory);
        }
        self.things.contains_key(path).then(|| path.to_owned())
    }

    fn imply_parents(&mut self, key: &str) {
        let mut at = parent(key).to_owned();
        while !at.is_empty() {
            self.things
                .entry(at.clone())
                .or_insert(Thing::Directory { explicit: false });
            at = parent(&at).to_owned();
        }
    }

    fn prune(&mut self, directory: &str) {
        let mut at = directory.to_owned();
        while matches!(self.things.get(&at), Some(Thing::Directory { explicit: false })) && self.is_empty(&at)
        {
            self.things.remove(&at);
            at = parent(&at).to_owned();
        }
    }

    /// A mount took something out of the directory.
    fn emptied(&mut self, directory: &str) {
        if self.is_empty(directory)
            && let Some(Thing::Directory { explicit }) = self.things.get_mut(directory)
        {
            *explicit = true;
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Outcome {
        if !self.directory(parent(from)) || !self.directory(parent(to)) {
            return Outcome::NotFound;
        }
        let Some(source) = self.shown(from) else {
            return Outcome::NotFound;
        };
        let is_dir = source.ends_with('/');
        if is_dir && format!("{to}/").starts_with(&source) && to != from {
            return Outcome::Invalid;
        }
        if let Some(target) = self.shown(to) {
            if target == source {
                return Outcome::Done;
            }
            match (is_dir, target.ends_with('/')) {
                (true, false) => return Outcome::NotDirectory,
                (false, true) => return Outcome::IsDirectory,
                (true, true) if !self.is_empty(&target) => return Outcome::NotEmpty,
                _ => {}
            }
            if let (Some(a), Some(b)) = (self.file(&source), self.file(&target))
                && Rc::ptr_eq(&a, &b)
            {
                return Outcome::Done;
            }
        }
        let new = if is_dir { format!("{to}/") } else { to.to_owned() };
        let moved: Vec<String> = self
            .things
            .keys()
            .filter(|key| **key == source || is_dir && key.starts_with(&source))
            .cloned()
            .collect();
        for key in moved {
            let thing = self.things.remove(&key).unwrap();
            self.things
                .insert(format!("{new}{}", &key[source.len()..]), thing);
        }
        self.emptied(parent(from));
        Outcome::Done
    }
}

struct Run {
    n: Namespace,
    /// Another gateway on the same namespace.
    other: Option<Namespace>,
    bucket: InodeNo,
    model: Model,
    random: StdRng,
}

/// Longest object, and how far files reach.
const REACH: usize = 20_000;
/// The same with two gateways: frames of this length lie in the metadata, which both have.
const SHARED_REACH: usize = 12_000;

impl Run {
    fn reach(&self) -> usize {
        if self.other.is_some() { SHARED_REACH } else { REACH }
    }

    /// The next operation goes to any of the gateways; what was written through the last one is stored.
    async fn hand_over(&mut self) {
        if let Some(other) = &mut self.other
            && self.random.random_bool(0.5)
        {
            store(&self.n).await;
            std::mem::swap(&mut self.n, other);
        }
    }

    fn path(&mut self) -> String {
        let depth = self.random.random_range(1..4);
        let names: Vec<_> = (0..depth)
            .map(|_| ["a", "b", "c-"][self.random.random_range(0..3)])
            .collect();
        names.join("/")
    }

    /// Directory inode and name of a path in the mount, or how the way there fails.
    async fn at(&self, path: &str) -> std::result::Result<(InodeNo, String), Outcome> {
        let mut dir = self.bucket;
        let (way, name) = path.rsplit_once('/').unwrap_or(("", path));
        for part in way.split('/').filter(|part| !part.is_empty()) {
            let attr = self.n.lookup(dir, part).await.map_err(|_| Outcome::NotFound)?;
            if attr.kind != Kind::Directory {
                return Err(Outcome::NotFound);
            }
            dir = attr.ino;
        }
        Ok((dir, name.to_owned()))
    }

    async fn step(&mut self) {
        let path = self.path();
        let key = path.as_str();
        let none = Precondition::default();
        let (dir, name) = match self.at(key).await {
            Ok((dir, name)) => (Some(dir), name),
            Err(_) => (None, String::new()),
        };
        assert_eq!(dir.is_some(), self.model.directory(parent(key)), "{key}");
        let exists = self.model.shown(key);
        let choice = self.random.random_range(0..15);
        match choice {
            0 | 1 => {
                let size = self.random.random_range(0..self.reach());
                let data = noise(self.random.random(), size);
                self.n.put("b", key, &data).await.unwrap();
                self.model.imply_parents(key);
                self.model
                    .things
                    .insert(key.to_owned(), Thing::File(Rc::new(RefCell::new(data))));
            }
            2 => {
                let key = format!("{key}/");
                self.n.put("b", &key, b"").await.unwrap();
                self.model.imply_parents(&key);
                self.model.things.insert(key, Thing::Directory { explicit: true });
            }
            3 => {
                let there = self.n.vfs.delete_object("b", key.as_bytes(), none).await.unwrap();
                assert_eq!(there, self.model.file(key).is_some());
                if there {
                    self.model.things.remove(key);
                    self.model.prune(parent(key));
                }
            }
            4 => {
                let key = format!("{key}/");
                let there = self.n.vfs.delete_object("b", key.as_bytes(), none).await.unwrap();
                let was = matches!(
                    self.model.things.get(&key),
                    Some(Thing::Directory { explicit: true })
                );
                assert_eq!(there, was);
                if there {
                    self.model
                        .things
                        .insert(key.clone(), Thing::Directory { explicit: false });
                    self.model.prune(&key);
                }
            }
            5 => {
                let target = self.path();
                let copied = self
                    .n
                    .vfs
                    .copy_object("b", key.as_bytes(), "b", target.as_bytes(), CopyMeta::Keep, none)
                    .await;
                let source = self.model.file(key);
                assert_eq!(
                    outcome(copied),
                    if source.is_some() {
                        Outcome::Done
                    } else {
                        Outcome::NotFound
                    }
                );
                if let Some(source) = source {
                    let copy = source.borrow().clone();
                    self.model.imply_parents(&target);
                    self.model
                        .things
                        .insert(target, Thing::File(Rc::new(RefCell::new(copy))));
                }
            }
            6 => {
                let Some(dir) = dir else { return };
                let made = outcome(self.n.vfs.mkdir(dir, name.as_bytes(), ME).await);
                assert_eq!(
                    made,
                    if exists.is_some() {
                        Outcome::Exists
                    } else {
                        Outcome::Done
                    }
                );
                if made == Outcome::Done {
                    self.model
                        .things
                        .insert(format!("{key}/"), Thing::Directory { explicit: true });
                }
            }
            7 => {
                let Some(dir) = dir else { return };
                let made = outcome(self.n.vfs.mknod(dir, name.as_bytes(), Kind::File, 0, ME).await);
                assert_eq!(
                    made,
                    if exists.is_some() {
                        Outcome::Exists
                    } else {
                        Outcome::Done
                    }
                );
                if made == Outcome::Done {
                    self.model
                        .things
                        .insert(key.to_owned(), Thing::File(Rc::default()));
                }
            }
            8 => {
                let Some(dir) = dir else { return };
                let removed = outcome(self.n.vfs.unlink(dir, name.as_bytes()).await);
                match exists {
                    None => assert_eq!(removed, Outcome::NotFound),
                    Some(key) if key.ends_with('/') => assert_eq!(removed, Outcome::IsDirectory),
                    Some(key) => {
                        assert_eq!(removed, Outcome::Done);
                        self.model.things.remove(&key);
                        self.model.emptied(parent(&key));
                    }
                }
            }
            9 => {
                let Some(dir) = dir else { return };
                let removed = outcome(self.n.vfs.rmdir(dir, name.as_bytes()).await);
                match exists {
                    None => assert_eq!(removed, Outcome::NotFound),
                    Some(key) if !key.ends_with('/') => assert_eq!(removed, Outcome::NotDirectory),
                    Some(key) if !self.model.is_empty(&key) => assert_eq!(removed, Outcome::NotEmpty),
                    Some(key) => {
                        assert_eq!(removed, Outcome::Done);
                        self.model.things.remove(&key);
                        self.model.emptied(parent(&key));
                    }
                }
            }
            10 => {
                let target = self.path();
                let (Some(dir), Ok((to, to_name))) = (dir, self.at(&target).await) else {
                    return;
                };
                let flags = RenameFlags::default();
                let renamed = self
                    .n
                    .vfs
                    .rename(dir, name.as_bytes(), to, to_name.as_bytes(), flags)
                    .await;
                assert_eq!(
                    outcome(renamed),
                    self.model.rename(key, &target),
                    "{key} to {target}"
                );
            }
            11 => {
                let target = self.path();
                let (Some(source), Ok((to, to_name))) = (self.model.file(key), self.at(&target).await) else {
                    return;
                };
                if exists.as_deref() != Some(key) {
                    return;
                }
                let ino = self.n.lookup(dir.unwrap(), &name).await.unwrap().ino;
                let linked = outcome(self.n.vfs.link(ino, to, to_name.as_bytes()).await);
                let taken = self.model.shown(&target).is_some();
                assert_eq!(linked, if taken { Outcome::Exists } else { Outcome::Done });
                if !taken {
                    self.model.things.insert(target, Thing::File(source));
                }
            }
            _ => {
                if exists.as_deref() != Some(key) {
                    return;
                }
                let content = self.model.file(key).unwrap();
                let ino = self.n.lookup(dir.unwrap(), &name).await.unwrap().ino;
                let offset = self.random.random_range(0..self.reach() as u64 - 5_000);
                if choice == 12 {
                    let size = SetAttr {
                        size: Some(offset),
                        ..SetAttr::default()
                    };
                    self.n.vfs.setattr(ino, size).await.unwrap();
                    content.borrow_mut().resize(offset as usize, 0);
                } else {
                    let len = self.random.random_range(1..8_000);
                    let data = noise(self.random.random(), len);
                    self.n
                        .vfs
                        .write(ino, offset, Bytes::from(data.clone()))
                        .await
                        .unwrap();
                    let mut content = content.borrow_mut();
                    let (start, end) = (offset as usize, offset as usize + data.len());
                    let size = content.len().max(end);
                    content.resize(size, 0);
                    content[start..end].copy_from_slice(&data);
                }
                if self.random.random_bool(0.2) {
                    self.n.vfs.fsync(ino, None).await.unwrap();
                }
            }
        }
    }

    /// Everything, through both doors.
    async fn compare(&self) {
        let listed = self.n.keys("b").await;
        let want: Vec<_> = self
            .model
            .things
            .iter()
            .filter(|(_, thing)| !matches!(thing, Thing::Directory { explicit: false }))
            .map(|(key, _)| key.clone())
            .collect();
        assert_eq!(listed, want);
        for (key, thing) in &self.model.things {
            match thing {
                Thing::File(content) => {
                    assert!(self.n.get("b", key).await.unwrap() == *content.borrow(), "{key}");
                    let links =
                        self.model.things.values().filter(
                            |other| matches!(other, Thing::File(other) if Rc::ptr_eq(other, content)),
                        );
                    let ino = self.n.vfs.head_object("b", key.as_bytes()).await.unwrap().ino;
                    let attr = self.n.vfs.getattr(ino).await.unwrap();
                    assert_eq!(attr.nlink as usize, links.count(), "{key}");
                    assert!(self.n.read(ino).await == *content.borrow(), "{key}");
                    assert!(self.n.vfs.path_of(ino).await.unwrap().is_some());
                }
                Thing::Directory { .. } => {
                    let bare = key.strip_suffix('/').unwrap();
                    let (dir, name) = self.at(bare).await.unwrap();
                    let attr = self.n.lookup(dir, &name).await.unwrap();
                    let children = |wanted: fn(&str) -> bool| {
                        let keys = self.model.things.keys();
                        keys.filter(|other| parent(other) == key && *other != key && wanted(other))
                            .count()
                    };
                    assert_eq!(
                        attr.nlink as usize,
                        2 + children(|key| key.ends_with('/')),
                        "{key}"
                    );
                    assert_eq!(self.n.names(attr.ino).await.len(), children(|_| true), "{key}");
                }
            }
        }
    }
}

/// Everything buffered is stored.
async fn store(n: &Namespace) {
    n.vfs
        .flush_all(vfs::Level::Staged, Duration::from_secs(10))
        .await
        .unwrap();
}

async fn run(seed: u64) {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let mut run = Run {
        n,
        other: None,
        bucket,
        model: Model::default(),
        random: StdRng::seed_from_u64(seed),
    };
    for round in 0..8 {
        for _ in 0..60 {
            run.step().await;
        }
        run.compare().await;
        if round % 4 == 1 {
            run.n = run.n.reopen().await;
            run.compare().await;
        }
        if round % 4 == 3 {
            store(&run.n).await;
            run.n = run.n.crash_image().await;
            run.compare().await;
        }
    }
    // Nothing is left when everything is deleted.
    for key in run.n.keys("b").await {
        run.n
            .vfs
            .delete_object("b", key.as_bytes(), Precondition::default())
            .await
            .unwrap();
    }
    run.n.vfs.delete_bucket("b").await.unwrap();
    run.n.settle().await;
    assert_eq!(
        (run.n.chunks(), run.n.vfs.statfs().await.unwrap().inodes),
        (0, 1),
        "seed {seed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_agree_with_the_model() {
    for seed in 0..6 {
        run(seed).await;
    }
}

/// Two gateways on one namespace, of which one or the other dies now and then and comes back.
async fn run_two(seed: u64) {
    let dir = TempDir::new().unwrap();
    let engine = FjallEngine::open(&dir.path().join("meta"), 8 << 20).unwrap();
    let spare = Opening::first(Arc::new(engine));
    let open = |own: TempDir| {
        let meta = Meta::over(Arc::new(spare.another()), &dir.path().join("guard")).unwrap();
        Namespace::member(own, meta, Duration::from_secs(60))
    };
    let n = open(TempDir::new().unwrap()).await;
    let bucket = n.bucket("b").await;
    let mut run = Run {
        n,
        other: Some(open(TempDir::new().unwrap()).await),
        bucket,
        model: Model::default(),
        random: StdRng::seed_from_u64(seed),
    };
    for _ in 0..5 {
        for _ in 0..60 {
            run.hand_over().await;
            run.step().await;
        }
        run.compare().await;
        store(&run.n).await;
        let other = run.other.take().unwrap();
        std::mem::swap(&mut run.n, run.other.insert(other));
        run.compare().await;
        let dead = run.other.take().unwrap();
        let start = dead.meta.start().unwrap();
        run.n.meta.end(start).await.unwrap();
        assert!(dead.vfs.mkdir(bucket, b"too late", ME).await.is_err());
        dead.store.shutdown().await;
        let Namespace { dir: own, .. } = dead;
        run.other = Some(open(own).await);
    }
    for key in run.n.keys("b").await {
        run.hand_over().await;
        run.n
            .vfs
            .delete_object("b", key.as_bytes(), Precondition::default())
            .await
            .unwrap();
    }
    run.n.vfs.delete_bucket("b").await.unwrap();
    // Nothing is left but the root, at any gateway.
    for _ in 0..3000 {
        if [0x0b, 0x0d, 0x80].iter().all(|table| run.n.rows(*table) == 0) && run.n.rows(0x02) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the workers do not come to an end, seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_agree_with_the_model() {
    for seed in 0..2 {
        run_two(seed).await;
    }
}
