//! Minting, expanding, renewing, reactivating, giving away and renaming territories.

use super::{
    Error, Event, FROZEN_DAYS, FROZEN_LIMIT, GIB, ONE_DAY, PURCHASED_SPACE, SHORTEST_LEASE, TERRITORY,
    TERRITORY_EXPIRED, TERRITORY_FROZEN, TERRITORY_FROZEN_COUNTER, TERRITORY_KEY, TOTAL_IDLE_SPACE,
    TOTAL_SERVICE_SPACE, TerritoryInfo, TerritoryState, UNIT_PRICE, existing, put, token_name,
};
use crate::runtime::balances::{self, pallet_account};
use crate::runtime::context::Context;
use crate::runtime::file_bank;
use crate::runtime::primitives::{AccountId32, DispatchResult, H256, TerrName};

/// Where the price of space goes.
pub const SPACE_TREASURY: AccountId32 = pallet_account(*b"rewardpt");

/// Planck per GiB and day.
pub fn unit_price(context: &Context<'_>) -> DispatchResult<u128> {
    UNIT_PRICE
        .get(&context.state)
        .ok_or_else(|| Error::BugInvalid.into())
}

/// `UnitPrice × gib × days`.
pub fn price(context: &Context<'_>, gib: u128, days: u128) -> DispatchResult<u128> {
    let product = unit_price(context)?
        .checked_mul(gib)
        .and_then(|price| price.checked_mul(days));
    product.ok_or_else(|| Error::Overflow.into())
}

/// Price of `gib` more GiB until `deadline`, started days counting whole.
pub fn expansion_price(context: &Context<'_>, gib: u32, deadline: u32) -> DispatchResult<u128> {
    let days = deadline.saturating_sub(context.number).div_ceil(ONE_DAY);
    price(context, u128::from(gib), u128::from(days))
}

/// Price of `days` more days for all of `territory`.
pub fn renewal_price(context: &Context<'_>, territory: &TerritoryInfo, days: u32) -> DispatchResult<u128> {
    price(context, territory.total_space / GIB, u128::from(days))
}

pub fn pay(context: &mut Context<'_>, payer: &AccountId32, amount: u128) -> DispatchResult {
    if balances::free(context, payer) < amount {
        return Err(Error::InsufficientBalance.into());
    }
    balances::transfer(context, payer, &SPACE_TREASURY, amount, true)
}

/// Counts `space` bytes as sold, if the network has that many.
fn sell(context: &mut Context<'_>, space: u128) -> DispatchResult {
    let network = TOTAL_IDLE_SPACE
        .value(&context.state)
        .saturating_add(TOTAL_SERVICE_SPACE.value(&context.state));
    let sold = PURCHASED_SPACE
        .value(&context.state)
        .checked_add(space)
        .ok_or(Error::Overflow)?;
    if sold > network {
        return Err(Error::InsufficientAvailableSpace.into());
    }
    PURCHASED_SPACE.put(&mut context.state, &sold);
    Ok(())
}

/// Schedules the freezing of `token` at block `at`.
fn schedule_freeze(context: &mut Context<'_>, at: u32, token: H256) -> DispatchResult {
    let count = TERRITORY_FROZEN_COUNTER.value(&context.state, &at) + 1;
    if count >= FROZEN_LIMIT {
        return Err(Error::Overflow.into());
    }
    TERRITORY_FROZEN_COUNTER.put(&mut context.state, &at, &count);
    TERRITORY_FROZEN.put(&mut context.state, &at, &token, &true);
    Ok(())
}

fn unschedule(context: &mut Context<'_>, territory: &TerritoryInfo) {
    let (at, token) = (territory.deadline, territory.token);
    if TERRITORY_FROZEN.contains(&context.state, &at, &token) {
        let count = TERRITORY_FROZEN_COUNTER
            .value(&context.state, &at)
            .saturating_sub(1);
        TERRITORY_FROZEN_COUNTER.put(&mut context.state, &at, &count);
        TERRITORY_FROZEN.remove(&mut context.state, &at, &token);
    }
    TERRITORY_EXPIRED.remove(&mut context.state, &at.saturating_add(FROZEN_DAYS), &token);
}

fn blocks(days: u32) -> DispatchResult<u32> {
    days.checked_mul(ONE_DAY).ok_or_else(|| Error::Overflow.into())
}

