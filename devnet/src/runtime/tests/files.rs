//! Owners of complete files, deletion, moving, tags.

use parity_scale_codec::Encode;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::runtime::file_bank::{Call, DigestInfo, Error, Event, TagSigInfo, charge};
use crate::runtime::storage_handler::Error as SpaceError;

#[test]
fn a_second_owner_pays_the_same_and_sends_nothing() {
    let mut world = World::with_territory(1);
    world.mint(BOB, "t", 1).unwrap();
    world.place(ALICE, 1, 2);
    world.declare(BOB, BOB, 1, 0).unwrap();
    assert!(!world.emitted(Event::StorageCompleted { file_hash: hash(1) }));
    assert_eq!(world.territory(BOB, "t").used_space, charge(2));
    assert_eq!(world.declare(BOB, BOB, 1, 0), refused(Error::Existed));
    world.delete(ALICE, ALICE, 1).unwrap();
    assert_eq!(world.file(1).unwrap().owner.0.len(), 1);
    assert_eq!(world.territory(ALICE, "t").used_space, 0);
    world.delete(BOB, BOB, 1).unwrap();
    assert!(world.file(1).is_none());
}

#[test]
fn the_same_owner_in_two_territories_leaves_an_orphan() {
    let mut world = World::with_territory(1);
    world.mint(ALICE, "u", 1).unwrap();
    world.place(ALICE, 1, 1);
    world.declare_in(ALICE, ALICE, 1, 0, "u").unwrap();
    world.delete(ALICE, ALICE, 1).unwrap();
    assert!(world.file(1).unwrap().owner.0.is_empty());
    assert_eq!(
        world.territory(ALICE, "t").used_space + world.territory(ALICE, "u").used_space,
        0
    );
}

#[test]
fn deletion_refunds_and_by_a_stranger_only_emits() {
    let mut world = World::with_territory(1);
    assert_eq!(world.delete(ALICE, ALICE, 1), refused(Error::NonExistent));
    world.declare(ALICE, ALICE, 1, 1).unwrap();
    assert_eq!(
        world.delete(ALICE, ALICE, 1),
        refused(Error::NonExistent),
        "a deal is no file"
    );
    for index in 0..12 {
        world.report(index, index + 1, 1).unwrap();
    }
    assert_eq!(world.delete(BOB, ALICE, 1), refused(Error::NoPermission));
    world.delete(BOB, BOB, 1).unwrap();
    assert!(world.emitted(Event::DeleteFile {
        operator: BOB,
        owner: BOB,
        file_hash: hash(1)
    }));
    assert!(world.file(1).is_some(), "the event is no proof");
    let idle = world.miner_info(0).idle_space;
    world.delete(ALICE, ALICE, 1).unwrap();
    assert!(world.file(1).is_none());
    let territory = world.territory(ALICE, "t");
    assert_eq!((territory.used_space, territory.remaining_space), (0, 1 << 30));
    let info = world.miner_info(0);
    assert_eq!((info.lock_space, info.idle_space), (0, idle + (8 << 20)));
    // The same FID can be declared anew.
    world.place(ALICE, 1, 1);
}

#[test]
fn a_file_moves_between_territories_of_one_owner() {
    let mut world = World::with_territory(1);
    world.mint(ALICE, "u", 1).unwrap();
    world.place(ALICE, 1, 1);
    let deliver = |to: &str| Call::territory_file_delivery {
        user: ALICE,
        file_hash: hash(1),
        target_territory: name(to),
    };
    world.files(ALICE, deliver("u")).unwrap();
    assert_eq!(world.territory(ALICE, "t").used_space, 0);
    assert_eq!(world.territory(ALICE, "u").used_space, charge(1));
    world.files(ALICE, deliver("u")).unwrap();
    assert_eq!(
        world.files(ALICE, deliver("w")),
        refused(SpaceError::NotHaveTerritory)
    );
    assert_eq!(world.territory(ALICE, "u").used_space, charge(1));
    assert_eq!(world.files(BOB, deliver("t")), refused(Error::NoPermission));
}

#[test]
fn a_tag_needs_the_signature_of_the_tee() {
    let mut world = World::with_territory(1);
    world.place(ALICE, 1, 1);
    let info = TagSigInfo {
        miner: miner(0),
        digest: BoundedVec(vec![DigestInfo {
            fragment: hash(1100),
            tee_puk: [0; 32],
        }]),
        file_hash: hash(1),
    };
    let digest: [u8; 32] = Sha256::digest(info.encode()).into();
    let signed = |key: subxt_signer::sr25519::Keypair| BoundedVec(key.sign(&digest).0.to_vec());
    let report = |tee_sig| Call::calculate_report {
        tee_sig,
        tag_sig_info: info.clone(),
    };
    let tee = subxt_signer::sr25519::dev::ferdie();
    let liar = subxt_signer::sr25519::dev::eve();
    assert_eq!(
        world.files(miner(0), report(signed(liar))),
        refused(Error::VerifyTeeSigFailed)
    );
    assert_eq!(
        world.files(miner(0), report(BoundedVec(vec![1]))),
        refused(Error::MalformedSignature)
    );
    assert_eq!(
        world.files(miner(1), report(signed(tee.clone()))),
        refused(Error::MinerError)
    );
    world.files(miner(0), report(signed(tee))).unwrap();
    let tags: Vec<_> = world.file(1).unwrap().segment_list.0[0]
        .fragment_list
        .0
        .iter()
        .map(|fragment| fragment.tag)
        .collect();
    assert_eq!(tags[0], Some(world.number));
    assert_eq!(tags[1..], [None; 11]);
    let service = world.miner_info(0);
    assert_eq!((service.lock_space, service.service_space), (0, 8 << 20));
    world.block(&[Operation::TagFile(hash(1))]);
    assert!(
        world.file(1).unwrap().segment_list.0[0]
            .fragment_list
            .0
            .iter()
            .all(|fragment| fragment.tag.is_some())
    );
    world.delete(ALICE, ALICE, 1).unwrap();
    assert_eq!(world.miner_info(0).service_space, 0);
}
