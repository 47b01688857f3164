//! `FileBank`: storage deals and the files they become.
//!
//! A declaration locks space of a territory and opens a deal. Twelve distinct miners each report
//! one distinct index; the twelfth report makes the file. Known defects of the network are kept:
//! a second declaration overwrites an open deal and leaks its lock, deletion by a non-owner emits
//! the event, the purge forgets entries of other territories.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::context::Context;
use super::oss;
use super::primitives::{AccountId32, BoundedVec, DispatchResult, Hash, Origin, TerrName};

mod deal;
mod file;
mod purge;
mod restoral;
mod tag;
pub mod types;

pub(super) use purge::{on_initialize, schedule_purge};
pub use types::*;

/// Index of this pallet.
pub const INDEX: u8 = 104;
/// Shortest file name in bytes.
pub const NAME_MIN_LENGTH: usize = 3;
/// Bytes of a fragment.
pub const FRAGMENT_SIZE: u128 = 8 << 20;
/// Bytes that one segment is charged, whatever is in it.
pub const SEGMENT_CHARGE: u128 = FRAGMENT_COUNT as u128 * FRAGMENT_SIZE;
/// Blocks that a claimed restoral order is reserved.
pub const RESTORAL_ORDER_LIFE: u32 = 250;

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Call {
    #[codec(index = 0)]
    upload_declaration {
        file_hash: Hash,
        deal_info: DeclaredSegments,
        user_brief: UserBrief,
        file_size: u128,
    },
    #[codec(index = 1)]
    calculate_report {
        tee_sig: BoundedVec<u8, 64>,
        tag_sig_info: TagSigInfo,
    },
    #[codec(index = 2)]
    territory_file_delivery {
        user: AccountId32,
        file_hash: Hash,
        target_territory: TerrName,
    },
    #[codec(index = 3)]
    transfer_report { index: u8, deal_hash: Hash },
    #[codec(index = 6)]
    delete_file { owner: AccountId32, file_hash: Hash },
    #[codec(index = 13)]
    generate_restoral_order {
        file_hash: Hash,
        restoral_fragment: Hash,
    },
    #[codec(index = 14)]
    claim_restoral_order { restoral_fragment: Hash },
    #[codec(index = 15)]
    claim_restoral_noexist_order {
        miner: AccountId32,
        file_hash: Hash,
        restoral_fragment: Hash,
    },
    #[codec(index = 16)]
    restoral_order_complete { fragment_hash: Hash },
    #[codec(index = 22)]
    root_clear_file { owner: AccountId32, file_hash: Hash },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Event {
    UploadDeclaration {
        operator: AccountId32,
        owner: AccountId32,
        deal_hash: Hash,
    },
    TransferReport {
        acc: AccountId32,
        deal_hash: Hash,
    },
    DeleteFile {
        operator: AccountId32,
        owner: AccountId32,
        file_hash: Hash,
    },
    ReplaceFiller {
        acc: AccountId32,
        filler_list: Vec<Hash>,
    },
    IdleSpaceCert {
        acc: AccountId32,
        space: u128,
    },
    ReplaceIdleSpace {
        acc: AccountId32,
        space: u128,
    },
    GenerateRestoralOrder {
        miner: AccountId32,
        fragment_hash: Hash,
    },
    ClaimRestoralOrder {
        miner: AccountId32,
        order_id: Hash,
    },
    RecoveryCompleted {
        miner: AccountId32,
        order_id: Hash,
    },
    StorageCompleted {
        file_hash: Hash,
    },
    CalculateReport {
        miner: AccountId32,
        file_hash: Hash,
    },
    TerritoryFileDelivery {
        file_hash: Hash,
        new_territory: TerrName,
    },
}

pallet_errors!(INDEX;
    Existed, FileExistent, FileNonExistent, Overflow, NotOwner, ScheduleNonExistent, BoundedVecError,
    StorageLimitReached, MinerPowerInsufficient, NotEmpty, Locked, LengthExceedsLimit, BugInvalid,
    ConvertHashError, NoPermission, NonExistent, Unexpected, LessMinLength, Unprepared, IsOwned, SpecError,
    PanicOverflow, InsufficientAvailableSpace, Calculate, MinerStateError, Expired, VerifyTeeSigFailed,
    TeeNoPermission, DigestError, MalformedSignature, MinerError, RulesNotAllowed, NotActive,
);

/// Bytes that `segments` segments are charged.
pub const fn charge(segments: usize) -> u128 {
    segments as u128 * SEGMENT_CHARGE
}

fn ensure_may_act(context: &Context<'_>, operator: &AccountId32, owner: &AccountId32) -> DispatchResult {
    if oss::may_act(&context.state, operator, owner) {
        Ok(())
    } else {
        Err(Error::NoPermission.into())
    }
}

impl Call {
    pub(super) fn dispatch(self, context: &mut Context<'_>, origin: Origin) -> DispatchResult {
        match self {
            Self::upload_declaration {
                file_hash,
                deal_info,
                user_brief,
                file_size,
            } => {
                let operator = origin.signed()?;
                ensure_may_act(context, &operator, &user_brief.user)?;
                deal::declare(context, operator, file_hash, deal_info, user_brief, file_size)
            }
            Self::transfer_report { index, deal_hash } => {
                deal::report(context, origin.signed()?, index, deal_hash)
            }
            Self::calculate_report {
                tee_sig,
                tag_sig_info,
            } => tag::calculate_report(context, origin.signed()?, &tee_sig, tag_sig_info),
            Self::territory_file_delivery {
                user,
                file_hash,
                target_territory,
            } => {
                ensure_may_act(context, &origin.signed()?, &user)?;
                file::deliver(context, user, file_hash, target_territory)
            }
            Self::delete_file { owner, file_hash } => {
                let operator = origin.signed()?;
                ensure_may_act(context, &operator, &owner)?;
                file::delete(context, operator, owner, file_hash)
            }
            Self::root_clear_file { owner, file_hash } => {
                origin.root()?;
                file::delete(context, owner, owner, file_hash)
            }
            Self::generate_restoral_order {
                file_hash,
                restoral_fragment,
            } => restoral::generate(context, origin.signed()?, file_hash, restoral_fragment),
            Self::claim_restoral_order { restoral_fragment } => {
                restoral::claim(context, origin.signed()?, restoral_fragment)
            }
            Self::claim_restoral_noexist_order {
                miner,
                file_hash,
                restoral_fragment,
            } => restoral::claim_of_leaver(context, origin.signed()?, miner, file_hash, restoral_fragment),
            Self::restoral_order_complete { fragment_hash } => {
                restoral::complete(context, origin.signed()?, fragment_hash)
            }
        }
    }
}

pub use tag::tag_all;
