//! `Audit`, storage only: a devnet draws no challenges, so these read as empty.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::item::Map;
use super::primitives::{AccountId32, BoundedVec};
use super::sminer::{BloomFilter, SpaceProofInfo};

/// Index of this pallet.
pub const INDEX: u8 = 106;

/// A miner when it was challenged.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct MinerSnapShot {
    pub idle_space: u128,
    pub service_space: u128,
    pub service_bloom_filter: BloomFilter,
    pub space_proof_info: SpaceProofInfo,
    pub tee_signature: [u8; 64],
}

/// Random indices of a service proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct QElement {
    pub random_index_list: BoundedVec<u32, 1024>,
    pub random_list: BoundedVec<[u8; 20], 1024>,
}

/// What has to be proved, until when (blocks).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct ChallengeElement {
    pub start: u32,
    pub idle_slip: u32,
    pub service_slip: u32,
    pub verify_slip: u32,
    pub space_param: [u64; 8],
    pub service_param: QElement,
}

/// A proof of idle space.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct IdleProveInfo {
    pub tee_puk: [u8; 32],
    pub idle_prove: BoundedVec<u8, 256>,
    pub verify_result: Option<bool>,
}

/// A proof of service space.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct ServiceProveInfo {
    pub tee_puk: [u8; 32],
    pub service_prove: BoundedVec<u8, 2048>,
    pub verify_result: Option<bool>,
}

/// Proofs so far.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct ProveInfo {
    pub assign: u8,
    pub idle_prove: Option<IdleProveInfo>,
    pub service_prove: Option<ServiceProveInfo>,
}

/// An open challenge.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct ChallengeInfo {
    pub miner_snapshot: MinerSnapShot,
    pub challenge_element: ChallengeElement,
    pub prove_info: ProveInfo,
}

pub const COUNTED_SERVICE_FAILED: Map<AccountId32, u32> = Map::defaulted("Audit", "CountedServiceFailed");
pub const COUNTED_CLEAR: Map<AccountId32, u8> = Map::defaulted("Audit", "CountedClear");
pub const CHALLENGE_SNAP_SHOT: Map<AccountId32, ChallengeInfo> = Map::optional("Audit", "ChallengeSnapShot");
