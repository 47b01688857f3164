//! `TransactionPayment`: what an extrinsic costs and who gets it.
//!
//! Fee in planck = 5·10^6 × weight × multiplier + 10^13 × length + 5·10^6 × base weight + tip,
//! with weights in picoseconds and the multiplier fixed at 1.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::balances::{self, pallet_account};
use super::context::Context;
use super::item::Value;
use super::primitives::{AccountId32, DispatchResult, FixedU128};

/// Index of this pallet.
pub const INDEX: u8 = 7;
/// Planck per picosecond of weight.
pub const FEE_PER_WEIGHT: u128 = 5_000_000;
/// Planck per byte of extrinsic.
pub const FEE_PER_BYTE: u128 = 10_000_000_000_000;
/// Weight of an extrinsic that does nothing, in picoseconds.
pub const BASE_EXTRINSIC_WEIGHT: u64 = 108_157_000;
/// Gets 80 % of the fees.
pub const TREASURY: AccountId32 = pallet_account(*b"py/trsry");
/// Gets 20 % of the fees: the author of all blocks.
pub const AUTHOR: AccountId32 = pallet_account(*b"devnetau");

pub const NEXT_FEE_MULTIPLIER: Value<FixedU128> = Value::defaulted("TransactionPayment", "NextFeeMultiplier");

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Event {
    TransactionFeePaid {
        who: AccountId32,
        actual_fee: u128,
        tip: u128,
    },
}

/// Fee without tip of an extrinsic of `length` bytes whose call weighs `weight` picoseconds.
pub fn fee(weight: u64, length: usize) -> u128 {
    FEE_PER_WEIGHT * u128::from(weight)
        + FEE_PER_BYTE * length as u128
        + FEE_PER_WEIGHT * u128::from(BASE_EXTRINSIC_WEIGHT)
}

/// Takes the fee before the call runs.
pub(super) fn charge(context: &mut Context<'_>, who: &AccountId32, amount: u128) -> DispatchResult {
    balances::withdraw(context, who, amount, true)?;
    context.deposit(balances::Event::Withdraw { who: *who, amount });
    Ok(())
}

/// Hands the fee on after the call ran.
pub(super) fn settle(context: &mut Context<'_>, who: &AccountId32, fee: u128, tip: u128) {
    let to_treasury = fee / 5 * 4;
    for (receiver, amount) in [(TREASURY, to_treasury), (AUTHOR, fee - to_treasury + tip)] {
        // Both receivers exist from genesis on, so a deposit can only fail by overflow of the
        // whole issuance, which genesis excludes.
        if balances::deposit(context, &receiver, amount).is_ok() {
            context.deposit(balances::Event::Deposit {
                who: receiver,
                amount,
            });
        }
    }
    context.deposit(Event::TransactionFeePaid {
        who: *who,
        actual_fee: fee + tip,
        tip,
    });
}
