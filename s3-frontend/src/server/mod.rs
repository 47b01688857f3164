//! The listeners: accept, bound and drain connections, with TLS or without.
mod clients;
mod life;
mod patience;
mod tls;

pub use clients::ClientLimits;
pub(crate) use clients::{Meter, network};
pub use tls::{TlsConfig, TlsStatus};

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use access::identity::Registry;
use access::oidc::Providers;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use s3s::config::StaticConfigProvider;
use s3s::service::S3ServiceBuilder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;
use vfs::Vfs;

use self::clients::Connections;
use self::life::Life;
use self::patience::{Patient, Waits};
use self::tls::{Certificate, TlsError};
use crate::S3Config;
use crate::access::{Authorizer, Identities};
use crate::auth::Keys;
use crate::door::Door;
use crate::encryption::customer::KeyTransport;
use crate::host::Domains;
use crate::layer::{Client, Front};
use crate::limits;
use crate::sts::Sts;

/// Pause after a failed accept: out of file descriptors is not cured by asking faster.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Silence after which an HTTP/2 client is asked whether it is still there.
const H2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// A running S3 door. Dropping it cuts all connections; [`Self::shutdown`] drains them.
pub struct S3Server {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    website_address: Option<SocketAddr>,
    certificate: Option<Arc<Certificate>>,
    stop: watch::Sender<Option<Duration>>,
    listeners: Vec<AbortOnDropHandle<()>>,
    _watch: Option<AbortOnDropHandle<()>>,
}

impl S3Server {
    /// Starts to serve those of `identities`, and the credentials of the configuration. Fails when an
    /// address cannot be listened on, when the certificate cannot be used or when the settings make no
    /// sense.
    pub async fn start(config: S3Config, vfs: Vfs, identities: Registry) -> io::Result<Self> {
        let certificate = config.tls.as_ref().map(Certificate::open).transpose();
        let certificate = certificate.map_err(invalid)?.map(Arc::new);
        let acceptor = certificate
            .clone()
            .map(tls::acceptor)
            .transpose()
            .map_err(invalid)?;
        let door = Arc::new(Shared {
            front: front(&config, vfs, identities)?,
            permits: Arc::new(Semaphore::new(config.clients.connections.max(1))),
            connections: Connections::new(config.clients.connections_per_address),
        });
        let (stop, stopped) = watch::channel(None);
        let mut listeners = Vec::new();
        let mut open = async |address: SocketAddr, acceptor: Option<TlsAcceptor>, visitors: bool| {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            let task = serve(listener, acceptor, visitors, Arc::clone(&door), stopped.clone());
            listeners.push(AbortOnDropHandle::new(tokio::spawn(task)));
            io::Result::Ok(address)
        };
        let own = config.tls.as_ref().and_then(|tls| tls.listen);
        let (address, tls_address) = match (acceptor, own) {
            (None, _) => (open(config.listen, None, false).await?, None),
            (Some(acceptor), None) => {
                let address = open(config.listen, Some(acceptor), false).await?;
                (address, Some(address))
            }
            (Some(acceptor), Some(own)) => {
                let address = open(config.listen, None, false).await?;
                (address, Some(open(own, Some(acceptor), false).await?))
            }
        };
        let website_address = match config.website_listen {
            Some(address) => Some(open(address, None, true).await?),
            None => None,
        };
        let watch = certificate
            .clone()
            .map(|certificate| AbortOnDropHandle::new(tokio::spawn(certificate.watch())));
        tracing::info!(%address, tls = ?tls_address, region = config.region, "S3 door is open");
        Ok(Self {
            address,
            tls_address,
            website_address,
            certificate,
            stop,
            listeners,
            _watch: watch,
        })
    }

    /// The address it listens on; with TLS when [`Self::tls_address`] is the same.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address on which it speaks TLS.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// The address on which it shows web sites and nothing else.
    pub fn website_address(&self) -> Option<SocketAddr> {
        self.website_address
    }

    /// Where to ask which certificate is in use; `None` without TLS.
    pub fn certificate(&self) -> Option<CertificateView> {
        self.certificate.clone().map(CertificateView)
    }

    /// Takes no new connections, finishes the requests under way, at most for `grace`.
    pub async fn shutdown(mut self, grace: Duration) {
        // The tasks may have ended already: then there is nothing to stop.
        let _ = self.stop.send(Some(grace));
        for listener in self.listeners.drain(..) {
            let _ = listener.await;
        }
    }
}

/// A look at the certificate of a running door.
#[derive(Clone, Debug)]
pub struct CertificateView(Arc<Certificate>);

impl CertificateView {
    /// What is in use now.
    pub fn status(&self) -> TlsStatus {
        self.0.status()
    }
}

