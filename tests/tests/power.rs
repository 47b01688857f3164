//! Power cuts: the disk drops, reorders and tears what was not synced, with all doors under load.
//! Every acknowledged byte is there afterwards, whatever the disk kept of the rest.
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use product_tests::disk::{Names, Trouble};
use product_tests::siege::site::Site;
use rand::{Rng as _, SeedableRng as _};

/// Cuts in a row; each finds what the one before left.
const CUTS: u64 = 5;
/// States that are drawn from one cut.
const IMAGES: u64 = 2;

async fn survives(names: Names, seed: u64) -> Result<()> {
    let mut site = Site::start(names, seed).await?;
    let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
    for round in 0..CUTS {
        let load = site.load(round)?;
        let life = Duration::from_millis(random.random_range(300..3_000));
        tokio::time::sleep(life).await;
        let cut = site.power_off()?;
        site.product().let_go();
        let tallies = format!("{:?}", load.tallies());
        load.stop().await.with_context(|| format!("before cut {round}"))?;
        for image in 0..IMAGES {
            if image > 0 {
                site.product_mut().kill()?;
            }
            let again = image + 1 < IMAGES;
            site.power_on(&cut, seed + round * IMAGES + image, again)
                .await
                .with_context(|| format!("{names:?}, seed {seed}, cut {round} after {life:?}: {tallies}"))?;
        }
    }
    ensure!(
        site.ledger().begun() > 50,
        "the cuts came too early to prove anything"
    );
    println!("{names:?}: {CUTS} cuts, {} writes begun", site.ledger().begun());
    site.catch_up()?;
    site.product().gateway(&["cache", "drop"])?;
    site.read_every_cell(false).await.context("from the miners")?;
    site.stop()
}

/// A failed sync leaves pages that can be read and that no later sync writes. After a restart the
/// gateway must not build on them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_sync_left_unwritten_is_not_built_upon() -> Result<()> {
    let mut site = Site::start(Names::Journal, 300).await?;
    for round in 0..3 {
        let load = site.load(round)?;
        tokio::time::sleep(Duration::from_millis(700)).await;
        site.break_disk(|below| Trouble::Syncs { below }, "meta")?;
        tokio::time::sleep(Duration::from_millis(700)).await;
        site.disk()?.heal();
        load.tell_to_stop();
        site.product_mut().kill()?;
        site.product().let_go();
        load.stop().await?;
        // The kernel lives: what it shows is what the gateway finds.
        site.start_again(&[]).await.context("after the failed sync")?;
        let load = site.load(100 + round)?;
        tokio::time::sleep(Duration::from_millis(900)).await;
        let cut = site.power_off()?;
        site.product().let_go();
        load.stop().await?;
        site.power_on(&cut, round, false)
            .await
            .with_context(|| format!("round {round}"))?;
    }
    site.catch_up()?;
    site.stop()
}

/// As ext4 and XFS keep names: one journal, committed by any sync.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_bytes_survive_power_cuts() -> Result<()> {
    survives(Names::Journal, 100).await
}

/// As POSIX lets names be kept: a directory's only when it is synced itself.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_bytes_survive_power_cuts_on_a_disk_that_keeps_no_name_unasked() -> Result<()> {
    survives(Names::Strict, 200).await
}