pub(super) fn mint(
    context: &mut Context<'_>,
    caller: AccountId32,
    gib: u32,
    name: TerrName,
    days: u32,
) -> DispatchResult {
    if days < SHORTEST_LEASE {
        return Err(Error::BoundariesNotMet.into());
    }
    let price = price(context, u128::from(gib), u128::from(days))?;
    let token = establish(context, caller, &name, gib, days)?;
    pay(context, &caller, price)?;
    context.deposit(Event::MintTerritory {
        token,
        name,
        storage_capacity: u128::from(gib) * GIB,
        spend: price,
    });
    Ok(())
}

/// Makes a new territory for `owner`; the price is the caller's business.
pub fn establish(
    context: &mut Context<'_>,
    owner: AccountId32,
    name: &TerrName,
    gib: u32,
    days: u32,
) -> DispatchResult<H256> {
    if TERRITORY.contains(&context.state, &owner, name) {
        return Err(Error::PurchasedSpace.into());
    }
    let space = u128::from(gib) * GIB;
    sell(context, space)?;
    let start = context.number;
    let deadline = start.checked_add(blocks(days)?).ok_or(Error::Overflow)?;
    let token = context.draw(b"territory");
    let territory = TerritoryInfo {
        token,
        total_space: space,
        used_space: 0,
        locked_space: 0,
        remaining_space: space,
        start,
        deadline,
        state: TerritoryState::Active,
    };
    schedule_freeze(context, deadline, token)?;
    TERRITORY_KEY.put(&mut context.state, &token, &(owner, name.clone()));
    put(context, &owner, name, &territory);
    Ok(token)
}

pub(super) fn expand(
    context: &mut Context<'_>,
    payer: AccountId32,
    owner: AccountId32,
    name: TerrName,
    gib: u32,
) -> DispatchResult {
    let mut territory = existing(context, &owner, &name)?;
    if territory.state != TerritoryState::Active {
        return Err(Error::NotActive.into());
    }
    let price = expansion_price(context, gib, territory.deadline)?;
    let space = u128::from(gib) * GIB;
    sell(context, space)?;
    pay(context, &payer, price)?;
    territory.total_space += space;
    territory.remaining_space += space;
    put(context, &owner, &name, &territory);
    context.deposit(Event::ExpansionTerritory {
        name,
        expansion_space: space,
        spend: price,
    });
    Ok(())
}

pub(super) fn renew(
    context: &mut Context<'_>,
    payer: AccountId32,
    owner: AccountId32,
    name: TerrName,
    days: u32,
) -> DispatchResult {
    let mut territory = existing(context, &owner, &name)?;
    if !matches!(territory.state, TerritoryState::Active | TerritoryState::Frozen) {
        return Err(Error::StateError.into());
    }
    let price = renewal_price(context, &territory, days)?;
    pay(context, &payer, price)?;
    unschedule(context, &territory);
    let from = territory.deadline.max(context.number);
    territory.deadline = from.checked_add(blocks(days)?).ok_or(Error::Overflow)?;
    territory.state = TerritoryState::Active;
    schedule_freeze(context, territory.deadline, territory.token)?;
    put(context, &owner, &name, &territory);
    context.deposit(Event::RenewalTerritory {
        name,
        days,
        spend: price,
    });
    Ok(())
}

pub(super) fn reactivate(
    context: &mut Context<'_>,
    payer: AccountId32,
    owner: AccountId32,
    name: TerrName,
    days: u32,
) -> DispatchResult {
    let mut territory = existing(context, &owner, &name)?;
    if territory.state != TerritoryState::Expired {
        return Err(Error::NotExpire.into());
    }
    // The price is per 30 days here, where every other call takes it per day.
    let price = (unit_price(context)? / 30)
        .checked_mul(u128::from(days))
        .and_then(|price| price.checked_mul(territory.total_space / GIB))
        .ok_or(Error::Overflow)?;
    sell(context, territory.total_space)?;
    pay(context, &payer, price)?;
    territory.used_space = 0;
    territory.locked_space = 0;
    territory.remaining_space = territory.total_space;
    territory.start = context.number;
    territory.deadline = context.number.checked_add(blocks(days)?).ok_or(Error::Overflow)?;
    territory.state = TerritoryState::Active;
    schedule_freeze(context, territory.deadline, territory.token)?;
    put(context, &owner, &name, &territory);
    context.deposit(Event::ReactivateTerritory {
        name,
        days,
        spend: price,
    });
    Ok(())
}

