//! The namespace beside its engine: what operations cost beside the bare reads and writes they come
//! to, how synced writers share syncs, what random writes leave behind in the metadata, and what many
//! files cost.
//!
//! No network and no door: metadata, store and namespace alone, in this process.
mod extents;
mod opening;
mod operations;
mod scale;
mod syncs;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use meta::observed::{Observed, Observer};
use meta::{FjallEngine, Meta};
use store::Store;
use vfs::{Creator, InodeNo, Kind, Vfs};

use super::Line;
use super::alone::{self, META_CACHE};
pub use opening::die;

const BUCKET: &str = "bench-meta";
const ME: Creator = Creator {
    uid: 0,
    gid: 0,
    mode: 0o644,
};

/// A namespace whose engine is watched.
struct Opened {
    observer: Observer,
    meta: Meta,
    store: Store,
    vfs: Vfs,
}

impl Opened {
    async fn open(dir: &Path) -> Result<Self> {
        Self::watched(dir, Observer::default()).await
    }

    async fn watched(dir: &Path, observer: Observer) -> Result<Self> {
        std::fs::create_dir_all(dir.join("meta"))?;
        let engine = FjallEngine::open(&engine_dir(dir), META_CACHE)?;
        let engine = Observed::new(engine, observer.clone());
        let meta = Meta::over(Arc::new(engine), &dir.join("meta/guard"))?;
        let (store, vfs) = alone::open(dir, &meta).await?;
        Ok(Self {
            observer,
            meta,
            store,
            vfs,
        })
    }

    /// The bucket that is measured in.
    async fn bucket(&self) -> Result<InodeNo> {
        match self.vfs.create_bucket(BUCKET).await {
            Ok(bucket) => Ok(bucket.ino),
            Err(vfs::Error::Exists) => Ok(self.vfs.bucket(BUCKET).await?.ino),
            Err(error) => Err(error.into()),
        }
    }

    async fn close(self) -> Result<()> {
        self.vfs.shutdown().await?;
        self.store.shutdown().await;
        Ok(())
    }
}

fn engine_dir(dir: &Path) -> std::path::PathBuf {
    dir.join("meta/fjall")
}

async fn make_file(vfs: &Vfs, dir: InodeNo, name: &str) -> Result<InodeNo> {
    Ok(vfs.mknod(dir, name.as_bytes(), Kind::File, 0, ME).await?.ino)
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Making, looking up, listing and renaming, beside the same reads and writes straight at fjall.
    Operations,
    /// How synced writers share syncs.
    Syncs,
    /// What random writes leave behind.
    Extents,
    /// Many files in one directory.
    Scale,
}

/// Measures all of it, or one part, under `dir`, with `count` files where it is about many.
pub async fn measure(
    dir: &Path,
    part: Option<Part>,
    time: Duration,
    count: u64,
    report: &impl Fn(Line),
) -> Result<()> {
    let wanted = |this| part.is_none_or(|part| part == this);
    if wanted(Part::Operations) {
        operations::measure(&dir.join("operations"), report).await?;
    }
    if wanted(Part::Syncs) {
        syncs::measure(&dir.join("syncs"), time, report).await?;
    }
    if wanted(Part::Extents) {
        extents::measure(&dir.join("extents"), report).await?;
    }
    if wanted(Part::Scale) {
        scale::measure(&dir.join("scale"), count, report).await?;
    }
    Ok(())
}
