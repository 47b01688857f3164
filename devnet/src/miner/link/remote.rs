//! A chain over RPC: storage by its well-known keys, calls by name in the live metadata.

use cess::Hash;
use parity_scale_codec::Decode;
use subxt::dynamic::{Value, tx};
use subxt::{OnlineClient, SubstrateConfig};
use subxt_rpcs::client::{ReconnectingRpcClient, RpcClient};
use subxt_rpcs::methods::legacy::LegacyRpcMethods;
use subxt_signer::sr25519::Keypair;

use super::LinkError;

type Legacy = LegacyRpcMethods<subxt::config::RpcConfigFor<SubstrateConfig>>;

/// A connection that comes back by itself.
#[derive(Clone)]
pub struct Remote {
    url: String,
    client: OnlineClient<SubstrateConfig>,
    legacy: Legacy,
}

fn failed(error: impl std::fmt::Display) -> LinkError {
    LinkError(error.to_string())
}

impl Remote {
    /// Connects to `url` (`ws://` or `wss://`).
    pub async fn connect(url: &str) -> Result<Self, LinkError> {
        let reconnecting = ReconnectingRpcClient::builder()
            .build(url.to_owned())
            .await
            .map_err(failed)?;
        let rpc = RpcClient::new(reconnecting);
        let client = OnlineClient::from_rpc_client(rpc.clone()).await.map_err(failed)?;
        Ok(Self {
            url: url.to_owned(),
            client,
            legacy: LegacyRpcMethods::new(rpc),
        })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value under a raw storage key, at the best block.
    pub(super) async fn read<T: Decode>(&self, key: Vec<u8>) -> Result<Option<T>, LinkError> {
        let value = self.legacy.state_get_storage(&key, None).await.map_err(failed)?;
        value
            .map(|bytes| T::decode(&mut &bytes[..]).map_err(failed))
            .transpose()
    }

    /// Reports; answers whether the chain accepted it.
    pub(super) async fn report(&self, key: &Keypair, index: u8, fid: Hash) -> Result<bool, LinkError> {
        let fid = Value::unnamed_composite([Value::from_bytes(fid.to_ascii())]);
        let fields = [("index", Value::u128(u128::from(index))), ("deal_hash", fid)];
        self.call(key, "FileBank", "transfer_report", Value::named_composite(fields))
            .await
    }

    /// Tells the chain where this miner serves.
    pub async fn update_endpoint(&self, key: &Keypair, endpoint: &str) -> Result<bool, LinkError> {
        let endpoint = Value::unnamed_composite([Value::from_bytes(endpoint.as_bytes())]);
        let fields = Value::named_composite([("endpoint", endpoint)]);
        self.call(key, "Sminer", "update_endpoint", fields).await
    }

    /// Whether the call succeeded, once it is final. A refusal of the pool is an error.
    async fn call(&self, key: &Keypair, pallet: &str, name: &str, fields: Value) -> Result<bool, LinkError> {
        let progress = self
            .client
            .tx()
            .await
            .map_err(failed)?
            .sign_and_submit_then_watch_default(&tx(pallet, name, fields), key)
            .await
            .map_err(failed)?;
        let included = progress.wait_for_finalized().await.map_err(failed)?;
        Ok(included.wait_for_success().await.is_ok())
    }
}
