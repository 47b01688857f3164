//! kill -9 at every state transition: the gateway dies once at each of its failpoints. After each
//! death everything that was acknowledged reads back; at the end everything is on the network, and
//! comes back from there alone.
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use meta::failpoint::{self, Point, VARIABLE};
use product_tests::content;
use product_tests::product::Product;
use product_tests::s3::S3Client;
use store::steps;

/// Packs close quickly and hold little, so that a few objects go all the way.
const ARGUMENTS: [&str; 10] = [
    "--miners",
    "24",
    "--block-period",
    "100ms",
    "--pack-max-age",
    "500ms",
    "--pack-segments",
    "1",
    "--disk-cache",
    "32MiB",
];
/// Objects of one round at most: enough to come to any point of staging and metadata.
const OBJECTS: u64 = 60;
/// Objects after which the round waits for the network.
const ENOUGH: u64 = 8;
/// Longest wait for a point to be reached.
const PATIENCE: Duration = Duration::from_secs(90);

/// Acknowledged objects: key → seed and length of the content.
type Acknowledged = BTreeMap<String, (u64, usize)>;

/// Points that only a pack passes which is stored again.
const OF_A_SECOND_STORING: [Point; 5] = [
    steps::RETIRE,
    steps::RETIRED,
    steps::FORGET_DELETE,
    steps::FORGET_DELETED,
    steps::FORGOTTEN,
];

/// Which visit kills: those of the metadata are passed many times while a gateway starts.
fn visit(point: Point) -> u32 {
    if failpoint::POINTS.contains(&point) { 40 } else { 1 }
}

async fn read_all(s3: &S3Client, acknowledged: &Acknowledged) -> Result<()> {
    for (key, &(seed, len)) in acknowledged {
        let found = s3
            .get(key)
            .await?
            .with_context(|| format!("{key} was acknowledged and is gone"))?;
        ensure!(found == content::bytes(seed, len), "{key} came back different");
    }
    Ok(())
}

/// Puts objects and waits for the network, until the gateway dies.
async fn work_until_dead(product: &mut Product, round: u64, acknowledged: &mut Acknowledged) -> Result<()> {
    let s3 = S3Client::new(&product.ready.s3, "steps")?;
    for number in 0..OBJECTS {
        if number >= ENOUGH && visit_is_of_the_network(round) || !product.runs()? {
            break;
        }
        let key = format!("round-{round}/object-{number}");
        let len = if number % 3 == 0 { 150_000 } else { 700 };
        let seed = round << 32 | number;
        if s3.put(&key, content::bytes(seed, len)).await.is_ok() {
            acknowledged.insert(key, (seed, len));
        }
    }
    if product.runs()? {
        // It is to die on the way.
        let _ = product.gateway(&["flush", "--wait", "verified", "--timeout", "60s"]);
    }
    let status = product.wait(PATIENCE)?;
    ensure!(!status.success(), "it ended well: {status}");
    Ok(())
}

fn visit_is_of_the_network(round: u64) -> bool {
    round as usize >= failpoint::POINTS.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_byte_is_lost_at_any_step() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let mut product = Product::start(&scratch.path().join("data"), &ARGUMENTS)?;
    S3Client::new(&product.ready.s3, "steps")?.create_bucket().await?;
    product.kill()?;

    let mut all = Acknowledged::new();
    let points: Vec<_> = failpoint::POINTS.iter().chain(steps::POINTS).copied().collect();
    for (round, &point) in points.iter().enumerate() {
        let order = format!("{}=kill@{}", point.name(), visit(point));
        // It may die while it starts: what the round before left is on its way through this step.
        if product.restart_with(&[(VARIABLE, &order)]).is_ok() {
            if OF_A_SECOND_STORING.contains(&point) {
                for miner in &product.ready.miners[..8] {
                    // It may be dead already.
                    let _ = product.fault(&miner.account, "lie");
                }
            }
            work_until_dead(&mut product, round as u64, &mut all)
                .await
                .with_context(|| format!("{} was never reached", point.name()))?;
        }
        let said = format!("failpoint {}: killed", point.name());
        ensure!(
            product.said().contains(&said),
            "it died, but not at {}",
            point.name()
        );
        product
            .restart_with(&[])
            .with_context(|| format!("after {}", point.name()))?;
        let s3 = S3Client::new(&product.ready.s3, "steps")?;
        let latest: Acknowledged = all
            .iter()
            .rev()
            .take(40)
            .map(|(key, what)| (key.clone(), *what))
            .collect();
        read_all(&s3, &latest)
            .await
            .with_context(|| format!("after {}", point.name()))?;
        product.kill()?;
    }

    product.restart()?;
    product.gateway(&["flush", "--wait", "verified", "--timeout", "5min"])?;
    product.gateway(&["cache", "drop"])?;
    let s3 = S3Client::new(&product.ready.s3, "steps")?;
    read_all(&s3, &all).await.context("read back from the miners")?;
    ensure!(
        all.len() > points.len(),
        "only {} objects were acknowledged",
        all.len()
    );
    println!("{} points, {} objects", points.len(), all.len());
    product.stop()
}
