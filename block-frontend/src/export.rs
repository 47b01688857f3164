//! What the protocol code asks of the namespace, and the namespace's answer.
//!
//! [`Namespace`] and [`Device`] are the seam between NBD and the rest: the handshake and the session
//! know only these, [`VfsNamespace`] and [`VfsDevice`] implement them over [`vfs::Vfs`], and tests
//! put faults behind them.
//!
//! A device has the size it had when it was attached. Where its file was truncated since through
//! another door, it reads as zeroes, and writes extend the file again.
use std::future::Future;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use vfs::posix::Allocate;
use vfs::{Export, ExtentInfo, InodeNo, Result, Vfs};

use crate::name;

/// Finds exports.
pub trait Namespace: Clone + Send + Sync + 'static {
    /// What [`Self::attach`] gives.
    type Device: Device;
    /// Exports to show in a list: name on the wire, and description.
    fn list(&self) -> impl Future<Output = Result<Vec<(String, String)>>> + Send;
    /// The export with this name on the wire.
    fn find(&self, name: &[u8]) -> impl Future<Output = Result<Export>> + Send;
    /// Attaches an export until the device is dropped.
    fn attach(&self, export: &Export) -> impl Future<Output = Result<Self::Device>> + Send;
}

/// The bytes of an attached export. Ranges have been checked against its size.
pub trait Device: Send + Sync + 'static {
    /// Bytes of a range; fewer if the file behind is shorter by now.
    fn read(&self, offset: u64, len: u32) -> impl Future<Output = Result<Bytes>> + Send;
    /// Writes bytes.
    fn write(&self, offset: u64, data: Bytes) -> impl Future<Output = Result<()>> + Send;
    /// Makes every write that was answered before durable, whichever connection brought it.
    fn flush(&self) -> impl Future<Output = Result<()>> + Send;
    /// Turns a range into a hole.
    fn punch(&self, offset: u64, len: u64) -> impl Future<Output = Result<()>> + Send;
    /// Makes a range read as zeroes without moving bytes.
    fn zero(&self, offset: u64, len: u64) -> impl Future<Output = Result<()>> + Send;
    /// Data and holes of a range, in order, at most `max` of them.
    fn extents(
        &self,
        offset: u64,
        len: u64,
        max: usize,
    ) -> impl Future<Output = Result<Vec<ExtentInfo>>> + Send;
}

/// The gateway's namespace.
#[derive(Clone)]
pub struct VfsNamespace {
    vfs: Vfs,
    tasks: TaskTracker,
}

impl VfsNamespace {
    /// `tasks` are those that a shutdown waits for.
    pub fn new(vfs: Vfs, tasks: TaskTracker) -> Self {
        Self { vfs, tasks }
    }
}

impl Namespace for VfsNamespace {
    type Device = VfsDevice;

    async fn list(&self) -> Result<Vec<(String, String)>> {
        let volumes = self.vfs.volumes().await?;
        Ok(volumes
            .into_iter()
            .map(|volume| (name::encode(volume.path.as_bytes()), volume.description))
            .collect())
    }

    async fn find(&self, name: &[u8]) -> Result<Export> {
        self.vfs.export(&name::decode(name)).await
    }

    async fn attach(&self, export: &Export) -> Result<VfsDevice> {
        self.vfs.attach(export.ino).await?;
        Ok(VfsDevice {
            vfs: self.vfs.clone(),
            ino: export.ino,
            tasks: self.tasks.clone(),
        })
    }
}

/// A regular file as a block device.
pub struct VfsDevice {
    vfs: Vfs,
    ino: InodeNo,
    tasks: TaskTracker,
}

impl Device for VfsDevice {
    async fn read(&self, offset: u64, len: u32) -> Result<Bytes> {
        self.vfs.read(self.ino, offset, len).await
    }

    async fn write(&self, offset: u64, data: Bytes) -> Result<()> {
        self.vfs.write(self.ino, offset, data).await
    }

    async fn flush(&self) -> Result<()> {
        self.vfs.fsync(self.ino, None).await
    }

    async fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.vfs.allocate(self.ino, offset, len, Allocate::Punch).await
    }

    async fn zero(&self, offset: u64, len: u64) -> Result<()> {
        self.vfs
            .allocate(self.ino, offset, len, Allocate::Zero { keep_size: false })
            .await
    }

    async fn extents(&self, offset: u64, len: u64, max: usize) -> Result<Vec<ExtentInfo>> {
        self.vfs.extents(self.ino, offset, len, max).await
    }
}

/// However a session ends, cut short in the middle of the handshake included, the export is let go.
impl Drop for VfsDevice {
    fn drop(&mut self) {
        let (vfs, ino) = (self.vfs.clone(), self.ino);
        let detach = async move {
            if let Err(error) = vfs.detach(ino).await {
                tracing::warn!(ino = ino.0, %error, "export could not be detached");
            }
        };
        if let Ok(runtime) = Handle::try_current() {
            self.tasks.spawn_on(detach, &runtime);
        }
    }
}
