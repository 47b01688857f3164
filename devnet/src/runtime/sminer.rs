//! `Sminer`: storage miners, their state and their space (bytes).
//!
//! A miner of the real network becomes positive by proving idle space to a TEE. Devnet miners
//! are positive from genesis, or by an operator's call (see [`crate::chain::Operation`]).

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::balances;
use super::context::Context;
use super::item::{Map, Value};
use super::primitives::{AccountId32, BoundedVec, DispatchResult, EndPoint, Origin};

/// Index of this pallet.
pub const INDEX: u8 = 105;
/// Most miners.
pub const ITEM_LIMIT: usize = 200_000;
/// Collateral per TiB of declared space, in planck.
pub const COLLATERAL_PER_TIB: u128 = 4_000_000_000_000_000_000_000;
/// Bytes in a TiB.
pub const TIB: u128 = 1 << 40;

/// State of a miner that may report.
pub const POSITIVE: &[u8] = b"positive";
/// State of a miner that has registered and proved nothing yet.
pub const NOT_READY: &[u8] = b"not ready";
/// State of a miner that gave notice.
pub const LOCK: &[u8] = b"lock";

/// Public key of an idle-space proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct PoISKey {
    pub g: [u8; 256],
    pub n: [u8; 256],
}

/// State of an idle-space proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct SpaceProofInfo {
    pub miner: AccountId32,
    pub front: u64,
    pub rear: u64,
    pub pois_key: PoISKey,
    pub accumulator: [u8; 256],
}

/// Bloom filter over the fragments in service.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct BloomFilter(pub [u64; 256]);

/// A miner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct MinerInfo {
    pub beneficiary: AccountId32,
    pub staking_account: AccountId32,
    pub endpoint: EndPoint,
    pub collaterals: u128,
    pub debt: u128,
    pub state: BoundedVec<u8, 20>,
    pub declaration_space: u128,
    pub idle_space: u128,
    pub service_space: u128,
    pub lock_space: u128,
    pub space_proof_info: Option<SpaceProofInfo>,
    pub service_bloom_filter: BloomFilter,
    pub tee_signature: [u8; 64],
}

impl MinerInfo {
    /// A miner as genesis or registration makes it.
    pub fn new(account: AccountId32, endpoint: EndPoint, state: &[u8], declared: u128, idle: u128) -> Self {
        Self {
            beneficiary: account,
            staking_account: account,
            endpoint,
            collaterals: declared.div_ceil(TIB) * COLLATERAL_PER_TIB,
            debt: 0,
            state: BoundedVec(state.to_vec()),
            declaration_space: declared,
            idle_space: idle,
            service_space: 0,
            lock_space: 0,
            space_proof_info: None,
            service_bloom_filter: BloomFilter([0; 256]),
            tee_signature: [0; 64],
        }
    }
}

/// A miner that left: its fragments may be claimed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct RestoralTargetInfo {
    pub miner: AccountId32,
    pub service_space: u128,
    pub restored_space: u128,
    pub cooling_block: u32,
}

