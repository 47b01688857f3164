//! A lost fragment changes hands.

use super::*;
use crate::runtime::file_bank::{Call, Error, RESTORAL_ORDER, RESTORAL_ORDER_LIFE};

#[test]
fn a_lost_fragment_passes_to_another_miner() {
    let mut world = World::with_territory(1);
    world.place(ALICE, 1, 1);
    let fragment = hash(1100);
    let generate = || Call::generate_restoral_order {
        file_hash: hash(1),
        restoral_fragment: fragment,
    };
    assert_eq!(
        world.files(miner(1), generate()),
        refused(Error::NonExistent),
        "only the holder"
    );
    world.files(miner(0), generate()).unwrap();
    assert_eq!(world.files(miner(0), generate()), refused(Error::Existed));
    assert!(!world.file(1).unwrap().segment_list.0[0].fragment_list.0[0].avail);

    world.block(&[]);
    let claim = || Call::claim_restoral_order {
        restoral_fragment: fragment,
    };
    let complete = || Call::restoral_order_complete {
        fragment_hash: fragment,
    };
    assert_eq!(world.files(BOB, claim()), refused(sminer::Error::NotMiner));
    world.files(miner(12), claim()).unwrap();
    assert_eq!(
        world.files(miner(13), claim()),
        refused(Error::SpecError),
        "reserved"
    );
    assert_eq!(world.files(miner(13), complete()), refused(Error::NotOwner));
    world.reach(world.number + RESTORAL_ORDER_LIFE);
    assert_eq!(world.files(miner(12), complete()), refused(Error::Expired));
    world.block(&[]);
    world.files(miner(13), claim()).unwrap();
    world.files(miner(13), complete()).unwrap();
    let held = world.file(1).unwrap().segment_list.0[0].fragment_list.0[0].clone();
    assert_eq!(
        (held.miner, held.avail, held.tag),
        (miner(13), true, Some(world.number))
    );
    assert!(!RESTORAL_ORDER.contains(&world.state, &fragment));
    assert_eq!(world.miner_info(0).lock_space, 0);
    assert_eq!(world.miner_info(13).service_space, 8 << 20);
}
