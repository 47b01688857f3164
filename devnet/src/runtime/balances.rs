//! `Balances`: planck between accounts, with an existential deposit.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::context::Context;
use super::item::Value;
use super::primitives::{
    AccountId32, ArithmeticError, DispatchError, DispatchResult, MultiAddress, Origin, TokenError,
};
use super::system::{self, ACCOUNT};

/// Index of this pallet.
pub const INDEX: u8 = 6;
/// An account with less than this (1 TCESS) is removed.
pub const EXISTENTIAL_DEPOSIT: u128 = 1_000_000_000_000_000_000;

pub const TOTAL_ISSUANCE: Value<u128> = Value::defaulted("Balances", "TotalIssuance");
pub const INACTIVE_ISSUANCE: Value<u128> = Value::defaulted("Balances", "InactiveIssuance");

/// Where repatriated reserves go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum BalanceStatus {
    Free,
    Reserved,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Call {
    #[codec(index = 0)]
    transfer_allow_death {
        dest: MultiAddress,
        #[codec(compact)]
        value: u128,
    },
    #[codec(index = 3)]
    transfer_keep_alive {
        dest: MultiAddress,
        #[codec(compact)]
        value: u128,
    },
    #[codec(index = 4)]
    transfer_all { dest: MultiAddress, keep_alive: bool },
    #[codec(index = 8)]
    force_set_balance {
        who: MultiAddress,
        #[codec(compact)]
        new_free: u128,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Event {
    Endowed {
        account: AccountId32,
        free_balance: u128,
    },
    DustLost {
        account: AccountId32,
        amount: u128,
    },
    Transfer {
        from: AccountId32,
        to: AccountId32,
        amount: u128,
    },
    BalanceSet {
        who: AccountId32,
        free: u128,
    },
    Reserved {
        who: AccountId32,
        amount: u128,
    },
    Unreserved {
        who: AccountId32,
        amount: u128,
    },
    ReserveRepatriated {
        from: AccountId32,
        to: AccountId32,
        amount: u128,
        destination_status: BalanceStatus,
    },
    Deposit {
        who: AccountId32,
        amount: u128,
    },
    Withdraw {
        who: AccountId32,
        amount: u128,
    },
    Slashed {
        who: AccountId32,
        amount: u128,
    },
    Minted {
        who: AccountId32,
        amount: u128,
    },
    Burned {
        who: AccountId32,
        amount: u128,
    },
    Suspended {
        who: AccountId32,
        amount: u128,
    },
    Restored {
        who: AccountId32,
        amount: u128,
    },
    Upgraded {
        who: AccountId32,
    },
    Issued {
        amount: u128,
    },
    Rescinded {
        amount: u128,
    },
    Locked {
        who: AccountId32,
        amount: u128,
    },
    Unlocked {
        who: AccountId32,
        amount: u128,
    },
    Frozen {
        who: AccountId32,
        amount: u128,
    },
    Thawed {
        who: AccountId32,
        amount: u128,
    },
    TotalIssuanceForced {
        old: u128,
        new: u128,
    },
}

pallet_errors!(INDEX;
    VestingBalance, LiquidityRestrictions, InsufficientBalance, ExistentialDeposit, Expendability,
    ExistingVestingSchedule, DeadAccount, TooManyReserves, TooManyHolds, TooManyFreezes,
    IssuanceDeactivated, DeltaZero,
);

/// The account of a pallet: `modl`, its eight-byte id, zeros.
pub const fn pallet_account(id: [u8; 8]) -> AccountId32 {
    let mut out = [0; 32];
    let mut at = 0;
    while at < 4 {
        out[at] = b"modl"[at];
        at += 1;
    }
    while at < 12 {
        out[at] = id[at - 4];
        at += 1;
    }
    AccountId32(out)
}

/// What `who` may spend now.
pub fn free(context: &Context<'_>, who: &AccountId32) -> u128 {
    let data = ACCOUNT.value(&context.state, who).data;
    data.free.saturating_sub(data.frozen)
}

/// Adds `amount` to `who`, creating the account if need be.
pub fn deposit(context: &mut Context<'_>, who: &AccountId32, amount: u128) -> DispatchResult {
    let known = ACCOUNT.contains(&context.state, who);
    let mut account = ACCOUNT.value(&context.state, who);
    account.data.free = account
        .data
        .free
        .checked_add(amount)
        .ok_or(DispatchError::Arithmetic(ArithmeticError::Overflow))?;
    if account.data.free + account.data.reserved < EXISTENTIAL_DEPOSIT && !known {
        return Err(DispatchError::Token(TokenError::BelowMinimum));
    }
    if !known {
        account.providers = 1;
        context.deposit(system::Event::NewAccount { account: *who });
        context.deposit(Event::Endowed {
            account: *who,
            free_balance: account.data.free,
        });
    }
    ACCOUNT.put(&mut context.state, who, &account);
    Ok(())
}

/// Takes `amount` from `who`. With `keep_alive` the account must keep the existential deposit;
/// without, an account that falls below it is removed and its dust is lost.
pub fn withdraw(
    context: &mut Context<'_>,
    who: &AccountId32,
    amount: u128,
    keep_alive: bool,
) -> DispatchResult {
    let mut account = ACCOUNT.value(&context.state, who);
    if free(context, who) < amount {
        return Err(DispatchError::Token(TokenError::FundsUnavailable));
    }
    account.data.free -= amount;
    let left = account.data.free + account.data.reserved;
    if left >= EXISTENTIAL_DEPOSIT {
        ACCOUNT.put(&mut context.state, who, &account);
        return Ok(());
    }
    if keep_alive {
        return Err(DispatchError::Token(TokenError::NotExpendable));
    }
    ACCOUNT.remove(&mut context.state, who);
    context.deposit(system::Event::KilledAccount { account: *who });
    if left > 0 {
        TOTAL_ISSUANCE.mutate(&mut context.state, |total| *total = total.saturating_sub(left));
        context.deposit(Event::DustLost {
            account: *who,
            amount: left,
        });
    }
    Ok(())
}

/// Moves `amount`.
pub fn transfer(
    context: &mut Context<'_>,
    from: &AccountId32,
    to: &AccountId32,
    amount: u128,
    keep_alive: bool,
) -> DispatchResult {
    if from == to {
        if free(context, from) < amount {
            return Err(DispatchError::Token(TokenError::FundsUnavailable));
        }
        return Ok(());
    }
    context.attempt(|context| {
        withdraw(context, from, amount, keep_alive)?;
        deposit(context, to, amount)?;
        context.deposit(Event::Transfer {
            from: *from,
            to: *to,
            amount,
        });
        Ok(())
    })
}

/// Sets `amount` of `who` aside. The existential deposit must stay free.
pub fn reserve(context: &mut Context<'_>, who: &AccountId32, amount: u128) -> DispatchResult {
    let mut account = ACCOUNT.value(&context.state, who);
    if free(context, who) < amount.saturating_add(EXISTENTIAL_DEPOSIT) {
        return Err(Error::InsufficientBalance.into());
    }
    account.data.free -= amount;
    account.data.reserved += amount;
    ACCOUNT.put(&mut context.state, who, &account);
    context.deposit(Event::Reserved { who: *who, amount });
    Ok(())
}

/// Gives up to `amount` of what was set aside back to `who`.
pub fn unreserve(context: &mut Context<'_>, who: &AccountId32, amount: u128) {
    let mut account = ACCOUNT.value(&context.state, who);
    let amount = amount.min(account.data.reserved);
    account.data.reserved -= amount;
    account.data.free += amount;
    ACCOUNT.put(&mut context.state, who, &account);
    context.deposit(Event::Unreserved { who: *who, amount });
}

fn lookup(address: MultiAddress) -> DispatchResult<AccountId32> {
    match address {
        MultiAddress::Id(account) => Ok(account),
        _ => Err(DispatchError::CannotLookup),
    }
}

impl Call {
    pub(super) fn dispatch(self, context: &mut Context<'_>, origin: Origin) -> DispatchResult {
        match self {
            Self::transfer_allow_death { dest, value } => {
                transfer(context, &origin.signed()?, &lookup(dest)?, value, false)
            }
            Self::transfer_keep_alive { dest, value } => {
                transfer(context, &origin.signed()?, &lookup(dest)?, value, true)
            }
            Self::transfer_all { dest, keep_alive } => {
                let from = origin.signed()?;
                let keep = if keep_alive { EXISTENTIAL_DEPOSIT } else { 0 };
                let amount = free(context, &from).saturating_sub(keep);
                transfer(context, &from, &lookup(dest)?, amount, keep_alive)
            }
            Self::force_set_balance { who, new_free } => {
                origin.root()?;
                let who = lookup(who)?;
                let mut account = ACCOUNT.value(&context.state, &who);
                let old = account.data.free;
                account.data.free = if new_free < EXISTENTIAL_DEPOSIT {
                    0
                } else {
                    new_free
                };
                let free = account.data.free;
                account.providers = 1;
                if free + account.data.reserved == 0 {
                    ACCOUNT.remove(&mut context.state, &who);
                } else {
                    ACCOUNT.put(&mut context.state, &who, &account);
                }
                TOTAL_ISSUANCE.mutate(&mut context.state, |total| {
                    *total = total.saturating_sub(old).saturating_add(free);
                });
                context.deposit(Event::BalanceSet { who, free });
                Ok(())
            }
        }
    }
}
