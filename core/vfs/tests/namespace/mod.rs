//! A namespace in a temporary directory, over a store without a network.
#![allow(dead_code)] // each test binary uses its part
#![allow(clippy::unwrap_used, clippy::panic)] // tests
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use meta::{EngineKind, Meta, MetaConfig};
use store::{PassphraseCost, Store, StoreConfig};
use tempfile::TempDir;
use vfs::object::Commit;
use vfs::{
    Attr, Creator, FoundVersion, InodeNo, Kind, Level, ListPage, ListRequest, ObjectInfo, Result,
    VersionEntry, VersionId, VersionRequest, Vfs, VfsConfig,
};

/// Who makes files in tests.
pub const ME: Creator = Creator {
    uid: 1000,
    gid: 100,
    mode: 0o644,
};

/// An open namespace.
pub struct Namespace {
    pub dir: TempDir,
    pub vfs: Vfs,
    pub store: Store,
    pub meta: Meta,
}

/// Settings that never flush by themselves within a test.
pub fn quiet() -> VfsConfig {
    VfsConfig {
        write_buffer: 64 << 20,
        write_back_age: Duration::from_secs(3600),
        ack: Level::Staged,
        ack_doors: Level::Staged,
        ack_timeout: Duration::from_secs(1),
    }
}

impl Namespace {
    pub async fn new() -> Self {
        Self::with(quiet()).await
    }

    pub async fn with(config: VfsConfig) -> Self {
        Self::open(TempDir::new().unwrap(), config).await
    }

    pub async fn open(dir: TempDir, config: VfsConfig) -> Self {
        let meta = Meta::open(&meta_config(dir.path())).unwrap();
        Self::over(dir, config, meta).await
    }

    /// Over an engine that is open already.
    pub async fn over(dir: TempDir, config: VfsConfig, meta: Meta) -> Self {
        let store = store_config(dir.path().join("store"));
        Self::over_both(dir, config, meta, store).await
    }

    /// With room for so many bytes in staging.
    pub async fn with_staging(limit: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let mut store = store_config(dir.path().join("store"));
        store.staging_limit = limit;
        let meta = Meta::open(&meta_config(dir.path())).unwrap();
        Self::over_both(dir, quiet(), meta, store).await
    }

    async fn over_both(dir: TempDir, config: VfsConfig, meta: Meta, store: StoreConfig) -> Self {
        let store = Store::open(store, meta.clone(), passphrase(), None)
            .await
            .unwrap();
        let vfs = Vfs::open(config, meta.clone(), store.clone()).await.unwrap();
        Self {
            dir,
            vfs,
            store,
            meta,
        }
    }

    /// One gateway among several that share `meta`, with its store in `dir`. It declares others dead
    /// that are silent for so long.
    pub async fn member(dir: TempDir, meta: Meta, patience: Duration) -> Self {
        let config = StoreConfig {
            member_patience: patience,
            ..store_config(dir.path().join("store"))
        };
        let store = Store::open(config, meta.clone(), passphrase(), None)
            .await
            .unwrap();
        let vfs = Vfs::open(quiet(), meta.clone(), store.clone()).await.unwrap();
        Self {
            dir,
            vfs,
            store,
            meta,
        }
    }

    /// Opens a copy of the directory as it is on disk now: what a crash of the gateway leaves.
    pub async fn crash_image(&self) -> Self {
        let dir = TempDir::new().unwrap();
        copy(self.dir.path(), dir.path());
        Self::open(dir, quiet()).await
    }

    /// Stops in good order and opens again.
    pub async fn reopen(self) -> Self {
        let Self {
            dir,
            vfs,
            store,
            meta,
        } = self;
        vfs.shutdown().await.unwrap();
        store.shutdown().await;
        drop((vfs, store, meta));
        Self::open(dir, quiet()).await
    }

    pub async fn bucket(&self, name: &str) -> InodeNo {
        self.vfs.create_bucket(name).await.unwrap().ino
    }

    pub async fn file(&self, parent: InodeNo, name: &str) -> InodeNo {
        self.vfs
            .mknod(parent, name.as_bytes(), Kind::File, 0, ME)
            .await
            .unwrap()
            .ino
    }

    pub async fn dir(&self, parent: InodeNo, name: &str) -> InodeNo {
        self.vfs
            .mkdir(parent, name.as_bytes(), Creator { mode: 0o755, ..ME })
            .await
            .unwrap()
            .ino
    }

    pub async fn put(&self, bucket: &str, key: &str, data: &[u8]) -> Result<ObjectInfo> {
        self.put_as(
            bucket,
            key.as_bytes(),
            data,
            Commit {
                etag: fake_md5(data),
                ..Commit::default()
            },
        )
        .await
    }

    pub async fn put_as(&self, bucket: &str, key: &[u8], data: &[u8], commit: Commit) -> Result<ObjectInfo> {
        let mut writer = self.vfs.object_writer(bucket, key).await?;
        for piece in data.chunks(100_000) {
            writer.write(Bytes::copy_from_slice(piece)).await?;
        }
        assert_eq!(writer.len(), data.len() as u64);
        writer.commit(commit).await
    }

