//! A volume where programs can reach it.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use fuser::{BackgroundSession, Config, MountOption, Session};
use nix::mount::{MntFlags, umount2};
use parking_lot::Mutex;

use super::filesystem::Door;
use super::image::Cut;
use super::trouble::Trouble;
use super::volume::Volume;

/// Threads that answer the kernel.
const THREADS: usize = 2;

/// A mounted volume. Dropping it unmounts; nobody may use it by then.
pub struct Disk {
    path: PathBuf,
    volume: Arc<Mutex<Volume>>,
    /// Its threads end with the last user of the mount.
    _session: BackgroundSession,
}

impl Disk {
    /// Mounts `volume` on the empty directory `path`.
    pub fn mount(volume: Volume, path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        let volume = Arc::new(Mutex::new(volume));
        let door = Door {
            volume: volume.clone(),
        };
        let mut config = Config::default();
        config.n_threads = Some(THREADS);
        config.mount_options = vec![MountOption::FSName("cess-test-disk".into())];
        let session = Session::new(door, path, &config)
            .and_then(Session::spawn)
            .with_context(|| format!("cannot mount on {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            volume,
            _session: session,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on this goes wrong, beside what does already.
    pub fn break_with(&self, trouble: Trouble) {
        self.volume.lock().troubles.push(trouble);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.volume.lock().troubles.clear();
    }

    /// Bytes that the files at and below `path` take, from the root of the disk.
    pub fn used(&self, path: impl AsRef<Path>) -> u64 {
        self.volume.lock().used(path.as_ref())
    }

    /// Takes the power away: every request from now on fails. End who uses the mount, drop it, then
    /// draw what is left and mount that.
    pub fn cut(&self) -> Cut {
        let mut volume = self.volume.lock();
        volume.off = true;
        let mut nothing = Volume::new(volume.names, 0);
        nothing.off = true;
        Cut::of(std::mem::replace(&mut volume, nothing))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever fails here, the test's own verdict stands.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}
