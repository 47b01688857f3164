//! A live mount, from start to shutdown.
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use vfs::Vfs;

use crate::filesystem::Door;
use crate::mountpoint::{self, Mounted, NAME, Unmount};
use crate::request::Requests;

/// How long the kernel may take to write back what mapped pages it holds when the mount is torn off
/// under processes that still use it.
const WRITE_BACK_LIMIT: Duration = Duration::from_secs(30);

/// How long requests in progress may take to end at shutdown.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// How long event loops may take to end after the connection to the kernel is cut.
const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// Settings of a mount.
#[derive(Clone, Debug)]
pub struct MountConfig {
    /// An ordinary, empty directory; made if missing, parents included.
    pub path: PathBuf,
    /// Other users may use the mount. Permission bits are enforced by the kernel either way.
    pub allow_other: bool,
    /// Refuse writes. What other doors write still shows.
    pub read_only: bool,
    /// Event loops, at least one. Each is a thread that hands requests to the runtime; two are
    /// enough for most machines.
    pub threads: usize,
}

/// A live mount. Dropped without [`Mount::shutdown`], it is torn off at once.
pub struct Mount {
    path: PathBuf,
    requests: Requests,
    session: BackgroundSession,
    /// `None` when the setuid helper mounted; `fuser` then unmounts.
    mounted: Option<Mounted>,
}

impl std::fmt::Debug for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mount")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Mount {
    /// Mounts and serves. Call inside a multi-threaded tokio runtime, on which requests then run.
    ///
    /// A dead mount that a killed gateway left at the path is removed first. Errors say what is in
    /// the way: not a directory, not empty (`DirectoryNotEmpty`), in use (`ResourceBusy`), no
    /// `/dev/fuse`, no right to mount.
    pub fn start(config: MountConfig, vfs: Vfs) -> io::Result<Self> {
        let path = mountpoint::prepare(&config.path)?;
        let requests = Requests::new(Handle::current());
        let door = Door::new(vfs, requests.clone());
        let options = session_config(&config);
        let (session, mounted) = match Mounted::new(&path, config.allow_other, config.read_only)? {
            Some((mounted, channel)) => {
                let session = Session::from_fd(door, channel, options.acl, options)?;
                mounted.raise_read_ahead();
                (session, Some(mounted))
            }
            None => (with_helper(door, &path, &options)?, None),
        };
        let session = session.spawn()?;
        tracing::info!(path = %path.display(), threads = config.threads, "mounted");
        Ok(Self {
            path,
            requests,
            session,
            mounted,
        })
    }

    /// Where it is mounted, free of symlinks.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts and ends the event loops. Requests in progress are finished first. When processes
    /// still use the mount it is taken away from them all the same: the kernel writes back what it
    /// holds, and their further system calls on it answer `ENOTCONN`. Bounded in time.
    pub async fn shutdown(self) {
        let Self {
            path,
            requests,
            session,
            mounted,
        } = self;
        let ended = match mounted {
            Some(mounted) => {
                unmount(&path, &requests, mounted).await;
                join(move || session.join()).await
            }
            None => join(move || session.umount_and_join()).await,
        };
        match ended {
            Ok(Ok(())) => tracing::info!(path = %path.display(), "unmounted"),
            Ok(Err(error)) => tracing::warn!(path = %path.display(), %error, "the mount ended with an error"),
            // The kernel keeps the connection while any mount namespace has the mount; what was
            // started after it with a namespace of its own has a copy.
            Err(()) => tracing::warn!(
                path = %path.display(),
                "event loops did not end in time: somebody still holds the mount, such as another mount namespace; requests are refused from now on"
            ),
        }
        requests.close();
        if !requests.drain(DRAIN_LIMIT).await {
            tracing::warn!(path = %path.display(), "requests were still running at shutdown");
        }
    }
}

fn session_config(config: &MountConfig) -> Config {
    let mut options = Config::default();
    options.acl = if config.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    options.n_threads = Some(config.threads.max(1));
    // A queue per event loop in the kernel.
    options.clone_fd = true;
    options
}

/// Mounts through the setuid helper.
fn with_helper(door: Door, path: &Path, options: &Config) -> io::Result<Session<Door>> {
    let mut options = options.clone();
    options.mount_options = vec![
        MountOption::FSName(NAME.into()),
        MountOption::Subtype(NAME.into()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    Session::new(door, path, &options).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot mount on {} without root: {error}", path.display()),
        )
    })
}

/// Takes the mount away: gently, or by force when it is in use.
async fn unmount(path: &Path, requests: &Requests, mounted: Mounted) {
    let gentle = spawn_blocking(move || {
        let gentle = mounted.unmount();
        (mounted, gentle)
    });
    // An error means that the runtime goes down; dropping `mounted` tore the mount off.
    let Ok((mounted, gentle)) = gentle.await else {
        return;
    };
    match gentle {
        Ok(Unmount::Done) => return,
        Ok(Unmount::Busy) => tracing::warn!(path = %path.display(), "in use; unmounting by force"),
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot unmount gently"),
    }
    let mounted = std::sync::Arc::new(mounted);
    let writer = mounted.clone();
    match timeout(WRITE_BACK_LIMIT, spawn_blocking(move || writer.write_back())).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(path = %path.display(), %error, "write-back failed"),
        Ok(Err(_)) | Err(_) => tracing::warn!(path = %path.display(), "write-back did not end in time"),
    }
    // syncfs on FUSE returns when the kernel has begun to send, not when it has been answered.
    if !requests.calm(WRITE_BACK_LIMIT).await {
        tracing::warn!(path = %path.display(), "processes do not stop using the mount");
    }
    requests.close();
    requests.drain(DRAIN_LIMIT).await;
    // Asks the kernel, not the file system: does not block.
    mounted.tear_off();
}

/// Waits for a blocking `end` in a thread of its own, at most [`JOIN_LIMIT`]; a thread of the
/// runtime's pool would hold up the end of the runtime.
async fn join<T: Send + 'static>(end: impl FnOnce() -> T + Send + 'static) -> Result<T, ()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("mount-end".into())
        .spawn(move || {
            let _ = sender.send(end());
        })
        .map_err(|_| ())?;
    timeout(JOIN_LIMIT, receiver)
        .await
        .map_err(|_| ())?
        .map_err(|_| ())
}
