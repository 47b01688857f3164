//! Territories: buying, prices, expiry, gifts, sales, orders.

use super::*;
use crate::runtime::storage_handler::{
    Call, Error, Event, FROZEN_DAYS, GENESIS_UNIT_PRICE, ONE_DAY, OrderType, PAY_ORDER, PURCHASED_SPACE,
    TerritoryState,
};

/// Ends the lease in the next block.
pub(super) fn freeze(world: &mut World, owner: AccountId32, text: &str) {
    let deadline = world.number + 1;
    let call = Call::update_user_territory_life {
        user: owner,
        terr_name: name(text),
        deadline,
    };
    world.root(RuntimeCall::StorageHandler(call)).unwrap();
    world.reach(deadline);
    assert_eq!(world.territory(owner, text).state, TerritoryState::Frozen);
}

/// Ends the lease, and the frozen time after it.
pub(super) fn expire(world: &mut World, owner: AccountId32, text: &str) {
    freeze(world, owner, text);
    let token = world.territory(owner, text).token;
    let (old_block, new_block) = (world.number + FROZEN_DAYS, world.number + 1);
    let call = Call::update_expired_exec {
        old_block,
        new_block,
        token,
    };
    world.root(RuntimeCall::StorageHandler(call)).unwrap();
    world.reach(new_block);
    assert_eq!(world.territory(owner, text).state, TerritoryState::Expired);
}

#[test]
fn minting_is_paid_per_gib_and_day() {
    let mut world = World::new();
    let before = world.free(ALICE);
    world.mint(ALICE, "t", 2).unwrap();
    assert_eq!(before - world.free(ALICE), 2 * 30 * GENESIS_UNIT_PRICE);
    let territory = world.territory(ALICE, "t");
    assert_eq!(territory.total_space, 2 << 30);
    assert_eq!(territory.deadline - territory.start, 30 * ONE_DAY);
    assert_eq!(world.total(&PURCHASED_SPACE), 2 << 30);
    assert!(world.emitted(Event::MintTerritory {
        token: territory.token,
        name: name("t"),
        storage_capacity: 2 << 30,
        spend: 60 * GENESIS_UNIT_PRICE,
    }));
    assert_eq!(world.mint(ALICE, "t", 1), refused(Error::PurchasedSpace));
    let short = Call::mint_territory {
        gib_count: 1,
        territory_name: name("u"),
        days: 29,
    };
    assert_eq!(world.storage(ALICE, short), refused(Error::BoundariesNotMet));
    assert_eq!(world.mint(ALICE, "u", 5000), refused(Error::InsufficientBalance));
    assert_eq!(
        world.mint(ALICE, "u", 14 * 1024),
        refused(Error::InsufficientAvailableSpace)
    );
    assert_eq!(
        world.total(&PURCHASED_SPACE),
        2 << 30,
        "a refused call changes nothing"
    );
}

#[test]
fn expansion_pays_the_days_left_and_renewal_adds_days() {
    let mut world = World::with_territory(1);
    world.reach(3);
    let before = world.free(ALICE);
    world
        .storage(
            ALICE,
            Call::expanding_territory {
                territory_name: name("t"),
                gib_count: 2,
            },
        )
        .unwrap();
    assert_eq!(
        before - world.free(ALICE),
        2 * 30 * GENESIS_UNIT_PRICE,
        "a started day counts whole"
    );
    assert_eq!(world.territory(ALICE, "t").remaining_space, 3 << 30);
    let (before, deadline) = (world.free(ALICE), world.territory(ALICE, "t").deadline);
    world
        .storage(
            ALICE,
            Call::renewal_territory {
                territory_name: name("t"),
                days: 1,
            },
        )
        .unwrap();
    assert_eq!(before - world.free(ALICE), 3 * GENESIS_UNIT_PRICE);
    assert_eq!(world.territory(ALICE, "t").deadline, deadline + ONE_DAY);
}

#[test]
fn a_lease_freezes_expires_and_purges() {
    let mut world = World::with_territory(1);
    world.place(ALICE, 1, 1);
    freeze(&mut world, ALICE, "t");
    assert_eq!(world.declare(ALICE, ALICE, 2, 1), refused(Error::NotActive));
    let expand = Call::expanding_territory {
        territory_name: name("t"),
        gib_count: 1,
    };
    assert_eq!(world.storage(ALICE, expand), refused(Error::NotActive));
    world
        .storage(
            ALICE,
            Call::renewal_territory {
                territory_name: name("t"),
                days: 30,
            },
        )
        .unwrap();
    assert_eq!(world.territory(ALICE, "t").state, TerritoryState::Active);

    let reactivate = || Call::reactivate_territory {
        territory_name: name("t"),
        days: 30,
    };
    assert_eq!(world.storage(ALICE, reactivate()), refused(Error::NotExpire));
    expire(&mut world, ALICE, "t");
    assert_eq!(world.total(&PURCHASED_SPACE), 0);
    assert!(world.file(1).is_some());
    world.block(&[]);
    assert!(world.file(1).is_none(), "purged in the block after");
    assert_eq!(world.miner_info(0).lock_space, 0);
    let renew = Call::renewal_territory {
        territory_name: name("t"),
        days: 30,
    };
    assert_eq!(world.storage(ALICE, renew), refused(Error::StateError));

    let before = world.free(ALICE);
    world.storage(ALICE, reactivate()).unwrap();
    assert_eq!(
        before - world.free(ALICE),
        GENESIS_UNIT_PRICE,
        "per 30 days, not per day"
    );
    let territory = world.territory(ALICE, "t");
    assert_eq!((territory.used_space, territory.remaining_space), (0, 1 << 30));
}

