//! Blocks, the pool and the RPC endpoint, in good times and bad.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod network;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cess_devnet::chain::pool::Status;
use cess_devnet::chain::{Node, NodeConfig, Sealing, SubmitError};
use cess_devnet::runtime::balances;
use cess_devnet::runtime::call::RuntimeCall;
use cess_devnet::runtime::execute::Invalid;
use cess_devnet::runtime::extrinsic::sign;
use cess_devnet::runtime::item::Reader;
use cess_devnet::runtime::primitives::MultiAddress;
use cess_devnet::runtime::system;
use network::{TCESS, account, genesis, key, start};
use serde_json::{Value, json};
use subxt_signer::sr25519::{Keypair, dev};
use tokio::sync::mpsc;

fn pay(node: &Node, from: &Keypair, nonce: u32, tcess: u128) -> Vec<u8> {
    let dest = MultiAddress::Id(account(&dev::bob()));
    let call = balances::Call::transfer_keep_alive {
        dest,
        value: tcess * TCESS,
    };
    sign(from, nonce, RuntimeCall::Balances(call), node.genesis_hash())
}

fn free(node: &Node, who: &Keypair) -> u128 {
    node.view(None, |view| system::ACCOUNT.value(view, &account(who)).data.free)
        .unwrap()
}

/// A node without an author: blocks are made by the test.
fn node(dir: &std::path::Path, sealing: Sealing) -> std::sync::Arc<Node> {
    Node::open(NodeConfig {
        dir: dir.to_owned(),
        sealing,
        genesis: genesis(),
    })
    .unwrap()
}

#[test]
fn the_pool_says_no_as_substrate_does() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Sealing::default());
    let alice = dev::alice();
    let refusal = |bytes: Vec<u8>| node.submit(bytes, None).unwrap_err();

    let mut forged = pay(&node, &alice, 0, 1);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let error = refusal(forged);
    assert_eq!(
        (error.code(), error.data()),
        (1010, Some("Transaction has a bad signature"))
    );

    let payment = pay(&node, &alice, 0, 1);
    node.submit(payment.clone(), None).unwrap();
    assert_eq!(refusal(payment.clone()).code(), 1013);
    assert_eq!(refusal(pay(&node, &alice, 0, 2)).code(), 1014);
    node.seal().unwrap();
    let error = refusal(payment);
    assert_eq!(
        (error.code(), error.data()),
        (1010, Some("Transaction is outdated"))
    );
    let error = refusal(pay(&node, &key("//Nobody"), 0, 1));
    assert_eq!(error, SubmitError::Invalid(Invalid::Payment));
    assert_eq!(refusal(vec![1, 2, 3]).code(), 1001);
    assert_eq!(
        refusal(vec![0; 4 << 20]).data(),
        Some("Transaction would exhaust the block limits")
    );
}

#[test]
fn a_nonce_gap_waits_until_it_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Sealing::default());
    let (sender, mut late) = mpsc::unbounded_channel();
    node.submit(pay(&node, &dev::alice(), 1, 1), Some(sender))
        .unwrap();
    node.seal().unwrap();
    assert_eq!(late.try_recv().unwrap(), Status::Future);
    assert_eq!(node.pending(), 1);
    assert_eq!(node.next_index(&account(&dev::alice())), 0);
    node.submit(pay(&node, &dev::alice(), 0, 1), None).unwrap();
    assert_eq!(node.next_index(&account(&dev::alice())), 2);
    assert_eq!(late.try_recv().unwrap(), Status::Ready);
    let block = node.seal().unwrap().hash();
    assert_eq!(late.try_recv().unwrap(), Status::InBlock(block));
    assert_eq!(late.try_recv().unwrap(), Status::Finalized(block));
    assert_eq!(
        node.body(block).unwrap().unwrap().len(),
        3,
        "the time, and both in order"
    );
}

