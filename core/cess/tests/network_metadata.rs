//! Encoding and decoding against the networks' own metadata.
//!
//! The files are not part of this repository: `CESS_METADATA_DIR` names the folder that has
//! `cess-metadata-v126.scale` and `cess-metadata-v137.scale`. Without it these tests say that they
//! are skipped.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use cess::chain::calls::{self, Call};
use cess::chain::runtime::{MORTALITY, Runtime, Version};
use cess::chain::{Declaration, TerritoryState, items, requirements};
use cess::codec::{FRAGMENTS, SegmentHashes, ZERO_FRAGMENT};
use cess::{AccountId, Error, Hash};
use parity_scale_codec::{Compact, Encode};
use subxt::Metadata;
use subxt::utils::H256;
use subxt_signer::sr25519::dev;

/// The metadata of every runtime that is at hand, with its `specVersion`.
fn runtimes() -> Vec<(u32, Metadata)> {
    let Some(folder) = std::env::var_os("CESS_METADATA_DIR") else {
        // Past the test harness, which swallows what is printed.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: CESS_METADATA_DIR is not set, the networks' own metadata is not tested"
        );
        return Vec::new();
    };
    [126, 137]
        .into_iter()
        .map(|spec| {
            let path = std::path::Path::new(&folder).join(format!("cess-metadata-v{spec}.scale"));
            println!("reading {}", path.display());
            let bytes = std::fs::read(&path).unwrap();
            (spec, Metadata::decode_from(&bytes).unwrap())
        })
        .collect()
}

fn alice() -> AccountId {
    AccountId::from(&dev::alice())
}

/// The one-byte file of the published codec vectors.
fn one_byte_file() -> Declaration {
    let names = include_str!("codec_vectors.txt")
        .lines()
        .skip_while(|line| *line != "vector V1")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let mut file = Declaration {
        fid: Hash::default(),
        segments: vec![SegmentHashes {
            segment: Hash::default(),
            fragments: [ZERO_FRAGMENT; FRAGMENTS],
        }],
        owner: alice(),
        file_name: b"a.txt".to_vec(),
        territory: b"t-one".to_vec(),
        file_size: 1,
    };
    for line in names {
        let (word, value) = line.split_once(' ').unwrap();
        match word {
            "segment" => file.segments[0].segment = value.parse().unwrap(),
            "fid-merkle" => file.fid = value.parse().unwrap(),
            "plaintext" | "fid-flat" => {}
            _ if value == "ZERO" => {}
            fragment => {
                let number: usize = fragment[1..].parse().unwrap();
                file.segments[0].fragments[number - 1] = value.parse().unwrap();
            }
        }
    }
    assert_eq!(
        file.fid.to_string(),
        "a04fead762b53137bee4c5a86718d682ea736d69775cf93e32d50f1e233a572d"
    );
    file
}

fn hex_of(call: &Call) -> String {
    hex::encode(call.bytes())
}

#[test]
fn the_networks_have_what_is_needed() {
    for (spec, metadata) in runtimes() {
        requirements::check(&metadata).unwrap_or_else(|error| panic!("spec {spec}: {error}"));
    }
}

