//! Answers the admin API.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cess::AccountId;
use cess::account::SS58_PREFIX;
use cess::chain::{Chain, TerritoryState};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vfs::{Vfs, VolumeInfo};

use super::model::{
    CachesDropped, ChainStatus, CreateVolume, DeleteVolume, Failure, Flush, Reclaim, ResizeVolume, Status,
    TerritoryStatus, TlsStatus, Volumes,
};
use crate::config::MetadataEngine;

/// Longest time `status` waits for the chain: an operator asks it first when the chain is gone.
const CHAIN_PATIENCE: Duration = Duration::from_secs(3);

/// What the handlers work on.
#[derive(Clone)]
pub struct AdminState {
    /// The namespace.
    pub vfs: Vfs,
    /// The store.
    pub store: store::Store,
    /// The metadata below both.
    pub meta: meta::Meta,
    /// Where each engine that is configured would keep them.
    pub places: Arc<BTreeMap<MetadataEngine, meta::Place>>,
    /// The chain.
    pub chain: Chain,
    /// Owner of the territory.
    pub owner: AccountId,
    /// Name of the territory.
    pub territory: String,
    /// Where it is mounted, if it is.
    pub mount: Option<PathBuf>,
    /// The certificate of the S3 door, if it speaks TLS.
    pub certificate: Option<s3_frontend::CertificateView>,
    /// When the gateway started.
    pub started: Instant,
    /// Set when it stops: what takes long and can be begun anew ends.
    pub stopping: Arc<AtomicBool>,
}

/// The running API.
pub struct Admin {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Admin {
    /// Starts to serve; every request must carry `Authorization: Bearer token`.
    pub async fn start(listen: SocketAddr, token: String, state: AdminState) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot serve the admin API on {listen}"))?;
        let address = listener.local_addr()?;
        let stopping = state.stopping.clone();
        let router = Router::new()
            .route("/v1/status", get(status))
            .route("/v1/flush", post(flush))
            .route("/v1/reclaim", post(reclaim))
            .route("/v1/cache/drop", post(drop_caches))
            .route("/v1/volumes", get(volumes).post(create_volume))
            .route("/v1/volumes/resize", post(resize_volume))
            .route("/v1/volumes/delete", post(delete_volume))
            .merge(super::workers::routes())
            .merge(super::kms::routes())
            .merge(super::levels::routes())
            .merge(super::quotas::routes())
            .merge(super::trash::routes())
            .merge(super::health::routes())
            .merge(super::members::routes())
            .merge(super::metadata::routes())
            .merge(super::snapshots::routes())
            .with_state(state)
            .layer(middleware::from_fn_with_state(Token(token.into()), authorize));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(async {
                // Either way, told or dropped, it is time to stop.
                let _ = stopped.await;
            });
            if let Err(error) = served.await {
                tracing::error!(%error, "the admin API stopped");
            }
        });
        Ok(Self {
            address,
            stopping,
            stop,
            task,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops. Requests that wait for a level are cut off: nothing depends on their answer.
    pub async fn shutdown(self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = self.stop.send(());
        let mut task = self.task;
        if tokio::time::timeout(Duration::from_secs(1), &mut task)
            .await
            .is_err()
        {
            task.abort();
        }
    }
}

#[derive(Clone)]
struct Token(std::sync::Arc<str>);

async fn authorize(State(token): State<Token>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let matches = given.is_some_and(|given| {
        aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), token.0.as_bytes()).is_ok()
    });
    if matches {
        next.run(request).await
    } else {
        let failure = Failure {
            error: "wrong or missing token: read it from DATA/gateway.json".into(),
        };
        (StatusCode::UNAUTHORIZED, Json(failure)).into_response()
    }
}

/// An error of the namespace as an HTTP answer.
pub(super) struct AdminError(vfs::Error);

impl From<vfs::Error> for AdminError {
    fn from(error: vfs::Error) -> Self {
        Self(error)
    }
}

impl From<store::Error> for AdminError {
    fn from(error: store::Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        use vfs::Error as E;
        let status = match &self.0 {
            E::NotFound | E::NoSuchBucket | E::NoSuchUpload => StatusCode::NOT_FOUND,
            E::Exists | E::NotEmpty | E::Busy(_) | E::Conflict | E::PreconditionFailed => {
                StatusCode::CONFLICT
            }
            E::NotYet(_) => StatusCode::GATEWAY_TIMEOUT,
            E::Unavailable(_) | E::ShuttingDown | E::SlowDown { .. } => StatusCode::SERVICE_UNAVAILABLE,
            E::NoSpace | E::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
            E::Internal(_) | E::Damaged(_) | E::WriteLost => StatusCode::INTERNAL_SERVER_ERROR,
            E::InvalidPart(_)
            | E::NotDirectory
            | E::IsDirectory
            | E::InvalidName(_)
            | E::Invalid(_)
            | E::NameTooLong
            | E::TooLarge
            | E::OutOfRange
            | E::CrossBucket
            | E::NotPermitted
            | E::Locked
            | E::ReadOnly
            | E::Superseded(_)
            | E::TooManyLinks => StatusCode::BAD_REQUEST,
        };
        (
            status,
            Json(Failure {
                error: self.0.to_string(),
            }),
        )
            .into_response()
    }
}

