//! Tags: a TEE's word that a miner's fragments can be proved.

use sha2::{Digest as _, Sha256};

use super::{Error, Event, FILE, FRAGMENT_SIZE, FileInfo, TagSigInfo};
use crate::runtime::context::Context;
use crate::runtime::extrinsic::sr25519_verify;
use crate::runtime::primitives::{AccountId32, BoundedVec, DispatchResult, Hash};
use crate::runtime::{sminer, tee_worker};
use parity_scale_codec::Encode as _;

pub(super) fn calculate_report(
    context: &mut Context<'_>,
    caller: AccountId32,
    signature: &BoundedVec<u8, 64>,
    info: TagSigInfo,
) -> DispatchResult {
    if caller != info.miner {
        return Err(Error::MinerError.into());
    }
    let signature: [u8; 64] = signature
        .0
        .as_slice()
        .try_into()
        .map_err(|_| Error::MalformedSignature)?;
    let master = tee_worker::master_key(&context.state).ok_or(Error::TeeNoPermission)?;
    let digest: [u8; 32] = Sha256::digest(info.encode()).into();
    if !sr25519_verify(&signature, &digest, &master) {
        return Err(Error::VerifyTeeSigFailed.into());
    }
    tag_miner(context, info.miner, info.file_hash)
}

/// Tags all untagged fragments of `miner`.
fn tag_miner(context: &mut Context<'_>, miner: AccountId32, file_hash: Hash) -> DispatchResult {
    let mut file = FILE.get(&context.state, &file_hash).ok_or(Error::NonExistent)?;
    let now = context.number;
    let mut tagged = 0;
    for fragment in fragments(&mut file).filter(|fragment| fragment.miner == miner && fragment.tag.is_none())
    {
        // The bloom filter of the network takes lower-case hex only.
        if !fragment
            .hash
            .0
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(Error::BugInvalid.into());
        }
        fragment.tag = Some(now);
        tagged += FRAGMENT_SIZE;
    }
    sminer::put_in_service(context, &miner, tagged)?;
    FILE.put(&mut context.state, &file_hash, &file);
    context.deposit(Event::CalculateReport { miner, file_hash });
    Ok(())
}

fn fragments(file: &mut FileInfo) -> impl Iterator<Item = &mut super::FragmentInfo> {
    file.segment_list
        .0
        .iter_mut()
        .flat_map(|segment| segment.fragment_list.0.iter_mut())
}

/// Tags every fragment of the file, as if each miner's TEE had done so.
pub fn tag_all(context: &mut Context<'_>, file_hash: Hash) -> DispatchResult {
    let mut file = FILE.get(&context.state, &file_hash).ok_or(Error::NonExistent)?;
    let miners: std::collections::BTreeSet<_> = fragments(&mut file)
        .filter(|fragment| fragment.tag.is_none())
        .map(|fragment| fragment.miner)
        .collect();
    for miner in miners {
        tag_miner(context, miner, file_hash)?;
    }
    Ok(())
}
