//! The listener: accepts, bounds and drains connections.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use s3s::config::StaticConfigProvider;
use s3s::service::S3ServiceBuilder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use vfs::Vfs;

use crate::S3Config;
use crate::access::{Authorizer, Identities, Peer};
use crate::auth::Keys;
use crate::door::Door;
use crate::encryption::customer::KeyTransport;
use crate::host::Domains;
use crate::layer::Front;
use crate::limits;

/// Pause after a failed accept: out of file descriptors is not cured by asking faster.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Silence after which an HTTP/2 client is asked whether it is still there.
const H2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// A running S3 door. Dropping it cuts all connections; [`Self::shutdown`] drains them.
pub struct S3Server {
    address: SocketAddr,
    stop: oneshot::Sender<Duration>,
    task: AbortOnDropHandle<()>,
}

impl S3Server {
    /// Starts to serve. Fails when the address cannot be listened on or the settings make no sense.
    pub async fn start(config: S3Config, vfs: Vfs) -> io::Result<Self> {
        let front = Arc::new(front(&config, vfs)?);
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = AbortOnDropHandle::new(tokio::spawn(serve(listener, front, stopped)));
        tracing::info!(%address, region = config.region, "S3 door is open");
        Ok(Self { address, stop, task })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connections, finishes the requests under way, at most for `grace`.
    pub async fn shutdown(self, grace: Duration) {
        // The task may have ended already: then there is nothing to stop.
        let _ = self.stop.send(grace);
        let _ = self.task.await;
    }
}

fn front(config: &S3Config, vfs: Vfs) -> io::Result<Front> {
    if config.region.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the S3 region must not be empty",
        ));
    }
    let mut s3s_config = s3s::config::S3Config::default();
    s3s_config.xml_max_body_size = limits::MAX_XML_BODY;
    s3s_config.post_object_max_file_size = limits::MAX_FORM_FILE;
    s3s_config.form_max_field_size = limits::MAX_FORM_FIELDS;
    s3s_config.form_max_fields_size = limits::MAX_FORM_FIELDS;
    let customer_keys = KeyTransport {
        over_http: config.allow_customer_keys_over_http || config.listen.ip().is_loopback(),
    };
    let keys = Keys::new(&config.credentials);
    let identities: Arc<dyn Identities> = Arc::new(keys.clone());
    let mut builder = S3ServiceBuilder::new(Door::new(
        vfs.clone(),
        config.region.clone(),
        customer_keys,
        Arc::clone(&identities),
        config.object_ownership,
    ));
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(s3s_config))));
    builder.set_auth(keys);
    builder.set_access(Authorizer::new(vfs, identities));
    builder.set_host(Domains::new(&config.domains));
    Ok(Front::new(builder.build(), config.region.clone()))
}

async fn serve(listener: TcpListener, front: Arc<Front>, mut stopped: oneshot::Receiver<Duration>) {
    let permits = Arc::new(Semaphore::new(limits::MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let grace = loop {
        tokio::select! {
            grace = &mut stopped => break grace.unwrap_or_default(),
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &permits) => match accepted {
                Ok((stream, permit)) => {
                    let connection = connection(stream, Arc::clone(&front));
                    let connection = graceful.watch(connection);
                    connections.spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "S3 connection ended");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "S3 accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    };
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "S3 connections are cut: the grace period is over"
        );
    }
    connections.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Small answers must not wait for the client's delayed acknowledgement.
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

type StdError = Box<dyn std::error::Error + Send + Sync>;

/// One connection, served until its client leaves or the door drains.
fn connection(
    stream: TcpStream,
    front: Arc<Front>,
) -> impl GracefulConnection<Error = StdError, Output = Result<(), StdError>> + Send + 'static {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING_INTERVAL)
        .max_concurrent_streams(limits::MAX_H2_STREAMS);
    let peer = stream.peer_addr().ok().map(|address| Peer {
        address: address.ip(),
        secure: false,
    });
    let service = service_fn(move |mut request: http::Request<_>| {
        let front = Arc::clone(&front);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        async move { Ok::<_, std::convert::Infallible>(front.handle(request).await) }
    });
    builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned()
}
