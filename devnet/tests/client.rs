//! The gateway's own chain client drives the chain: every call and query, and what happens when
//! nodes fail, stall, retract blocks or are strangers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod network;

use std::collections::BTreeMap;
use std::time::Duration;

use cess::chain::{Chain, ChainConfig, Declaration, Fate, TerritoryState, Validity};
use cess::codec::{FRAGMENTS, SegmentHashes, fid_merkle};
use cess::{AccountId, Error, Hash};
use cess_devnet::chain::Sealing;
use network::{Network, TCESS, miner, start};
use subxt_signer::sr25519::{Keypair, dev};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What one segment takes of a territory.
const SEGMENT_SPACE: u128 = 96 << 20;

fn config(endpoints: &[String]) -> ChainConfig {
    ChainConfig {
        endpoints: endpoints.to_vec(),
        signer: dev::alice(),
        miner_endpoints: BTreeMap::new(),
        rpc_timeout: Duration::from_secs(10),
    }
}

async fn connect(network: &Network) -> Chain {
    Chain::connect(config(&[network.url()])).await.unwrap()
}

fn id(key: &Keypair) -> AccountId {
    AccountId::from(key)
}

fn file(seed: usize, segments: usize) -> Declaration {
    let segments: Vec<SegmentHashes> = (0..segments)
        .map(|segment| SegmentHashes {
            segment: Hash::of(format!("{seed}/{segment}").as_bytes()),
            fragments: std::array::from_fn(|index| Hash::of(format!("{seed}/{segment}/{index}").as_bytes())),
        })
        .collect();
    let names: Vec<Hash> = segments.iter().map(|hashes| hashes.segment).collect();
    Declaration {
        fid: fid_merkle(&names),
        segments,
        owner: id(&dev::alice()),
        file_name: format!("file-{seed}").into_bytes(),
        territory: b"t-one".to_vec(),
        file_size: 1000 + seed as u128,
    }
}

fn is_refused<T: std::fmt::Debug>(result: Result<T, Error>, pallet: &str, name: &str) {
    match result {
        Err(Error::Dispatch { pallet: p, name: n }) if p == pallet && n == name => {}
        other => panic!("expected {pallet}.{name}: {other:?}"),
    }
}

