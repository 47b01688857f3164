//! Restoral orders: a lost fragment passes from one miner to another.

use super::{
    Error, Event, FILE, FRAGMENT_SIZE, FileInfo, FragmentInfo, RESTORAL_ORDER, RESTORAL_ORDER_LIFE,
    RestoralOrderInfo,
};
use crate::runtime::context::Context;
use crate::runtime::primitives::{AccountId32, DispatchResult, Hash};
use crate::runtime::sminer;

fn find<'f>(file: &'f mut FileInfo, fragment: &Hash, miner: &AccountId32) -> Option<&'f mut FragmentInfo> {
    file.segment_list
        .0
        .iter_mut()
        .flat_map(|segment| segment.fragment_list.0.iter_mut())
        .find(|held| held.hash == *fragment && held.miner == *miner)
}

fn ensure_positive(context: &Context<'_>, miner: &AccountId32) -> DispatchResult {
    if sminer::is_positive(context, miner)? {
        Ok(())
    } else {
        Err(Error::MinerStateError.into())
    }
}

/// The holder says that it lost a fragment.
pub(super) fn generate(
    context: &mut Context<'_>,
    caller: AccountId32,
    file_hash: Hash,
    fragment_hash: Hash,
) -> DispatchResult {
    if RESTORAL_ORDER.contains(&context.state, &fragment_hash) {
        return Err(Error::Existed.into());
    }
    let mut file = FILE.get(&context.state, &file_hash).ok_or(Error::NonExistent)?;
    find(&mut file, &fragment_hash, &caller)
        .ok_or(Error::NonExistent)?
        .avail = false;
    FILE.put(&mut context.state, &file_hash, &file);
    let order = RestoralOrderInfo {
        count: 0,
        miner: caller,
        origin_miner: caller,
        fragment_hash,
        file_hash,
        gen_block: context.number,
        deadline: context.number,
    };
    RESTORAL_ORDER.put(&mut context.state, &fragment_hash, &order);
    context.deposit(Event::GenerateRestoralOrder {
        miner: caller,
        fragment_hash,
    });
    Ok(())
}

/// Another miner takes the order for 250 blocks.
pub(super) fn claim(context: &mut Context<'_>, caller: AccountId32, fragment_hash: Hash) -> DispatchResult {
    ensure_positive(context, &caller)?;
    let mut order = RESTORAL_ORDER
        .get(&context.state, &fragment_hash)
        .ok_or(Error::NonExistent)?;
    if context.number <= order.deadline {
        return Err(Error::SpecError.into());
    }
    order.count += 1;
    order.miner = caller;
    order.deadline = context.number.saturating_add(RESTORAL_ORDER_LIFE);
    RESTORAL_ORDER.put(&mut context.state, &fragment_hash, &order);
    context.deposit(Event::ClaimRestoralOrder {
        miner: caller,
        order_id: fragment_hash,
    });
    Ok(())
}

/// A miner takes over a fragment of one that left the network.
pub(super) fn claim_of_leaver(
    context: &mut Context<'_>,
    caller: AccountId32,
    leaver: AccountId32,
    file_hash: Hash,
    fragment_hash: Hash,
) -> DispatchResult {
    ensure_positive(context, &caller)?;
    if !sminer::RESTORAL_TARGET.contains(&context.state, &leaver) {
        return Err(Error::MinerStateError.into());
    }
    if RESTORAL_ORDER.contains(&context.state, &fragment_hash) {
        return Err(Error::Existed.into());
    }
    let mut file = FILE.get(&context.state, &file_hash).ok_or(Error::NonExistent)?;
    find(&mut file, &fragment_hash, &leaver)
        .ok_or(Error::NonExistent)?
        .avail = false;
    FILE.put(&mut context.state, &file_hash, &file);
    let order = RestoralOrderInfo {
        count: 0,
        miner: caller,
        origin_miner: leaver,
        fragment_hash,
        file_hash,
        gen_block: context.number,
        deadline: context.number.saturating_add(RESTORAL_ORDER_LIFE),
    };
    RESTORAL_ORDER.put(&mut context.state, &fragment_hash, &order);
    context.deposit(Event::ClaimRestoralOrder {
        miner: caller,
        order_id: fragment_hash,
    });
    Ok(())
}

/// The claimer says that it has the fragment now.
pub(super) fn complete(
    context: &mut Context<'_>,
    caller: AccountId32,
    fragment_hash: Hash,
) -> DispatchResult {
    ensure_positive(context, &caller)?;
    let order = RESTORAL_ORDER
        .get(&context.state, &fragment_hash)
        .ok_or(Error::NonExistent)?;
    if order.miner != caller {
        return Err(Error::NotOwner.into());
    }
    if context.number >= order.deadline {
        return Err(Error::Expired.into());
    }
    if let Some(mut file) = FILE.get(&context.state, &order.file_hash) {
        if order.origin_miner != caller && find(&mut file, &fragment_hash, &caller).is_some() {
            return Err(Error::RulesNotAllowed.into());
        }
        let now = context.number;
        let held = find(&mut file, &fragment_hash, &order.origin_miner).ok_or(Error::NonExistent)?;
        let was_tagged = held.tag.is_some();
        held.miner = caller;
        held.avail = true;
        held.tag = Some(now);
        FILE.put(&mut context.state, &order.file_hash, &file);
        if order.origin_miner == caller {
            if !was_tagged {
                sminer::put_in_service(context, &caller, FRAGMENT_SIZE)?;
            }
        } else {
            if was_tagged {
                sminer::take_out_of_service(context, &order.origin_miner, FRAGMENT_SIZE)?;
            } else {
                sminer::unlock(context, &order.origin_miner, FRAGMENT_SIZE)?;
            }
            sminer::adopt(context, &caller, FRAGMENT_SIZE)?;
        }
    }
    RESTORAL_ORDER.remove(&mut context.state, &fragment_hash);
    context.deposit(Event::RecoveryCompleted {
        miner: caller,
        order_id: fragment_hash,
    });
    Ok(())
}
