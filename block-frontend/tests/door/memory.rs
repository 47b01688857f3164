//! A namespace in memory, with faults on demand, so that the protocol is tested without the store.
use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use block_frontend::export::{Device, Namespace};
use block_frontend::{NbdConfig, NbdServer, name};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use vfs::{Error, Export, ExtentInfo, InodeNo, Level, Result};

/// Unit in which the memory disk knows holes, in bytes.
pub const GRAIN: u64 = 512;

/// What happens to requests for a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// They fail, for a reason the client may not know.
    Broken,
    /// The next ones, as many, are told to slow down.
    Slow(u32),
    /// They never end.
    Stuck,
}

#[derive(Default)]
pub struct Disk {
    pub bytes: Mutex<Vec<u8>>,
    /// Which grains are data.
    pub data: Mutex<Vec<bool>>,
    pub fault: Mutex<Fault>,
    pub attached: AtomicI64,
    pub flushes: AtomicU64,
    /// While this is true, flushes that have begun do not end.
    pub flushes_wait: watch::Sender<bool>,
    /// Flushes that have begun.
    pub begun: AtomicU64,
    /// Openers who have still to be told that a write was lost.
    pub lost: AtomicU64,
    /// Bytes read, to see what `CACHE` does.
    pub read: AtomicU64,
    sector: u32,
}

/// The disks by `bucket/key`.
#[derive(Clone, Default)]
pub struct Memory {
    pub disks: Arc<BTreeMap<Vec<u8>, Arc<Disk>>>,
}

impl Memory {
    /// Disks of these names and sizes, all hole.
    pub fn new(disks: &[(&[u8], usize, u32)]) -> Self {
        let disks = disks.iter().map(|&(name, size, sector)| {
            let disk = Disk {
                bytes: Mutex::new(vec![0; size]),
                data: Mutex::new(vec![false; size.div_ceil(GRAIN as usize)]),
                sector,
                ..Disk::default()
            };
            (name.to_vec(), Arc::new(disk))
        });
        Self {
            disks: Arc::new(disks.collect()),
        }
    }

    pub fn disk(&self, name: &[u8]) -> &Arc<Disk> {
        &self.disks[name]
    }

    /// Serves on a free port of this machine.
    pub async fn serve(&self) -> (NbdServer, SocketAddr) {
        let config = NbdConfig {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            unix: None,
        };
        let server = NbdServer::start_on(config, |_| self.clone()).await.unwrap();
        let address = server.address().unwrap();
        (server, address)
    }
}

impl Namespace for Memory {
    type Device = Attached;

    async fn list(&self) -> Result<Vec<(String, String)>> {
        Ok(self
            .disks
            .keys()
            .map(|path| (name::encode(path), "a disk in memory".to_owned()))
            .collect())
    }

    async fn find(&self, wanted: &[u8]) -> Result<Export> {
        let path = name::decode(wanted);
        let (index, (_, disk)) = self
            .disks
            .iter()
            .enumerate()
            .find(|(_, (name, _))| name[..] == path[..])
            .ok_or(Error::NotFound)?;
        Ok(Export {
            read_only: false,
            ino: InodeNo(index as u64),
            size: disk.bytes.lock().len() as u64,
            sector: disk.sector,
            description: "a disk in memory".to_owned(),
        })
    }

    async fn attach(&self, export: &Export) -> Result<Attached> {
        let disk = self
            .disks
            .values()
            .nth(export.ino.0 as usize)
            .ok_or(Error::NotFound)?
            .clone();
        if *disk.fault.lock() == Fault::Broken {
            return Err(Error::Busy("broken"));
        }
        disk.attached.fetch_add(1, Ordering::SeqCst);
        Ok(Attached(disk))
    }
}

pub struct Attached(Arc<Disk>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.attached.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Attached {
    async fn fault(&self) -> Result<()> {
        let fault = {
            let mut fault = self.0.fault.lock();
            let now = *fault;
            if let Fault::Slow(times) = now {
                *fault = if times > 1 {
                    Fault::Slow(times - 1)
                } else {
                    Fault::None
                };
            }
            now
        };
        match fault {
            Fault::None => Ok(()),
            Fault::Broken => Err(Error::Internal("secret path".into())),
            Fault::Slow(_) => Err(Error::SlowDown {
                retry_after: Duration::from_millis(2),
            }),
            Fault::Stuck => pending().await,
        }
    }

    fn fill(&self, offset: u64, data: &[u8], is_data: bool) {
        let from = offset as usize;
        self.0.bytes.lock()[from..from + data.len()].copy_from_slice(data);
        let mut grains = self.0.data.lock();
        let end = offset + data.len() as u64;
        // A hole frees whole grains, data takes what it touches.
        let touched = if is_data {
            offset / GRAIN..end.div_ceil(GRAIN)
        } else {
            offset.div_ceil(GRAIN)..end / GRAIN
        };
        for grain in touched {
            grains[grain as usize] = is_data;
        }
    }
}

impl Device for Attached {
    async fn read(&self, offset: u64, len: u32) -> Result<Bytes> {
        self.fault().await?;
        self.0.read.fetch_add(u64::from(len), Ordering::SeqCst);
        let bytes = self.0.bytes.lock();
        let from = bytes.len().min(offset as usize);
        let to = bytes.len().min(from + len as usize);
        Ok(Bytes::copy_from_slice(&bytes[from..to]))
    }

    async fn write(&self, offset: u64, data: Bytes) -> Result<()> {
        self.fault().await?;
        self.fill(offset, &data, true);
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        self.fault().await?;
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        // The sender lives in the disk.
        let _ = self.0.flushes_wait.subscribe().wait_for(|wait| !wait).await;
        self.0.flushes.fetch_add(1, Ordering::SeqCst);
        let left = |lost: u64| lost.checked_sub(1);
        match self.0.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left) {
            Ok(_) => Err(Error::WriteLost),
            Err(_) => Ok(()),
        }
    }

    async fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.fault().await?;
        self.fill(offset, &vec![0; len as usize], false);
        Ok(())
    }

    async fn zero(&self, offset: u64, len: u64) -> Result<()> {
        self.punch(offset, len).await
    }

    async fn extents(&self, offset: u64, len: u64, max: usize) -> Result<Vec<ExtentInfo>> {
        let grains = self.0.data.lock();
        let size = self.0.bytes.lock().len() as u64;
        let end = (offset + len).min(size);
        let mut extents = Vec::new();
        let mut at = offset;
        // One extent per grain: whoever asks has to join them.
        while at < end && extents.len() < max {
            let next = ((at / GRAIN + 1) * GRAIN).min(end);
            let hole = !grains[(at / GRAIN) as usize];
            extents.push(ExtentInfo {
                offset: at,
                len: next - at,
                hole,
                level: Level::Staged,
            });
            at = next;
        }
        Ok(extents)
    }
}
