//! Selling an empty territory: offered by its owner, taken by a buyer whose money is set aside,
//! executed 50 blocks later.

use super::lease::{ensure_idle, hand_over};
use super::{
    CONSIGNMENT, CONSIGNMENT_REMAINING_BLOCK, ConsignmentInfo, Error, Event, LOCKING_BLOCK, TERRITORY_KEY,
    TerritoryState, existing, put,
};
use crate::runtime::balances;
use crate::runtime::context::Context;
use crate::runtime::item::Map;
use crate::runtime::primitives::{AccountId32, BoundedVec, DispatchResult, H256, TerrName};

/// Purchases waiting for their block: block → tokens and the names their buyers chose. The
/// network keeps them in its scheduler; here they are an item that the metadata does not list.
const PENDING: Map<u32, Vec<(H256, TerrName)>> = Map::defaulted("DevnetScheduler", "Purchases");

pub(super) fn offer(
    context: &mut Context<'_>,
    caller: AccountId32,
    name: TerrName,
    price: u128,
) -> DispatchResult {
    let mut territory = existing(context, &caller, &name)?;
    ensure_idle(&territory)?;
    if territory.deadline.saturating_sub(context.number) <= CONSIGNMENT_REMAINING_BLOCK {
        return Err(Error::InsufficientLease.into());
    }
    let token = territory.token;
    if CONSIGNMENT.contains(&context.state, &token) {
        return Err(Error::ConsignmentExisted.into());
    }
    territory.state = TerritoryState::OnConsignment;
    put(context, &caller, &name, &territory);
    let offer = ConsignmentInfo {
        user: caller,
        price,
        buyers: None,
        exec: None,
        locked: false,
    };
    CONSIGNMENT.put(&mut context.state, &token, &offer);
    context.deposit(Event::Consignment { name, token, price });
    Ok(())
}

pub(super) fn buy(
    context: &mut Context<'_>,
    caller: AccountId32,
    token: H256,
    rename: TerrName,
) -> DispatchResult {
    let mut offer = CONSIGNMENT
        .get(&context.state, &token)
        .ok_or(Error::NonExistentConsignment)?;
    if offer.locked {
        return Err(Error::ConsignmentLocked.into());
    }
    if offer.user == caller {
        return Err(Error::OwnConsignment.into());
    }
    balances::reserve(context, &caller, offer.price)?;
    let due = context.number.saturating_add(LOCKING_BLOCK);
    offer.buyers = Some(caller);
    offer.exec = Some(due);
    offer.locked = true;
    CONSIGNMENT.put(&mut context.state, &token, &offer);
    let mut pending = PENDING.value(&context.state, &due);
    pending.push((token, rename.clone()));
    PENDING.put(&mut context.state, &due, &pending);
    context.deposit(Event::BuyConsignment {
        name: rename,
        token,
        price: offer.price,
    });
    Ok(())
}

pub(super) fn execute(context: &mut Context<'_>, token: H256, rename: TerrName) -> DispatchResult {
    let offer = CONSIGNMENT
        .get(&context.state, &token)
        .ok_or(Error::NonExistentConsignment)?;
    let buyer = offer.buyers.ok_or(Error::ConsignmentUnLocked)?;
    let (seller, name) = TERRITORY_KEY
        .get(&context.state, &token)
        .ok_or(Error::NotHaveTerritory)?;
    let mut territory = existing(context, &seller, &name)?;
    balances::unreserve(context, &buyer, offer.price);
    balances::transfer(context, &buyer, &seller, offer.price, true)?;
    territory.state = TerritoryState::Active;
    hand_over(context, (&seller, &name), (&buyer, &rename), &territory);
    CONSIGNMENT.remove(&mut context.state, &token);
    context.deposit(Event::ExecConsignment { buyer, seller, token });
    Ok(())
}

pub(super) fn cancel(context: &mut Context<'_>, caller: AccountId32, name: &TerrName) -> DispatchResult {
    let mut territory = existing(context, &caller, name)?;
    let offer = CONSIGNMENT
        .get(&context.state, &territory.token)
        .ok_or(Error::NonExistentConsignment)?;
    if offer.locked {
        return Err(Error::ConsignmentLocked.into());
    }
    territory.state = TerritoryState::Active;
    put(context, &caller, name, &territory);
    CONSIGNMENT.remove(&mut context.state, &territory.token);
    context.deposit(Event::CancleConsignment {
        token: territory.token,
    });
    Ok(())
}

pub(super) fn cancel_purchase(context: &mut Context<'_>, caller: AccountId32, token: H256) -> DispatchResult {
    let mut offer = CONSIGNMENT
        .get(&context.state, &token)
        .ok_or(Error::NonExistentConsignment)?;
    if !offer.locked {
        return Err(Error::ConsignmentUnLocked.into());
    }
    if offer.buyers != Some(caller) {
        return Err(Error::NotBuyer.into());
    }
    balances::unreserve(context, &caller, offer.price);
    unschedule(context, token, offer.exec);
    offer.buyers = None;
    offer.exec = None;
    offer.locked = false;
    CONSIGNMENT.put(&mut context.state, &token, &offer);
    context.deposit(Event::CancelPurchaseAction { token });
    Ok(())
}

/// The lease ended before the sale: the buyer's money is freed, the offer goes.
pub(super) fn withdraw_offer(context: &mut Context<'_>, token: H256) {
    if let Some(offer) = CONSIGNMENT.get(&context.state, &token) {
        if let Some(buyer) = offer.buyers {
            balances::unreserve(context, &buyer, offer.price);
            unschedule(context, token, offer.exec);
        }
        CONSIGNMENT.remove(&mut context.state, &token);
    }
}

fn unschedule(context: &mut Context<'_>, token: H256, due: Option<u32>) {
    let Some(due) = due else { return };
    let mut pending = PENDING.value(&context.state, &due);
    pending.retain(|(waiting, _)| *waiting != token);
    if pending.is_empty() {
        PENDING.remove(&mut context.state, &due);
    } else {
        PENDING.put(&mut context.state, &due, &pending);
    }
}

pub(super) fn execute_due(context: &mut Context<'_>) {
    let now = context.number;
    let due = PENDING.value(&context.state, &now);
    if due.is_empty() {
        return;
    }
    PENDING.remove(&mut context.state, &now);
    for (token, BoundedVec(name)) in due {
        // A purchase that cannot be executed any more leaves everything as it is, as a failed
        // scheduled call does.
        let _ = context.attempt(|context| execute(context, token, BoundedVec(name)));
    }
}
