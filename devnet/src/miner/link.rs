//! How a miner reaches its chain: inside this process, or over RPC.

use std::sync::Arc;

use cess::Hash;
use subxt_signer::sr25519::Keypair;
use tokio::sync::mpsc;

use crate::chain::Node;
use crate::chain::pool::Status;
use crate::runtime::call::RuntimeCall;
use crate::runtime::extrinsic;
use crate::runtime::file_bank::{self, DEAL_MAP, DealInfo, FILE, FileInfo};
use crate::runtime::primitives::AccountId32;
use crate::runtime::sminer::{MINER_ITEMS, MinerInfo};

mod remote;
pub use remote::Remote;

/// The chain could not be asked, or did not take an extrinsic.
#[derive(Debug, thiserror::Error)]
#[error("chain: {0}")]
pub struct LinkError(pub String);

/// A chain.
#[derive(Clone)]
pub enum Link {
    /// The node of this process.
    Local(Arc<Node>),
    /// Any chain that speaks the protocol.
    Remote(Remote),
}

impl Link {
    /// The open deal of `fid`, at the best block.
    pub async fn deal(&self, fid: Hash) -> Result<Option<DealInfo>, LinkError> {
        match self {
            Self::Local(node) => Ok(node.view(None, |view| DEAL_MAP.get(view, &fid.into())).flatten()),
            Self::Remote(remote) => remote.read(DEAL_MAP.key(&fid.into())).await,
        }
    }

    /// The complete file `fid`, at the best block.
    pub async fn file(&self, fid: Hash) -> Result<Option<FileInfo>, LinkError> {
        match self {
            Self::Local(node) => Ok(node.view(None, |view| FILE.get(view, &fid.into())).flatten()),
            Self::Remote(remote) => remote.read(FILE.key(&fid.into())).await,
        }
    }

    /// The chain's record of a miner.
    pub async fn miner(&self, account: AccountId32) -> Result<Option<MinerInfo>, LinkError> {
        match self {
            Self::Local(node) => Ok(node.view(None, |view| MINER_ITEMS.get(view, &account)).flatten()),
            Self::Remote(remote) => remote.read(MINER_ITEMS.key(&account)).await,
        }
    }

    /// Reports `index` (1…12) of `fid`; answers whether the chain accepted it.
    pub async fn report(&self, key: &Keypair, index: u8, fid: Hash) -> Result<bool, LinkError> {
        match self {
            Self::Local(node) => {
                let call = file_bank::Call::transfer_report {
                    index,
                    deal_hash: fid.into(),
                };
                submit(node, key, RuntimeCall::FileBank(call)).await?;
            }
            Self::Remote(remote) => return remote.report(key, index, fid).await,
        }
        let account = AccountId32(key.public_key().0);
        if let Some(deal) = self.deal(fid).await? {
            return Ok(deal.complete_list.0.iter().any(|done| done.miner == account));
        }
        let file = self.file(fid).await?;
        Ok(file.is_some_and(|file| {
            let mut fragments = file
                .segment_list
                .0
                .iter()
                .flat_map(|segment| &segment.fragment_list.0);
            fragments.any(|fragment| fragment.miner == account)
        }))
    }

    /// Where the chain is, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Local(_) => "in process",
            Self::Remote(remote) => remote.url(),
        }
    }
}

/// Signs and submits; returns when it is in a block, whatever its outcome.
async fn submit(node: &Node, key: &Keypair, call: RuntimeCall) -> Result<(), LinkError> {
    let nonce = node.next_index(&AccountId32(key.public_key().0));
    let bytes = extrinsic::sign(key, nonce, call, node.genesis_hash());
    let (sender, mut statuses) = mpsc::unbounded_channel();
    node.submit(bytes, Some(sender))
        .map_err(|error| LinkError(error.to_string()))?;
    while let Some(status) = statuses.recv().await {
        match status {
            Status::InBlock(_) => return Ok(()),
            Status::Usurped(_) | Status::Invalid => return Err(LinkError(format!("{status:?}"))),
            _ => {}
        }
    }
    Err(LinkError("the chain stopped".into()))
}
