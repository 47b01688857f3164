//! The miners' `/fragment` HTTP protocol, with everything that comes back verified.
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::{Hash, Result};

/// Signs and sends fragment requests. Cheap to clone; keeps connections.
#[derive(Clone)]
pub struct MinerClient {}

impl MinerClient {
    /// `key` is a throw-away key: miners accept any sr25519 signature.
    pub fn new(key: subxt_signer::sr25519::Keypair, timeout: Duration) -> Result<Self> {
        let _ = (key, timeout);
        todo!()
    }
    /// Pushes one fragment. An all-zero fragment is sent as an empty part (the miner makes it itself).
    pub async fn put(&self, endpoint: &str, fid: Hash, fragment: Hash, data: Bytes) -> Result<()> {
        let _ = (endpoint, fid, fragment, data);
        todo!()
    }
    /// Fetches one whole fragment; length and SHA-256 are checked.
    pub async fn get(&self, endpoint: &str, fid: Hash, fragment: Hash) -> Result<Bytes> {
        let _ = (endpoint, fid, fragment);
        todo!()
    }
    /// Fetches bytes `range` of a fragment. Only the length is checked: authenticate what you read.
    pub async fn get_range(
        &self,
        endpoint: &str,
        fid: Hash,
        fragment: Hash,
        range: Range<u32>,
    ) -> Result<Bytes> {
        let _ = (endpoint, fid, fragment, range);
        todo!()
    }
    /// `signature_acc` of `GET /status`: whether the miner lives and who it says it is.
    pub async fn status(&self, endpoint: &str) -> Result<String> {
        let _ = endpoint;
        todo!()
    }
}