#[test]
fn the_purge_forgets_entries_of_other_territories() {
    let mut world = World::with_territory(1);
    world.mint(ALICE, "u", 1).unwrap();
    world.place(ALICE, 1, 1);
    world.declare_in(ALICE, ALICE, 2, 1, "u").unwrap();
    for index in 0..12 {
        world.report(index, index + 1, 2).unwrap();
    }
    expire(&mut world, ALICE, "t");
    world.block(&[]);
    assert!(world.file(1).is_none());
    assert!(world.file(2).is_some());
    assert!(
        file_bank::USER_HOLD_FILE_LIST
            .value(&world.state, &ALICE)
            .0
            .is_empty(),
        "a hint, no more"
    );
}

#[test]
fn gifts_and_new_names_need_an_empty_territory() {
    let mut world = World::with_territory(1);
    world.mint(ALICE, "u", 1).unwrap();
    let rename = |to: &str| Call::territory_rename {
        old_name: name("t"),
        new_name: name(to),
    };
    assert_eq!(world.storage(ALICE, rename("u")), refused(Error::DuplicateName));
    world.storage(ALICE, rename("v")).unwrap();
    let token = world.territory(ALICE, "v").token;
    let grant = Call::territory_grants {
        territory_name: name("v"),
        receiver: BOB,
    };
    world.storage(ALICE, grant).unwrap();
    assert!(TERRITORY.contains(&world.state, &BOB, &BoundedVec(token.0.to_vec())));
    world.declare_in(ALICE, ALICE, 1, 1, "u").unwrap();
    let grant = Call::territory_grants {
        territory_name: name("u"),
        receiver: BOB,
    };
    assert_eq!(world.storage(ALICE, grant), refused(Error::ObjectNotZero));
}

#[test]
fn a_sale_takes_fifty_blocks_and_can_be_called_off() {
    let mut world = World::with_territory(1);
    let token = world.territory(ALICE, "t").token;
    let offer = || Call::territory_consignment {
        territory_name: name("t"),
        price: 5 * TCESS,
    };
    let buy = || Call::buy_consignment {
        token,
        rename: name("mine"),
    };
    world.storage(ALICE, offer()).unwrap();
    assert_eq!(world.storage(ALICE, buy()), refused(Error::OwnConsignment));
    world.storage(BOB, buy()).unwrap();
    assert_eq!(world.storage(BOB, buy()), refused(Error::ConsignmentLocked));
    let cancel = || Call::cancel_consignment {
        territory_name: name("t"),
    };
    assert_eq!(world.storage(ALICE, cancel()), refused(Error::ConsignmentLocked));
    let before = world.free(BOB);
    world
        .storage(BOB, Call::cancel_purchase_action { token })
        .unwrap();
    assert_eq!(world.free(BOB), before + 5 * TCESS);
    world.storage(BOB, buy()).unwrap();
    let seller = world.free(ALICE);
    world.reach(world.number + 50);
    assert_eq!(world.free(ALICE), seller + 5 * TCESS);
    assert_eq!(world.territory(BOB, "mine").state, TerritoryState::Active);
    assert!(!TERRITORY.contains(&world.state, &ALICE, &name("t")));
}

#[test]
fn an_order_is_paid_by_anybody_until_it_expires() {
    let mut world = World::new();
    let order = |expired| Call::create_order {
        target_acc: ALICE,
        territory_name: name("t"),
        order_type: OrderType::Buy,
        gib_count: 1,
        days: 1,
        expired,
    };
    assert_eq!(world.storage(BOB, order(100)), refused(Error::ParamError));
    world.storage(BOB, order(1)).unwrap();
    let RuntimeEvent::StorageHandler(Event::CreatePayOrder { order_hash }) = world.events[0].clone() else {
        panic!("{:?}", world.events)
    };
    let before = world.free(BOB);
    world
        .storage(
            BOB,
            Call::exec_order {
                order_id: order_hash.clone(),
            },
        )
        .unwrap();
    assert_eq!(before - world.free(BOB), GENESIS_UNIT_PRICE, "no 30-day minimum");
    assert!(PAY_ORDER.contains(&world.state, &order_hash), "not removed");
    assert_eq!(world.territory(ALICE, "t").total_space, 1 << 30);
    world.reach(world.number + 6);
    assert_eq!(
        world.storage(BOB, Call::exec_order { order_id: order_hash }),
        refused(Error::OrderExpired)
    );
    let unknown = Call::exec_order {
        order_id: BoundedVec(vec![1]),
    };
    assert_eq!(world.storage(BOB, unknown), refused(Error::NoOrder));
}