#[test]
fn calls_encode_as_verified() {
    let account = hex::encode(alice().0);
    let file = one_byte_file();
    let fid = hex::encode(file.fid.to_ascii());
    let bob = AccountId::from(&dev::bob());
    for (spec, metadata) in runtimes() {
        let md = &metadata;
        let declaration = calls::upload_declaration(md, &file).unwrap();
        assert_eq!(declaration.bytes().len(), 960, "spec {spec}");
        assert_eq!(
            Hash::of(declaration.bytes()).to_string(),
            "9e0eeece8cc0fd456ad8c4a912f3148d6c347add44d298557656c85caf9d3ad2",
            "spec {spec}"
        );
        for (call, expected) in [
            (calls::authorize(md, alice()), format!("6c00{account}")),
            (calls::cancel_authorize(md, alice()), format!("6c01{account}")),
            (
                calls::mint_territory(md, b"t-one", 1, 30),
                "6b000100000014742d6f6e651e000000".to_owned(),
            ),
            (
                calls::expand_territory(md, b"t-one", 2),
                "6b0114742d6f6e6502000000".to_owned(),
            ),
            (
                calls::renew_territory(md, b"t-one", 3),
                "6b0214742d6f6e6503000000".to_owned(),
            ),
            (
                calls::delete_file(md, alice(), file.fid),
                format!("6806{account}{fid}"),
            ),
            (calls::transfer_report(md, 12, file.fid), format!("68030c{fid}")),
            (
                calls::transfer(md, bob, 1_000_000_000_000_000_000),
                format!(
                    "060300{}{}",
                    hex::encode(bob.0),
                    hex::encode(Compact(1_000_000_000_000_000_000_u128).encode())
                ),
            ),
        ] {
            assert_eq!(hex_of(&call.unwrap()), expected, "spec {spec}");
        }
        let inner = calls::authorize(md, alice()).unwrap();
        let batch = calls::force_batch(md, vec![inner.clone(), inner]).unwrap();
        assert_eq!(
            hex_of(&batch),
            format!("0104086c00{account}6c00{account}"),
            "spec {spec}"
        );
    }
}

/// Bounds are not in the metadata, and breaking them makes an extrinsic undecodable.
#[test]
fn bounds_are_checked_before_encoding() {
    let file = one_byte_file();
    for (_, metadata) in runtimes() {
        let md = &metadata;
        for name in [&b"ab"[..], &[b'x'; 64]] {
            let file = Declaration {
                file_name: name.to_vec(),
                ..file.clone()
            };
            assert!(matches!(
                calls::upload_declaration(md, &file),
                Err(Error::Invalid(_))
            ));
        }
        let long = Declaration {
            territory: vec![b'x'; 64],
            ..file.clone()
        };
        assert!(matches!(
            calls::upload_declaration(md, &long),
            Err(Error::Invalid(_))
        ));
        let empty = Declaration {
            segments: Vec::new(),
            ..file.clone()
        };
        assert!(matches!(
            calls::upload_declaration(md, &empty),
            Err(Error::Invalid(_))
        ));
        let huge = Declaration {
            segments: vec![file.segments[0].clone(); 1001],
            ..file.clone()
        };
        assert!(matches!(
            calls::upload_declaration(md, &huge),
            Err(Error::Invalid(_))
        ));
        let largest = Declaration {
            segments: vec![file.segments[0].clone(); 1000],
            ..file.clone()
        };
        assert_eq!(
            calls::upload_declaration(md, &largest).unwrap().bytes().len(),
            960 + 999 * 833 + 1
        );
        assert!(matches!(
            calls::mint_territory(md, b"t", 1, 29),
            Err(Error::Invalid(_))
        ));
        assert!(matches!(
            calls::mint_territory(md, b"t", 0, 30),
            Err(Error::Invalid(_))
        ));
        assert!(matches!(
            calls::mint_territory(md, &[0; 64], 1, 30),
            Err(Error::Invalid(_))
        ));
    }
}

