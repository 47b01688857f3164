//! The admin API: faults and status over HTTP, behind a bearer token.
//!
//! `DIR/admin.json` (mode 0600) holds `{"url", "token"}`, so that the command line finds it.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::controls::{Controls, account_of};
use crate::error::{Error, Result};
use crate::gate::{Gate, serve_http};

/// Name of the file that tells where the admin API is.
pub const FILE: &str = "admin.json";

/// Where the admin API is and what opens it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Access {
    /// `http://ip:port`.
    pub url: String,
    /// Bearer token.
    pub token: String,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A fault for a miner: `account` is SS58, hex, or `all`.
#[derive(Debug, Serialize, Deserialize)]
pub struct FaultRequest {
    /// Which miner.
    pub account: String,
    /// Which fault.
    pub fault: String,
}

/// A fault for the chain.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChainFaultRequest {
    /// Which fault.
    pub fault: String,
}

/// The served API.
pub struct Admin {
    /// Where it is.
    pub access: Access,
    gate: Gate,
    file: PathBuf,
}

impl Admin {
    /// Serves `controls` at `address` and writes `dir/admin.json`.
    pub fn start(controls: Arc<Controls>, address: SocketAddr, dir: &Path) -> Result<Self> {
        let token = crate::random::token();
        let app = axum::Router::new()
            .route("/status", get(status))
            .route("/fault", post(fault))
            .route("/chain-fault", post(chain_fault))
            .layer(from_fn_with_state(
                Arc::new(format!("Bearer {token}")),
                authenticate,
            ))
            .with_state(controls);
        let gate = Gate::bind(address, move |socket| serve_http(socket, app.clone()))?;
        let access = Access {
            url: format!("http://{}", gate.address()),
            token,
        };
        let file = dir.join(FILE);
        write_private(&file, &json!(access).to_string())?;
        Ok(Self { access, gate, file })
    }
}

impl Admin {
    /// Closes the port.
    pub async fn close(mut self) {
        self.gate.close().await;
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // A stale file only leads to a refused connection.
        let _ = std::fs::remove_file(&self.file);
    }
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let failed = || Error::io(format!("writing {}", path.display()));
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed()(error)),
        _ => {}
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed())
}

async fn authenticate(State(expected): State<Arc<String>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(http::HeaderValue::as_bytes);
    // Digests are compared, so that the time taken tells nothing about the token.
    let digest = |bytes: &[u8]| cess::Hash::of(bytes);
    if given.map(digest) == Some(digest(expected.as_bytes())) {
        return next.run(request).await;
    }
    refuse(
        StatusCode::UNAUTHORIZED,
        "a bearer token is needed: see admin.json",
    )
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

fn done(result: Result<()>) -> Response {
    match result {
        Ok(()) => Json(json!({ "ok": true })).into_response(),
        Err(error @ Error::Invalid(_)) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn status(State(controls): State<Arc<Controls>>) -> Json<Value> {
    Json(controls.status().await)
}

async fn fault(State(controls): State<Arc<Controls>>, Json(request): Json<FaultRequest>) -> Response {
    let parsed = || -> Result<_> {
        let account = match request.account.as_str() {
            "all" => None,
            text => Some(account_of(text)?),
        };
        Ok((account, request.fault.parse()?))
    };
    match parsed() {
        Ok((account, fault)) => done(controls.fault(account, fault).await),
        Err(error) => done(Err(error)),
    }
}

async fn chain_fault(
    State(controls): State<Arc<Controls>>,
    Json(request): Json<ChainFaultRequest>,
) -> Response {
    let fault = match request.fault.parse() {
        Ok(fault) => fault,
        Err(error) => return done(Err(error)),
    };
    // Reorganising and sealing write and sync blocks.
    match tokio::task::spawn_blocking({
        let handle = tokio::runtime::Handle::current();
        move || {
            let _entered = handle.enter();
            controls.chain_fault(fault)
        }
    })
    .await
    {
        Ok(result) => done(result),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the fault could not be thrown"),
    }
}

/// Finds the admin API of the devnet whose data is under `dir`, which may also be the data
/// directory of a gateway that runs a devnet.
pub fn find(dir: &Path) -> Result<Access> {
    for candidate in [dir.join("devnet").join(FILE), dir.join(FILE)] {
        match std::fs::read_to_string(&candidate) {
            Ok(text) => {
                return serde_json::from_str(&text)
                    .map_err(|error| Error::Invalid(format!("{}: {error}", candidate.display())));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(format!("reading {}", candidate.display()))(error)),
        }
    }
    Err(Error::Unreachable(format!(
        "no devnet runs under {}: neither devnet/{FILE} nor {FILE} there",
        dir.display()
    )))
}

/// A client of the admin API.
pub struct AdminClient {
    access: Access,
    http: reqwest::Client,
}

impl AdminClient {
    /// A client for what [`find`] found.
    pub fn new(access: Access) -> Self {
        Self {
            access,
            http: reqwest::Client::new(),
        }
    }

    /// Throws a fault at a miner (`all` for all).
    pub async fn fault(&self, account: &str, fault: &str) -> Result<()> {
        let body = json!(FaultRequest {
            account: account.into(),
            fault: fault.into()
        });
        self.send(self.http.post(format!("{}/fault", self.access.url)).json(&body))
            .await
            .map(drop)
    }

    /// Throws a fault at the chain.
    pub async fn chain_fault(&self, fault: &str) -> Result<()> {
        let body = json!(ChainFaultRequest { fault: fault.into() });
        self.send(
            self.http
                .post(format!("{}/chain-fault", self.access.url))
                .json(&body),
        )
        .await
        .map(drop)
    }

    /// The state of the devnet.
    pub async fn status(&self) -> Result<Value> {
        self.send(self.http.get(format!("{}/status", self.access.url)))
            .await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let unreachable = |error: reqwest::Error| {
            Error::Unreachable(format!(
                "the devnet at {}: {}",
                self.access.url,
                error.without_url()
            ))
        };
        let answer = request
            .bearer_auth(&self.access.token)
            .send()
            .await
            .map_err(unreachable)?;
        let ok = answer.status().is_success();
        let body: Value = answer.json().await.map_err(unreachable)?;
        if ok {
            return Ok(body);
        }
        Err(Error::Invalid(
            body["error"].as_str().unwrap_or("refused").to_owned(),
        ))
    }
}