/// Active and empty, as a gift, a sale and a new name require.
pub(super) fn ensure_idle(territory: &TerritoryInfo) -> DispatchResult {
    if territory.state != TerritoryState::Active {
        return Err(Error::NotActive.into());
    }
    if territory.total_space != territory.remaining_space {
        return Err(Error::ObjectNotZero.into());
    }
    Ok(())
}

/// Gives the territory to `owner` under `name`.
pub(super) fn hand_over(
    context: &mut Context<'_>,
    from: (&AccountId32, &TerrName),
    to: (&AccountId32, &TerrName),
    territory: &TerritoryInfo,
) {
    TERRITORY.remove(&mut context.state, from.0, from.1);
    put(context, to.0, to.1, territory);
    TERRITORY_KEY.put(&mut context.state, &territory.token, &(*to.0, to.1.clone()));
}

pub(super) fn grant(
    context: &mut Context<'_>,
    caller: AccountId32,
    name: &TerrName,
    receiver: AccountId32,
) -> DispatchResult {
    let territory = existing(context, &caller, name)?;
    ensure_idle(&territory)?;
    let new_name = token_name(territory.token);
    hand_over(context, (&caller, name), (&receiver, &new_name), &territory);
    Ok(())
}

pub(super) fn rename(
    context: &mut Context<'_>,
    caller: AccountId32,
    old_name: &TerrName,
    new_name: TerrName,
) -> DispatchResult {
    let territory = existing(context, &caller, old_name)?;
    ensure_idle(&territory)?;
    if TERRITORY.contains(&context.state, &caller, &new_name) {
        return Err(Error::DuplicateName.into());
    }
    hand_over(context, (&caller, old_name), (&caller, &new_name), &territory);
    Ok(())
}

/// Moves the deadline (root only): how tests make a lease end soon.
pub(super) fn set_deadline(
    context: &mut Context<'_>,
    user: AccountId32,
    name: &TerrName,
    deadline: u32,
) -> DispatchResult {
    let mut territory = existing(context, &user, name)?;
    unschedule(context, &territory);
    territory.deadline = deadline;
    schedule_freeze(context, deadline, territory.token)?;
    put(context, &user, name, &territory);
    Ok(())
}

pub(super) fn freeze_due(context: &mut Context<'_>) {
    let now = context.number;
    for token in TERRITORY_FROZEN.seconds(&context.state, &now) {
        TERRITORY_FROZEN.remove(&mut context.state, &now, &token);
        let Some((owner, name)) = TERRITORY_KEY.get(&context.state, &token) else {
            continue;
        };
        let Some(mut territory) = TERRITORY.get(&context.state, &owner, &name) else {
            continue;
        };
        if territory.state == TerritoryState::OnConsignment {
            super::consignment::withdraw_offer(context, token);
        }
        territory.state = TerritoryState::Frozen;
        put(context, &owner, &name, &territory);
        TERRITORY_EXPIRED.put(
            &mut context.state,
            &(now.saturating_add(FROZEN_DAYS)),
            &token,
            &true,
        );
    }
    TERRITORY_FROZEN_COUNTER.remove(&mut context.state, &now);
}

pub(super) fn expire_due(context: &mut Context<'_>) {
    let now = context.number;
    let mut owners = Vec::new();
    for token in TERRITORY_EXPIRED.seconds(&context.state, &now) {
        TERRITORY_EXPIRED.remove(&mut context.state, &now, &token);
        let Some((owner, name)) = TERRITORY_KEY.get(&context.state, &token) else {
            continue;
        };
        let Some(mut territory) = TERRITORY.get(&context.state, &owner, &name) else {
            continue;
        };
        territory.state = TerritoryState::Expired;
        put(context, &owner, &name, &territory);
        PURCHASED_SPACE.mutate(&mut context.state, |sold| {
            *sold = sold.saturating_sub(territory.total_space);
        });
        context.deposit(Event::LeaseExpired {
            acc: owner,
            size: territory.total_space,
        });
        owners.push((owner, name));
    }
    if !owners.is_empty() {
        file_bank::schedule_purge(context, owners);
    }
}
