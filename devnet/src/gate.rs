//! A listener whose gate can be shut: while it is, connections are reset, those that were open
//! and those that come. The port stays taken, so that nobody else gets it meanwhile.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::error::{Error, Result};

/// Pause after the system refused to accept (no file handles, say).
const RETRY: Duration = Duration::from_millis(50);

/// A served port. Dropping it closes the port and every connection.
pub struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Gate {
    /// Binds `address` and serves every connection with `serve`.
    pub fn bind<F, Fut>(address: SocketAddr, serve: F) -> Result<Self>
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::serve(bind(address)?, serve)
    }

    /// Serves every connection to `listener` with `serve`. Needs a tokio runtime.
    pub fn serve<F, Fut>(listener: std::net::TcpListener, serve: F) -> Result<Self>
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        listener.set_nonblocking(true).map_err(Error::io("listening"))?;
        let listener = TcpListener::from_std(listener).map_err(Error::io("listening"))?;
        let address = listener.local_addr().map_err(Error::io("listening"))?;
        let (open, seen) = watch::channel(true);
        let task = tokio::spawn(accept(listener, seen, serve));
        Ok(Self { address, open, task })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens or shuts the gate.
    pub fn set_open(&self, open: bool) {
        // Only the accepting task listens, and it lives as long as this.
        let _ = self.open.send(open);
    }

    /// Closes the port and every connection; both are gone when this returns.
    pub async fn close(&mut self) {
        self.task.abort();
        // It was aborted: how it ended says nothing.
        let _ = (&mut self.task).await;
    }

    /// Whether connections are served.
    pub fn is_open(&self) -> bool {
        *self.open.borrow()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Binds `address`.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener> {
    std::net::TcpListener::bind(address).map_err(Error::io(format!("listening on {address}")))
}

async fn accept<F, Fut>(listener: TcpListener, mut open: watch::Receiver<bool>, serve: F)
where
    F: Fn(TcpStream) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    // Dropping the set aborts its tasks, and with them goes every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            changed = open.changed() => {
                if changed.is_err() {
                    return;
                }
                if !*open.borrow() {
                    connections.abort_all();
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) if *open.borrow() => {
                    // Without it small answers wait for more; a failure only costs time.
                    let _ = socket.set_nodelay(true);
                    connections.spawn(serve(socket));
                }
                Ok((socket, _)) => {
                    let _ = socket.set_zero_linger();
                }
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }
}

/// Serves HTTP/1 and HTTP/2 on one connection.
pub async fn serve_http(socket: TcpStream, app: axum::Router) {
    let service = hyper_util::service::TowerToHyperService::new(app);
    let builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
    // The client's mistakes end its own connection only.
    let _ = builder
        .serve_connection(hyper_util::rt::TokioIo::new(socket), service)
        .await;
}
