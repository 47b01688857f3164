//! The connection to a node, and to another one when that fails.
//!
//! One connection serves everybody. Whoever finds it broken drops it, and the next request connects
//! again, to the next endpoint of the list that is healthy. What a node *answers*, even with an
//! error, is never asked again. What a connection swallowed is asked again, but only where asking
//! twice does no harm: [`Rpc::ask`] for reading, [`Rpc::ask_once`] for the rest.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use subxt::config::RpcConfigFor;
use subxt::config::substrate::SubstrateConfig;
use subxt::utils::H256;
use subxt_rpcs::methods::legacy::{LegacyRpcMethods, NumberOrHex};
use subxt_rpcs::{RpcClient, UserError};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::{Error, Result, tls};

/// The requests that a node answers.
pub(super) type Methods = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;

/// After all endpoints failed, how long requests fail at once instead of knocking again.
const REST: Duration = Duration::from_millis(250);

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The node answered with an error of its own.
    Refused(UserError),
    /// The connection broke, or stayed silent: the node may have got the request or not.
    Lost(String),
    /// No node got the request, or one answered with something else than was asked for.
    Failed(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Failed(error) => error,
            Failure::Lost(reason) => Self::Unreachable(reason),
            // "Method not found" will not get better by itself.
            Failure::Refused(error) if error.code == -32601 => {
                Self::UnsupportedRuntime(format!("the node lacks an RPC method: {}", error.message))
            }
            Failure::Refused(error) => Self::Unreachable(format!("the node answered: {error}")),
        }
    }
}

/// A connection that is made when it is needed.
pub(super) struct Rpc {
    endpoints: Vec<String>,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Connection>,
    /// Endpoint to try first: the one after the last that failed.
    next: usize,
    /// Number given to each connection.
    generation: u64,
    /// The chain this client belongs to, once it is known.
    genesis: Option<H256>,
    failed: Option<(Instant, Error)>,
}

#[derive(Clone)]
struct Connection {
    methods: Arc<Methods>,
    generation: u64,
}

impl Rpc {
    pub(super) fn new(endpoints: Vec<String>, timeout: Duration) -> Result<Self> {
        if endpoints.is_empty() {
            return Err(Error::Invalid("no RPC endpoint is given".to_owned()));
        }
        for endpoint in &endpoints {
            match subxt_rpcs::utils::url_is_secure(endpoint) {
                Ok(true) => {}
                Ok(false) => warn!(
                    endpoint,
                    "unencrypted RPC connection: others can see and alter what the chain says"
                ),
                Err(error) => return Err(Error::Invalid(format!("RPC endpoint {endpoint}: {error}"))),
            }
        }
        tls::install_provider();
        Ok(Self {
            endpoints,
            timeout,
            state: Mutex::default(),
        })
    }

    /// Longest wait for one answer.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Hash of the first block: which chain this is.
    pub(super) async fn genesis(&self) -> Result<H256> {
        self.connection().await?;
        let state = self.state.lock().await;
        state
            .genesis
            .ok_or_else(|| Error::Unreachable("the connection was lost".to_owned()))
    }

    /// Asks a node; asks another when the first does not answer, as often as there are endpoints.
    pub(super) async fn ask<T, F, Fut>(&self, what: &str, request: F) -> Result<T, Failure>
    where
        F: Fn(Arc<Methods>) -> Fut,
        Fut: Future<Output = Result<T, subxt_rpcs::Error>>,
    {
        let mut turn = 0;
        loop {
            match self.ask_once(what, &request).await {
                Err(Failure::Lost(_)) if turn < self.endpoints.len() => turn += 1,
                answer => return answer,
            }
        }
    }

    /// Asks a node, and only one.
    pub(super) async fn ask_once<T, F, Fut>(&self, what: &str, request: F) -> Result<T, Failure>
    where
        F: FnOnce(Arc<Methods>) -> Fut,
        Fut: Future<Output = Result<T, subxt_rpcs::Error>>,
    {
        let connection = self.connection().await.map_err(Failure::Failed)?;
        let reason = match timeout(self.timeout, request(connection.methods)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(subxt_rpcs::Error::User(error))) => return Err(Failure::Refused(error)),
            Ok(Err(error @ (subxt_rpcs::Error::Deserialization(_) | subxt_rpcs::Error::Decode(_)))) => {
                return Err(Failure::Failed(Error::Corrupt(format!("{what}: {error}"))));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", self.timeout),
        };
        warn!(what, reason, "an RPC connection failed");
        self.disconnect(connection.generation).await;
        Err(Failure::Lost(format!("{what}: {reason}")))
    }

    async fn disconnect(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state
            .current
            .as_ref()
            .is_some_and(|current| current.generation == generation)
        {
            state.current = None;
            state.next = (state.next + 1) % self.endpoints.len();
        }
    }

    async fn connection(&self) -> Result<Connection> {
        let mut state = self.state.lock().await;
        if let Some(current) = &state.current {
            return Ok(current.clone());
        }
        if let Some((since, error)) = &state.failed
            && since.elapsed() < REST
        {
            return Err(error.clone());
        }
        let mut reasons = Vec::new();
        for turn in 0..self.endpoints.len() {
            let index = (state.next + turn) % self.endpoints.len();
            let endpoint = &self.endpoints[index];
            let attempt = timeout(self.timeout, self.connect(endpoint, state.genesis)).await;
            match attempt.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.timeout))) {
                Ok((methods, genesis)) => {
                    info!(endpoint, "connected to the chain");
                    let generation = state.generation + 1;
                    let connection = Connection {
                        methods: Arc::new(methods),
                        generation,
                    };
                    *state = State {
                        current: Some(connection.clone()),
                        next: index,
                        generation,
                        genesis: Some(genesis),
                        failed: None,
                    };
                    return Ok(connection);
                }
                Err(reason) => {
                    warn!(endpoint, reason, "an RPC endpoint cannot be used");
                    reasons.push(format!("{endpoint}: {reason}"));
                }
            }
        }
        let error = Error::Unreachable(reasons.join("; "));
        state.failed = Some((Instant::now(), error.clone()));
        Err(error)
    }

    /// Connects and checks the node's health: it is on our chain, and not busy catching up.
    async fn connect(&self, endpoint: &str, ours: Option<H256>) -> Result<(Methods, H256), String> {
        let client = RpcClient::from_insecure_url(endpoint)
            .await
            .map_err(|error| error.to_string())?;
        let methods = Methods::new(client);
        let genesis = methods
            .chain_get_block_hash(Some(NumberOrHex::Number(0)))
            .await
            .map_err(|error| error.to_string())?
            .ok_or("the node has no first block")?;
        if ours.is_some_and(|ours| ours != genesis) {
            return Err(format!("a node of another chain (genesis {genesis:?})"));
        }
        match methods.system_health().await {
            Ok(health) if health.is_syncing && self.endpoints.len() > 1 => {
                Err("the node is still catching up".to_owned())
            }
            // Not every node answers that question.
            Ok(_) | Err(subxt_rpcs::Error::User(_)) => Ok((methods, genesis)),
            Err(error) => Err(error.to_string()),
        }
    }
}
