//! The outer enums: every pallet under its index, and the weight of every call.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::context::Context;
use super::primitives::{DispatchResult, Origin};
use super::{
    balances, file_bank, oss, sminer, storage_handler, sudo, system, timestamp, transaction_payment, utility,
};

/// A call of any pallet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum RuntimeCall {
    #[codec(index = 0)]
    System(system::Call),
    #[codec(index = 1)]
    Utility(utility::Call),
    #[codec(index = 3)]
    Timestamp(timestamp::Call),
    #[codec(index = 6)]
    Balances(balances::Call),
    #[codec(index = 22)]
    Sudo(sudo::Call),
    #[codec(index = 104)]
    FileBank(file_bank::Call),
    #[codec(index = 105)]
    Sminer(sminer::Call),
    #[codec(index = 107)]
    StorageHandler(storage_handler::Call),
    #[codec(index = 108)]
    Oss(oss::Call),
}

/// An error of any pallet, for the metadata's outer error enum.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum RuntimeError {
    #[codec(index = 0)]
    System(system::Error),
    #[codec(index = 1)]
    Utility(utility::Error),
    #[codec(index = 6)]
    Balances(balances::Error),
    #[codec(index = 22)]
    Sudo(sudo::Error),
    #[codec(index = 104)]
    FileBank(file_bank::Error),
    #[codec(index = 105)]
    Sminer(sminer::Error),
    #[codec(index = 107)]
    StorageHandler(storage_handler::Error),
    #[codec(index = 108)]
    Oss(oss::Error),
}

macro_rules! runtime_event {
    ($($index:literal $name:ident $module:ident),* $(,)?) => {
        /// An event of any pallet.
        #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
        #[allow(missing_docs)]
        pub enum RuntimeEvent { $( #[codec(index = $index)] $name($module::Event) ),* }

        $(impl From<$module::Event> for RuntimeEvent {
            fn from(event: $module::Event) -> Self { Self::$name(event) }
        })*
    };
}

runtime_event!(
    0 System system,
    1 Utility utility,
    6 Balances balances,
    7 TransactionPayment transaction_payment,
    22 Sudo sudo,
    104 FileBank file_bank,
    105 Sminer sminer,
    107 StorageHandler storage_handler,
    108 Oss oss,
);

/// Weight of a call that has no formula of its own, in picoseconds.
const CALL_WEIGHT: u64 = 300_000_000;
/// Weight of a declaration without segments, and of each segment, in picoseconds.
const DECLARATION_WEIGHT: (u64, u64) = (390_000_000, 1_040_000);

impl RuntimeCall {
    /// Weight in picoseconds.
    pub fn weight(&self) -> u64 {
        match self {
            Self::FileBank(file_bank::Call::upload_declaration { deal_info, .. }) => {
                DECLARATION_WEIGHT.0 + DECLARATION_WEIGHT.1 * deal_info.0.len() as u64
            }
            Self::Utility(call) => call
                .calls()
                .iter()
                .fold(CALL_WEIGHT, |sum, call| sum.saturating_add(call.weight())),
            Self::Sudo(sudo::Call::sudo { call }) => CALL_WEIGHT.saturating_add(call.weight()),
            _ => CALL_WEIGHT,
        }
    }

    /// Executes the call.
    pub fn dispatch(self, context: &mut Context<'_>, origin: Origin) -> DispatchResult {
        match self {
            Self::System(call) => call.dispatch(context, origin),
            Self::Utility(call) => call.dispatch(context, origin),
            Self::Timestamp(call) => call.dispatch(context, origin),
            Self::Balances(call) => call.dispatch(context, origin),
            Self::Sudo(call) => call.dispatch(context, origin),
            Self::FileBank(call) => call.dispatch(context, origin),
            Self::Sminer(call) => call.dispatch(context, origin),
            Self::StorageHandler(call) => call.dispatch(context, origin),
            Self::Oss(call) => call.dispatch(context, origin),
        }
    }
}
