//! Garbage at every port, and miners that lie: a clear error of the door's own kind, nothing lost,
//! everybody else unharmed.
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use product_tests::content;
use product_tests::product::Product;
use product_tests::s3::S3Client;
use rand::{Rng as _, SeedableRng as _};

/// Connections of garbage per port.
const TRIES: u64 = 60;

/// Sends garbage of many shapes to a port and reads whatever comes back until it closes or falls silent.
fn throw_garbage(address: &str, openings: &[&[u8]]) -> Result<()> {
    for seed in 0..TRIES {
        let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
        let mut stream = TcpStream::connect(address).with_context(|| format!("{address} is gone"))?;
        stream.set_read_timeout(Some(Duration::from_millis(30)))?;
        let opening = openings[random.random_range(0..openings.len())];
        // The server may hang up at any byte: that is its right.
        let _ = stream.write_all(opening);
        let _ = stream.write_all(&content::bytes(seed, random.random_range(0..5_000)));
        let _ = stream.read(&mut [0; 4_096]);
    }
    Ok(())
}

fn host_and_port(url: &str) -> &str {
    url.split_once("://")
        .map_or(url, |(_, rest)| rest)
        .trim_end_matches('/')
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_hurts_nobody() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let s3 = S3Client::new(&product.ready.s3, "calm")?;
    s3.create_bucket().await?;
    let body = content::bytes(1, 700_000);
    s3.put("kept", body.clone()).await?;

    let http: &[&[u8]] = &[
        b"",
        b"GET / HTTP/1.1\r\n",
        b"PUT /calm/x HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    ];
    let nbd: &[&[u8]] = &[
        b"",
        // Client flags, then an option of absurd length.
        b"\x00\x00\x00\x03IHAVEOPT\x00\x00\x00\x07\xff\xff\xff\xff",
        // EXPORT_NAME of something that is not there.
        b"\x00\x00\x00\x01IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x04nope",
        // EXPORT_NAME of the object, then garbage requests.
        b"\x00\x00\x00\x03IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x09calm/kept",
    ];
    let rpc: &[&[u8]] = &[
        b"",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3000\r\n\r\n{\"jsonrpc\":",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ];
    throw_garbage(host_and_port(&product.ready.s3.endpoint), http)?;
    throw_garbage(host_and_port(&product.ready.admin.url), http)?;
    throw_garbage(host_and_port(&product.ready.nbd.uri), nbd)?;
    throw_garbage(host_and_port(&product.ready.chain.rpc), rpc)?;

    ensure!(
        s3.get("kept").await?.context("the object is gone")? == body,
        "the object changed"
    );
    ensure!(
        std::fs::read(product.ready.mount.join("calm/kept"))? == body,
        "the file changed"
    );
    // The chain still takes deals, the store still places.
    product.gateway(&["flush", "--wait", "placed", "--timeout", "5min"])?;
    product.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_names_are_refused_in_the_doors_own_words() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let right = S3Client::new(&product.ready.s3, "bucket")?;
    right.create_bucket().await?;
    let wrong_secret = product_tests::product::S3 {
        secret_key: "wrong".into(),
        ..product.ready.s3.clone()
    };
    let error = S3Client::new(&wrong_secret, "bucket")?
        .put("key", "x")
        .await
        .expect_err("signed with a wrong key");
    ensure!(error.to_string().contains("SignatureDoesNotMatch"), "{error}");
    let wrong_access = product_tests::product::S3 {
        access_key: "NOBODY".into(),
        ..product.ready.s3.clone()
    };
    let error = S3Client::new(&wrong_access, "bucket")?
        .put("key", "x")
        .await
        .expect_err("signed by nobody");
    ensure!(error.to_string().contains("InvalidAccessKeyId"), "{error}");
    let error = S3Client::new(&product.ready.s3, "no-such-bucket")?
        .put("key", "x")
        .await
        .expect_err("into no bucket");
    ensure!(error.to_string().contains("NoSuchBucket"), "{error}");
    let long = "k".repeat(1_025);
    let error = right.put(&long, "x").await.expect_err("a key of 1,025 bytes");
    ensure!(error.to_string().contains("KeyTooLongError"), "{error}");
    let admin = reqwest::Client::new()
        .get(format!("{}/v1/status", product.ready.admin.url))
        .bearer_auth("wrong")
        .send()
        .await?;
    ensure!(admin.status() == 401, "the admin API answered {}", admin.status());
    let outside =
        std::fs::write(product.ready.mount.join("not-in-a-bucket"), "x").expect_err("outside buckets");
    ensure!(
        outside.kind() == std::io::ErrorKind::PermissionDenied,
        "{outside}"
    );
    ensure!(right.get("key").await?.is_none(), "a refused PUT left an object");
    product.stop()
}

/// Miners that lie, forget, corrupt, are slow, full or dead while packs are placed: everything ends
/// up verified on honest ones, and every byte comes back.
#[tokio::test(flavor = "multi_thread")]
async fn bad_miners_are_found_and_replaced() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let arguments = ["--miners", "20", "--block-period", "200ms"];
    let product = Product::start(&scratch.path().join("data"), &arguments)?;
    let s3 = S3Client::new(&product.ready.s3, "faults")?;
    s3.create_bucket().await?;
    for (miner, fault) in product
        .ready
        .miners
        .iter()
        .zip(["lie", "corrupt", "forget", "full", "dead", "slow:700"])
    {
        product.fault(&miner.account, fault)?;
    }
    let mut contents = Vec::new();
    for number in 0..24_u64 {
        let body = content::bytes(number, 100_000 + number as usize * 90_001);
        s3.put(&format!("object-{number}"), body.clone()).await?;
        contents.push(body);
    }
    product.gateway(&["flush", "--wait", "verified", "--timeout", "10min"])?;
    product.gateway(&["cache", "drop"])?;
    for (number, body) in contents.iter().enumerate() {
        let back = s3
            .get(&format!("object-{number}"))
            .await?
            .context("an object is gone")?;
        ensure!(back == *body, "object-{number} came back different");
    }
    product.stop()
}