#[test]
fn storage_keys_are_the_networks() {
    let file = one_byte_file();
    for (item, prefix) in [
        (
            items::FILES,
            "a3c62a50675125d74bc9f59e3f75adc9303fb39244d274417d5edffffa903f8a",
        ),
        (
            items::DEALS,
            "a3c62a50675125d74bc9f59e3f75adc97810ae48440077708636387b1304c723",
        ),
        (
            items::HELD_FILES,
            "a3c62a50675125d74bc9f59e3f75adc917f0e8dbd9ca076e7e83f2559063e067",
        ),
        (
            items::TERRITORIES,
            "d594a5c1eaaed1896a72205f11d647003af49a9492056b7d0ff4b61962039138",
        ),
        (
            items::UNIT_PRICE,
            "d594a5c1eaaed1896a72205f11d64700464608f06602a793c3e237f406d114f1",
        ),
        (
            items::AUTHORITIES,
            "d73c407bc19d14499f837160c09a1b257298582d9dec448738505f93ee0ae740",
        ),
        (
            items::MINERS,
            "eef51d8e841afa77e8c7349eaa7746f7b2e25dfd1af730b06c3bbbf7f09259ae",
        ),
    ] {
        assert_eq!(hex::encode(item.prefix()), prefix, "{item:?}");
    }
    for (_, metadata) in runtimes() {
        let md = &metadata;
        let key = items::territory_key(md, alice(), b"t-one").unwrap();
        assert_eq!(
            hex::encode(&key),
            format!(
                "d594a5c1eaaed1896a72205f11d647003af49a9492056b7d0ff4b61962039138\
                 de1e86a9a8c739864cf3cc5ec2bea59f{}5aa2e02f0cb9051bbfa73d1d526c7c9c14742d6f6e65",
                hex::encode(alice().0)
            )
        );
        assert!(key.starts_with(&items::territories_of(md, alice()).unwrap()));
        assert_eq!(items::territory_name(&key).unwrap(), b"t-one");
        let miner = items::miner_key(md, alice()).unwrap();
        assert_eq!(items::miner_account(&miner).unwrap(), alice());
        assert!(
            items::deal_key(md, file.fid)
                .unwrap()
                .ends_with(&file.fid.to_ascii())
        );
        assert!(
            items::file_key(md, file.fid)
                .unwrap()
                .ends_with(&file.fid.to_ascii())
        );
        assert!(items::account_key(md, alice()).unwrap().ends_with(&alice().0));
        assert!(items::authorities_key(md, alice()).unwrap().ends_with(&alice().0));
        assert!(items::held_files_key(md, alice()).unwrap().ends_with(&alice().0));
    }
    assert!(matches!(items::territory_name(b"short"), Err(Error::Corrupt(_))));
    assert!(matches!(items::miner_account(b"short"), Err(Error::Corrupt(_))));
}

/// Values written out by hand, in the field order of the protocol.
#[test]
fn storage_values_are_understood() {
    let file = one_byte_file();
    let segment = &file.segments[0];
    let bob = AccountId::from(&dev::bob());
    let brief = |account: AccountId| (account.0, b"a.txt".to_vec(), b"t-one".to_vec());
    for (spec, metadata) in runtimes() {
        let md = &metadata;

        let deal = (
            7_u128,
            vec![(
                segment.segment.to_ascii(),
                segment
                    .fragments
                    .iter()
                    .map(|hash| hash.to_ascii())
                    .collect::<Vec<_>>(),
            )],
            brief(alice()),
            vec![(3_u8, bob.0), (12_u8, alice().0)],
        )
            .encode();
        let deal = items::deal(md, &deal).unwrap();
        assert_eq!((deal.file_size, deal.owner), (7, alice()), "spec {spec}");
        assert_eq!(deal.segments, file.segments);
        assert_eq!(
            deal.complete.into_iter().collect::<Vec<_>>(),
            [(3, bob), (12, alice())]
        );

        let fragments: Vec<_> = segment
            .fragments
            .iter()
            .enumerate()
            .map(|(index, hash)| (hash.to_ascii(), index != 1, (index == 2).then_some(99_u32), bob.0))
            .collect();
        let stored = (
            vec![(segment.segment.to_ascii(), fragments)],
            vec![brief(alice()), brief(bob)],
            8_u128,
            1234_u32,
            0_u8,
        )
            .encode();
        let stored = items::file(md, &stored).unwrap();
        assert_eq!((stored.file_size, stored.completion), (8, 1234), "spec {spec}");
        assert_eq!(stored.owners, [alice(), bob]);
        assert_eq!(stored.segments[0].0, segment.segment);
        let fragments = &stored.segments[0].1;
        assert_eq!(fragments.len(), FRAGMENTS);
        assert_eq!(fragments[0].hash, segment.fragments[0]);
        assert_eq!((fragments[0].available, fragments[1].available), (true, false));
        assert_eq!((fragments[1].tag, fragments[2].tag), (None, Some(99)));
        assert_eq!(fragments[5].miner, bob);

        let held = vec![
            (b"t-one".to_vec(), file.fid.to_ascii(), 100_663_296_u128),
            (b"t-one".to_vec(), [b'Z'; 64], 100_663_296_u128),
        ]
        .encode();
        assert_eq!(
            items::held_files(md, &held).unwrap(),
            [file.fid],
            "what is no digest is left out"
        );

        let territory = (
            [5_u8; 32], 100_u128, 20_u128, 30_u128, 50_u128, 1000_u32, 2000_u32, 1_u8,
        )
            .encode();
        let territory = items::territory(md, b"t-one".to_vec(), &territory).unwrap();
        assert_eq!(territory.token, [5; 32]);
        assert_eq!(
            (
                territory.total_space,
                territory.used_space,
                territory.locked_space,
                territory.remaining_space
            ),
            (100, 20, 30, 50)
        );
        assert_eq!((territory.start, territory.deadline), (1000, 2000));
        assert_eq!(territory.state, TerritoryState::Frozen);

        let account = (1_u32, 2_u32, 3_u32, 4_u32, (5_u128, 6_u128, 7_u128, 8_u128)).encode();
        assert_eq!(items::free_balance(md, &account).unwrap(), 5);
        assert_eq!(items::unit_price(md, &30_u128.encode()).unwrap(), 30);
        assert_eq!(
            items::authorities(md, &vec![alice().0, bob.0].encode()).unwrap(),
            [alice(), bob]
        );
    }
}

