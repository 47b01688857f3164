//! What placing and reading back need from the network, and nothing more.
//!
//! The trait exists so that every failure of chain and miners can be made at will: [`Live`] is
//! the real thing, `fake` (tests only) keeps a chain and miners in memory and breaks on demand.
use async_trait::async_trait;
use bytes::Bytes;
use cess::chain::{
    BeforeSending, Chain, Deal, Declaration, Fate, FileInfo, Heads, Included, Miner, Territory, Validity,
};
use cess::miner::MinerClient;
use cess::{AccountId, Hash, Result};
use std::ops::Range;

#[cfg(test)]
pub(crate) mod fake;

/// Chain and miners.
#[async_trait]
pub(crate) trait Network: Send + Sync + 'static {
    /// A territory of `owner`.
    async fn territory(&self, owner: AccountId, name: &[u8]) -> Result<Option<Territory>>;
    /// How far the chain is.
    async fn heads(&self) -> Result<Heads>;
    /// What the chain charges for a GiB of territory and day, in planck.
    async fn unit_price(&self) -> Result<u128>;
    /// All registered miners.
    async fn miners(&self) -> Result<Vec<Miner>>;
    /// The open deal of `fid`.
    async fn deal(&self, fid: Hash) -> Result<Option<Deal>>;
    /// The completed file `fid`.
    async fn file(&self, fid: Hash) -> Result<Option<FileInfo>>;
    /// FIDs of the files that the chain lists as held by `owner`, oldest first.
    async fn held(&self, owner: AccountId) -> Result<Vec<Hash>>;
    /// The completed file `fid`, if the last finalised block lists it.
    async fn final_file(&self, fid: Hash) -> Result<Option<FileInfo>>;
    /// Declares files; one result each. `before` is told what is about to be sent.
    async fn declare(&self, files: Vec<Declaration>, before: &BeforeSending<'_>) -> Vec<Result<Included>>;
    /// What became of the declaration of `fid` in an extrinsic of that validity, for good.
    async fn fate(&self, fid: Hash, validity: &Validity) -> Result<Fate>;
    /// Deletes a completed file; re-read [`Self::file`] to know.
    async fn delete_file(&self, owner: AccountId, fid: Hash) -> Result<Included>;
    /// Pushes one fragment.
    async fn put(&self, endpoint: &str, fid: Hash, fragment: Hash, data: Bytes) -> Result<()>;
    /// Fetches one whole fragment, checked.
    async fn get(&self, endpoint: &str, fid: Hash, fragment: Hash) -> Result<Bytes>;
    /// Fetches a range of a fragment, unchecked but for its length.
    async fn get_range(&self, endpoint: &str, fid: Hash, fragment: Hash, range: Range<u32>) -> Result<Bytes>;
}

/// The CESS network.
pub(crate) struct Live {
    chain: Chain,
    miners: MinerClient,
}

impl Live {
    /// Over a connected chain client and a miner client.
    pub(crate) const fn new(chain: Chain, miners: MinerClient) -> Self {
        Self { chain, miners }
    }
}

#[async_trait]
impl Network for Live {
    async fn territory(&self, owner: AccountId, name: &[u8]) -> Result<Option<Territory>> {
        self.chain.territory(owner, name).await
    }
    async fn heads(&self) -> Result<Heads> {
        self.chain.heads().await
    }
    async fn unit_price(&self) -> Result<u128> {
        self.chain.unit_price().await
    }
    async fn miners(&self) -> Result<Vec<Miner>> {
        self.chain.miners().await
    }
    async fn deal(&self, fid: Hash) -> Result<Option<Deal>> {
        self.chain.deal(fid).await
    }
    async fn file(&self, fid: Hash) -> Result<Option<FileInfo>> {
        self.chain.file(fid).await
    }
    async fn held(&self, owner: AccountId) -> Result<Vec<Hash>> {
        self.chain.hold_list(owner).await
    }
    async fn final_file(&self, fid: Hash) -> Result<Option<FileInfo>> {
        self.chain.final_file(fid).await
    }
    async fn declare(&self, files: Vec<Declaration>, before: &BeforeSending<'_>) -> Vec<Result<Included>> {
        self.chain.declare_noting(files, before).await
    }
    async fn fate(&self, fid: Hash, validity: &Validity) -> Result<Fate> {
        self.chain.fate(fid, validity).await
    }
    async fn delete_file(&self, owner: AccountId, fid: Hash) -> Result<Included> {
        self.chain.delete_file(owner, fid).await
    }
    async fn put(&self, endpoint: &str, fid: Hash, fragment: Hash, data: Bytes) -> Result<()> {
        self.miners.put(endpoint, fid, fragment, data).await
    }
    async fn get(&self, endpoint: &str, fid: Hash, fragment: Hash) -> Result<Bytes> {
        self.miners.get(endpoint, fid, fragment).await
    }
    async fn get_range(&self, endpoint: &str, fid: Hash, fragment: Hash, range: Range<u32>) -> Result<Bytes> {
        self.miners.get_range(endpoint, fid, fragment, range).await
    }
}
