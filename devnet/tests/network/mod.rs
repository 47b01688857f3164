//! A chain for tests: Alice, Bob and twelve miners funded, no miner programs.
#![allow(dead_code)] // Every test file uses its own part.

use std::path::Path;
use std::sync::Arc;

use cess_devnet::chain::author::Author;
use cess_devnet::chain::{Node, NodeConfig, Sealing};
use cess_devnet::gate::Gate;
use cess_devnet::runtime::genesis::Genesis;
use cess_devnet::runtime::primitives::AccountId32;
use subxt::dynamic::{Value, tx};
use subxt::{OnlineClient, SubstrateConfig};
use subxt_signer::SecretUri;
use subxt_signer::sr25519::{Keypair, dev};

pub const TCESS: u128 = 1_000_000_000_000_000_000;

pub fn account(key: &Keypair) -> AccountId32 {
    AccountId32(key.public_key().0)
}

pub fn key(uri: &str) -> Keypair {
    Keypair::from_uri(&uri.parse::<SecretUri>().unwrap()).unwrap()
}

pub fn miner(index: usize) -> Keypair {
    key(&format!("//Miner//{index}"))
}

pub struct Network {
    pub node: Arc<Node>,
    pub gate: Gate,
    _author: Author,
}

pub fn genesis() -> Genesis {
    let mut funded = vec![
        (account(&dev::alice()), 10_000_000 * TCESS),
        (account(&dev::bob()), 10_000_000 * TCESS),
    ];
    funded.extend((0..14).map(|index| (account(&miner(index)), 1000 * TCESS)));
    Genesis {
        funded,
        miners: (0..14)
            .map(|index| (account(&miner(index)), format!("127.0.0.1:{index}")))
            .collect(),
        idle_space: 4 << 40,
        tee_master: key("//TeeMaster").public_key().0,
        sudo: account(&dev::alice()),
    }
}

pub async fn start(dir: &Path, sealing: Sealing) -> Network {
    start_with(dir, sealing, genesis()).await
}

pub async fn start_with(dir: &Path, sealing: Sealing, genesis: Genesis) -> Network {
    let config = NodeConfig {
        dir: dir.to_owned(),
        sealing,
        genesis,
    };
    let node = Node::open(config).unwrap();
    let author = Author::start(node.clone()).unwrap();
    let gate = cess_devnet::rpc::start(node.clone(), "127.0.0.1:0".parse().unwrap()).unwrap();
    Network {
        node,
        gate,
        _author: author,
    }
}

impl Network {
    pub fn url(&self) -> String {
        format!("ws://{}", self.gate.address())
    }

    pub async fn client(&self) -> OnlineClient<SubstrateConfig> {
        OnlineClient::from_url(self.url()).await.unwrap()
    }
}

/// Signs, submits, waits for finality; the names of the extrinsic's events, or the error's text.
pub async fn send(
    client: &OnlineClient<SubstrateConfig>,
    signer: &Keypair,
    pallet: &str,
    call: &str,
    fields: Vec<(&str, Value)>,
) -> Result<Vec<String>, String> {
    let payload = tx(pallet, call, Value::named_composite(fields));
    let progress = client
        .tx()
        .await
        .map_err(|error| error.to_string())?
        .sign_and_submit_then_watch_default(&payload, signer)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let events = progress
        .wait_for_finalized_success()
        .await
        .map_err(|error| error.to_string())?;
    Ok(events
        .iter()
        .map(|event| {
            let event = event.unwrap();
            format!("{}.{}", event.pallet_name(), event.event_name())
        })
        .collect())
}

/// The 64 ASCII bytes of a hash, as the chain takes them.
pub fn hash(text: &str) -> Value {
    Value::unnamed_composite([Value::from_bytes(text.as_bytes())])
}

pub fn account_value(account: AccountId32) -> Value {
    Value::unnamed_composite([Value::from_bytes(account.0)])
}

pub fn name(text: &str) -> Value {
    Value::unnamed_composite([Value::from_bytes(text.as_bytes())])
}
