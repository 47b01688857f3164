//! Levels above staged, on a network: every door waits for the one in force, and says what is true when
//! it does not come in time.
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use block_frontend::client::Client;
use product_tests::content;
use product_tests::product::Product;
use product_tests::s3::S3Client;
use reqwest::StatusCode;
use rusty_s3::S3Action as _;

fn level(product: &Product, path: &str) -> Result<String> {
    let output = product.gateway(&["level", path, "--json"])?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(said["state"].as_str().unwrap_or("buffered").to_owned())
}

async fn put(s3: &S3Client, key: &str, ack: &str, seconds: &str, body: Vec<u8>) -> Result<reqwest::Response> {
    let url = s3
        .bucket
        .put_object(Some(&s3.credentials), key)
        .sign(Duration::from_secs(600));
    let request = s3.http.put(url).header("x-cess-ack", ack);
    Ok(request
        .header("x-cess-ack-timeout", seconds)
        .body(body)
        .send()
        .await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_waits_for_its_level_and_says_when_it_is_late() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let product = Product::start(
        &scratch.path().join("data"),
        &["--miners", "12", "--block-period", "0s", "--pack-max-age", "1h"],
    )?;
    let s3 = S3Client::new(&product.ready.s3, "levels")?;
    s3.create_bucket().await?;

    // A request.
    let answer = put(&s3, "object", "verified", "300", content::bytes(1, 300_000)).await?;
    ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
    ensure!(
        answer
            .headers()
            .get("x-cess-state")
            .is_some_and(|state| state == "verified")
    );
    ensure!(level(&product, "levels/object")? == "verified");

    // A file in the mount.
    let path = product.ready.mount.join("levels/file");
    let mut file = File::create(&path)?;
    product.gateway(&["level", "levels/file", "--ack", "placed"])?;
    file.write_all(&content::bytes(2, 100_000))?;
    let synced = tokio::task::spawn_blocking(move || file.sync_all());
    synced.await??;
    ensure!(level(&product, "levels/file")? != "staged");

    // A bucket, seen by an export.
    product.gateway(&["volume", "create", "vms/disk", "--size", "1MiB"])?;
    product.gateway(&["bucket", "set", "vms", "--ack", "placed"])?;
    let uri = &product.ready.nbd.uri;
    let address = uri.strip_prefix("nbd://").context("not TCP")?.parse()?;
    let mut volume = Client::attach(address, b"vms/disk").await?;
    volume.write(0, &content::bytes(3, 4096), true).await?;
    ensure!(level(&product, "vms/disk")? != "staged");

    // Late: no miner takes anything, so nothing is placed, and nobody claims that it was.
    product.fault("--all", "dead")?;
    let answer = put(&s3, "late", "placed", "2", content::bytes(4, 1000)).await?;
    ensure!(answer.status() == StatusCode::SERVICE_UNAVAILABLE);
    ensure!(
        answer
            .headers()
            .get("x-cess-state")
            .is_some_and(|state| state == "staged")
    );
    ensure!(level(&product, "levels/late")? == "staged");
    ensure!(
        s3.get("late")
            .await?
            .is_some_and(|got| got == content::bytes(4, 1000))
    );
    let refused = product.gateway(&["level", "levels/late", "--wait", "placed", "--timeout", "1s"]);
    ensure!(refused.is_err_and(|error| error.to_string().contains("not yet")));

    // And on its way all the same.
    product.fault("--all", "heal")?;
    product.gateway(&["level", "levels/late", "--wait", "placed", "--timeout", "5min"])?;
    ensure!(level(&product, "levels/late")? != "staged");
    product.stop()
}
