//! What `FileBank` does with the space of territories.

use super::{
    Error, TERRITORY, TOTAL_IDLE_SPACE, TOTAL_SERVICE_SPACE, TerritoryInfo, TerritoryState, existing, put,
};
use crate::runtime::context::Context;
use crate::runtime::primitives::{AccountId32, DispatchResult, TerrName};

/// Active, and more than `needed` bytes left: exactly `needed` is not enough.
pub fn ensure_room(
    context: &Context<'_>,
    owner: &AccountId32,
    name: &TerrName,
    needed: u128,
) -> DispatchResult {
    let territory = existing(context, owner, name)?;
    if territory.state != TerritoryState::Active {
        return Err(Error::NotActive.into());
    }
    if territory.remaining_space <= needed {
        return Err(Error::InsufficientAvailableSpace.into());
    }
    Ok(())
}

/// Active, and at least `needed` bytes left: what a file that moves in needs.
pub fn ensure_room_for_move(
    context: &Context<'_>,
    owner: &AccountId32,
    name: &TerrName,
    needed: u128,
) -> DispatchResult {
    let territory = existing(context, owner, name)?;
    if territory.state != TerritoryState::Active {
        return Err(Error::NotActive.into());
    }
    if territory.remaining_space < needed {
        return Err(Error::InsufficientAvailableSpace.into());
    }
    Ok(())
}

fn change(
    context: &mut Context<'_>,
    owner: &AccountId32,
    name: &TerrName,
    body: impl FnOnce(&mut TerritoryInfo) -> Option<()>,
) -> DispatchResult {
    let mut territory = existing(context, owner, name)?;
    body(&mut territory).ok_or(Error::Overflow)?;
    put(context, owner, name, &territory);
    Ok(())
}

/// Remaining → locked: a deal was declared. Enough is enough here.
pub fn lock(context: &mut Context<'_>, owner: &AccountId32, name: &TerrName, bytes: u128) -> DispatchResult {
    change(context, owner, name, |territory| {
        territory.remaining_space = territory.remaining_space.checked_sub(bytes)?;
        territory.locked_space = territory.locked_space.checked_add(bytes)?;
        Some(())
    })
}

/// Locked → used: the deal is complete.
pub fn use_locked(
    context: &mut Context<'_>,
    owner: &AccountId32,
    name: &TerrName,
    bytes: u128,
) -> DispatchResult {
    change(context, owner, name, |territory| {
        territory.locked_space = territory.locked_space.checked_sub(bytes)?;
        territory.used_space = territory.used_space.checked_add(bytes)?;
        Some(())
    })
}

/// Remaining → used: a further owner of a complete file, or a file that moves in.
pub fn use_remaining(
    context: &mut Context<'_>,
    owner: &AccountId32,
    name: &TerrName,
    bytes: u128,
) -> DispatchResult {
    change(context, owner, name, |territory| {
        territory.remaining_space = territory.remaining_space.checked_sub(bytes)?;
        territory.used_space = territory.used_space.checked_add(bytes)?;
        Some(())
    })
}

/// Used → remaining: an owner gave the file up.
pub fn release(
    context: &mut Context<'_>,
    owner: &AccountId32,
    name: &TerrName,
    bytes: u128,
) -> DispatchResult {
    change(context, owner, name, |territory| {
        territory.used_space = territory.used_space.checked_sub(bytes)?;
        territory.remaining_space = territory.remaining_space.checked_add(bytes)?;
        Some(())
    })
}

/// Whether the territory is past its frozen time (or gone).
pub fn is_expired(context: &Context<'_>, owner: &AccountId32, name: &TerrName) -> bool {
    TERRITORY
        .get(&context.state, owner, name)
        .is_none_or(|territory| territory.state == TerritoryState::Expired)
}

/// Network totals: idle → service.
pub fn put_in_service(context: &mut Context<'_>, bytes: u128) {
    TOTAL_IDLE_SPACE.mutate(&mut context.state, |idle| *idle = idle.saturating_sub(bytes));
    TOTAL_SERVICE_SPACE.mutate(&mut context.state, |service| {
        *service = service.saturating_add(bytes);
    });
}

/// Network totals: `bytes` leave service, of which `idle` can be offered again at once.
pub fn take_out_of_service(context: &mut Context<'_>, bytes: u128, idle: u128) {
    TOTAL_SERVICE_SPACE.mutate(&mut context.state, |service| {
        *service = service.saturating_sub(bytes);
    });
    TOTAL_IDLE_SPACE.mutate(&mut context.state, |total| *total = total.saturating_add(idle));
}
