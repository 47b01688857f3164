//! A namespace in a temporary directory, mounted.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuse_frontend::{Mount, MountConfig};
use meta::shared::Opening;
use meta::{EngineKind, FjallEngine, Meta, MetaConfig};
use store::{PassphraseCost, Store, StoreConfig};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use vfs::{Level, Vfs, VfsConfig};

/// Long enough that only fsync and pressure write anything back during a test.
const NEVER: Duration = Duration::from_hours(1);

/// A mounted namespace with one bucket. Dropping it unmounts.
pub(crate) struct Gateway {
    mount: Option<Mount>,
    pub(crate) vfs: Vfs,
    store: Store,
    pub(crate) runtime: Runtime,
    /// The bucket's directory in the mount.
    pub(crate) bucket: PathBuf,
    /// Where it is mounted.
    pub(crate) root: PathBuf,
    dir: TempDir,
}

/// Whether tests can mount here; says aloud when not.
pub(crate) fn can_mount() -> bool {
    let can = Path::new("/dev/fuse").exists() && nix::unistd::geteuid().is_root();
    if !can {
        eprintln!("SKIPPED: this test needs /dev/fuse and root");
    }
    can
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A namespace in `data`, without a network.
pub(crate) async fn open_namespace(data: &Path) -> (Vfs, Store) {
    let engine = MetaConfig {
        engine: EngineKind::Fjall,
        path: data.join("meta"),
        cache_bytes: 8 << 20,
    };
    let meta = Meta::open(&engine).expect("open the metadata");
    namespace_over(meta, data).await
}

/// A namespace over metadata that are open, with its store in `data`.
async fn namespace_over(meta: Meta, data: &Path) -> (Vfs, Store) {
    let config = StoreConfig {
        staging_limit: 1 << 30,
        memory_cache: 8 << 20,
        disk_cache: 16 << 20,
        passphrase_cost: PassphraseCost::LIGHT,
        pack_max_age: NEVER,
        ..StoreConfig::new(data.join("store"))
    };
    let passphrase = b"only for tests".to_vec().into();
    let store = Store::open(config, meta.clone(), passphrase, None)
        .await
        .expect("open the store");
    let config = VfsConfig {
        write_buffer: 16 << 20,
        write_back_age: NEVER,
        ack: Level::Staged,
        ack_doors: Level::Staged,
        ack_timeout: Duration::from_secs(30),
    };
    let vfs = Vfs::open(config, meta, store.clone())
        .await
        .expect("open the namespace");
    (vfs, store)
}

impl Gateway {
    /// A fresh one; `None` where tests cannot mount.
    pub(crate) fn start() -> Option<Self> {
        let gateway = Self::start_in(tempfile::tempdir().expect("a directory"))?;
        std::fs::create_dir(&gateway.bucket).expect("make the bucket");
        Some(gateway)
    }

    /// One over the data that `dir` holds.
    pub(crate) fn start_in(dir: TempDir) -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let runtime = runtime();
        let data = dir.path().join("data");
        std::fs::create_dir_all(&data).expect("the data directory");
        let (vfs, store) = runtime.block_on(open_namespace(&data));
        Some(Self::mounted(runtime, vfs, store, dir))
    }

    /// Two on one namespace, as they share a database.
    pub(crate) fn two() -> Option<[Self; 2]> {
        if !can_mount() {
            return None;
        }
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let path = dirs[0].path().join("meta");
        let engine = FjallEngine::open(&path, 8 << 20).expect("open the metadata");
        let first = Opening::first(Arc::new(engine));
        let openings = [first.another(), first];
        let mut gateways = openings.into_iter().zip(dirs).map(|(opening, dir)| {
            let runtime = runtime();
            let data = dir.path().join("data");
            std::fs::create_dir_all(&data).expect("the data directory");
            let meta = Meta::over(Arc::new(opening), &data.join("guard")).expect("open the metadata");
            let (vfs, store) = runtime.block_on(namespace_over(meta, &data));
            Self::mounted(runtime, vfs, store, dir)
        });
        let gateways = [gateways.next()?, gateways.next()?];
        std::fs::create_dir(&gateways[0].bucket).expect("make the bucket");
        Some(gateways)
    }

    fn mounted(runtime: Runtime, vfs: Vfs, store: Store, dir: TempDir) -> Self {
        let root = dir.path().join("mnt");
        let mount = mount(&runtime, &root, &vfs, false).expect("mount");
        Self {
            mount: Some(mount),
            vfs,
            store,
            runtime,
            bucket: root.join("bucket"),
            root,
            dir,
        }
    }

    /// A path in the bucket.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.bucket.join(name)
    }

    /// Unmounts; the namespace goes on.
    pub(crate) fn unmount(&mut self) {
        if let Some(mount) = self.mount.take() {
            self.runtime.block_on(mount.shutdown());
        }
    }

    /// Mounts again after [`Self::unmount`].
    pub(crate) fn remount(&mut self, read_only: bool) {
        self.mount = Some(mount(&self.runtime, &self.root, &self.vfs, read_only).expect("mount again"));
    }

    /// The mount itself, to end it in another way.
    pub(crate) fn take_mount(&mut self) -> Mount {
        self.mount.take().expect("mounted")
    }

    /// What the disk holds at this moment, as a machine finds it that lost power.
    pub(crate) fn crash_image(&self) -> TempDir {
        let image = tempfile::tempdir().expect("a directory");
        copy_tree(&self.dir.path().join("data"), &image.path().join("data"));
        image
    }

    /// An object as S3 sees it.
    pub(crate) fn get_object(&self, key: &str) -> vfs::Result<Vec<u8>> {
        use futures::TryStreamExt;
        self.runtime.block_on(async {
            let reader = self.vfs.get_object("bucket", key.as_bytes()).await?;
            let size = reader.info().size;
            reader
                .stream(0..size)
                .try_fold(Vec::new(), |mut all, part| async move {
                    all.extend_from_slice(&part);
                    Ok(all)
                })
                .await
        })
    }

    /// A PUT as S3 does it.
    pub(crate) fn put_object(&self, key: &str, data: &[u8]) {
        self.runtime
            .block_on(async {
                let mut writer = self.vfs.object_writer("bucket", key.as_bytes()).await?;
                writer.write(data.to_vec().into()).await?;
                let etag = "d41d8cd98f00b204e9800998ecf8427e".to_string();
                writer
                    .commit(vfs::object::Commit {
                        etag,
                        ..Default::default()
                    })
                    .await
            })
            .expect("put");
    }
}

/// Mounts `vfs` on `root` for everybody.
pub(crate) fn mount(runtime: &Runtime, root: &Path, vfs: &Vfs, read_only: bool) -> std::io::Result<Mount> {
    let _inside = runtime.enter();
    let config = MountConfig {
        path: root.to_path_buf(),
        allow_other: true,
        read_only,
        threads: 2,
    };
    Mount::start(config, vfs.clone())
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("mkdir");
    for entry in std::fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.unmount();
        self.runtime.block_on(async {
            if let Err(error) = self.vfs.shutdown().await {
                eprintln!("the namespace ended with {error}");
            }
            self.store.shutdown().await;
        });
    }
}