#[test]
fn a_reorganisation_keeps_the_extrinsics_and_never_touches_final_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let node1 = node(
        dir.path(),
        Sealing {
            finality_stalled: true,
            ..Sealing::default()
        },
    );
    let (sender, mut seen) = mpsc::unbounded_channel();
    node1
        .submit(pay(&node1, &dev::alice(), 0, 5), Some(sender))
        .unwrap();
    let first = node1.seal().unwrap();
    let second = node1.seal().unwrap();
    assert_eq!(node1.finalized().1, 0);
    assert!(node1.reorganise(3).is_err());
    node1.reorganise(2).unwrap();
    assert_eq!(node1.best().1, 3);
    assert_ne!(node1.hash_of(1), Some(first.hash()));
    assert!(
        node1.header(second.hash()).is_some(),
        "a retracted header is still known"
    );
    assert!(
        node1.view(Some(second.hash()), |_| ()).is_none(),
        "its state is not"
    );
    let new = node1.hash_of(2).unwrap();
    let states: Vec<_> = std::iter::from_fn(|| seen.try_recv().ok()).collect();
    let expected = [
        Status::Ready,
        Status::InBlock(first.hash()),
        Status::Retracted(first.hash()),
        Status::Ready,
        Status::InBlock(new),
    ];
    assert_eq!(states, expected);
    node1.set_sealing(|sealing| sealing.finality_stalled = false);
    node1.catch_up();
    assert_eq!(seen.try_recv().unwrap(), Status::Finalized(new));
    assert!(node1.reorganise(1).is_err());
    let (best, balance) = (node1.best(), free(&node1, &dev::bob()));
    drop(node1);
    let node2 = node(dir.path(), Sealing::default());
    assert_eq!(
        (node2.best(), free(&node2, &dev::bob())),
        (best, balance),
        "replayed over the rollback"
    );
}

#[test]
fn old_states_are_pruned_and_recent_ones_read_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(
        dir.path(),
        Sealing {
            state_blocks: 4,
            ..Sealing::default()
        },
    );
    let mut balances = Vec::new();
    for nonce in 0..10 {
        balances.push((node.best().0, free(&node, &dev::bob())));
        node.submit(pay(&node, &dev::alice(), nonce, 1), None).unwrap();
        node.seal().unwrap();
    }
    let key = system::ACCOUNT.key(&account(&dev::bob()));
    for (depth, (block, balance)) in balances.iter().rev().enumerate() {
        let read = node.view(Some(*block), |view| {
            assert!(view.read(&key).is_some());
            system::ACCOUNT.value(view, &account(&dev::bob())).data.free
        });
        assert_eq!(read, (depth < 4).then_some(*balance), "depth {depth}");
    }
}

#[test]
fn a_killed_chain_keeps_every_announced_block() {
    let dir = tempfile::tempdir().unwrap();
    let first = node(dir.path(), Sealing::default());
    for nonce in 0..5 {
        first.submit(pay(&first, &dev::alice(), nonce, 1), None).unwrap();
        first.seal().unwrap();
    }
    let (best, balance) = (first.best(), free(&first, &dev::bob()));
    // What a kill in the middle of the next write leaves: the log as it is, and a torn record.
    let copy = tempfile::tempdir().unwrap();
    let mut log = std::fs::read(dir.path().join("blocks.log")).unwrap();
    log.extend_from_slice(&[200, 1, 0, 0, 7, 7, 7, 7, 1, 2, 3]);
    std::fs::write(copy.path().join("blocks.log"), log).unwrap();
    let second = node(copy.path(), Sealing::default());
    assert_eq!((second.best(), free(&second, &dev::bob())), (best, balance));
    second.submit(pay(&second, &dev::alice(), 5, 1), None).unwrap();
    second.seal().unwrap();
    assert_eq!(second.best().1, best.1 + 1);
}

