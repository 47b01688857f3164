//! `System`: accounts, block facts, events, remarks.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::context::Context;
use super::item::{Map, Value};
use super::primitives::{
    AccountId32, Digest, DispatchError, DispatchEventInfo, DispatchResult, H256, Origin, PerDispatchClass,
    Phase, Weight,
};

/// Index of this pallet.
pub const INDEX: u8 = 0;

/// Balance flags, opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct ExtraFlags(pub u128);

impl Default for ExtraFlags {
    fn default() -> Self {
        // "New logic" bit of the balances pallet.
        Self(1 << 127)
    }
}

/// Balances in planck (10^-18 TCESS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct AccountData {
    pub free: u128,
    pub reserved: u128,
    pub frozen: u128,
    pub flags: ExtraFlags,
}

/// An account: nonce, reference counts, balances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct AccountInfo {
    pub nonce: u32,
    pub consumers: u32,
    pub providers: u32,
    pub sufficients: u32,
    pub data: AccountData,
}

/// An event and where it happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct EventRecord {
    pub phase: Phase,
    pub event: super::call::RuntimeEvent,
    pub topics: Vec<H256>,
}

pub const ACCOUNT: Map<AccountId32, AccountInfo> = Map::defaulted("System", "Account");
pub const BLOCK_WEIGHT: Value<PerDispatchClass<Weight>> = Value::defaulted("System", "BlockWeight");
pub const BLOCK_HASH: Map<u32, H256> = Map::defaulted("System", "BlockHash").twox();
pub const NUMBER: Value<u32> = Value::defaulted("System", "Number");
pub const PARENT_HASH: Value<H256> = Value::defaulted("System", "ParentHash");
pub const DIGEST: Value<Digest> = Value::defaulted("System", "Digest");
pub const EVENTS: Value<Vec<EventRecord>> = Value::defaulted("System", "Events");
pub const EVENT_COUNT: Value<u32> = Value::defaulted("System", "EventCount");

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Call {
    #[codec(index = 0)]
    remark { remark: Vec<u8> },
    #[codec(index = 7)]
    remark_with_event { remark: Vec<u8> },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Event {
    ExtrinsicSuccess {
        dispatch_info: DispatchEventInfo,
    },
    ExtrinsicFailed {
        dispatch_error: DispatchError,
        dispatch_info: DispatchEventInfo,
    },
    CodeUpdated,
    NewAccount {
        account: AccountId32,
    },
    KilledAccount {
        account: AccountId32,
    },
    Remarked {
        sender: AccountId32,
        hash: H256,
    },
    UpgradeAuthorized {
        code_hash: H256,
        check_version: bool,
    },
}

pallet_errors!(INDEX;
    InvalidSpecName, SpecVersionNeedsToIncrease, FailedToExtractRuntimeVersion, NonDefaultComposite,
    NonZeroRefCount, CallFiltered, MultiBlockMigrationsOngoing, NothingAuthorized, Unauthorized,
);

impl Call {
    pub(super) fn dispatch(self, context: &mut Context<'_>, origin: Origin) -> DispatchResult {
        match self {
            Self::remark { .. } => Ok(()),
            Self::remark_with_event { remark } => {
                let sender = origin.signed()?;
                context.deposit(Event::Remarked {
                    sender,
                    hash: H256::of(&remark),
                });
                Ok(())
            }
        }
    }
}
