//! JSON-RPC over WebSocket (and HTTP): the legacy methods of a Substrate node.
//!
//! `rpc_methods` lists no `archive_v1_` or `chainHead_v1_` name, so a client that knows several
//! protocols picks the legacy one.

use std::net::SocketAddr;
use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::server::{BatchRequestConfig, Server, ServerConfig, serve, stop_channel};
use jsonrpsee::types::ErrorObjectOwned;

use crate::chain::Node;
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::runtime::primitives::H256;

mod author;
mod blocks;
mod runtime_api;
mod state;
mod system;

/// Longest request in bytes, as Substrate's default.
const MAX_REQUEST: u32 = 15 << 20;
/// Longest answer in bytes: a page of large files.
const MAX_RESPONSE: u32 = 128 << 20;
/// Most connections at once.
const MAX_CONNECTIONS: u32 = 1000;

/// Code of an answer about a state that is unknown or pruned.
const UNKNOWN_BLOCK: i32 = 4003;
/// Code of a parameter that cannot be used.
const INVALID_PARAMS: i32 = -32602;

type Answer<T> = std::result::Result<T, ErrorObjectOwned>;
type Module = RpcModule<Node>;
type Registered = std::result::Result<(), jsonrpsee::core::RegisterMethodError>;

/// Serves `node` at `address`.
pub fn start(node: Arc<Node>, address: SocketAddr) -> Result<Gate> {
    let module = module(node).map_err(|error| Error::Invalid(format!("RPC methods: {error}")))?;
    let config = ServerConfig::builder()
        .max_request_body_size(MAX_REQUEST)
        .max_response_body_size(MAX_RESPONSE)
        .max_connections(MAX_CONNECTIONS)
        .max_subscriptions_per_connection(4096)
        .set_batch_request_config(BatchRequestConfig::Limit(1024))
        .build();
    let builder = Server::builder().set_config(config).to_service_builder();
    Gate::bind(address, move |socket| {
        let (builder, module) = (builder.clone(), module.clone());
        async move {
            // A WebSocket outlives the HTTP exchange that opened it: it ends with this handle.
            let (stop, handle) = stop_channel();
            let mut service = builder.build(module, stop);
            let closed = service.on_session_closed();
            if let Err(error) = serve(socket, service).await {
                tracing::debug!(%error, "RPC connection");
            }
            closed.await;
            drop(handle);
        }
    })
}

fn module(node: Arc<Node>) -> std::result::Result<Module, jsonrpsee::core::RegisterMethodError> {
    let mut module = RpcModule::from_arc(node);
    blocks::register(&mut module)?;
    state::register(&mut module)?;
    author::register(&mut module)?;
    system::register(&mut module)?;
    let mut names: Vec<_> = module.method_names().collect();
    names.push("rpc_methods");
    names.sort_unstable();
    module.register_method(
        "rpc_methods",
        move |_, _, _| serde_json::json!({ "methods": names }),
    )?;
    Ok(module)
}

fn invalid(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INVALID_PARAMS, message, None::<()>)
}

fn unknown_block(hash: Option<H256>) -> ErrorObjectOwned {
    let hash = hash.map(H256::to_text).unwrap_or_default();
    ErrorObjectOwned::owned(
        UNKNOWN_BLOCK,
        format!("Client error: UnknownBlock: State already discarded for {hash}"),
        None::<()>,
    )
}

fn internal(error: &Error) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(-32603, error.to_string(), None::<()>)
}

/// `0x` and hex digits.
fn bytes_of(text: &str) -> Answer<Vec<u8>> {
    let digits = text.strip_prefix("0x").ok_or_else(|| invalid("hex without 0x"))?;
    hex::decode(digits).map_err(|error| invalid(format!("bad hex: {error}")))
}

fn hash_of(text: &str) -> Answer<H256> {
    let bytes = bytes_of(text)?;
    Ok(H256(
        bytes.try_into().map_err(|_| invalid("a hash has 32 bytes"))?,
    ))
}

fn text_of(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// An optional block hash among the parameters.
fn at_of(text: Option<String>) -> Answer<Option<H256>> {
    text.map(|text| hash_of(&text)).transpose()
}