fn invalid(error: TlsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// What all listeners share.
struct Shared {
    front: Front,
    permits: Arc<Semaphore>,
    connections: Arc<Connections>,
}

fn front(config: &S3Config, vfs: Vfs, identities: Registry) -> io::Result<Front> {
    if config.region.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the S3 region must not be empty",
        ));
    }
    let mut s3s_config = s3s::config::S3Config::default();
    s3s_config.xml_max_body_size = limits::MAX_XML_BODY;
    let customer_keys = KeyTransport {
        over_http: config.allow_customer_keys_over_http || config.listen.ip().is_loopback(),
    };
    let providers = Providers::new(config.oidc.clone())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    let keys = Keys::new(&config.credentials, identities);
    let identities: Arc<dyn Identities> = Arc::new(keys.clone());
    let mut builder = S3ServiceBuilder::new(Door::new(
        vfs.clone(),
        config.region.clone(),
        customer_keys,
        Arc::clone(&identities),
        config.object_ownership,
    ));
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(s3s_config))));
    builder.set_route(Sts::new(keys.clone(), providers));
    builder.set_auth(keys.clone());
    builder.set_access(Authorizer::new(vfs.clone(), identities));
    let domains = Domains::new(&config.domains);
    builder.set_host(domains.clone());
    Ok(Front::new(builder.build(), vfs, domains, keys, config))
}

async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    visitors: bool,
    door: Arc<Shared>,
    mut stopped: watch::Receiver<Option<Duration>>,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let closing = stopped.clone();
    let grace = loop {
        tokio::select! {
            grace = closing_time(&mut stopped) => break grace,
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &door.permits) => match accepted {
                Ok((stream, address, permit)) => {
                    let door = Arc::clone(&door);
                    let (acceptor, watcher) = (acceptor.clone(), graceful.watcher());
                    let mut closing = closing.clone();
                    connections.spawn(async move {
                        let Some(counted) = door.connections.count(address) else { return };
                        let client = Client {
                            address,
                            crowded: counted.crowded,
                            secure: acceptor.is_some(),
                            visitor: visitors,
                        };
                        let waits = Waits { first: limits::HEADER_TIMEOUT, write: limits::WRITE_TIMEOUT };
                        let stream = Patient::new(stream, waits);
                        let ended = match acceptor {
                            None => connection(stream, door, client, watcher).await,
                            Some(acceptor) => match handshake(&acceptor, stream, &mut closing).await {
                                Ok(stream) => connection(stream, door, client, watcher).await,
                                Err(error) => Err(error.into()),
                            },
                        };
                        if let Err(error) = ended {
                            tracing::debug!(%error, %address, "S3 connection ended");
                        }
                        drop((counted, permit));
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

/// Waits until the door is to close, and says how long it may take.
async fn closing_time(stopped: &mut watch::Receiver<Option<Duration>>) -> Duration {
    let told = stopped.wait_for(Option::is_some).await;
    told.ok().and_then(|grace| *grace).unwrap_or_default()
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    // Small answers must not wait for the client's delayed acknowledgement.
    stream.set_nodelay(true)?;
    Ok((stream, address.ip(), permit))
}

/// A client that takes its time, or is still at it when the door closes, is let go.
async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    acceptor: &TlsAcceptor,
    stream: S,
    closing: &mut watch::Receiver<Option<Duration>>,
) -> io::Result<tokio_rustls::server::TlsStream<S>> {
    tokio::select! {
        _ = closing_time(closing) => Err(io::Error::other("the door closes")),
        done = tokio::time::timeout(limits::HEADER_TIMEOUT, acceptor.accept(stream)) => {
            done.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))?
        }
    }
}

type StdError = Box<dyn std::error::Error + Send + Sync>;

/// One connection, served until its client leaves or is given up, or the door drains.
async fn connection<S>(stream: S, door: Arc<Shared>, client: Client, watcher: Watcher) -> Result<(), StdError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING_INTERVAL)
        .max_concurrent_streams(limits::MAX_H2_STREAMS)
        .max_send_buf_size(limits::H2_SEND_BUFFER)
        .max_pending_accept_reset_streams(limits::MAX_H2_RESETS)
        .max_local_error_reset_streams(limits::MAX_H2_ERRORS)
        .max_header_list_size(limits::MAX_HEAD as u32);
    let life = Life::new(limits::WRITE_TIMEOUT, limits::UNUSED_TIMEOUT);
    let of_requests = Arc::clone(&life);
    let service = service_fn(move |request| {
        let (door, under_way) = (Arc::clone(&door), of_requests.request());
        async move {
            let answer = door.front.handle(request, client).await;
            Ok::<_, std::convert::Infallible>(answer.map(|body| under_way.watch(body)))
        }
    });
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    tokio::select! {
        ended = watcher.watch(connection) => ended,
        why = life.over() => Err(why.into()),
    }
}