pub const MINER_ITEMS: Map<AccountId32, MinerInfo> = Map::optional("Sminer", "MinerItems");
pub const COUNTER_FOR_MINER_ITEMS: Value<u32> = Value::defaulted("Sminer", "CounterForMinerItems");
pub const ALL_MINER: Value<BoundedVec<AccountId32, ITEM_LIMIT>> = Value::defaulted("Sminer", "AllMiner");
pub const MINER_LOCK: Map<AccountId32, u32> = Map::optional("Sminer", "MinerLock");
pub const RESTORAL_TARGET: Map<AccountId32, RestoralTargetInfo> = Map::optional("Sminer", "RestoralTarget");
pub const STAKING_START_BLOCK: Map<AccountId32, u32> = Map::optional("Sminer", "StakingStartBlock");

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Call {
    #[codec(index = 0)]
    regnstk {
        beneficiary: AccountId32,
        endpoint: EndPoint,
        staking_val: u128,
        tib_count: u32,
    },
    #[codec(index = 1)]
    increase_collateral {
        miner: AccountId32,
        #[codec(compact)]
        collaterals: u128,
    },
    #[codec(index = 2)]
    update_beneficiary { beneficiary: AccountId32 },
    #[codec(index = 3)]
    update_endpoint { endpoint: EndPoint },
    #[codec(index = 7)]
    miner_exit_prep { miner: AccountId32 },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Event {
    Registered {
        acc: AccountId32,
    },
    RegisterPoisKey {
        miner: AccountId32,
    },
    DrawFaucetMoney,
    FaucetTopUpMoney {
        acc: AccountId32,
    },
    LessThan24Hours {
        last: u32,
        now: u32,
    },
    AlreadyFrozen {
        acc: AccountId32,
    },
    IncreaseCollateral {
        acc: AccountId32,
        balance: u128,
    },
    Deposit {
        balance: u128,
    },
    UpdateBeneficiary {
        acc: AccountId32,
        new: AccountId32,
    },
    UpdateEndPoint {
        acc: AccountId32,
        old: EndPoint,
        new: EndPoint,
    },
    Receive {
        acc: AccountId32,
        reward: u128,
    },
    MinerExitPrep {
        miner: AccountId32,
    },
    Withdraw {
        acc: AccountId32,
    },
    IncreaseDeclarationSpace {
        miner: AccountId32,
        space: u128,
    },
    DecreaseDeclarationSpace {
        miner: AccountId32,
        space: u128,
    },
}

pallet_errors!(INDEX;
    NotMiner, AlreadyRegistered, Overflow, NotExisted, LessThan24Hours, ConversionError, AlreadyFrozen,
    NotpositiveState, StorageLimitReached, BoundedVecError, DataNotExist, Unexpected, VerifyTeeSigFailed,
    CountError, StateError, BloomElemPushError, CollateralNotUp, NotStakingAcc, BugInvalid,
    InsufficientStakingPeriod, ExceedingDeclarationSpace, InsufficientReplaceable, MalformedSignature,
    NotSetWhite, WrongOrigin, ExceedRelease, UnableReduceDeclaration,
);

fn existing(context: &Context<'_>, miner: &AccountId32) -> DispatchResult<MinerInfo> {
    MINER_ITEMS
        .get(&context.state, miner)
        .ok_or_else(|| Error::NotMiner.into())
}

fn change(
    context: &mut Context<'_>,
    miner: &AccountId32,
    body: impl FnOnce(&mut MinerInfo) -> Option<()>,
) -> DispatchResult {
    let mut info = existing(context, miner)?;
    body(&mut info).ok_or(Error::Overflow)?;
    MINER_ITEMS.put(&mut context.state, miner, &info);
    Ok(())
}

/// Whether reports of `miner` are accepted; `NotMiner` where it is none.
pub fn is_positive(context: &Context<'_>, miner: &AccountId32) -> DispatchResult<bool> {
    Ok(existing(context, miner)?.state.0 == POSITIVE)
}

/// Idle → locked: the miner reported fragments.
pub fn lock(context: &mut Context<'_>, miner: &AccountId32, bytes: u128) -> DispatchResult {
    change(context, miner, |info| {
        info.idle_space = info.idle_space.checked_sub(bytes)?;
        info.lock_space = info.lock_space.checked_add(bytes)?;
        Some(())
    })
}

/// Locked → idle: what was reported is not needed after all.
pub fn unlock(context: &mut Context<'_>, miner: &AccountId32, bytes: u128) -> DispatchResult {
    change(context, miner, |info| {
        info.lock_space = info.lock_space.checked_sub(bytes)?;
        info.idle_space = info.idle_space.checked_add(bytes)?;
        Some(())
    })
}

/// Locked → service: the fragments are tagged, thus provable.
pub fn put_in_service(context: &mut Context<'_>, miner: &AccountId32, bytes: u128) -> DispatchResult {
    change(context, miner, |info| {
        info.lock_space = info.lock_space.checked_sub(bytes)?;
        info.service_space = info.service_space.checked_add(bytes)?;
        Some(())
    })
}

/// Tagged fragments are gone: their space leaves service and has to be proved idle anew.
pub fn take_out_of_service(context: &mut Context<'_>, miner: &AccountId32, bytes: u128) -> DispatchResult {
    change(context, miner, |info| {
        info.service_space = info.service_space.checked_sub(bytes)?;
        Some(())
    })
}

/// Idle → service: the miner took a lost fragment over.
pub fn adopt(context: &mut Context<'_>, miner: &AccountId32, bytes: u128) -> DispatchResult {
    change(context, miner, |info| {
        info.idle_space = info.idle_space.checked_sub(bytes)?;
        info.service_space = info.service_space.checked_add(bytes)?;
        Some(())
    })
}

/// Adds a miner. `AlreadyRegistered` where there is one.
pub fn register(context: &mut Context<'_>, account: AccountId32, info: &MinerInfo) -> DispatchResult {
    if MINER_ITEMS.contains(&context.state, &account) {
        return Err(Error::AlreadyRegistered.into());
    }
    MINER_ITEMS.put(&mut context.state, &account, info);
    COUNTER_FOR_MINER_ITEMS.mutate(&mut context.state, |count| *count += 1);
    STAKING_START_BLOCK.put(&mut context.state, &account, &context.number);
    context.deposit(Event::Registered { acc: account });
    Ok(())
}

/// Lists a miner among those that finished registration.
pub fn list(context: &mut Context<'_>, account: AccountId32) -> DispatchResult {
    let mut all = ALL_MINER.value(&context.state);
    if !all.0.contains(&account) {
        all.try_push(account).map_err(|_| Error::StorageLimitReached)?;
        ALL_MINER.put(&mut context.state, &all);
    }
    Ok(())
}

impl Call {
    pub(super) fn dispatch(self, context: &mut Context<'_>, origin: Origin) -> DispatchResult {
        let caller = origin.signed()?;
        match self {
            Self::regnstk {
                beneficiary,
                endpoint,
                staking_val,
                tib_count,
            } => {
                let declared = u128::from(tib_count) * TIB;
                let needed = u128::from(tib_count) * COLLATERAL_PER_TIB;
                if staking_val < needed {
                    return Err(Error::CollateralNotUp.into());
                }
                let mut info = MinerInfo::new(caller, endpoint, NOT_READY, declared, 0);
                info.beneficiary = beneficiary;
                info.collaterals = staking_val;
                register(context, caller, &info)?;
                balances::reserve(context, &caller, staking_val)
            }
            Self::increase_collateral { miner, collaterals } => {
                balances::reserve(context, &caller, collaterals)?;
                change(context, &miner, |info| {
                    info.collaterals = info.collaterals.checked_add(collaterals)?;
                    Some(())
                })?;
                let balance = existing(context, &miner)?.collaterals;
                context.deposit(Event::IncreaseCollateral { acc: miner, balance });
                Ok(())
            }
            Self::update_beneficiary { beneficiary } => {
                change(context, &caller, |info| {
                    info.beneficiary = beneficiary;
                    Some(())
                })?;
                context.deposit(Event::UpdateBeneficiary {
                    acc: caller,
                    new: beneficiary,
                });
                Ok(())
            }
            Self::update_endpoint { endpoint } => {
                let old = existing(context, &caller)?.endpoint;
                let new = endpoint.clone();
                change(context, &caller, |info| {
                    info.endpoint = endpoint;
                    Some(())
                })?;
                context.deposit(Event::UpdateEndPoint {
                    acc: caller,
                    old,
                    new,
                });
                Ok(())
            }
            Self::miner_exit_prep { miner } => {
                let info = existing(context, &miner)?;
                if caller != miner && caller != info.staking_account {
                    return Err(Error::NotStakingAcc.into());
                }
                if info.state.0 != POSITIVE {
                    return Err(Error::StateError.into());
                }
                change(context, &miner, |info| {
                    info.state = BoundedVec(LOCK.to_vec());
                    Some(())
                })?;
                let until = context
                    .number
                    .saturating_add(15 * super::storage_handler::ONE_DAY);
                MINER_LOCK.put(&mut context.state, &miner, &until);
                context.deposit(Event::MinerExitPrep { miner });
                Ok(())
            }
        }
    }
}
