//! Declarations and reports.

use super::*;
use crate::runtime::file_bank::{DEAL_MAP, Error, Event, USER_HOLD_FILE_LIST, charge};
use crate::runtime::storage_handler::{Error as SpaceError, TOTAL_IDLE_SPACE, TOTAL_SERVICE_SPACE};

#[test]
fn a_declaration_needs_strictly_more_than_it_locks() {
    let mut world = World::with_territory(1);
    // 1 GiB holds ten segments and leaves 64 MiB.
    for fid in 0..10 {
        world.declare(ALICE, ALICE, fid, 1).unwrap();
    }
    assert_eq!(
        world.declare(ALICE, ALICE, 10, 1),
        refused(SpaceError::InsufficientAvailableSpace)
    );
    let territory = world.territory(ALICE, "t");
    assert_eq!(
        (territory.locked_space, territory.remaining_space),
        (charge(10), (1 << 30) - charge(10))
    );

    // 3 GiB is exactly 32 segments.
    let mut world = World::with_territory(3);
    assert_eq!(
        world.declare(ALICE, ALICE, 1, 32),
        refused(SpaceError::InsufficientAvailableSpace)
    );
    world.declare(ALICE, ALICE, 1, 31).unwrap();
    assert_eq!(
        world.declare(ALICE, ALICE, 2, 1),
        refused(SpaceError::InsufficientAvailableSpace)
    );
}

#[test]
fn malformed_declarations_are_refused() {
    let mut world = World::with_territory(1);
    let brief = |text: &str| file_bank::UserBrief {
        user: ALICE,
        file_name: name(text),
        territory_name: name("t"),
    };
    let segment = |count: u32| file_bank::SegmentList {
        hash: hash(1),
        fragment_list: BoundedVec((0..count).map(hash).collect()),
    };
    for (count, file_name) in [(11, "abc"), (12, "ab"), (0, "abc")] {
        let call = file_bank::Call::upload_declaration {
            file_hash: hash(9),
            deal_info: BoundedVec(vec![segment(count)]),
            user_brief: brief(file_name),
            file_size: 1,
        };
        assert_eq!(world.files(ALICE, call), refused(Error::SpecError));
    }
    assert_eq!(
        world.declare_in(ALICE, ALICE, 1, 1, "elsewhere"),
        refused(SpaceError::NotHaveTerritory)
    );
}

#[test]
fn twelve_reports_make_a_file() {
    let mut world = World::with_territory(1);
    let idle = world.total(&TOTAL_IDLE_SPACE);
    world.declare(ALICE, ALICE, 1, 2).unwrap();
    for index in 0..11 {
        world.report(index, 12 - index, 1).unwrap();
    }
    assert!(world.file(1).is_none());
    assert_eq!(
        DEAL_MAP
            .get(&world.state, &hash(1))
            .unwrap()
            .complete_list
            .0
            .len(),
        11
    );
    world.report(11, 1, 1).unwrap();
    let completed = world
        .events
        .iter()
        .position(|event| *event == Event::StorageCompleted { file_hash: hash(1) }.into());
    let reported = world.events.iter().position(|event| {
        *event
            == Event::TransferReport {
                acc: miner(11),
                deal_hash: hash(1),
            }
            .into()
    });
    assert!(completed.is_some() && completed < reported);
    assert!(!DEAL_MAP.contains(&world.state, &hash(1)));
    let file = world.file(1).unwrap();
    assert_eq!(file.completion, world.number);
    for segment in &file.segment_list.0 {
        for (at, fragment) in segment.fragment_list.0.iter().enumerate() {
            assert_eq!(fragment.miner, miner(11 - at as u8), "index {}", at + 1);
            assert!(fragment.avail && fragment.tag.is_none());
        }
    }
    let territory = world.territory(ALICE, "t");
    assert_eq!((territory.locked_space, territory.used_space), (0, charge(2)));
    assert_eq!(world.total(&TOTAL_IDLE_SPACE), idle - charge(2));
    assert_eq!(world.total(&TOTAL_SERVICE_SPACE), charge(2));
    assert_eq!(world.miner_info(3).lock_space, 16 << 20);
    let held = USER_HOLD_FILE_LIST.value(&world.state, &ALICE);
    assert_eq!((held.0.len(), held.0[0].file_size), (1, charge(2)));
    assert_eq!(world.report(12, 1, 1), refused(Error::NonExistent));
}

#[test]
fn reports_are_checked() {
    let mut world = World::with_territory(1);
    world.declare(ALICE, ALICE, 1, 1).unwrap();
    assert_eq!(world.report(0, 0, 1), refused(Error::SpecError));
    assert_eq!(world.report(0, 13, 1), refused(Error::SpecError));
    assert_eq!(world.report(0, 1, 2), refused(Error::NonExistent));
    let stranger = world.files(
        BOB,
        file_bank::Call::transfer_report {
            index: 1,
            deal_hash: hash(1),
        },
    );
    assert_eq!(stranger, refused(sminer::Error::NotMiner));
    world.report(0, 1, 1).unwrap();
    assert_eq!(
        world.report(0, 2, 1),
        refused(Error::Existed),
        "a miner reports once"
    );
    assert_eq!(
        world.report(1, 1, 1),
        refused(Error::Existed),
        "an index is reported once"
    );
    world.block(&[Operation::SetIdle(miner(2), (8 << 20) - 1)]);
    assert_eq!(world.report(2, 2, 1), refused(sminer::Error::Overflow));
    world.block(&[Operation::SetIdle(miner(2), 8 << 20)]);
    world.report(2, 2, 1).unwrap();
    world.block(&[Operation::SetState(miner(3), "frozen".into())]);
    assert_eq!(world.report(3, 3, 1), refused(Error::MinerStateError));
}

#[test]
fn a_second_declaration_overwrites_the_deal_and_leaks_its_lock() {
    let mut world = World::with_territory(1);
    world.mint(BOB, "t", 1).unwrap();
    world.declare(ALICE, ALICE, 1, 1).unwrap();
    world.report(0, 1, 1).unwrap();
    world.declare(BOB, BOB, 1, 1).unwrap();
    assert!(
        DEAL_MAP
            .get(&world.state, &hash(1))
            .unwrap()
            .complete_list
            .0
            .is_empty()
    );
    for index in 0..12 {
        world.report(index, index + 1, 1).unwrap();
    }
    assert_eq!(world.file(1).unwrap().owner.0[0].user, BOB);
    assert_eq!(world.territory(ALICE, "t").locked_space, charge(1), "stuck");
    assert_eq!(world.territory(BOB, "t").locked_space, 0);
}

#[test]
fn a_report_for_an_expired_territory_drops_the_deal() {
    let mut world = World::with_territory(1);
    world.declare(ALICE, ALICE, 1, 1).unwrap();
    world.report(0, 1, 1).unwrap();
    assert_eq!(world.miner_info(0).lock_space, 8 << 20);
    leases::expire(&mut world, ALICE, "t");
    world.report(1, 2, 1).unwrap();
    assert!(!DEAL_MAP.contains(&world.state, &hash(1)));
    assert_eq!(world.miner_info(0).lock_space, 0);
}
