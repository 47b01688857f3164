//! kill -9 at any moment: after a restart every acknowledged object reads back, and packs that were
//! half placed go on where they were.
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use product_tests::content;
use product_tests::product::Product;
use product_tests::s3::S3Client;
use rand::{Rng as _, SeedableRng as _};

/// Clients that copy at once.
const CLIENTS: u64 = 8;

/// Acknowledged objects: key → seed and length of the content.
type Acknowledged = BTreeMap<String, (u64, usize)>;

/// Rounds of copy and kill.
const ROUNDS: u64 = 20;

/// Copies numbered objects until the gateway dies; notes each one that was acknowledged.
async fn copy_until_killed(s3: &S3Client, client: u64, round: u64, acknowledged: &Mutex<Acknowledged>) {
    let mut random = rand::rngs::SmallRng::seed_from_u64(round * CLIENTS + client);
    for number in 0.. {
        let key = format!("round-{round}/client-{client}/object-{number}");
        let len = match random.random_range(0..10) {
            0 => 0,
            1..=6 => random.random_range(1..40_000),
            7..=8 => random.random_range(40_000..600_000),
            _ => random.random_range(600_000..3_000_000),
        };
        let seed = random.random();
        if s3.put(&key, content::bytes(seed, len)).await.is_err() {
            return;
        }
        acknowledged
            .lock()
            .expect("no holder panics")
            .insert(key, (seed, len));
    }
}

async fn check(s3: &S3Client, acknowledged: &Acknowledged) -> Result<()> {
    for (key, &(seed, len)) in acknowledged {
        let found = s3
            .get(key)
            .await?
            .with_context(|| format!("{key} was acknowledged and is gone"))?;
        ensure!(
            found.as_ref() == content::bytes(seed, len),
            "{key} came back different"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_object_is_lost_or_different() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    // Packs close quickly, so that kills hit every step of placing too.
    let arguments = [
        "--pack-max-age",
        "1s",
        "--block-period",
        "200ms",
        "--pack-segments",
        "1",
    ];
    let mut product = Product::start(&scratch.path().join("data"), &arguments)?;
    let mut all = Acknowledged::new();
    let mut random = rand::rngs::SmallRng::seed_from_u64(9);
    for round in 0..ROUNDS {
        let s3 = S3Client::new(&product.ready.s3, "crash")?;
        s3.create_bucket().await?;
        let acknowledged = Mutex::new(Acknowledged::new());
        let copies = futures::future::join_all(
            (0..CLIENTS).map(|client| copy_until_killed(&s3, client, round, &acknowledged)),
        );
        let life = Duration::from_millis(random.random_range(100..2_500));
        let (_, killed) = tokio::join!(copies, async {
            tokio::time::sleep(life).await;
            product.kill()
        });
        killed?;
        product.restart()?;
        let acknowledged = acknowledged.into_inner()?;
        println!(
            "round {round}: killed after {life:?}, {} objects were acknowledged",
            acknowledged.len()
        );
        let s3 = S3Client::new(&product.ready.s3, "crash")?;
        check(&s3, &acknowledged)
            .await
            .with_context(|| format!("round {round}"))?;
        all.extend(acknowledged);
    }
    product.gateway(&["flush", "--wait", "verified", "--timeout", "10min"])?;
    product.gateway(&["cache", "drop"])?;
    let s3 = S3Client::new(&product.ready.s3, "crash")?;
    check(&s3, &all).await.context("read back from the miners")?;
    ensure!(
        all.len() > 20,
        "the kills came too early to prove anything: {} objects",
        all.len()
    );
    product.stop()
}
