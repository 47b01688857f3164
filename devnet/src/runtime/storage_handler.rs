//! `StorageHandler`: territories, the leases of space that pay for files.
//!
//! A lease is Active until its deadline block, then Frozen (no new files), and seven days later
//! Expired: its files are purged by `FileBank`. The deadlines are kept in two schedules keyed by
//! block, read in [`on_initialize`].

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::context::Context;
use super::primitives::{AccountId32, BoundedVec, DispatchResult, H256, Origin, TerrName};

mod consignment;
mod lease;
mod order;
pub mod space;
pub mod types;

pub use lease::SPACE_TREASURY;
pub use types::*;

/// Index of this pallet.
pub const INDEX: u8 = 107;
/// Bytes in a GiB.
pub const GIB: u128 = 1 << 30;
/// Blocks in a day.
pub const ONE_DAY: u32 = 14_400;
/// Blocks in an hour.
pub const ONE_HOUR: u32 = 600;
/// Blocks from Frozen to Expired.
pub const FROZEN_DAYS: u32 = 7 * ONE_DAY;
/// Most territories with one deadline block.
pub const FROZEN_LIMIT: u32 = 2000;
/// Blocks from buying a consignment to its execution.
pub const LOCKING_BLOCK: u32 = 50;
/// Blocks that must be left of a lease that is put up for sale.
pub const CONSIGNMENT_REMAINING_BLOCK: u32 = 14_400;
/// Shortest lease in days.
pub const SHORTEST_LEASE: u32 = 30;
/// Planck per GiB and day at genesis.
pub const GENESIS_UNIT_PRICE: u128 = 30_000_000_000_000_000_000;

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Call {
    #[codec(index = 0)]
    mint_territory {
        gib_count: u32,
        territory_name: TerrName,
        days: u32,
    },
    #[codec(index = 1)]
    expanding_territory {
        territory_name: TerrName,
        gib_count: u32,
    },
    #[codec(index = 2)]
    renewal_territory { territory_name: TerrName, days: u32 },
    #[codec(index = 4)]
    update_price,
    #[codec(index = 5)]
    update_user_territory_life {
        user: AccountId32,
        terr_name: TerrName,
        deadline: u32,
    },
    #[codec(index = 6)]
    create_order {
        target_acc: AccountId32,
        territory_name: TerrName,
        order_type: OrderType,
        gib_count: u32,
        days: u32,
        expired: u32,
    },
    #[codec(index = 7)]
    exec_order { order_id: OrderId },
    #[codec(index = 9)]
    define_update_price { price: u128 },
    #[codec(index = 101)]
    reactivate_territory { territory_name: TerrName, days: u32 },
    #[codec(index = 102)]
    territory_consignment { territory_name: TerrName, price: u128 },
    #[codec(index = 103)]
    buy_consignment { token: H256, rename: TerrName },
    #[codec(index = 104)]
    exec_consignment { token: H256, territory_name: TerrName },
    #[codec(index = 105)]
    cancel_consignment { territory_name: TerrName },
    #[codec(index = 106)]
    cancel_purchase_action { token: H256 },
    #[codec(index = 107)]
    territory_grants {
        territory_name: TerrName,
        receiver: AccountId32,
    },
    #[codec(index = 108)]
    territory_rename { old_name: TerrName, new_name: TerrName },
    #[codec(index = 120)]
    other_reactivate_territory {
        target_acc: AccountId32,
        territory_name: TerrName,
        days: u32,
    },
    #[codec(index = 201)]
    update_expired_exec {
        old_block: u32,
        new_block: u32,
        token: H256,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Event {
    BuySpace {
        acc: AccountId32,
        storage_capacity: u128,
        spend: u128,
    },
    ExpansionSpace {
        acc: AccountId32,
        expansion_space: u128,
        fee: u128,
    },
    RenewalSpace {
        acc: AccountId32,
        renewal_days: u32,
        fee: u128,
    },
    LeaseExpired {
        acc: AccountId32,
        size: u128,
    },
    LeaseExpireIn24Hours {
        acc: AccountId32,
        size: u128,
    },
    CreatePayOrder {
        order_hash: OrderId,
    },
    PaidOrder {
        order_hash: OrderId,
    },
    MintTerritory {
        token: H256,
        name: TerrName,
        storage_capacity: u128,
        spend: u128,
    },
    ExpansionTerritory {
        name: TerrName,
        expansion_space: u128,
        spend: u128,
    },
    RenewalTerritory {
        name: TerrName,
        days: u32,
        spend: u128,
    },
    ReactivateTerritory {
        name: TerrName,
        days: u32,
        spend: u128,
    },
    Consignment {
        name: TerrName,
        token: H256,
        price: u128,
    },
    BuyConsignment {
        name: TerrName,
        token: H256,
        price: u128,
    },
    CancleConsignment {
        token: H256,
    },
    CancelPurchaseAction {
        token: H256,
    },
    ExecConsignment {
        buyer: AccountId32,
        seller: AccountId32,
        token: H256,
    },
}

pallet_errors!(INDEX;
    BugInvalid, BoundedVecError, InsufficientAvailableSpace, InsufficientBalance, InsufficientStorage,
    Overflow, WrongOperation, PurchasedSpace, NotPurchasedSpace, LeaseFreeze, LeaseExpired, OrderExpired,
    RandomErr, NoOrder, ParamError, DuplicateTokens, NotHaveTerritory, NotActive, NotExpire,
    NotOnConsignment, InsufficientLease, ConsignmentExisted, OnConsignment, StateError, ObjectNotZero,
    NonExistentConsignment, ConsignmentLocked, ConsignmentUnLocked, Unexpected, NotBuyer, InvalidOrder,
    OwnConsignment, BoundariesNotMet, DuplicateName,
);

/// The territory, or `NotHaveTerritory`.
fn existing(context: &Context<'_>, owner: &AccountId32, name: &TerrName) -> DispatchResult<TerritoryInfo> {
    TERRITORY
        .get(&context.state, owner, name)
        .ok_or_else(|| Error::NotHaveTerritory.into())
}

fn put(context: &mut Context<'_>, owner: &AccountId32, name: &TerrName, territory: &TerritoryInfo) {
    TERRITORY.put(&mut context.state, owner, name, territory);
}

/// Moves deadlines forward: Active territories whose block has come freeze, frozen ones expire.
pub(super) fn on_initialize(context: &mut Context<'_>) {
    lease::freeze_due(context);
    lease::expire_due(context);
    consignment::execute_due(context);
}

impl Call {
    pub(super) fn dispatch(self, context: &mut Context<'_>, origin: Origin) -> DispatchResult {
        match self {
            Self::mint_territory {
                gib_count,
                territory_name,
                days,
            } => lease::mint(context, origin.signed()?, gib_count, territory_name, days),
            Self::expanding_territory {
                territory_name,
                gib_count,
            } => {
                let caller = origin.signed()?;
                lease::expand(context, caller, caller, territory_name, gib_count)
            }
            Self::renewal_territory { territory_name, days } => {
                let caller = origin.signed()?;
                lease::renew(context, caller, caller, territory_name, days)
            }
            Self::reactivate_territory { territory_name, days } => {
                let caller = origin.signed()?;
                lease::reactivate(context, caller, caller, territory_name, days)
            }
            Self::other_reactivate_territory {
                target_acc,
                territory_name,
                days,
            } => lease::reactivate(context, origin.signed()?, target_acc, territory_name, days),
            Self::territory_grants {
                territory_name,
                receiver,
            } => lease::grant(context, origin.signed()?, &territory_name, receiver),
            Self::territory_rename { old_name, new_name } => {
                lease::rename(context, origin.signed()?, &old_name, new_name)
            }
            Self::territory_consignment {
                territory_name,
                price,
            } => consignment::offer(context, origin.signed()?, territory_name, price),
            Self::buy_consignment { token, rename } => {
                consignment::buy(context, origin.signed()?, token, rename)
            }
            Self::exec_consignment {
                token,
                territory_name,
            } => {
                origin.root()?;
                consignment::execute(context, token, territory_name)
            }
            Self::cancel_consignment { territory_name } => {
                consignment::cancel(context, origin.signed()?, &territory_name)
            }
            Self::cancel_purchase_action { token } => {
                consignment::cancel_purchase(context, origin.signed()?, token)
            }
            Self::create_order {
                target_acc,
                territory_name,
                order_type,
                gib_count,
                days,
                expired,
            } => {
                let caller = origin.signed()?;
                let order = order::Wish {
                    target_acc,
                    territory_name,
                    order_type,
                    gib_count,
                    days,
                    expired,
                };
                order::create(context, caller, order)
            }
            Self::exec_order { order_id } => order::execute(context, origin.signed()?, order_id),
            Self::update_price => {
                origin.root()?;
                UNIT_PRICE.put(&mut context.state, &GENESIS_UNIT_PRICE);
                Ok(())
            }
            Self::define_update_price { price } => {
                origin.root()?;
                UNIT_PRICE.put(&mut context.state, &price);
                Ok(())
            }
            Self::update_user_territory_life {
                user,
                terr_name,
                deadline,
            } => {
                origin.root()?;
                lease::set_deadline(context, user, &terr_name, deadline)
            }
            Self::update_expired_exec {
                old_block,
                new_block,
                token,
            } => {
                origin.root()?;
                TERRITORY_EXPIRED.remove(&mut context.state, &old_block, &token);
                TERRITORY_EXPIRED.put(&mut context.state, &new_block, &token, &true);
                Ok(())
            }
        }
    }
}

/// A name made of the raw bytes of a token.
fn token_name(token: H256) -> TerrName {
    BoundedVec(token.0.to_vec())
}
