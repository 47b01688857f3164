//! Taking extrinsics into the pool, and saying why not, as a Substrate node says it.

use super::node::Node;
use super::pool::{Refused, Waiting, Watcher};
use crate::runtime::execute::{self, Chain, Invalid};
use crate::runtime::extrinsic::{self, DecodeError};
use crate::runtime::primitives::H256;

/// Why an extrinsic was not taken. [`SubmitError::code`] is the JSON-RPC code.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The bytes are no extrinsic.
    #[error("Extrinsic has invalid format: {0}")]
    Format(#[from] DecodeError),
    /// It is one that no block may contain now.
    #[error("Invalid Transaction")]
    Invalid(Invalid),
    /// It is in the pool.
    #[error("Transaction Already Imported")]
    Known,
    /// One with the same nonce pays at least as much.
    #[error("Priority is too low: ({0} vs {1})")]
    Priority(u128, u128),
    /// The pool is full.
    #[error("Immediately Dropped")]
    Full,
}

impl SubmitError {
    /// The code a Substrate node answers.
    pub fn code(&self) -> i32 {
        match self {
            Self::Format(_) => 1001,
            Self::Invalid(_) => 1010,
            Self::Known => 1013,
            Self::Priority(..) => 1014,
            Self::Full => 1016,
        }
    }

    /// The `data` a Substrate node adds.
    pub fn data(&self) -> Option<&'static str> {
        let Self::Invalid(reason) = self else { return None };
        Some(match reason {
            Invalid::Stale => "Transaction is outdated",
            Invalid::Future => "Transaction will be valid in the future",
            Invalid::BadProof => "Transaction has a bad signature",
            Invalid::Payment => "Inability to pay some fees (e.g. account balance too low)",
            Invalid::AncientBirthBlock => "Transaction has an ancient birth block",
            Invalid::ExhaustsResources => "Transaction would exhaust the block limits",
        })
    }
}

impl Node {
    /// Takes an extrinsic (length prefix included) into the pool; answers its hash.
    pub fn submit(&self, bytes: Vec<u8>, watcher: Option<Watcher>) -> Result<H256, SubmitError> {
        let (signed, number) = self.judge(&bytes)?;
        let dies = signed.era.death(number);
        let mut waiting = Waiting::new(bytes, signed, dies);
        waiting.watchers.extend(watcher);
        let hash = waiting.hash;
        {
            let state = self.state.read();
            let nonce = execute::next_nonce(&state.raw, &waiting.signed.signer);
            if waiting.signed.nonce < nonce {
                return Err(SubmitError::Invalid(Invalid::Stale));
            }
            self.pool
                .lock()
                .add(waiting, nonce)
                .map_err(|refused| match refused {
                    Refused::Known => SubmitError::Known,
                    Refused::Priority(old, new) => SubmitError::Priority(old, new),
                    Refused::Full => SubmitError::Full,
                })?;
        }
        self.nudge();
        Ok(hash)
    }

    /// Checks an extrinsic against the best block, the nonce excepted where it is too high.
    /// Answers it with the number of the next block.
    pub fn judge(&self, bytes: &[u8]) -> Result<(extrinsic::Signed, u32), SubmitError> {
        if bytes.len() > extrinsic::MAX_LENGTH {
            return Err(SubmitError::Invalid(Invalid::ExhaustsResources));
        }
        let signed = extrinsic::decode(bytes)?;
        let state = self.state.read();
        let number = state.best() + 1;
        let nonce = execute::next_nonce(&state.raw, &signed.signer);
        let hash_of = |number| state.hash_of(number);
        let chain = Chain {
            genesis: self.genesis_hash(),
            number,
            hash_of: &hash_of,
        };
        if signed.nonce < nonce {
            return Err(SubmitError::Invalid(Invalid::Stale));
        }
        execute::check_form(chain, &signed, bytes.len()).map_err(SubmitError::Invalid)?;
        execute::check_payment(&state.raw, &signed, bytes.len()).map_err(SubmitError::Invalid)?;
        Ok((signed, number))
    }

    /// The nonce a new extrinsic of `account` should carry, counting those in the pool.
    pub fn next_index(&self, account: &crate::runtime::primitives::AccountId32) -> u32 {
        let state = self.state.read();
        let nonce = execute::next_nonce(&state.raw, account);
        self.pool.lock().next_free(account, nonce)
    }
}
