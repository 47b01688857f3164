//! Types and storage of `FileBank`. Field order is wire order; spaces and sizes in bytes.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use crate::runtime::item::{Map, Value};
use crate::runtime::primitives::{AccountId32, BoundedVec, FileName, Hash, TerrName};

/// Most segments of a file.
pub const SEGMENT_COUNT: usize = 1000;
/// Fragments of a segment.
pub const FRAGMENT_COUNT: usize = 12;
/// Most owners of a file.
pub const OWNER_LIMIT: usize = 50_000;
/// Most files of a user.
pub const USER_FILE_LIMIT: usize = 500_000;

/// A segment as declared.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct SegmentList {
    pub hash: Hash,
    pub fragment_list: BoundedVec<Hash, FRAGMENT_COUNT>,
}

/// Segments as declared.
pub type DeclaredSegments = BoundedVec<SegmentList, SEGMENT_COUNT>;

/// Who owns a file, under which name, in which territory.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct UserBrief {
    pub user: AccountId32,
    pub file_name: FileName,
    pub territory_name: TerrName,
}

/// A miner that reported index 1…12.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct CompleteInfo {
    pub index: u8,
    pub miner: AccountId32,
}

/// An open deal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct DealInfo {
    pub file_size: u128,
    pub segment_list: DeclaredSegments,
    pub user: UserBrief,
    pub complete_list: BoundedVec<CompleteInfo, FRAGMENT_COUNT>,
}

/// A fragment of a complete file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct FragmentInfo {
    pub hash: Hash,
    pub avail: bool,
    pub tag: Option<u32>,
    pub miner: AccountId32,
}

/// A segment of a complete file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct SegmentInfo {
    pub hash: Hash,
    pub fragment_list: BoundedVec<FragmentInfo, FRAGMENT_COUNT>,
}

/// State of a file. Only `Active` is ever written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum FileState {
    Active,
    Calculate,
    Missing,
    Recovery,
}

/// A complete file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct FileInfo {
    pub segment_list: BoundedVec<SegmentInfo, SEGMENT_COUNT>,
    pub owner: BoundedVec<UserBrief, OWNER_LIMIT>,
    pub file_size: u128,
    pub completion: u32,
    pub stat: FileState,
}

/// One entry of a user's list. `file_size` is what the territory is charged, not the length.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct UserFileSliceInfo {
    pub territory_name: TerrName,
    pub file_hash: Hash,
    pub file_size: u128,
}

/// A lost fragment that a miner may take over.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct RestoralOrderInfo {
    pub count: u32,
    pub miner: AccountId32,
    pub origin_miner: AccountId32,
    pub fragment_hash: Hash,
    pub file_hash: Hash,
    pub gen_block: u32,
    pub deadline: u32,
}

/// One tagged fragment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct DigestInfo {
    pub fragment: Hash,
    pub tee_puk: [u8; 32],
}

/// What a TEE signs after tagging the fragments of a miner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct TagSigInfo {
    pub miner: AccountId32,
    pub digest: BoundedVec<DigestInfo, SEGMENT_COUNT>,
    pub file_hash: Hash,
}

const PALLET: &str = "FileBank";
pub const DEAL_MAP: Map<Hash, DealInfo> = Map::optional(PALLET, "DealMap");
pub const FILE: Map<Hash, FileInfo> = Map::optional(PALLET, "File");
pub const USER_HOLD_FILE_LIST: Map<AccountId32, BoundedVec<UserFileSliceInfo, USER_FILE_LIMIT>> =
    Map::defaulted(PALLET, "UserHoldFileList");
pub const RESTORAL_ORDER: Map<Hash, RestoralOrderInfo> = Map::optional(PALLET, "RestoralOrder");
pub const CLEAR_USER_LIST: Value<BoundedVec<(AccountId32, TerrName), 5000>> =
    Value::defaulted(PALLET, "ClearUserList");
pub const TASK_FAILED_COUNT: Map<AccountId32, u8> = Map::defaulted(PALLET, "TaskFailedCount");