async fn status(State(state): State<AdminState>) -> Result<Json<Status>, AdminError> {
    let chain = match tokio::time::timeout(CHAIN_PATIENCE, chain_status(&state)).await {
        Ok(chain) => chain,
        Err(_) => ChainStatus {
            error: Some("no answer from the chain".into()),
            ..chain_identity(&state)
        },
    };
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: state.started.elapsed().as_secs(),
        s3_tls: state.certificate.as_ref().map(|certificate| {
            let s3_frontend::TlsStatus { fingerprint, error } = certificate.status();
            TlsStatus { fingerprint, error }
        }),
        chain,
        store: {
            // Of a restored namespace it looks through all that nobody has looked at yet.
            let store = state.store.clone();
            tokio::task::spawn_blocking(move || store.status())
                .await
                .map_err(|error| vfs::Error::Internal(error.to_string()))??
        },
    }))
}

fn chain_identity(state: &AdminState) -> ChainStatus {
    let (name, version) = state.chain.runtime();
    let runtime = if name.is_empty() {
        "not met yet".to_owned()
    } else {
        format!("{name}/{version}")
    };
    ChainStatus {
        runtime,
        account: state.chain.account().to_ss58(SS58_PREFIX),
        owner: state.owner.to_ss58(SS58_PREFIX),
        ..ChainStatus::default()
    }
}

async fn chain_status(state: &AdminState) -> ChainStatus {
    let mut status = chain_identity(state);
    let asked = async {
        status.block = Some(state.chain.block_number().await?);
        status.balance = Some(state.chain.balance(state.chain.account()).await?.to_string());
        let territory = state
            .chain
            .territory(state.owner, state.territory.as_bytes())
            .await?;
        status.territory = territory.map(|territory| TerritoryStatus {
            name: String::from_utf8_lossy(&territory.name).into_owned(),
            state: match territory.state {
                TerritoryState::Active => "active",
                TerritoryState::Frozen => "frozen",
                TerritoryState::Expired => "expired",
                TerritoryState::OnConsignment => "on consignment",
            }
            .to_owned(),
            total: territory.total_space as u64,
            used: territory.used_space as u64,
            locked: territory.locked_space as u64,
            remaining: territory.remaining_space as u64,
            deadline: territory.deadline,
        });
        Ok(())
    };
    let asked: cess::Result<()> = asked.await;
    if let Err(error) = asked {
        status.error = Some(error.to_string());
    }
    status
}

async fn flush(
    State(state): State<AdminState>,
    Json(request): Json<Flush>,
) -> Result<StatusCode, AdminError> {
    state
        .vfs
        .flush_all(request.level, Duration::from_secs(request.timeout))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn reclaim(
    State(state): State<AdminState>,
    Json(request): Json<Reclaim>,
) -> Result<Json<store::ReclaimPlan>, AdminError> {
    let plan = if request.dry_run {
        state.store.reclaim_plan().await?
    } else {
        state.store.reclaim().await?
    };
    Ok(Json(plan))
}

async fn drop_caches(State(state): State<AdminState>) -> Result<Json<CachesDropped>, AdminError> {
    let left = state.vfs.drop_caches().await?;
    Ok(Json(CachesDropped {
        left: left.map(str::to_owned),
    }))
}

async fn volumes(State(state): State<AdminState>) -> Result<Json<Volumes>, AdminError> {
    Ok(Json(Volumes {
        volumes: state.vfs.volumes().await?,
    }))
}

async fn create_volume(
    State(state): State<AdminState>,
    Json(request): Json<CreateVolume>,
) -> Result<Json<VolumeInfo>, AdminError> {
    // Whoever only wants disks should not need an S3 tool first.
    if let Some((bucket, _)) = request.path.split_once('/') {
        match state.vfs.create_bucket(bucket).await {
            Ok(_) | Err(vfs::Error::Exists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let volume = state
        .vfs
        .create_volume(&request.path, request.size, request.sector, &request.description)
        .await?;
    Ok(Json(volume))
}

async fn resize_volume(
    State(state): State<AdminState>,
    Json(request): Json<ResizeVolume>,
) -> Result<Json<VolumeInfo>, AdminError> {
    Ok(Json(
        state
            .vfs
            .resize_volume(&request.path, request.size, request.shrink)
            .await?,
    ))
}

async fn delete_volume(
    State(state): State<AdminState>,
    Json(request): Json<DeleteVolume>,
) -> Result<StatusCode, AdminError> {
    state.vfs.delete_volume(&request.path).await?;
    Ok(StatusCode::NO_CONTENT)
}