/// Asks until the closing of a gate has come through.
async fn first_failure(chain: &Chain) -> Error {
    let failure = async {
        loop {
            if let Err(error) = chain.block_number().await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failure)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_territory_is_bought_grown_and_prolonged() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let chain = connect(&network).await;
    let alice = chain.account();
    assert_eq!(alice, id(&dev::alice()));
    assert_eq!(chain.runtime().0, "cess-node");
    assert_eq!(chain.unit_price().await.unwrap(), 30 * TCESS);
    assert_eq!(chain.territory(alice, b"t-one").await.unwrap(), None);
    assert!(chain.territories(alice).await.unwrap().is_empty());

    let before = chain.balance(alice).await.unwrap();
    let included = chain.mint_territory(b"t-one", 1, 30).await.unwrap();
    assert!(included.block_number > 0 && included.block_number <= chain.block_number().await.unwrap());
    let spent = before - chain.balance(alice).await.unwrap();
    assert!((900 * TCESS..901 * TCESS).contains(&spent), "{spent}");

    let territory = chain.territory(alice, b"t-one").await.unwrap().unwrap();
    assert_eq!(territory.name, b"t-one");
    assert_eq!(territory.state, TerritoryState::Active);
    assert_eq!(
        (territory.total_space, territory.remaining_space),
        (1 << 30, 1 << 30)
    );
    assert_eq!(territory.deadline - territory.start, 30 * 14_400);
    is_refused(
        chain.mint_territory(b"t-one", 1, 30).await,
        "StorageHandler",
        "PurchasedSpace",
    );

    chain.expand_territory(b"t-one", 2).await.unwrap();
    chain.renew_territory(b"t-one", 5).await.unwrap();
    chain.mint_territory(&[0xFF; 63], 1, 40).await.unwrap();
    let mut territories = chain.territories(alice).await.unwrap();
    territories.sort_by_key(|territory| territory.total_space);
    assert_eq!(territories.len(), 2);
    assert_eq!(territories[0].name, [0xFF; 63]);
    assert_eq!(territories[1].total_space, 3 << 30);
    assert_eq!(territories[1].deadline, territory.deadline + 5 * 14_400);
    assert!(chain.territories(id(&dev::bob())).await.unwrap().is_empty());
    is_refused(
        chain.expand_territory(b"none", 2).await,
        "StorageHandler",
        "NotHaveTerritory",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_from_declaration_to_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let chain = connect(&network).await;
    let alice = chain.account();
    chain.mint_territory(b"t-one", 1, 30).await.unwrap();
    let declared = file(1, 2);
    let fid = declared.fid;
    assert_eq!(chain.deal(fid).await.unwrap(), None);
    chain.declare(vec![declared.clone()]).await.remove(0).unwrap();

    let deal = chain.deal(fid).await.unwrap().unwrap();
    assert_eq!(deal.segments, declared.segments);
    assert_eq!((deal.file_size, deal.owner), (1001, alice));
    assert!(deal.complete.is_empty());
    assert_eq!(chain.file(fid).await.unwrap(), None);

    for index in 0..FRAGMENTS {
        let as_miner = chain.with_signer(miner(index));
        as_miner.transfer_report(index as u8 + 1, fid).await.unwrap();
        if index == 4 {
            let deal = chain.deal(fid).await.unwrap().unwrap();
            let reported: Vec<_> = deal.complete.into_iter().collect();
            let expected: Vec<_> = (0..=4).map(|i| (i as u8 + 1, id(&miner(i)))).collect();
            assert_eq!(reported, expected);
            is_refused(as_miner.transfer_report(6, fid).await, "FileBank", "Existed");
            is_refused(chain.transfer_report(6, fid).await, "Sminer", "NotMiner");
        }
    }
    assert_eq!(chain.deal(fid).await.unwrap(), None);
    let stored = chain.file(fid).await.unwrap().unwrap();
    assert_eq!(stored.owners, [alice]);
    assert_eq!(stored.file_size, 1001);
    assert!(stored.completion > 0);
    for ((hash, fragments), expected) in stored.segments.iter().zip(&declared.segments) {
        assert_eq!(*hash, expected.segment);
        for (index, fragment) in fragments.iter().enumerate() {
            assert_eq!(fragment.hash, expected.fragments[index]);
            assert_eq!(fragment.miner, id(&miner(index)));
            assert_eq!((fragment.available, fragment.tag), (true, None));
        }
        assert_eq!(fragments.len(), FRAGMENTS);
    }
    assert_eq!(chain.hold_list(alice).await.unwrap(), [fid]);
    let used = chain
        .territory(alice, b"t-one")
        .await
        .unwrap()
        .unwrap()
        .used_space;
    assert_eq!(used, 2 * SEGMENT_SPACE);

    chain.delete_file(alice, fid).await.unwrap();
    assert_eq!(chain.file(fid).await.unwrap(), None);
    assert!(chain.hold_list(alice).await.unwrap().is_empty());
    is_refused(chain.delete_file(alice, fid).await, "FileBank", "NonExistent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_declarations_answers_file_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let chain = connect(&network).await;
    chain.mint_territory(b"t-one", 1, 30).await.unwrap();
    let files = vec![
        file(1, 1),
        Declaration {
            territory: b"nowhere".to_vec(),
            ..file(2, 1)
        },
        Declaration {
            file_name: b"x".to_vec(),
            ..file(3, 1)
        },
        file(4, 1),
        Declaration {
            owner: id(&dev::bob()),
            ..file(5, 1)
        },
        file(6, 1),
    ];
    let results = chain.declare(files.clone()).await;
    assert_eq!(results.len(), files.len());
    let blocks: Vec<_> = [0, 3, 5].map(|i| results[i].as_ref().unwrap().block_hash).into();
    assert!(
        blocks.iter().all(|hash| *hash == blocks[0]),
        "one extrinsic carries them all"
    );
    assert!(matches!(&results[1], Err(Error::Dispatch { pallet, .. }) if pallet == "StorageHandler"));
    assert!(matches!(results[2], Err(Error::Invalid(_))));
    is_refused(results[4].clone(), "FileBank", "NoPermission");
    for (file, result) in files.iter().zip(&results) {
        assert_eq!(
            chain.deal(file.fid).await.unwrap().is_some(),
            result.is_ok(),
            "{file:?}"
        );
    }
    assert!(chain.declare(Vec::new()).await.is_empty());
    let territory = chain.territory(chain.account(), b"t-one").await.unwrap().unwrap();
    assert_eq!(territory.locked_space, 3 * SEGMENT_SPACE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_declarations_are_split_over_extrinsics() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let chain = connect(&network).await;
    chain.mint_territory(b"t-one", 300, 30).await.unwrap();
    let files: Vec<_> = (0..4).map(|seed| file(seed, 700)).collect();
    let results = chain.declare(files.clone()).await;
    for (file, result) in files.iter().zip(results) {
        result.unwrap();
        assert_eq!(chain.deal(file.fid).await.unwrap().unwrap().segments.len(), 700);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_acts_for_an_owner_while_authorised() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let owner = connect(&network).await;
    let operator = owner.with_signer(dev::bob());
    owner.mint_territory(b"t-one", 1, 30).await.unwrap();
    let declare = async |seed| operator.declare(vec![file(seed, 1)]).await.remove(0);
    is_refused(declare(1).await, "FileBank", "NoPermission");
    assert!(owner.authorities(owner.account()).await.unwrap().is_empty());
    owner.authorize(operator.account()).await.unwrap();
    assert_eq!(
        owner.authorities(owner.account()).await.unwrap(),
        [operator.account()]
    );
    declare(1).await.unwrap();
    owner.cancel_authorize(operator.account()).await.unwrap();
    assert!(owner.authorities(owner.account()).await.unwrap().is_empty());
    is_refused(declare(2).await, "FileBank", "NoPermission");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miners_are_listed_with_their_endpoints() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let mut config = config(&[network.url()]);
    config
        .miner_endpoints
        .insert(id(&miner(3)), "miner.example:15001".to_owned());
    let chain = Chain::connect(config.clone()).await.unwrap();
    let miners = chain.miners().await.unwrap();
    assert_eq!(miners.len(), 14);
    for index in 0..14 {
        let listed = miners
            .iter()
            .find(|listed| listed.account == id(&miner(index)))
            .unwrap();
        assert_eq!(chain.miner(listed.account).await.unwrap().as_ref(), Some(listed));
        assert!(listed.is_positive());
        assert_eq!(listed.idle_space, 4 << 40);
        let expected = match index {
            // No request can be sent to port 0.
            0 => None,
            3 => Some("http://miner.example:15001".to_owned()),
            _ => Some(format!("http://127.0.0.1:{index}")),
        };
        assert_eq!(listed.endpoint, expected);
    }
    assert_eq!(chain.miner(id(&dev::bob())).await.unwrap(), None);

    config
        .miner_endpoints
        .insert(id(&miner(4)), "not an endpoint".to_owned());
    assert!(matches!(Chain::connect(config).await, Err(Error::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_of_one_account_at_once_all_happen_once() {
    let dir = tempfile::tempdir().unwrap();
    let period = Sealing {
        period: Duration::from_millis(200),
        ..Sealing::default()
    };
    let network = start(dir.path(), period).await;
    let one = connect(&network).await;
    // Another program with the same key: it knows nothing of the first one's nonces.
    let other = connect(&network).await;
    let bob = id(&dev::bob());
    let before = one.balance(bob).await.unwrap();
    let transfers = (0..24).map(|index| {
        let chain = if index % 2 == 0 {
            one.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move { chain.transfer(bob, (TCESS >> 10) << index).await })
    });
    let transfers: Vec<_> = transfers.collect();
    let mut blocks = Vec::new();
    for transfer in transfers {
        blocks.push(transfer.await.unwrap().unwrap().block_number);
    }
    assert_eq!(
        one.balance(bob).await.unwrap() - before,
        (TCESS >> 10) * ((1 << 24) - 1)
    );
    blocks.sort_unstable();
    blocks.dedup();
    assert!(blocks.len() < 24, "some share a block: {blocks:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_carry_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let chain = connect(&network).await;
    let everything = chain.balance(chain.account()).await.unwrap();
    match chain.transfer(id(&dev::bob()), everything).await {
        Err(Error::Dispatch { pallet, name }) => {
            assert!(
                ["Balances", "Token"].contains(&pallet.as_str()),
                "{pallet}.{name}"
            );
        }
        other => panic!("{other:?}"),
    }
    let poor = chain.with_signer(dev::ferdie());
    match poor.transfer(id(&dev::bob()), 1).await {
        Err(Error::Dispatch { pallet, name }) => {
            assert_eq!(pallet, "TransactionPool");
            assert!(name.contains("fees"), "{name}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let chain = connect(&network).await;
    chain.block_number().await.unwrap();
    network.gate.set_open(false);
    let down = first_failure(&chain).await;
    assert!(matches!(down, Error::Unreachable(_)), "{down:?}");
    network.gate.set_open(true);
    // Requests fail at once for a moment after all endpoints failed.
    tokio::time::sleep(Duration::from_millis(300)).await;
    chain.transfer(id(&dev::bob()), TCESS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_endpoint_takes_over_in_the_middle_of_a_call() {
    let dir = tempfile::tempdir().unwrap();
    let stalled = Sealing {
        stalled: true,
        ..Sealing::default()
    };
    let network = start(dir.path(), stalled).await;
    let second = cess_devnet::rpc::start(network.node.clone(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoints = [network.url(), format!("ws://{}", second.address())];
    let chain = Chain::connect(config(&endpoints)).await.unwrap();
    let bob = id(&dev::bob());
    let before = chain.balance(bob).await.unwrap();

    let caller = chain.clone();
    let transfer = tokio::spawn(async move { caller.transfer(bob, TCESS).await });
    while network.node.pending() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    network.gate.set_open(false);
    network.node.seal().unwrap();
    network.node.seal_empty(3).unwrap();
    let included = transfer.await.unwrap().unwrap();
    assert_eq!(included.block_number, 1);
    assert_eq!(
        chain.balance(bob).await.unwrap(),
        before + TCESS,
        "once, not twice"
    );
}

/// The worst moment: the node has taken the extrinsic, but the caller does not learn of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_in_the_middle_of_a_submission_does_not_pay_twice() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(
        dir.path(),
        Sealing {
            stalled: true,
            ..Sealing::default()
        },
    )
    .await;
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("ws://{}", proxy.local_addr().unwrap());
    let (node, target) = (network.node.clone(), network.gate.address());
    let cuts = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = cuts.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = proxy.accept().await {
            let server = tokio::net::TcpStream::connect(target).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let (node, cuts) = (node.clone(), counted.clone());
            let mut back =
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            tokio::spawn(async move {
                let mut frame = vec![0; 1 << 16];
                while let Ok(count @ 1..) = from_client.read(&mut frame).await {
                    // Only a request that carries an extrinsic is that long.
                    let cut = count > 300 && cuts.load(std::sync::atomic::Ordering::SeqCst) == 0;
                    if cut {
                        back.abort();
                        let _ = (&mut back).await;
                    }
                    to_server.write_all(&frame[..count]).await.unwrap();
                    if cut {
                        while node.pending() == 0 {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        cuts.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        return;
                    }
                }
            });
        }
    });
    let chain = Chain::connect(config(&[endpoint])).await.unwrap();
    let bob = id(&dev::bob());
    let before = chain.balance(bob).await.unwrap();
    let caller = chain.clone();
    let transfer = tokio::spawn(async move { caller.transfer(bob, TCESS).await });
    while cuts.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    network.node.set_sealing(|sealing| sealing.stalled = false);
    transfer.await.unwrap().unwrap();
    assert_eq!(network.node.pending(), 0);
    assert_eq!(
        chain.balance(bob).await.unwrap(),
        before + TCESS,
        "once, not twice"
    );
    chain.transfer(bob, TCESS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_chain_is_given_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(
        dir.path(),
        Sealing {
            stalled: true,
            ..Sealing::default()
        },
    )
    .await;
    let config = ChainConfig {
        rpc_timeout: Duration::from_millis(200),
        ..config(&[network.url()])
    };
    let chain = Chain::connect(config).await.unwrap();
    let result = chain.transfer(id(&dev::bob()), TCESS).await;
    assert!(matches!(result, Err(Error::Unreachable(_))), "{result:?}");
    assert!(
        chain.balance(id(&dev::bob())).await.unwrap() > 0,
        "reading goes on"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_survives_the_retraction_of_the_best_block() {
    let dir = tempfile::tempdir().unwrap();
    let sealing = Sealing {
        finality_stalled: true,
        ..Sealing::default()
    };
    let network = start(dir.path(), sealing).await;
    let chain = connect(&network).await;
    let bob = id(&dev::bob());
    let before = chain.balance(bob).await.unwrap();
    chain.transfer(bob, TCESS).await.unwrap();
    chain.transfer(bob, TCESS).await.unwrap();
    network.node.reorganise(2).unwrap();
    assert_eq!(chain.balance(bob).await.unwrap(), before + 2 * TCESS);
    chain.transfer(bob, TCESS).await.unwrap();
    assert_eq!(chain.balance(bob).await.unwrap(), before + 3 * TCESS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_cannot_be_used_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let garbage = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let garbage_address = garbage.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = garbage.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(b"\x00\xff garbage \r\n\r\n").await;
        }
    });
    let bad = [format!("ws://{closed}"), format!("ws://{garbage_address}")];
    let result = Chain::connect(config(&bad)).await;
    assert!(matches!(result, Err(Error::Unreachable(_))), "{result:?}");
    let chain = Chain::connect(config(&[&bad[..], &[network.url()]].concat()))
        .await
        .unwrap();
    chain.block_number().await.unwrap();
    for endpoints in [
        &[][..],
        &["http://127.0.0.1:1".to_owned()],
        &["nonsense".to_owned()],
    ] {
        let result = Chain::connect(config(endpoints)).await;
        assert!(
            matches!(result, Err(Error::Invalid(_) | Error::Unreachable(_))),
            "{result:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_chain_is_never_used() {
    let (one_dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = start(one_dir.path(), Sealing::default()).await;
    let mut foreign = network::genesis();
    foreign.idle_space += 1;
    let other = network::start_with(other_dir.path(), Sealing::default(), foreign).await;
    let chain = Chain::connect(config(&[one.url(), other.url()])).await.unwrap();
    chain.block_number().await.unwrap();
    one.gate.set_open(false);
    match first_failure(&chain).await {
        Error::Unreachable(reason) => assert!(reason.contains("another chain"), "{reason}"),
        error => panic!("{error:?}"),
    }
}

#[test]
fn secrets_are_not_shown() {
    let key = Keypair::from_secret_key([0x5A; 32]).unwrap();
    let config = ChainConfig {
        signer: key,
        ..config(&["ws://127.0.0.1:1".to_owned()])
    };
    let shown = format!("{config:?}").to_lowercase();
    assert!(
        !shown.contains("5a5a5a5a") && !shown.contains("90, 90, 90"),
        "{shown}"
    );
}

/// What a noted validity tells of a declaration, also to who was not there when it was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fate_of_a_declaration_is_known_from_its_validity() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let chain = connect(&network).await;
    chain.mint_territory(b"t-one", 1, 30).await.unwrap();

    // Signed, and never sent.
    let (told, mut noted) = tokio::sync::mpsc::unbounded_channel();
    let refusing = {
        let told = told.clone();
        move |fids: Vec<Hash>, validity: Validity| -> std::pin::Pin<Box<dyn Future<Output = _> + Send>> {
            let told = told.clone();
            Box::pin(async move {
                told.send((fids, validity)).unwrap();
                Err("the disk is full".to_owned())
            })
        }
    };
    let lost = file(1, 1);
    let refused = chain
        .declare_noting(vec![lost.clone(), file(2, 1)], &refusing)
        .await
        .remove(0);
    assert!(
        matches!(&refused, Err(Error::NotSent(reason)) if reason == "the disk is full"),
        "{refused:?}"
    );
    let (fids, validity) = noted.recv().await.unwrap();
    assert_eq!(fids, [lost.fid, file(2, 1).fid]);
    assert_eq!(validity.signer, chain.account());
    assert_eq!(network.node.pending(), 0);
    assert!(matches!(
        chain.fate(lost.fid, &validity).await.unwrap(),
        Fate::Pending { .. }
    ));

    // Another takes the same nonce, and waits in the pool of a stalled chain.
    network.node.set_sealing(|sealing| sealing.stalled = true);
    let sent = file(3, 1);
    let declaring = {
        let (chain, sent) = (chain.clone(), sent.clone());
        tokio::spawn(async move {
            let noting = move |fids: Vec<Hash>,
                               validity: Validity|
                  -> std::pin::Pin<Box<dyn Future<Output = _> + Send>> {
                told.send((fids, validity)).unwrap();
                Box::pin(std::future::ready(Ok(())))
            };
            chain.declare_noting(vec![sent], &noting).await
        })
    };
    let (_, waiting) = noted.recv().await.unwrap();
    assert_eq!(waiting.nonce, validity.nonce);
    while network.node.pending() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    declaring.abort();
    assert!(matches!(
        chain.fate(sent.fid, &waiting).await.unwrap(),
        Fate::Pending { .. }
    ));

    // In a block that is not final, nothing is certain.
    network
        .node
        .set_sealing(|sealing| sealing.finality_stalled = true);
    network.node.seal().unwrap();
    assert!(chain.deal(sent.fid).await.unwrap().is_some());
    assert!(matches!(
        chain.fate(sent.fid, &waiting).await.unwrap(),
        Fate::Pending { .. }
    ));
    network
        .node
        .set_sealing(|sealing| sealing.finality_stalled = false);
    network.node.catch_up();
    match chain.fate(sent.fid, &waiting).await.unwrap() {
        Fate::Settled {
            deal: Some(deal),
            file: None,
        } => assert_eq!(deal.segments, sent.segments),
        other => panic!("{other:?}"),
    }
    // Its nonce is used up: nothing will ever come of the first.
    let nothing = Fate::Settled {
        deal: None,
        file: None,
    };
    assert_eq!(chain.fate(lost.fid, &validity).await.unwrap(), nothing);

    // A signature also dies of age.
    let aged = Validity {
        nonce: waiting.nonce + 1,
        ..waiting
    };
    assert!(matches!(
        chain.fate(lost.fid, &aged).await.unwrap(),
        Fate::Pending { .. }
    ));
    network.node.seal_empty(64).unwrap();
    assert_eq!(chain.fate(lost.fid, &aged).await.unwrap(), nothing);
}
