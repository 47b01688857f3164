//! The chain's types, matched field by field with the live metadata.
//!
//! Encoding and decoding go by *name*: a field that a runtime adds is skipped when reading; a field
//! that it lacks is not written; a field that it lacks but this client needs is an error. So one
//! build works on runtimes that differ in what does not matter to it.

use std::collections::BTreeMap;

use subxt::ext::{scale_decode, scale_encode};
use subxt::utils::AccountId32;

use super::types::{Deal, FileInfo, FragmentInfo, Territory, TerritoryState};
use crate::codec::{FRAGMENTS, SegmentHashes};
use crate::{AccountId, Error, Hash, Result};

/// `Hash` of the chain: the hex text of a digest.
#[derive(Clone, Copy, scale_encode::EncodeAsType, scale_decode::DecodeAsType)]
#[encode_as_type(crate_path = "scale_encode")]
#[decode_as_type(crate_path = "scale_decode")]
pub(super) struct HashText([u8; 64]);

impl From<Hash> for HashText {
    fn from(hash: Hash) -> Self {
        Self(hash.to_ascii())
    }
}

impl TryFrom<HashText> for Hash {
    type Error = Error;
    fn try_from(text: HashText) -> Result<Self> {
        Self::from_ascii(&text.0)
            .ok_or_else(|| Error::Corrupt("a hash on chain that is no SHA-256 in lower-case hex".to_owned()))
    }
}

impl From<AccountId> for AccountId32 {
    fn from(account: AccountId) -> Self {
        Self(account.0)
    }
}

impl From<AccountId32> for AccountId {
    fn from(account: AccountId32) -> Self {
        Self(account.0)
    }
}

/// `SegmentList`: a declared segment.
#[derive(scale_encode::EncodeAsType, scale_decode::DecodeAsType)]
#[encode_as_type(crate_path = "scale_encode")]
#[decode_as_type(crate_path = "scale_decode")]
pub(super) struct SegmentList {
    hash: HashText,
    fragment_list: Vec<HashText>,
}

impl From<&SegmentHashes> for SegmentList {
    fn from(hashes: &SegmentHashes) -> Self {
        Self {
            hash: hashes.segment.into(),
            fragment_list: hashes.fragments.iter().map(|hash| (*hash).into()).collect(),
        }
    }
}

impl TryFrom<SegmentList> for SegmentHashes {
    type Error = Error;
    fn try_from(list: SegmentList) -> Result<Self> {
        let fragments: Vec<Hash> = list
            .fragment_list
            .into_iter()
            .map(Hash::try_from)
            .collect::<Result<_>>()?;
        let fragments = <[Hash; FRAGMENTS]>::try_from(fragments)
            .map_err(|found| Error::Corrupt(format!("a declared segment with {} fragments", found.len())))?;
        Ok(Self {
            segment: list.hash.try_into()?,
            fragments,
        })
    }
}

/// `UserBrief` as it is written.
#[derive(scale_encode::EncodeAsType)]
#[encode_as_type(crate_path = "scale_encode")]
pub(super) struct NewBrief {
    pub(super) user: AccountId32,
    pub(super) file_name: Vec<u8>,
    pub(super) territory_name: Vec<u8>,
    /// Exists before runtime 126 only, where a file had to name a bucket.
    pub(super) bucket_name: Vec<u8>,
}

/// `UserBrief` as it is read.
#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
struct Brief {
    user: AccountId32,
}

#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
struct CompleteInfo {
    index: u8,
    miner: AccountId32,
}

#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
pub(super) struct DealInfo {
    file_size: u128,
    segment_list: Vec<SegmentList>,
    user: Brief,
    complete_list: Vec<CompleteInfo>,
}

impl TryFrom<DealInfo> for Deal {
    type Error = Error;
    fn try_from(deal: DealInfo) -> Result<Self> {
        let complete: BTreeMap<u8, AccountId> = deal
            .complete_list
            .into_iter()
            .map(|entry| (entry.index, entry.miner.into()))
            .collect();
        Ok(Self {
            file_size: deal.file_size,
            segments: deal
                .segment_list
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_>>()?,
            owner: deal.user.user.into(),
            complete,
        })
    }
}

#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
struct StoredFragment {
    hash: HashText,
    avail: bool,
    tag: Option<u32>,
    miner: AccountId32,
}

#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
struct StoredSegment {
    hash: HashText,
    fragment_list: Vec<StoredFragment>,
}

#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
pub(super) struct StoredFile {
    segment_list: Vec<StoredSegment>,
    owner: Vec<Brief>,
    file_size: u128,
    completion: u32,
}

impl TryFrom<StoredFile> for FileInfo {
    type Error = Error;
    fn try_from(file: StoredFile) -> Result<Self> {
        let fragment = |stored: StoredFragment| -> Result<FragmentInfo> {
            Ok(FragmentInfo {
                hash: stored.hash.try_into()?,
                available: stored.avail,
                tag: stored.tag,
                miner: stored.miner.into(),
            })
        };
        let segment = |stored: StoredSegment| -> Result<(Hash, Vec<FragmentInfo>)> {
            let fragments = stored
                .fragment_list
                .into_iter()
                .map(fragment)
                .collect::<Result<_>>()?;
            Ok((stored.hash.try_into()?, fragments))
        };
        Ok(Self {
            segments: file
                .segment_list
                .into_iter()
                .map(segment)
                .collect::<Result<_>>()?,
            owners: file.owner.into_iter().map(|brief| brief.user.into()).collect(),
            file_size: file.file_size,
            completion: file.completion,
        })
    }
}

/// `UserFileSliceInfo`.
#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
pub(super) struct HeldFile {
    pub(super) file_hash: HashText,
}

#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
enum StoredTerritoryState {
    Active,
    Frozen,
    Expired,
    OnConsignment,
}

#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
pub(super) struct TerritoryInfo {
    token: subxt::utils::H256,
    total_space: u128,
    used_space: u128,
    locked_space: u128,
    remaining_space: u128,
    start: u32,
    deadline: u32,
    state: StoredTerritoryState,
}

impl TerritoryInfo {
    /// The name is part of the key, not of the value.
    pub(super) fn named(self, name: Vec<u8>) -> Territory {
        Territory {
            name,
            token: self.token.0,
            total_space: self.total_space,
            used_space: self.used_space,
            locked_space: self.locked_space,
            remaining_space: self.remaining_space,
            start: self.start,
            deadline: self.deadline,
            state: match self.state {
                StoredTerritoryState::Active => TerritoryState::Active,
                StoredTerritoryState::Frozen => TerritoryState::Frozen,
                StoredTerritoryState::Expired => TerritoryState::Expired,
                StoredTerritoryState::OnConsignment => TerritoryState::OnConsignment,
            },
        }
    }
}

/// `MinerInfo` but for its endpoint, which runtimes before 126 lack.
#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
pub(super) struct MinerSpace {
    pub(super) state: Vec<u8>,
    pub(super) idle_space: u128,
    pub(super) service_space: u128,
}

/// The endpoint of `MinerInfo`, where it has one.
#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
pub(super) struct MinerEndpoint {
    pub(super) endpoint: Vec<u8>,
}

#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
pub(super) struct AccountInfo {
    pub(super) data: AccountData,
}

#[derive(scale_decode::DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
pub(super) struct AccountData {
    pub(super) free: u128,
}
