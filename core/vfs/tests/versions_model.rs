//! Versions against a model of S3's rules: random PUTs, copies, deletions, deletions of versions,
//! changes of the setting, and what a mount does meanwhile. In the end everything is deleted, and
//! nothing may be left.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::collections::{BTreeMap, BTreeSet};

use namespace::{ME, Namespace, noise};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vfs::object::{CopyMeta, ObjectSource};
use vfs::{InodeNo, Kind, ListRequest, Precondition, RenameFlags, VersionId, VersionRequest, Versioning};

/// Keys of S3 alone, and those that a mount works with, too.
const KEYS: [&str; 8] = ["a", "a/b", "a/b\0c", "a-b", "m", "n", "d/e", "d/f"];
const MOUNTED: std::ops::Range<usize> = 4..8;

/// A version; no content: a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    id: VersionId,
    content: Option<Vec<u8>>,
}

/// What S3 says there is: of each key the newest first.
#[derive(Default)]
struct Model {
    versioning: Option<Versioning>,
    keys: BTreeMap<&'static str, Vec<Version>>,
    /// Ids that were seen.
    used: BTreeSet<(&'static str, VersionId)>,
}

impl Model {
    fn present(&self, key: &str) -> Option<&Version> {
        self.keys
            .get(key)?
            .first()
            .filter(|version| version.content.is_some())
    }

    /// Something new is on top.
    fn add(&mut self, key: &'static str, id: VersionId, content: Option<Vec<u8>>) {
        let versions = self.keys.entry(key).or_default();
        if self.versioning == Some(Versioning::Enabled) {
            assert!(id != VersionId::NULL && self.used.insert((key, id)), "{key} {id}");
        } else {
            assert_eq!(id, VersionId::NULL);
            versions.retain(|version| version.id != VersionId::NULL);
        }
        versions.insert(0, Version { id, content });
    }

    fn remove(&mut self, key: &str, id: VersionId) {
        if let Some(versions) = self.keys.get_mut(key) {
            versions.retain(|version| version.id != id);
        }
    }
}

struct Run {
    n: Namespace,
    bucket: InodeNo,
    model: Model,
    random: StdRng,
}

impl Run {
    fn key(&mut self) -> &'static str {
        KEYS[self.random.random_range(0..KEYS.len())]
    }

