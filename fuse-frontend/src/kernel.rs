//! What is agreed with the kernel when the mount starts.
use std::io;

use fuser::{InitFlags, KernelConfig};

/// Most bytes of one read or write request. The kernel's own cap (`fs.fuse.max_pages_limit`) is
/// 1 MiB unless raised; a quarter of the requests of the default 256 KiB, and four chunks each.
pub(crate) const MAX_IO: u32 = 1 << 20;

/// Bytes the kernel reads ahead of a sequential reader: four requests in flight, so that a reader
/// does not wait for each in turn. The kernel's default of 128 KiB would cut every request to that.
pub(crate) const READ_AHEAD: u64 = 4 << 20;

/// Requests the kernel may have queued that no process waits for (read-ahead, write-back). The
/// default of 16 is four sequential readers; each holds at most [`MAX_IO`] bytes here.
const MAX_BACKGROUND: u16 = 64;

/// Capabilities asked for where the kernel has them; each is explained in the crate docs or here.
const WANTED: [InitFlags; 6] = [
    InitFlags::FUSE_AUTO_INVAL_DATA,
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_ASYNC_DIO,
    // Lookups and listings of one directory in parallel: the vfs has no lock per directory.
    InitFlags::FUSE_PARALLEL_DIROPS,
    // Attributes together with names when the kernel expects a `stat` of each.
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
];

/// Asked for where other gateways may want the same locks: the kernel then leaves them to this door.
const SHARED: [InitFlags; 2] = [InitFlags::FUSE_POSIX_LOCKS, InitFlags::FUSE_FLOCK_LOCKS];

/// Without it a cached page could be older than what another door acknowledged.
const NEEDED: InitFlags = InitFlags::FUSE_AUTO_INVAL_DATA;

/// Fills in this door's side of the handshake. `shared`: there may be other gateways.
pub(crate) fn negotiate(config: &mut KernelConfig, shared: bool) -> io::Result<()> {
    if !config.capabilities().contains(NEEDED) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel's FUSE cannot invalidate cached data by itself (FUSE_AUTO_INVAL_DATA)",
        ));
    }
    if shared && config.add_capabilities(SHARED[0] | SHARED[1]).is_err() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel's FUSE does not leave locks to several gateways (FUSE_POSIX_LOCKS, FUSE_FLOCK_LOCKS)",
        ));
    }
    for capability in WANTED {
        if config.add_capabilities(capability).is_err() {
            tracing::debug!(?capability, "the kernel lacks a FUSE capability");
        }
    }
    // Each setter refuses only values out of the kernel's range, and then says the nearest one.
    if let Err(nearest) = config.set_max_write(MAX_IO) {
        let _ = config.set_max_write(nearest);
    }
    if let Err(nearest) = config.set_max_background(MAX_BACKGROUND) {
        let _ = config.set_max_background(nearest);
    }
    Ok(())
}
