//! The transaction pool: extrinsics waiting for a block, by signer and nonce.
//!
//! A run of nonces that begins at the account's own is *ready*; what follows a gap is *future*.
//! Ready extrinsics are offered by tip, then by arrival, never before an earlier nonce of the
//! same signer.

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::runtime::extrinsic::Signed;
use crate::runtime::primitives::{AccountId32, H256};

/// Most extrinsics that wait.
const LIMIT: usize = 8192;

/// What happens to a watched extrinsic. Shaped as `author_extrinsicUpdate` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waits for an earlier nonce.
    Future,
    /// Can go into the next block.
    Ready,
    /// In this block.
    InBlock(H256),
    /// The block it was in is not of the chain any more.
    Retracted(H256),
    /// In this block for good.
    Finalized(H256),
    /// Replaced by another with the same nonce.
    Usurped(H256),
    /// Not valid any more.
    Invalid,
}

impl Status {
    /// As `author_extrinsicUpdate` shows it.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::Future => json!("future"),
            Self::Ready => json!("ready"),
            Self::InBlock(block) => json!({ "inBlock": block.to_text() }),
            Self::Retracted(block) => json!({ "retracted": block.to_text() }),
            Self::Finalized(block) => json!({ "finalized": block.to_text() }),
            Self::Usurped(hash) => json!({ "usurped": hash.to_text() }),
            Self::Invalid => json!("invalid"),
        }
    }

    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finalized(_) | Self::Usurped(_) | Self::Invalid)
    }
}

/// Where statuses go.
pub type Watcher = UnboundedSender<Status>;

/// An extrinsic that waits.
pub struct Waiting {
    /// BLAKE2b-256 of its bytes.
    pub hash: H256,
    /// Its bytes, length prefix included.
    pub bytes: Vec<u8>,
    /// Decoded.
    pub signed: Arc<Signed>,
    /// First block that must not contain it.
    pub dies: u32,
    /// Who wants to know.
    pub watchers: Vec<Watcher>,
    was_ready: bool,
    arrival: u64,
}

impl Waiting {
    /// An extrinsic that has just arrived.
    pub fn new(bytes: Vec<u8>, signed: Signed, dies: u32) -> Self {
        Self {
            hash: H256::of(&bytes),
            bytes,
            signed: Arc::new(signed),
            dies,
            watchers: Vec::new(),
            was_ready: false,
            arrival: 0,
        }
    }

    /// Tells every watcher.
    pub fn tell(&mut self, status: &Status) {
        self.watchers
            .retain(|watcher| watcher.send(status.clone()).is_ok());
    }
}

/// Why the pool does not take an extrinsic.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is in the pool.
    Known,
    /// Another with the same nonce pays at least as much: (its tip, this one's).
    Priority(u128, u128),
    /// No room.
    Full,
}

/// The pool.
#[derive(Default)]
pub struct Pool {
    by_signer: HashMap<AccountId32, BTreeMap<u32, Waiting>>,
    count: usize,
    arrivals: u64,
}

impl Pool {
    /// Adds an extrinsic; a higher tip replaces one with the same nonce.
    pub fn add(&mut self, mut waiting: Waiting, account_nonce: u32) -> Result<(), Refused> {
        let line = self.by_signer.entry(waiting.signed.signer).or_default();
        let nonce = waiting.signed.nonce;
        if let Some(other) = line.get_mut(&nonce) {
            if other.hash == waiting.hash {
                return Err(Refused::Known);
            }
            if other.signed.tip >= waiting.signed.tip {
                return Err(Refused::Priority(other.signed.tip, waiting.signed.tip));
            }
            other.tell(&Status::Usurped(waiting.hash));
        } else if self.count >= LIMIT {
            return Err(Refused::Full);
        } else {
            self.count += 1;
        }
        self.arrivals += 1;
        waiting.arrival = self.arrivals;
        line.insert(nonce, waiting);
        let mut ready = account_nonce;
        for (at, waiting) in line.range_mut(account_nonce..) {
            if *at == ready {
                ready += 1;
                if !waiting.was_ready {
                    waiting.was_ready = true;
                    waiting.tell(&Status::Ready);
                }
            } else if *at == nonce {
                waiting.tell(&Status::Future);
            }
        }
        Ok(())
    }

    /// Everything ready, in the order of a block. `nonce_of` answers the account's next nonce.
    pub fn ready(&self, nonce_of: impl Fn(&AccountId32) -> u32) -> Vec<(AccountId32, u32)> {
        let mut heads = BinaryHeap::new();
        let head = |signer: AccountId32, nonce: u32| {
            let waiting = self.by_signer.get(&signer)?.get(&nonce)?;
            Some((
                waiting.signed.tip,
                std::cmp::Reverse(waiting.arrival),
                signer,
                nonce,
            ))
        };
        for signer in self.by_signer.keys() {
            heads.extend(head(*signer, nonce_of(signer)));
        }
        let mut out = Vec::new();
        while let Some((_, _, signer, nonce)) = heads.pop() {
            out.push((signer, nonce));
            heads.extend(nonce.checked_add(1).and_then(|next| head(signer, next)));
        }
        out
    }

    /// One that waits.
    pub fn get(&self, signer: &AccountId32, nonce: u32) -> Option<&Waiting> {
        self.by_signer.get(signer)?.get(&nonce)
    }

    /// Takes one out.
    pub fn take(&mut self, signer: &AccountId32, nonce: u32) -> Option<Waiting> {
        let line = self.by_signer.get_mut(signer)?;
        let taken = line.remove(&nonce)?;
        self.count -= 1;
        if line.is_empty() {
            self.by_signer.remove(signer);
        }
        Some(taken)
    }

    /// Drops what block `number` must not contain, and what a used nonce makes stale.
    pub fn expire(&mut self, number: u32, nonce_of: impl Fn(&AccountId32) -> u32) {
        for (signer, line) in &mut self.by_signer {
            let nonce = nonce_of(signer);
            line.retain(|at, waiting| {
                let keep = waiting.dies > number && *at >= nonce;
                if !keep {
                    waiting.tell(&Status::Invalid);
                    self.count -= 1;
                }
                keep
            });
        }
        self.by_signer.retain(|_, line| !line.is_empty());
    }

    /// The first nonce of `signer` at or after `nonce` that is not in the pool.
    pub fn next_free(&self, signer: &AccountId32, nonce: u32) -> u32 {
        let waiting = self
            .by_signer
            .get(signer)
            .into_iter()
            .flat_map(|line| line.range(nonce..));
        waiting
            .zip(nonce..)
            .take_while(|((at, _), free)| *at == free)
            .fold(nonce, |_, (_, free)| free + 1)
    }

    /// Bytes of all that is ready or not, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Waiting> {
        self.by_signer.values().flat_map(|line| line.values())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
