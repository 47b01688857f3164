//! The running door: listeners, the life of a connection, and shutdown.
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vfs::Vfs;

use crate::error::{Error, Result};
use crate::export::{Namespace, VfsNamespace};
use crate::handshake;
use crate::session::{Groups, Session};
use crate::socket::UnixSocket;

/// Longest handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_mins(1);

/// Most connections at once; more wait in the listen queue.
const MAX_CONNECTIONS: usize = 512;

/// Pause after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Silence after which the kernel asks whether a TCP peer is still there, and then between askings.
/// A client that lost power must not keep its export attached for ever.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// Bytes read at once from a socket. Larger payloads go past this buffer.
const READ_BUFFER: usize = 64 << 10;

/// Settings of the NBD door.
#[derive(Clone, Debug)]
pub struct NbdConfig {
    /// TCP address; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// Unix socket. Made with mode 0600, removed at the end; a stale one is replaced.
    pub unix: Option<PathBuf>,
}

/// A running NBD door.
pub struct NbdServer {
    address: Option<SocketAddr>,
    /// Takes no more: listeners close, sessions finish what they have.
    closing: CancellationToken,
    /// The grace is over.
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl NbdServer {
    /// Starts to serve. Fails when an address or socket cannot be had.
    pub async fn start(config: NbdConfig, vfs: Vfs) -> io::Result<Self> {
        Self::start_on(config, |tasks| VfsNamespace::new(vfs, tasks)).await
    }

    /// Starts to serve any [`Namespace`]. `namespace` is given the tasks that a shutdown waits for.
    pub async fn start_on<N: Namespace>(
        config: NbdConfig,
        namespace: impl FnOnce(TaskTracker) -> N,
    ) -> io::Result<Self> {
        let tcp = match config.listen {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        };
        let address = tcp.as_ref().map(TcpListener::local_addr).transpose()?;
        let unix = config.unix.as_deref().map(UnixSocket::bind).transpose()?;

        let tasks = TaskTracker::new();
        let door = Door {
            namespace: namespace(tasks.clone()),
            closing: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: tasks.clone(),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            groups: Arc::default(),
        };
        let server = Self {
            address,
            closing: door.closing.clone(),
            abort: door.abort.clone(),
            tasks: tasks.clone(),
        };
        if let Some(listener) = tcp {
            tasks.spawn(door.clone().accept_tcp(listener));
        }
        if let Some(socket) = unix {
            tasks.spawn(door.accept_unix(socket));
        }
        Ok(server)
    }

    /// The TCP address it listens on.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes no new connections and no new requests, finishes the requests under way, at most for
    /// `grace`, and removes the Unix socket.
    pub async fn shutdown(self, grace: Duration) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(?grace, "NBD requests under way were cut off");
            self.abort.cancel();
        }
    }
}

/// A server that is dropped without a shutdown stops all the same.
impl Drop for NbdServer {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

#[derive(Clone)]
struct Door<N> {
    namespace: N,
    closing: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    connections: Arc<Semaphore>,
    groups: Arc<Groups>,
}

impl<N: Namespace> Door<N> {
    async fn accept_tcp(self, listener: TcpListener) {
        while let Some(place) = self.place().await {
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Err(error) = prepare(&stream) {
                        tracing::debug!(%peer, %error, "socket options not set");
                    }
                    let (reader, writer) = stream.into_split();
                    self.serve(place, peer.to_string(), reader, writer);
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    async fn accept_unix(self, socket: UnixSocket) {
        while let Some(place) = self.place().await {
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = socket.listener().accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (reader, writer) = stream.into_split();
                    self.serve(place, "unix".to_owned(), reader, writer);
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// Waits until one more connection is allowed. `None` at shutdown.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            () = self.closing.cancelled() => None,
            place = self.connections.clone().acquire_owned() => place.ok(),
        }
    }

    async fn pause(&self, error: &io::Error) {
        tracing::warn!(%error, "NBD connection not accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    fn serve<R, W>(&self, place: OwnedSemaphorePermit, peer: String, reader: R, writer: W)
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let door = self.clone();
        self.tasks.spawn(async move {
            let _place = place;
            tokio::select! {
                () = door.abort.cancelled() => {}
                ended = door.connection(reader, writer) => match ended {
                    Ok(()) => tracing::debug!(peer, "NBD connection closed"),
                    Err(error) => tracing::info!(peer, %error, "NBD connection ended"),
                },
            }
        });
    }

    async fn connection<R, W>(&self, reader: R, mut writer: W) -> Result<()>
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let mut reader = BufReader::with_capacity(READ_BUFFER, reader);
        let agreed = tokio::select! {
            () = self.closing.cancelled() => return Ok(()),
            agreed = tokio::time::timeout(
                HANDSHAKE_TIMEOUT,
                handshake::negotiate(&self.namespace, &mut reader, &mut writer),
            ) => agreed.map_err(|_| Error::Timeout("handshake", HANDSHAKE_TIMEOUT))??,
        };
        let Some(agreed) = agreed else { return Ok(()) };
        let session = Session::new(
            agreed,
            &self.groups,
            self.closing.clone(),
            self.abort.clone(),
            self.tasks.clone(),
        );
        session.run(reader, writer).await
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE / 4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
