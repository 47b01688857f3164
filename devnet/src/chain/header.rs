//! Block headers: their SCALE form, their hash and how JSON-RPC shows them.

use parity_scale_codec::{Decode, Encode};

use crate::runtime::primitives::{Digest, DigestItem, H256};

/// Engine id of the digest item that makes two blocks of one height differ.
const ENGINE: [u8; 4] = *b"DEVN";

/// A block header. Its hash is the BLAKE2b-256 of its SCALE form.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Header {
    /// Hash of the parent.
    pub parent: H256,
    /// Number.
    #[codec(compact)]
    pub number: u32,
    /// A digest of the parent's root and this block's changes. Not a trie root: no proofs.
    pub state_root: H256,
    /// BLAKE2b-256 over the extrinsics.
    pub extrinsics_root: H256,
    /// Time of the block and the number of the fork it was made on.
    pub digest: Digest,
}

impl Header {
    /// The hash of the block.
    pub fn hash(&self) -> H256 {
        H256::of(&self.encode())
    }

    /// As `chain_getHeader` answers.
    pub fn to_json(&self) -> serde_json::Value {
        let logs: Vec<_> = self
            .digest
            .logs
            .iter()
            .map(|item| format!("0x{}", hex::encode(item.encode())))
            .collect();
        serde_json::json!({
            "parentHash": self.parent.to_text(),
            "number": format!("{:#x}", self.number),
            "stateRoot": self.state_root.to_text(),
            "extrinsicsRoot": self.extrinsics_root.to_text(),
            "digest": { "logs": logs },
        })
    }
}

/// The digest of a block made at `time` (ms since 1970) on fork `fork`.
pub fn digest(time: u64, fork: u32) -> Digest {
    Digest {
        logs: vec![DigestItem::PreRuntime(ENGINE, (time, fork).encode())],
    }
}