    fn mounted_key(&mut self) -> &'static str {
        KEYS[self.random.random_range(MOUNTED)]
    }

    fn content(&mut self) -> Vec<u8> {
        let len = [0, 10, 20_000, 300_000][self.random.random_range(0..4)];
        noise(self.random.random(), len)
    }

    /// A version that there is.
    fn version(&mut self) -> Option<(&'static str, Version)> {
        let all: Vec<_> = self
            .model
            .keys
            .iter()
            .flat_map(|(key, versions)| versions.iter().map(|version| (*key, version.clone())))
            .collect();
        (!all.is_empty()).then(|| all[self.random.random_range(0..all.len())].clone())
    }

    /// Where a mount finds the key; makes the directory when it is not there.
    async fn at(&self, key: &'static str) -> (InodeNo, &'static str) {
        let Some((dir, name)) = key.split_once('/') else {
            return (self.bucket, key);
        };
        match self.n.lookup(self.bucket, dir).await {
            Ok(found) => (found.ino, name),
            Err(_) => (self.n.dir(self.bucket, dir).await, name),
        }
    }

    /// The id that the key has now.
    async fn id_of(&self, key: &str) -> VersionId {
        let info = self.n.vfs.head_object("b", key.as_bytes()).await.unwrap();
        info.version.unwrap_or(VersionId::NULL)
    }

    async fn marker_of(&self, key: &str) -> VersionId {
        self.n
            .vfs
            .delete_marker("b", key.as_bytes())
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("{key} has no delete marker"))
    }

    async fn step(&mut self) {
        match self.random.random_range(0..12) {
            0..3 => {
                let (key, content) = (self.key(), self.content());
                let info = self.n.put("b", key, &content).await.unwrap();
                assert_eq!(info.version.is_some(), self.model.versioning.is_some());
                self.model
                    .add(key, info.version.unwrap_or(VersionId::NULL), Some(content));
            }
            3 => self.copy().await,
            4 => {
                let key = self.key();
                let deleted = self
                    .n
                    .vfs
                    .delete_version("b", key.as_bytes(), None, Precondition::default())
                    .await
                    .unwrap();
                assert_eq!(deleted.existed, self.model.present(key).is_some());
                assert_eq!(deleted.marker, self.model.versioning.is_some());
                match deleted.version {
                    Some(id) => self.model.add(key, id, None),
                    None => self.model.remove(key, VersionId::NULL),
                }
            }
            5..8 => {
                let Some((key, version)) = self.version() else {
                    return;
                };
                self.delete_version(key, &version).await;
            }
            8 => {
                let versioning = if self.random.random_bool(0.7) {
                    Versioning::Enabled
                } else {
                    Versioning::Suspended
                };
                self.n.vfs.set_versioning("b", Some(versioning)).await.unwrap();
                self.model.versioning = Some(versioning);
            }
            9 => self.write().await,
            10 => self.rename().await,
            _ => self.unlink().await,
        }
    }

    async fn copy(&mut self) {
        let Some((from, version)) = self.version() else {
            return;
        };
        let key = self.key();
        let source = ObjectSource {
            bucket: "b",
            key: from.as_bytes(),
            version: Some(version.id),
        };
        let copied = self
            .n
            .vfs
            .copy_version(
                source,
                "b",
                key.as_bytes(),
                CopyMeta::Keep,
                Precondition::default(),
            )
            .await;
        match version.content {
            Some(content) => {
                let id = copied.unwrap().version.unwrap_or(VersionId::NULL);
                self.model.add(key, id, Some(content));
            }
            None => assert!(matches!(copied, Err(vfs::Error::NotFound)), "{copied:?}"),
        }
    }

    async fn delete_version(&mut self, key: &'static str, version: &Version) {
        let deleted = self
            .n
            .vfs
            .delete_version("b", key.as_bytes(), Some(version.id), Precondition::default())
            .await
            .unwrap();
        assert!(deleted.existed);
        assert_eq!(deleted.version, Some(version.id));
        assert_eq!(deleted.marker, version.content.is_none());
        self.model.remove(key, version.id);
    }

    /// Writes through a mount: into what is there, else into a new file.
    async fn write(&mut self) {
        let (key, data) = (self.mounted_key(), self.content());
        let (dir, name) = self.at(key).await;
        let ino = if self.model.present(key).is_some() {
            self.n.lookup(dir, name).await.unwrap().ino
        } else {
            let ino = self
                .n
                .vfs
                .mknod(dir, name.as_bytes(), Kind::File, 0, ME)
                .await
                .unwrap()
                .ino;
            let id = self.id_of(key).await;
            self.model.add(key, id, Some(Vec::new()));
            ino
        };
        if !data.is_empty() {
            self.n.write(ino, 0, &data).await;
        }
        let content = self.model.keys.get_mut(key).unwrap()[0].content.as_mut().unwrap();
        let size = content.len().max(data.len());
        content.resize(size, 0);
        content[..data.len()].copy_from_slice(&data);
    }

    async fn rename(&mut self) {
        let (from, to) = (self.mounted_key(), self.mounted_key());
        if from == to || self.model.present(from).is_none() {
            return;
        }
        let (from_dir, from_name) = self.at(from).await;
        let (to_dir, to_name) = self.at(to).await;
        self.n
            .vfs
            .rename(
                from_dir,
                from_name.as_bytes(),
                to_dir,
                to_name.as_bytes(),
                RenameFlags::default(),
            )
            .await
            .unwrap();
        let moved = self.model.keys.get_mut(from).unwrap().remove(0);
        if !self.model.keys[from].is_empty() {
            let marker = self.marker_of(from).await;
            self.model.add(from, marker, None);
        }
        let id = self.id_of(to).await;
        self.model.add(to, id, moved.content);
    }

    async fn unlink(&mut self) {
        let key = self.mounted_key();
        if self.model.present(key).is_none() {
            return;
        }
        let (dir, name) = self.at(key).await;
        self.n.vfs.unlink(dir, name.as_bytes()).await.unwrap();
        if self.model.versioning.is_some() {
            let marker = self.marker_of(key).await;
            self.model.add(key, marker, None);
        } else {
            self.model.remove(key, VersionId::NULL);
        }
    }

    /// Everything, in pages of any size.
    async fn compare(&mut self) {
        let request = VersionRequest {
            max: self.random.random_range(1..20),
            ..VersionRequest::default()
        };
        let listed: Vec<_> = self
            .n
            .versions("b", request)
            .await
            .into_iter()
            // Directories that a mount made.
            .filter(|entry| !entry.key.ends_with(b"/"))
            .map(|entry| {
                let key = String::from_utf8(entry.key).unwrap();
                (
                    key,
                    entry.id,
                    entry.latest,
                    entry.object.map(|object| object.size),
                )
            })
            .collect();
        let want: Vec<_> = self
            .model
            .keys
            .iter()
            .flat_map(|(key, versions)| {
                versions.iter().enumerate().map(move |(place, version)| {
                    let size = version.content.as_ref().map(|content| content.len() as u64);
                    ((*key).to_owned(), version.id, place == 0, size)
                })
            })
            .collect();
        assert_eq!(listed, want);
        let mut keys = self.n.keys("b").await;
        keys.retain(|key| !key.ends_with('/'));
        let present = self.model.keys.keys().copied();
        let present: Vec<_> = present.filter(|key| self.model.present(key).is_some()).collect();
        assert_eq!(keys, present);
        for (key, versions) in &self.model.keys {
            let found = self.n.get("b", key).await.ok();
            let first = versions.first().and_then(|first| first.content.clone());
            assert!(found == first, "{key}");
            for version in versions {
                if let Some(content) = &version.content {
                    assert!(self.n.get_version("b", key, version.id).await.unwrap() == *content);
                }
            }
        }
    }
}

