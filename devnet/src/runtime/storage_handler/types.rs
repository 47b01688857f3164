//! Types and storage of `StorageHandler`. Spaces in bytes, times in blocks, prices in planck.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use crate::runtime::item::{DoubleMap, Map, Value};
use crate::runtime::primitives::{AccountId32, BoundedVec, H256, TerrName};

/// A lease of space.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct TerritoryInfo {
    pub token: H256,
    pub total_space: u128,
    pub used_space: u128,
    pub locked_space: u128,
    pub remaining_space: u128,
    pub start: u32,
    pub deadline: u32,
    pub state: TerritoryState,
}

/// State of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum TerritoryState {
    Active,
    Frozen,
    Expired,
    OnConsignment,
}

/// A territory for sale.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct ConsignmentInfo {
    pub user: AccountId32,
    pub price: u128,
    pub buyers: Option<AccountId32>,
    pub exec: Option<u32>,
    pub locked: bool,
}

/// What an order buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum OrderType {
    Buy,
    Expansion,
    Renewal,
}

/// An order that anybody may pay.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct OrderInfo {
    pub territory_name: TerrName,
    pub pay: u128,
    pub gib_count: u32,
    pub days: u32,
    pub expired: u32,
    pub target_acc: AccountId32,
    pub order_type: OrderType,
}

/// Id of an order.
pub type OrderId = BoundedVec<u8, 32>;

const PALLET: &str = "StorageHandler";
pub const TERRITORY_KEY: Map<H256, (AccountId32, TerrName)> = Map::optional(PALLET, "TerritoryKey");
pub const TERRITORY: DoubleMap<AccountId32, TerrName, TerritoryInfo> =
    DoubleMap::optional(PALLET, "Territory");
pub const CONSIGNMENT: Map<H256, ConsignmentInfo> = Map::optional(PALLET, "Consignment");
pub const TERRITORY_FROZEN: DoubleMap<u32, H256, bool> = DoubleMap::optional(PALLET, "TerritoryFrozen");
pub const TERRITORY_FROZEN_COUNTER: Map<u32, u32> = Map::defaulted(PALLET, "TerritoryFrozenCounter");
pub const TERRITORY_EXPIRED: DoubleMap<u32, H256, bool> = DoubleMap::optional(PALLET, "TerritoryExpired");
pub const UNIT_PRICE: Value<u128> = Value::optional(PALLET, "UnitPrice");
pub const TOTAL_IDLE_SPACE: Value<u128> = Value::defaulted(PALLET, "TotalIdleSpace");
pub const TOTAL_SERVICE_SPACE: Value<u128> = Value::defaulted(PALLET, "TotalServiceSpace");
pub const PURCHASED_SPACE: Value<u128> = Value::defaulted(PALLET, "PurchasedSpace");
pub const PAY_ORDER: Map<OrderId, OrderInfo> = Map::optional(PALLET, "PayOrder");
