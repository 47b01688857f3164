//! Object Lock against random work of all doors: whatever they do, what is held stays, with its
//! bytes, under its id; and what is not held can be removed.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use namespace::{Namespace, noise};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vfs::{
    Error, Governance, InodeNo, ObjectLock, Precondition, RenameFlags, Retention, RetentionMode, SetAttr,
    Timestamp, VersionId, VersionRequest, Versioning,
};

const KEYS: [&str; 4] = ["a", "b", "d/e", "d/f"];
const HOUR: Duration = Duration::from_hours(1);
const STEPS: usize = 200;

fn now() -> Timestamp {
    Timestamp(vfs::wall_clock().as_nanos() as i64)
}

/// What is held, by key and id.
type Held = BTreeMap<(String, VersionId), (ObjectLock, Vec<u8>)>;

struct World {
    n: Namespace,
    bucket: InodeNo,
    rng: StdRng,
    held: Held,
}

impl World {
    fn key(&mut self) -> &'static str {
        KEYS[self.rng.random_range(0..KEYS.len())]
    }

    fn governance(&mut self) -> Governance {
        if self.rng.random_bool(0.5) {
            Governance::Bypassed
        } else {
            Governance::Binds
        }
    }

    /// Some version of some key that is an object.
    async fn some_version(&mut self) -> Option<(String, VersionId)> {
        let request = VersionRequest {
            max: 1000,
            ..VersionRequest::default()
        };
        let mut all = self.n.versions("b", request).await;
        all.retain(|entry| entry.object.is_some());
        if all.is_empty() {
            return None;
        }
        let entry = all.swap_remove(self.rng.random_range(0..all.len()));
        Some((String::from_utf8(entry.key).unwrap(), entry.id))
    }

    /// Directory and name of a key in the mount.
    async fn place(&self, key: &'static str) -> Option<(InodeNo, &'static [u8])> {
        match key.split_once('/') {
            None => Some((self.bucket, key.as_bytes())),
            Some((dir, name)) => {
                let dir = self.n.lookup(self.bucket, dir).await.ok()?;
                Some((dir.ino, name.as_bytes()))
            }
        }
    }

    async fn file(&self, key: &'static str) -> Option<InodeNo> {
        let (dir, name) = self.place(key).await?;
        Some(self.n.vfs.lookup(dir, name).await.ok()?.ino)
    }

    /// Whether the present object of the key is held.
    async fn is_held(&self, key: &str) -> bool {
        match self.n.vfs.head_object("b", key.as_bytes()).await {
            Ok(info) => self.held.contains_key(&(key.to_owned(), info.version.unwrap())),
            Err(_) => false,
        }
    }

    /// A change that what is held must refuse.
    async fn refused_if_held<T: std::fmt::Debug>(&self, key: &str, result: vfs::Result<T>) {
        if self.is_held(key).await {
            assert!(matches!(result, Err(Error::Locked)), "{key}: {result:?}");
        } else {
            assert!(!matches!(result, Err(Error::Locked)), "{key}: {result:?}");
        }
    }

    async fn lock(&mut self) {
        let Some((key, id)) = self.some_version().await else {
            return;
        };
        let place = (key.clone(), id);
        let before = self.held.get(&place).map(|held| held.0).unwrap_or_default();
        let changed = if self.rng.random_bool(0.3) {
            let on = self.rng.random_bool(0.4);
            self.n
                .vfs
                .set_legal_hold("b", key.as_bytes(), Some(id), on)
                .await
                .unwrap()
        } else {
            let mode = match self.rng.random_range(0..3) {
                0 => RetentionMode::Compliance,
                _ => RetentionMode::Governance,
            };
            let until = Timestamp(now().0 + HOUR.as_nanos() as i64 * self.rng.random_range(1..30));
            let wanted = self.rng.random_bool(0.8).then_some(Retention { mode, until });
            let governance = self.governance();
            let set = self
                .n
                .vfs
                .set_retention("b", key.as_bytes(), Some(id), wanted, governance);
            match set.await {
                Ok(info) => {
                    // Compliance only ever grows.
                    if let Some(old) = before.retention.filter(|old| now() < old.until)
                        && old.mode == RetentionMode::Compliance
                    {
                        let new = ObjectLock::of(&info.meta).retention.unwrap();
                        assert!(new.mode == old.mode && new.until >= old.until);
                    }
                    info
                }
                Err(error) => {
                    assert!(
                        matches!(error, Error::Locked) && before.retention.is_some(),
                        "{error}"
                    );
                    return;
                }
            }
        };
        let lock = ObjectLock::of(&changed.meta);
        let content = self.n.get_version("b", &key, id).await.unwrap();
        self.held.remove(&place);
        if lock.holds(now()) {
            self.held.insert(place, (lock, content));
        }
    }

    async fn remove(&mut self) {
        let Some((key, id)) = self.some_version().await else {
            return;
        };
        let governance = self.governance();
        let removed = self
            .n
            .vfs
            .delete_version_under("b", key.as_bytes(), Some(id), Precondition::default(), governance)
            .await;
        let place = (key, id);
        let binding = self.held.get(&place).is_some_and(|(lock, _)| {
            let compliance = lock.retention.is_some_and(|retention| {
                retention.mode == RetentionMode::Compliance && now() < retention.until
            });
            governance == Governance::Binds || lock.legal_hold == Some(true) || compliance
        });
        if binding {
            assert!(matches!(removed, Err(Error::Locked)), "{place:?} {removed:?}");
        } else {
            removed.unwrap();
            self.held.remove(&place);
        }
    }

    async fn step(&mut self) {
        let (key, other) = (self.key(), self.key());
        let seed = self.rng.random();
        match self.rng.random_range(0..14) {
            0..3 => {
                self.n.put("b", key, &noise(seed, 3000)).await.unwrap();
            }
            3 => {
                let none = Precondition::default();
                self.n.vfs.delete_object("b", key.as_bytes(), none).await.unwrap();
            }
            4 => {
                if let Some((dir, name)) = self.place(key).await {
                    let done = self.n.vfs.unlink(dir, name).await;
                    assert!(matches!(done, Ok(()) | Err(Error::NotFound)), "{done:?}");
                }
            }
            5 => {
                if let Some(ino) = self.file(key).await {
                    let done = self.n.vfs.write(ino, 10, Bytes::from(noise(seed, 100))).await;
                    self.refused_if_held(key, done).await;
                }
            }
            6 => {
                if let Some(ino) = self.file(key).await {
                    let cut = SetAttr {
                        size: Some(7),
                        ..SetAttr::default()
                    };
                    let done = self.n.vfs.setattr(ino, cut).await;
                    self.refused_if_held(key, done).await;
                }
            }
            7 => {
                let places = (self.place(key).await, self.place(other).await);
                if let (Some((from, name)), Some((to, new))) = places
                    && key != other
                    && self.file(key).await.is_some()
                {
                    let held = self.is_held(key).await;
                    let done = self
                        .n
                        .vfs
                        .rename(from, name, to, new, RenameFlags::default())
                        .await;
                    assert_eq!(held, matches!(done, Err(Error::Locked)), "{key} {other} {done:?}");
                }
            }
            8 => {
                let done = self
                    .n
                    .vfs
                    .rename(self.bucket, b"d", self.bucket, b"x", RenameFlags::default())
                    .await;
                assert!(matches!(done, Err(Error::Locked | Error::NotFound)) || done.is_ok());
                if done.is_ok() {
                    // It was empty.
                    self.n.vfs.rmdir(self.bucket, b"x").await.unwrap();
                }
            }
            9 => {
                let state = Some(Versioning::Suspended);
                assert!(matches!(
                    self.n.vfs.set_versioning("b", state).await,
                    Err(Error::Locked)
                ));
                self.n.vfs.empty_trash("b").await.unwrap();
                assert!(self.held.is_empty() || self.n.vfs.delete_bucket("b").await.is_err());
            }
            10 => {
                store::clock::turn(HOUR * self.rng.random_range(1..6));
                let moment = now();
                self.held.retain(|_, (lock, _)| lock.holds(moment));
            }
            11 => self.remove().await,
            _ => self.lock().await,
        }
    }

    /// All that is held is there as it was.
    async fn check(&self) {
        for ((key, id), (lock, content)) in &self.held {
            let got = self.n.get_version("b", key, *id).await;
            assert!(
                got.as_ref().is_ok_and(|got| got == content),
                "{key} {id} {:?}",
                got.err()
            );
            assert!(lock.holds(now()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_take_nothing_that_is_held() {
    for seed in 0..4 {
        println!("seed {seed}");
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let n = Namespace::new().await;
    let new = vfs::NewBucket {
        object_lock: true,
        ..vfs::NewBucket::default()
    };
    let bucket = n.vfs.create_bucket_with("b", new).await.unwrap().ino;
    n.vfs
        .set_trash("b", Some(Duration::from_hours(24)))
        .await
        .unwrap();
    let mut world = World {
        n,
        bucket,
        rng: StdRng::seed_from_u64(seed),
        held: Held::new(),
    };
    for number in 0..STEPS {
        world.step().await;
        if number % 10 == 0 {
            world.check().await;
        }
    }
    world.n = world.n.reopen().await;
    world.check().await;
    // Once nothing is held any more, all of it goes.
    for (key, id) in world.held.keys() {
        world
            .n
            .vfs
            .set_legal_hold("b", key.as_bytes(), Some(*id), false)
            .await
            .unwrap();
    }
    store::clock::turn(HOUR * 24 * 30);
    world.held.clear();
    while let Some((key, id)) = world.some_version().await {
        let none = Precondition::default();
        world
            .n
            .vfs
            .delete_version("b", key.as_bytes(), Some(id), none)
            .await
            .unwrap();
    }
}