#[test]
fn a_miners_record_is_understood() {
    let bob = AccountId::from(&dev::bob());
    for (spec, metadata) in runtimes() {
        let mut record = Vec::new();
        (
            alice().0,
            bob.0,
            b"203.0.113.7:15001\0".to_vec(),
            1_u128,
            2_u128,
            b"positive".to_vec(),
        )
            .encode_to(&mut record);
        (10_u128, 20_u128, 30_u128, 40_u128).encode_to(&mut record);
        None::<u8>.encode_to(&mut record);
        ([0_u64; 256], [0_u8; 64]).encode_to(&mut record);
        let miner = items::miner(&metadata, bob, &record).unwrap();
        assert_eq!(miner.account, bob, "spec {spec}");
        assert_eq!(miner.endpoint.as_deref(), Some("http://203.0.113.7:15001"));
        assert!(miner.is_positive());
        assert_eq!((miner.idle_space, miner.service_space), (20, 30));
    }
}

#[test]
fn values_that_do_not_fit_are_refused() {
    for (_, metadata) in runtimes() {
        let good = (1_u32, 2_u32, 3_u32, 4_u32, (5_u128, 6_u128, 7_u128, 8_u128)).encode();
        for bad in [&good[..good.len() - 1], &[&good[..], &[0]].concat(), &[]] {
            let answer = items::free_balance(&metadata, bad);
            assert!(matches!(answer, Err(Error::UnsupportedRuntime(_))), "{answer:?}");
        }
        let eleven: Vec<[u8; 64]> = vec![ZERO_FRAGMENT.to_ascii(); 11];
        let segments = vec![(ZERO_FRAGMENT.to_ascii(), eleven)];
        let brief = (alice().0, b"abc".to_vec(), b"t".to_vec());
        let deal = (1_u128, segments, brief, Vec::<(u8, [u8; 32])>::new()).encode();
        assert!(matches!(items::deal(&metadata, &deal), Err(Error::Corrupt(_))));
    }
}

