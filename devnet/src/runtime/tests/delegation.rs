//! `Oss`: who may act for whom.

use parity_scale_codec::Encode;
use subxt_signer::sr25519::dev;

use super::*;
use crate::runtime::oss::{AUTHORITY_LIST, Call, Error, OSS, ProxyAuthPayload};

fn oss(world: &mut World, caller: AccountId32, call: Call) -> DispatchResult {
    world.call(caller, RuntimeCall::Oss(call))
}

#[test]
fn an_operator_declares_and_deletes_for_the_owner() {
    let mut world = World::with_territory(1);
    assert_eq!(
        world.declare(BOB, ALICE, 1, 1),
        refused(file_bank::Error::NoPermission)
    );
    assert_eq!(
        oss(&mut world, ALICE, Call::cancel_authorize { oss: BOB }),
        refused(Error::NoAuthorization)
    );
    oss(&mut world, ALICE, Call::authorize { operator: BOB }).unwrap();
    oss(&mut world, ALICE, Call::authorize { operator: BOB }).unwrap();
    assert_eq!(AUTHORITY_LIST.value(&world.state, &ALICE).0, [BOB]);
    world.declare(BOB, ALICE, 1, 1).unwrap();
    for index in 0..12 {
        world.report(index, index + 1, 1).unwrap();
    }
    world.delete(BOB, ALICE, 1).unwrap();
    oss(&mut world, ALICE, Call::cancel_authorize { oss: BOB }).unwrap();
    assert_eq!(
        world.declare(BOB, ALICE, 2, 1),
        refused(file_bank::Error::NoPermission)
    );
}

#[test]
fn an_owner_has_at_most_twenty_operators() {
    let mut world = World::new();
    for index in 0..20 {
        oss(
            &mut world,
            ALICE,
            Call::authorize {
                operator: miner(index),
            },
        )
        .unwrap();
    }
    assert_eq!(
        oss(&mut world, ALICE, Call::authorize { operator: BOB }),
        refused(Error::BoundedVecError)
    );
}

#[test]
fn a_signed_permission_is_handed_in_by_anybody() {
    let mut world = World::new();
    let owner = dev::charlie();
    let permission = |exp: u32, signer: &subxt_signer::sr25519::Keypair| {
        let payload = ProxyAuthPayload { oss: BOB, exp };
        let message = [b"<Bytes>".as_slice(), &payload.encode(), b"</Bytes>"].concat();
        assert_eq!(message.len(), 51);
        Call::proxy_authorzie {
            auth_puk: owner.public_key().0,
            sig: BoundedVec(signer.sign(&message).0.to_vec()),
            payload,
        }
    };
    world.reach(200);
    assert_eq!(
        oss(&mut world, BOB, permission(100, &owner)),
        refused(Error::Expired)
    );
    assert_eq!(
        oss(&mut world, BOB, permission(200, &dev::dave())),
        refused(Error::VerifySigFailed)
    );
    oss(&mut world, BOB, permission(101, &owner)).unwrap();
    assert_eq!(
        AUTHORITY_LIST
            .value(&world.state, &AccountId32(owner.public_key().0))
            .0,
        [BOB]
    );
    assert_eq!(
        oss(&mut world, BOB, permission(200, &owner)),
        refused(Error::Existed)
    );
}

#[test]
fn gateways_register_change_and_leave() {
    let mut world = World::new();
    let domain = || BoundedVec(b"gateway.example:8080".to_vec());
    let update = || Call::update {
        endpoint: [1; 38],
        domain: domain(),
    };
    assert_eq!(oss(&mut world, BOB, update()), refused(Error::UnRegister));
    let register = || Call::register {
        endpoint: [0; 38],
        domain: domain(),
    };
    oss(&mut world, BOB, register()).unwrap();
    assert_eq!(oss(&mut world, BOB, register()), refused(Error::Registered));
    oss(&mut world, BOB, update()).unwrap();
    assert_eq!(OSS.get(&world.state, &BOB).unwrap().peer_id, [1; 38]);
    oss(&mut world, BOB, Call::destroy).unwrap();
    assert_eq!(oss(&mut world, BOB, Call::destroy), refused(Error::UnRegister));
}