    pub async fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        self.get_range(bucket, key.as_bytes(), 0..u64::MAX).await
    }

    pub async fn get_range(&self, bucket: &str, key: &[u8], range: std::ops::Range<u64>) -> Result<Vec<u8>> {
        let reader = self.vfs.get_object(bucket, key).await?;
        let pieces: Vec<Bytes> = reader.stream(range).try_collect().await?;
        Ok(pieces.concat())
    }

    /// The bytes of a version.
    pub async fn get_version(&self, bucket: &str, key: &str, id: VersionId) -> Result<Vec<u8>> {
        match self.vfs.get_version(bucket, key.as_bytes(), id).await? {
            FoundVersion::Object(reader) => {
                assert_eq!(reader.info().version, Some(id));
                let pieces: Vec<Bytes> = reader.stream(0..u64::MAX).try_collect().await?;
                Ok(pieces.concat())
            }
            FoundVersion::Marker(entry) => panic!("{key} {id} is a delete marker: {entry:?}"),
        }
    }

    /// All versions of a bucket, in pages of `max`.
    pub async fn versions(&self, bucket: &str, mut request: VersionRequest) -> Vec<VersionEntry> {
        let mut entries = Vec::new();
        loop {
            let page = self.vfs.list_versions(bucket, request.clone()).await.unwrap();
            assert!(page.entries.len() + page.prefixes.len() <= request.max);
            entries.extend(page.entries);
            let Some((key, id)) = page.next else {
                return entries;
            };
            request.after_key = Some(key);
            request.after_id = id;
        }
    }

    /// The whole file as a mount reads it.
    pub async fn read(&self, ino: InodeNo) -> Vec<u8> {
        let size = self.vfs.getattr(ino).await.unwrap().size;
        let mut data = Vec::new();
        while (data.len() as u64) < size {
            let piece = self.vfs.read(ino, data.len() as u64, 1 << 20).await.unwrap();
            assert!(!piece.is_empty());
            data.extend_from_slice(&piece);
        }
        data
    }

    pub async fn write(&self, ino: InodeNo, offset: u64, data: &[u8]) {
        self.vfs
            .write(ino, offset, Bytes::copy_from_slice(data))
            .await
            .unwrap();
    }

    pub async fn lookup(&self, parent: InodeNo, name: &str) -> Result<Attr> {
        self.vfs.lookup(parent, name.as_bytes()).await
    }

    /// Names as a mount lists them, in small steps.
    pub async fn names(&self, dir: InodeNo) -> Vec<String> {
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let entries = self.vfs.readdir(dir, after, 3).await.unwrap();
            let Some(last) = entries.last() else { return names };
            after = Some(last.position.clone());
            for entry in &entries {
                let attr = self.vfs.lookup(dir, &entry.name).await.unwrap();
                assert_eq!(attr, entry.attr);
            }
            names.extend(
                entries
                    .into_iter()
                    .map(|entry| String::from_utf8(entry.name).unwrap()),
            );
        }
    }

    /// Keys as S3 lists them.
    pub async fn keys(&self, bucket: &str) -> Vec<String> {
        let page = self
            .list(
                bucket,
                ListRequest {
                    max: 10_000,
                    ..ListRequest::default()
                },
            )
            .await;
        assert_eq!(page.next, None);
        page.objects
            .into_iter()
            .map(|info| String::from_utf8(info.key).unwrap())
            .collect()
    }

    pub async fn list(&self, bucket: &str, request: ListRequest) -> ListPage {
        self.vfs.list_objects(bucket, request).await.unwrap()
    }

    /// Waits until the purge and release workers have nothing left, by looking at their tables, and
    /// until the count of inodes agrees with their rows.
    pub async fn settle(&self) {
        for _ in 0..1000 {
            let counted = self.vfs.statfs().await.unwrap().inodes as usize;
            if self.rows(0x0b) == 0 && self.rows(0x0d) == 0 && self.rows(0x02) == counted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the workers do not come to an end");
    }

    /// Rows of staged chunks: 0 when the store holds none.
    pub fn chunks(&self) -> usize {
        self.rows(0x80)
    }

    /// Rows of a table.
    pub fn rows(&self, table: u8) -> usize {
        use std::ops::Bound::{Excluded, Included};
        let snapshot = self.meta.snapshot().unwrap();
        snapshot
            .range(Included(&[table]), Excluded(&[table + 1]), false)
            .unwrap()
            .count()
    }
}

/// Looks like an MD5 and depends on the content.
pub fn fake_md5(data: &[u8]) -> String {
    use md5::{Digest, Md5};
    let mut hex = String::new();
    for byte in Md5::digest(data) {
        hex.push_str(&format!("{byte:02x}"));
    }
    hex
}

/// Bytes that differ from place to place and do not compress.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    use rand::{RngCore, SeedableRng};
    let mut data = vec![0; len];
    rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut data);
    data
}

fn passphrase() -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(b"a passphrase for tests".to_vec())
}

fn meta_config(dir: &Path) -> MetaConfig {
    MetaConfig {
        engine: EngineKind::Fjall,
        path: dir.join("meta"),
        cache_bytes: 16 << 20,
    }
}

fn store_config(path: PathBuf) -> StoreConfig {
    let mut config = StoreConfig::new(path);
    config.passphrase_cost = PassphraseCost::LIGHT;
    config.memory_cache = 16 << 20;
    config.disk_cache = 0;
    config
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = std::fs::read_dir(from)
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    // The guard file first: an image taken while commits go on may lag behind, never run ahead.
    entries.sort_by_key(|entry| entry.file_name() != "guard");
    for entry in entries {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if let Err(error) = std::fs::copy(entry.path(), &target) {
            // A file that went away while the copy was made was not needed any more.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}
