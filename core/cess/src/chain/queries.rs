//! What is read from the chain, at the best block.

use subxt::Metadata;
use subxt::utils::H256;

use super::types::{Deal, FileInfo, Heads, Miner, Territory};
use super::{Chain, Network, items};
use crate::{AccountId, Error, Hash, Result};

/// Entries of a map fetched by one request. A miner's record takes about 3 KiB.
const PAGE: u32 = 64;

impl Network {
    /// Reads one storage item at the best block and decodes it, again under newer metadata if it
    /// cannot be decoded under what is known.
    async fn read<T>(
        &self,
        key: impl Fn(&Metadata) -> Result<Vec<u8>>,
        decode: impl Fn(&Metadata, &[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        self.read_at(None, key, decode).await
    }

    /// [`Self::read`] at block `at`; `None`: at the best.
    async fn read_at<T>(
        &self,
        at: Option<H256>,
        key: impl Fn(&Metadata) -> Result<Vec<u8>>,
        decode: impl Fn(&Metadata, &[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        let runtime = self.known_runtime().await?;
        let first = self.value(&key(runtime.metadata())?, at).await?;
        let Some(bytes) = first else { return Ok(None) };
        match decode(runtime.metadata(), &bytes) {
            Err(Error::UnsupportedRuntime(reason)) => {
                let newer = self.current_runtime().await?;
                if newer.version() == runtime.version() {
                    return Err(Error::UnsupportedRuntime(reason));
                }
                let Some(bytes) = self.value(&key(newer.metadata())?, at).await? else {
                    return Ok(None);
                };
                decode(newer.metadata(), &bytes).map(Some)
            }
            decoded => decoded.map(Some),
        }
    }

    async fn value(&self, key: &[u8], at: Option<H256>) -> Result<Option<Vec<u8>>> {
        let value = self
            .rpc
            .ask("state_getStorage", |rpc| async move {
                rpc.state_get_storage(key, at).await
            })
            .await?;
        Ok(value)
    }

    /// All entries whose keys begin with `prefix`, of one block.
    async fn entries(&self, prefix: &[u8], at: H256) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut entries = Vec::new();
        let mut start: Option<Vec<u8>> = None;
        loop {
            let after = start.as_deref();
            let keys = self
                .rpc
                .ask("state_getKeysPaged", |rpc| async move {
                    rpc.state_get_keys_paged(prefix, PAGE, after, Some(at)).await
                })
                .await?;
            let Some(last) = keys.last() else {
                return Ok(entries);
            };
            if !keys.iter().all(|key| key.starts_with(prefix))
                || start.as_ref().is_some_and(|start| last <= start)
            {
                return Err(Error::Corrupt(
                    "state_getKeysPaged: keys that were not asked for".to_owned(),
                ));
            }
            start = Some(last.clone());
            let wanted = &keys;
            let changes = self
                .rpc
                .ask("state_queryStorageAt", |rpc| async move {
                    rpc.state_query_storage_at(wanted.iter().map(Vec::as_slice), Some(at))
                        .await
                })
                .await?;
            for (key, value) in changes.into_iter().flat_map(|set| set.changes) {
                if let Some(value) = value {
                    entries.push((key.0, value.0));
                }
            }
            if keys.len() < PAGE as usize {
                return Ok(entries);
            }
        }
    }

    pub(super) async fn deal_at(&self, fid: Hash, at: Option<H256>) -> Result<Option<Deal>> {
        self.read_at(at, |md| items::deal_key(md, fid), items::deal).await
    }

    pub(super) async fn file_at(&self, fid: Hash, at: Option<H256>) -> Result<Option<FileInfo>> {
        self.read_at(at, |md| items::file_key(md, fid), items::file).await
    }

    fn with_own_endpoint(&self, mut miner: Miner) -> Miner {
        if let Some(endpoint) = self.miner_endpoints.get(&miner.account) {
            miner.endpoint = Some(endpoint.clone());
        }
        miner
    }
}

impl Chain {
    /// Number of the best block.
    pub async fn block_number(&self) -> Result<u32> {
        Ok(self.network.head().await?.0 as u32)
    }

    /// How far the chain is.
    pub async fn heads(&self) -> Result<Heads> {
        Ok(Heads {
            best: self.network.head().await?.0 as u32,
            finalised: self.network.finalised().await?.0 as u32,
        })
    }

    /// Free balance in planck (10^-18 TCESS).
    pub async fn balance(&self, account: AccountId) -> Result<u128> {
        let read = self
            .network
            .read(|md| items::account_key(md, account), items::free_balance)
            .await?;
        Ok(read.unwrap_or(0))
    }

    /// Price of one GiB for one day in planck.
    pub async fn unit_price(&self) -> Result<u128> {
        let key = items::UNIT_PRICE.prefix().to_vec();
        let read = self.network.read(|_| Ok(key.clone()), items::unit_price).await?;
        read.ok_or_else(|| Error::UnsupportedRuntime("StorageHandler.UnitPrice is not set".to_owned()))
    }

    /// A territory of `owner`.
    pub async fn territory(&self, owner: AccountId, name: &[u8]) -> Result<Option<Territory>> {
        self.network
            .read(
                |md| items::territory_key(md, owner, name),
                |md, bytes| items::territory(md, name.to_vec(), bytes),
            )
            .await
    }

    /// All territories of `owner`.
    pub async fn territories(&self, owner: AccountId) -> Result<Vec<Territory>> {
        let runtime = self.network.known_runtime().await?;
        let prefix = items::territories_of(runtime.metadata(), owner)?;
        let at = self.network.best_hash().await?;
        let entries = self.network.entries(&prefix, at).await?;
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            items::territory(runtime.metadata(), items::territory_name(&key)?, &value)
        };
        entries.into_iter().map(read).collect()
    }

    /// `Oss.AuthorityList` of `owner`.
    pub async fn authorities(&self, owner: AccountId) -> Result<Vec<AccountId>> {
        let read = self
            .network
            .read(|md| items::authorities_key(md, owner), items::authorities)
            .await?;
        Ok(read.unwrap_or_default())
    }

    /// All registered miners.
    pub async fn miners(&self) -> Result<Vec<Miner>> {
        let runtime = self.network.known_runtime().await?;
        let at = self.network.best_hash().await?;
        let entries = self.network.entries(&items::MINERS.prefix(), at).await?;
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let miner = items::miner(runtime.metadata(), items::miner_account(&key)?, &value)?;
            Ok(self.network.with_own_endpoint(miner))
        };
        entries.into_iter().map(read).collect()
    }

    /// One miner.
    pub async fn miner(&self, account: AccountId) -> Result<Option<Miner>> {
        let read = self
            .network
            .read(
                |md| items::miner_key(md, account),
                |md, bytes| items::miner(md, account, bytes),
            )
            .await?;
        Ok(read.map(|miner| self.network.with_own_endpoint(miner)))
    }

    /// The open deal of `fid`, at the best block.
    pub async fn deal(&self, fid: Hash) -> Result<Option<Deal>> {
        self.network.deal_at(fid, None).await
    }

    /// The completed file `fid`, at the best block.
    pub async fn file(&self, fid: Hash) -> Result<Option<FileInfo>> {
        self.network.file_at(fid, None).await
    }

    /// The completed file `fid`, at the last finalised block.
    pub async fn final_file(&self, fid: Hash) -> Result<Option<FileInfo>> {
        let (_, hash) = self.network.finalised().await?;
        self.network.file_at(fid, Some(hash)).await
    }

    /// `UserHoldFileList` of `owner`: a hint. The chain's purge of one territory drops the entries
    /// of the owner's other territories too; [`Self::file`] is the truth.
    pub async fn hold_list(&self, owner: AccountId) -> Result<Vec<Hash>> {
        let read = self
            .network
            .read(|md| items::held_files_key(md, owner), items::held_files)
            .await?;
        Ok(read.unwrap_or_default())
    }
}
