//! Orders: space for one account, paid by another.

use super::lease::{self, expansion_price, pay, price, renewal_price};
use super::{Error, Event, ONE_HOUR, OrderId, OrderInfo, OrderType, PAY_ORDER, existing};
use crate::runtime::context::Context;
use crate::runtime::primitives::{AccountId32, BoundedVec, DispatchResult, TerrName};

/// What `create_order` is given.
pub(super) struct Wish {
    pub target_acc: AccountId32,
    pub territory_name: TerrName,
    pub order_type: OrderType,
    pub gib_count: u32,
    pub days: u32,
    pub expired: u32,
}

fn price_now(context: &Context<'_>, order: &Wish) -> DispatchResult<u128> {
    match order.order_type {
        OrderType::Buy => price(context, u128::from(order.gib_count), u128::from(order.days)),
        OrderType::Expansion => {
            let territory = existing(context, &order.target_acc, &order.territory_name)?;
            expansion_price(context, order.gib_count, territory.deadline)
        }
        OrderType::Renewal => {
            let territory = existing(context, &order.target_acc, &order.territory_name)?;
            renewal_price(context, &territory, order.days)
        }
    }
}

pub(super) fn create(context: &mut Context<'_>, _caller: AccountId32, wish: Wish) -> DispatchResult {
    // `expired` counts units of six blocks, and an hour is the limit.
    let life = wish
        .expired
        .checked_mul(6)
        .filter(|life| *life < ONE_HOUR)
        .ok_or(Error::ParamError)?;
    let pay = price_now(context, &wish)?;
    let id: OrderId = BoundedVec(context.draw(b"order").0.to_vec());
    let order = OrderInfo {
        territory_name: wish.territory_name,
        pay,
        gib_count: wish.gib_count,
        days: wish.days,
        expired: context.number.saturating_add(life),
        target_acc: wish.target_acc,
        order_type: wish.order_type,
    };
    PAY_ORDER.put(&mut context.state, &id, &order);
    context.deposit(Event::CreatePayOrder { order_hash: id });
    Ok(())
}

pub(super) fn execute(context: &mut Context<'_>, payer: AccountId32, id: OrderId) -> DispatchResult {
    let order = PAY_ORDER.get(&context.state, &id).ok_or(Error::NoOrder)?;
    if order.expired <= context.number {
        return Err(Error::OrderExpired.into());
    }
    let wish = Wish {
        target_acc: order.target_acc,
        territory_name: order.territory_name.clone(),
        order_type: order.order_type,
        gib_count: order.gib_count,
        days: order.days,
        expired: 0,
    };
    if order.order_type != OrderType::Buy && price_now(context, &wish)? != order.pay {
        return Err(Error::InvalidOrder.into());
    }
    let Wish {
        target_acc,
        territory_name,
        gib_count,
        days,
        ..
    } = wish;
    match order.order_type {
        OrderType::Buy => {
            lease::establish(context, target_acc, &territory_name, gib_count, days)?;
            pay(context, &payer, order.pay)?;
        }
        OrderType::Expansion => lease::expand(context, payer, target_acc, territory_name, gib_count)?,
        OrderType::Renewal => lease::renew(context, payer, target_acc, territory_name, days)?,
    }
    context.deposit(Event::PaidOrder { order_hash: id });
    Ok(())
}
