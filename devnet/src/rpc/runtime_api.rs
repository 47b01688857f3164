//! `state_call`: the runtime APIs.

use parity_scale_codec::{Decode, Encode};

use super::{Answer, invalid, unknown_block};
use crate::chain::{Node, SubmitError};
use crate::runtime::execute::{self, Invalid};
use crate::runtime::extrinsic;
use crate::runtime::metadata::{self, RuntimeDispatchInfo};
use crate::runtime::primitives::{AccountId32, DispatchClass, H256, Weight};
use crate::runtime::transaction_payment::{BASE_EXTRINSIC_WEIGHT, fee};
use crate::runtime::version::version;

/// What `TaggedTransactionQueue.validate_transaction` answers for a valid extrinsic.
#[derive(Encode)]
struct ValidTransaction {
    priority: u64,
    requires: Vec<Vec<u8>>,
    provides: Vec<Vec<u8>>,
    longevity: u64,
    propagate: bool,
}

/// Calls `method` with SCALE `input` on the state at `at`.
pub(super) fn call(node: &Node, method: &str, mut input: &[u8], at: Option<H256>) -> Answer<Vec<u8>> {
    let bad = |error: parity_scale_codec::Error| invalid(format!("{method}: {error}"));
    Ok(match method {
        "Core_version" => version().encode(),
        "Metadata_metadata" => metadata::encoded(14).unwrap_or_default().encode(),
        "Metadata_metadata_versions" => metadata::VERSIONS.to_vec().encode(),
        "Metadata_metadata_at_version" => {
            let version = u32::decode(&mut input).map_err(bad)?;
            metadata::encoded(version).encode()
        }
        "AccountNonceApi_account_nonce" => {
            let account = AccountId32::decode(&mut input).map_err(bad)?;
            node.view(at, |view| execute::next_nonce(view, &account))
                .ok_or_else(|| unknown_block(at))?
                .encode()
        }
        "TransactionPaymentApi_query_info" => {
            // The extrinsic, then its length.
            let Some(split) = input.len().checked_sub(4) else {
                return Err(invalid("TransactionPaymentApi_query_info: too short"));
            };
            dispatch_info(&input[..split])?.encode()
        }
        "TaggedTransactionQueue_validate_transaction" => {
            // One byte of source, the extrinsic, the hash of the block.
            let Some(split) = input.len().checked_sub(32).filter(|split| *split >= 1) else {
                return Err(invalid("TaggedTransactionQueue_validate_transaction: too short"));
            };
            validity(node, &input[1..split])?.encode()
        }
        _ => {
            return Err(invalid(format!(
                "Execution failed: Runtime function {method} is not exported"
            )));
        }
    })
}

/// Weight and fee of an extrinsic.
pub(super) fn dispatch_info(bytes: &[u8]) -> Answer<RuntimeDispatchInfo> {
    let signed = extrinsic::decode(bytes).map_err(|error| invalid(error.to_string()))?;
    let weight = signed.call.weight();
    Ok(RuntimeDispatchInfo {
        weight: Weight {
            ref_time: weight + BASE_EXTRINSIC_WEIGHT,
            proof_size: 0,
        },
        class: DispatchClass::Normal,
        partial_fee: fee(weight, bytes.len()),
    })
}

/// `Result<ValidTransaction, TransactionValidityError>` in its SCALE form.
fn validity(node: &Node, bytes: &[u8]) -> Answer<Result<ValidTransaction, (u8, u8)>> {
    match node.judge(bytes) {
        Ok((signed, number)) => {
            let tag = |nonce: u32| (signed.signer, nonce).encode();
            let next = node
                .view(None, |view| execute::next_nonce(view, &signed.signer))
                .unwrap_or_default();
            let requires = if signed.nonce > next {
                vec![tag(signed.nonce - 1)]
            } else {
                vec![]
            };
            Ok(Ok(ValidTransaction {
                priority: u64::try_from(signed.tip).unwrap_or(u64::MAX),
                requires,
                provides: vec![tag(signed.nonce)],
                longevity: u64::from(signed.era.death(number).saturating_sub(number)),
                propagate: true,
            }))
        }
        // TransactionValidityError::Invalid(InvalidTransaction): indices of sp_runtime.
        Err(SubmitError::Invalid(reason)) => Ok(Err((
            0,
            match reason {
                Invalid::Payment => 1,
                Invalid::Future => 2,
                Invalid::Stale => 3,
                Invalid::BadProof => 4,
                Invalid::AncientBirthBlock => 5,
                Invalid::ExhaustsResources => 6,
            },
        ))),
        Err(error) => Err(invalid(error.to_string())),
    }
}
