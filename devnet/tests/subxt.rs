//! An unmodified subxt drives the chain: metadata, storage, calls, events, errors.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod network;

use cess_devnet::chain::Sealing;
use network::{account, account_value, hash, miner, name, send, start};
use subxt::dynamic::{Value, storage};
use subxt_signer::sr25519::dev;

fn hex64(seed: usize) -> String {
    cess::Hash::of(&seed.to_le_bytes()).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_declared_reported_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let network = start(dir.path(), Sealing::default()).await;
    let client = network.client().await;
    let alice = dev::alice();

    let events = send(
        &client,
        &alice,
        "StorageHandler",
        "mint_territory",
        vec![
            ("gib_count", Value::u128(1)),
            ("territory_name", name("t-one")),
            ("days", Value::u128(30)),
        ],
    )
    .await
    .unwrap();
    assert!(
        events.contains(&"StorageHandler.MintTerritory".to_owned()),
        "{events:?}"
    );
    assert!(
        events.contains(&"TransactionPayment.TransactionFeePaid".to_owned()),
        "{events:?}"
    );
    assert_eq!(events.last().unwrap(), "System.ExtrinsicSuccess");

    let fid = hex64(1000);
    let fragments: Vec<_> = (0..12).map(|index| hash(&hex64(index))).collect();
    let segment = Value::named_composite([
        ("hash", hash(&hex64(2000))),
        (
            "fragment_list",
            Value::unnamed_composite([Value::unnamed_composite(fragments)]),
        ),
    ]);
    let brief = Value::named_composite([
        ("user", account_value(account(&alice))),
        ("file_name", name("a.txt")),
        ("territory_name", name("t-one")),
    ]);
    send(
        &client,
        &alice,
        "FileBank",
        "upload_declaration",
        vec![
            ("file_hash", hash(&fid)),
            (
                "deal_info",
                Value::unnamed_composite([Value::unnamed_composite([segment])]),
            ),
            ("user_brief", brief),
            ("file_size", Value::u128(1)),
        ],
    )
    .await
    .unwrap();

    for index in 0..12 {
        let fields = vec![
            ("index", Value::u128(index as u128 + 1)),
            ("deal_hash", hash(&fid)),
        ];
        let events = send(&client, &miner(index), "FileBank", "transfer_report", fields)
            .await
            .unwrap();
        let completed = events.contains(&"FileBank.StorageCompleted".to_owned());
        assert_eq!(completed, index == 11, "{events:?}");
    }

    let late = vec![("index", Value::u128(1)), ("deal_hash", hash(&fid))];
    let error = send(&client, &miner(12), "FileBank", "transfer_report", late)
        .await
        .unwrap_err();
    assert!(error.contains("NonExistent"), "{error}");

    let at = client.at_current_block().await.unwrap();
    let address = storage::<(Value,), Value>("FileBank", "File");
    let file = at
        .storage()
        .fetch(address, (hash(&fid),))
        .await
        .unwrap()
        .decode()
        .unwrap();
    let text = file.to_string();
    assert!(text.contains("Active"), "{text}");

    let mut territories = at
        .storage()
        .iter(
            storage::<(Value, Value), Value>("StorageHandler", "Territory"),
            (account_value(account(&alice)),),
        )
        .await
        .unwrap();
    let territory = territories
        .next()
        .await
        .unwrap()
        .unwrap()
        .value()
        .decode()
        .unwrap()
        .to_string();
    assert!(
        territory.contains(&format!("used_space: {}", 96 << 20)),
        "{territory}"
    );
    assert!(territories.next().await.is_none());
}