async fn run(seed: u64) {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let mut run = Run {
        n,
        bucket,
        model: Model::default(),
        random: StdRng::seed_from_u64(seed),
    };
    for round in 0..6 {
        for _ in 0..50 {
            run.step().await;
        }
        run.compare().await;
        if round == 1 {
            run.n = run.n.reopen().await;
            run.compare().await;
        }
        if round == 3 {
            run.n
                .vfs
                .flush_all(vfs::Level::Staged, std::time::Duration::from_secs(10))
                .await
                .unwrap();
            run.n = run.n.crash_image().await;
            run.compare().await;
        }
    }
    // Nothing is left when everything is deleted, in any order.
    while let Some((key, version)) = run.version() {
        run.delete_version(key, &version).await;
    }
    run.compare().await;
    let request = ListRequest {
        max: 100,
        ..ListRequest::default()
    };
    for directory in run.n.list("b", request).await.objects {
        run.n
            .vfs
            .delete_object("b", &directory.key, Precondition::default())
            .await
            .unwrap();
    }
    run.n.vfs.delete_bucket("b").await.unwrap();
    run.n.settle().await;
    let rows: usize = (0x27..=0x2a).map(|table| run.n.rows(table)).sum();
    let inodes = run.n.vfs.statfs().await.unwrap().inodes;
    assert_eq!((run.n.chunks(), inodes, rows), (0, 1, 0), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_agree_with_the_rules_of_s3() {
    for seed in 0..6 {
        run(seed).await;
    }
}