/// The extrinsic's envelope: version 4, signed, an era of 64 blocks, then nonce, tip and call.
#[test]
fn extrinsics_are_signed_for_a_bounded_time() {
    for (spec, metadata) in runtimes() {
        let version = Version {
            spec_name: "cess-node".to_owned(),
            spec_version: spec,
            transaction_version: 1,
        };
        let runtime = Runtime::new(version, H256([1; 32]), metadata).unwrap();
        let call = calls::authorize(runtime.metadata(), alice()).unwrap();
        let extrinsic = runtime
            .sign(&call, &dev::alice(), 5, (1000, H256([2; 32])))
            .unwrap();

        let mut expected = vec![0x84, 0x00];
        expected.extend_from_slice(&alice().0);
        expected.push(1);
        let signature_at = expected.len();
        expected.extend_from_slice(&[0; 64]);
        let phase = 1000 % MORTALITY;
        expected.extend_from_slice(&(5 | (phase << 4) as u16).to_le_bytes());
        expected.extend_from_slice(&Compact(5_u32).encode());
        expected.extend_from_slice(&Compact(0_u128).encode());
        expected.extend_from_slice(call.bytes());
        let body = &extrinsic[Compact(expected.len() as u32).encode().len()..];
        assert_eq!(body.len(), expected.len(), "spec {spec}");
        assert_eq!(body[..signature_at], expected[..signature_at], "spec {spec}");
        assert_eq!(
            body[signature_at + 64..],
            expected[signature_at + 64..],
            "spec {spec}"
        );

        // Signed: call, era, nonce, tip, then versions, genesis and the block that the era begins with.
        let mut payload = call.bytes().to_vec();
        payload.extend_from_slice(&body[signature_at + 64..signature_at + 68]);
        (spec, 1_u32, [1_u8; 32], [2_u8; 32]).encode_to(&mut payload);
        let signature = body[signature_at..signature_at + 64].try_into().unwrap();
        let signature = subxt_signer::sr25519::Signature(signature);
        assert!(
            subxt_signer::sr25519::verify(&signature, &payload, &dev::alice().public_key()),
            "spec {spec}"
        );
    }
}

#[test]
fn a_runtime_without_what_is_needed_is_refused_with_the_reason() {
    for (_, mut metadata) in runtimes() {
        let renamed = metadata
            .types_mut()
            .types
            .iter_mut()
            .find(|known| {
                known
                    .ty
                    .path
                    .segments
                    .last()
                    .is_some_and(|name| name == "TerritoryInfo")
            })
            .unwrap();
        let scale_info::TypeDef::Composite(composite) = &mut renamed.ty.type_def else {
            panic!("a territory has fields");
        };
        composite
            .fields
            .iter_mut()
            .find(|field| field.name.as_deref() == Some("deadline"))
            .unwrap()
            .name = Some("until".to_owned());
        match requirements::check(&metadata) {
            Err(Error::UnsupportedRuntime(reason)) => {
                assert_eq!(reason, "StorageHandler.Territory: no field deadline");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Before runtime 126 a file named a bucket, and a miner had no endpoint.
#[test]
fn an_older_shape_is_filled_and_read_by_its_names() {
    for (_, mut metadata) in runtimes() {
        for known in &mut metadata.types_mut().types {
            let scale_info::TypeDef::Composite(composite) = &mut known.ty.type_def else {
                continue;
            };
            match known.ty.path.segments.last().map(String::as_str) {
                Some("UserBrief") => {
                    let mut bucket = composite.fields[1].clone();
                    bucket.name = Some("bucket_name".to_owned());
                    composite.fields.insert(2, bucket);
                }
                Some("MinerInfo") => {
                    let endpoint = composite
                        .fields
                        .iter_mut()
                        .find(|field| field.name.as_deref() == Some("endpoint"))
                        .unwrap();
                    endpoint.name = Some("peer_id".to_owned());
                }
                _ => {}
            }
        }
        requirements::check(&metadata).unwrap();
        let call = calls::upload_declaration(&metadata, &one_byte_file()).unwrap();
        assert_eq!(call.bytes().len(), 960 + 1 + b"cess-gateway".len());
        let tail = [&b"\x14a.txt\x30cess-gateway\x14t-one"[..], &1_u128.encode()].concat();
        assert!(call.bytes().ends_with(&tail), "{}", hex_of(&call));

        let mut record = Vec::new();
        (
            alice().0,
            alice().0,
            vec![9_u8; 38],
            1_u128,
            2_u128,
            b"lock".to_vec(),
        )
            .encode_to(&mut record);
        (10_u128, 20_u128, 30_u128, 40_u128, None::<u8>).encode_to(&mut record);
        ([0_u64; 256], [0_u8; 64]).encode_to(&mut record);
        let miner = items::miner(&metadata, alice(), &record).unwrap();
        assert_eq!(miner.endpoint, None);
        assert_eq!(miner.state, "lock");
        assert!(!miner.is_positive());
    }
}