/// One JSON-RPC call over HTTP.
async fn rpc(url: &str, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let url = url.replace("ws://", "http://");
    reqwest::Client::new()
        .post(url)
        .json(&body)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_hurts_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let address = network.gate.address();
    for garbage in [
        b"\0\xff\x16\x03\x01garbage\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 100_000],
    ] {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = socket.write_all(&garbage);
        let _ = socket.read(&mut [0; 1000]);
    }
    let url = network.url();
    for (method, params) in [
        ("state_getStorage", json!(["zz"])),
        ("state_getStorage", json!([])),
        ("state_getStorage", json!(["0x00", "0x1234"])),
        ("state_getKeysPaged", json!(["0x", 100_000])),
        ("state_call", json!(["No_such", "0x"])),
        (
            "state_call",
            json!(["TaggedTransactionQueue_validate_transaction", "0x00"]),
        ),
        ("state_call", json!(["TransactionPaymentApi_query_info", "0x"])),
        ("state_call", json!(["AccountNonceApi_account_nonce", "0x01"])),
        ("chain_getBlockHash", json!(["x"])),
        ("author_submitExtrinsic", json!(["0x0102"])),
        ("author_submitExtrinsic", json!([17])),
        ("system_accountNextIndex", json!(["nobody"])),
        ("no_such_method", json!([])),
    ] {
        let answer = rpc(&url, method, params.clone()).await;
        assert!(answer["error"]["code"].is_i64(), "{method} {params}: {answer}");
    }
    let methods = rpc(&url, "rpc_methods", json!([])).await["result"]["methods"].clone();
    let names: Vec<&str> = methods
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(names.contains(&"author_submitAndWatchExtrinsic"));
    assert!(
        !names
            .iter()
            .any(|name| name.starts_with("chainHead_") || name.starts_with("archive_"))
    );
    assert_eq!(
        rpc(&url, "chain_getBlockHash", json!([4_000_000_000_u32])).await["result"],
        Value::Null
    );
    let info = rpc(
        &url,
        "payment_queryInfo",
        json!([format!(
            "0x{}",
            hex::encode(pay(&network.node, &dev::alice(), 0, 1))
        )]),
    )
    .await;
    assert!(
        info["result"]["partialFee"]
            .as_str()
            .unwrap()
            .parse::<u128>()
            .unwrap()
            > 0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_endpoint_comes_back_on_the_same_port() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let client = network.client().await;
    client.at_current_block().await.unwrap();
    network.gate.set_open(false);
    assert!(
        client.at_current_block().await.is_err(),
        "open connections are cut"
    );
    assert!(
        subxt::OnlineClient::<subxt::SubstrateConfig>::from_url(network.url())
            .await
            .is_err()
    );
    network.gate.set_open(true);
    network.client().await.at_current_block().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_chain_takes_extrinsics_and_includes_them_later() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(
        dir.path(),
        Sealing {
            stalled: true,
            ..Sealing::default()
        },
    )
    .await;
    let node = &network.node;
    let (sender, mut seen) = mpsc::unbounded_channel();
    node.submit(pay(node, &dev::alice(), 0, 1), Some(sender)).unwrap();
    assert_eq!(seen.recv().await, Some(Status::Ready));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), seen.recv())
            .await
            .is_err()
    );
    assert_eq!(node.best().1, 0);
    node.set_sealing(|sealing| {
        sealing.stalled = false;
        sealing.finality_lag = 2;
    });
    assert!(matches!(seen.recv().await, Some(Status::InBlock(_))));
    assert!(
        matches!(seen.recv().await, Some(Status::Finalized(_))),
        "empty blocks let finality catch up"
    );
    assert_eq!(node.best().1, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_come_by_the_clock_when_a_period_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(
        dir.path(),
        Sealing {
            period: Duration::from_millis(20),
            ..Sealing::default()
        },
    )
    .await;
    let client = network.client().await;
    let mut blocks = client.stream_blocks().await.unwrap();
    let mut last = None;
    for _ in 0..3 {
        let number = blocks.next().await.unwrap().unwrap().number();
        assert!(last.is_none_or(|last| number == last + 1));
        last = Some(number);
    }
}
