//! The soak: faults in a random order, with all doors under load, for as long as it is told; at
//! the end every acknowledged byte, from caches and disk first, then from the miners alone.
//!
//! `make soak` runs an hour. `SOAK_MINUTES` says how long, `SOAK_SEED` repeats an order and its
//! contents (the moments differ: threads are threads). The run in `make test` is short.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use product_tests::disk::Names;
use product_tests::siege::battle::{Tempo, fight};
use product_tests::siege::budget;
use product_tests::siege::fault::{FAULTS, Fault};
use product_tests::siege::site::Site;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

/// Minutes of `make soak` without `SOAK_MINUTES`.
const MINUTES: u64 = 60;
/// Different faults that a soak of an hour must have thrown.
const FAULTS_OF_AN_HOUR: usize = 24;
/// The short run.
const SHORT: Duration = Duration::from_mins(2);

fn setting(name: &str) -> Result<Option<u64>> {
    std::env::var(name)
        .ok()
        .filter(|text| !text.is_empty())
        .map(|text| {
            text.parse()
                .with_context(|| format!("{name} is no number: {text}"))
        })
        .transpose()
}

/// Answers how many different faults were thrown.
async fn soak(time: Duration, seed: u64, tempo: Tempo) -> Result<usize> {
    println!("SOAK_SEED={seed}, {time:?}");
    let began = Instant::now();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut site = Site::start(Names::Journal, seed).await?;
    let mut thrown: BTreeMap<&str, u32> = BTreeMap::new();
    let mut most = budget::Taken::default();
    let mut round = 0;
    while began.elapsed() < time {
        let mut order: Vec<&Fault> = FAULTS.iter().filter(|fault| fault.not_yet.is_none()).collect();
        order.shuffle(&mut random);
        for fault in order {
            if began.elapsed() >= time {
                break;
            }
            round += 1;
            let report = fight(&mut site, fault, tempo, round).await.with_context(|| {
                format!("SOAK_SEED={seed}; the gateway said last:\n{}", last_words(&site))
            })?;
            site.sweep_network()?;
            *thrown.entry(fault.name).or_default() += 1;
            most = most.most(report.taken);
            println!(
                "{:>5.0} s  {:<40} writes {}/{} reads {}/{} caught up {:.1} s, RSS {} MiB",
                began.elapsed().as_secs_f64(),
                fault.name,
                report.writes.0,
                report.writes.1,
                report.reads.0,
                report.reads.1,
                report.caught_up.as_secs_f64(),
                report.taken.resident >> 20,
            );
        }
    }
    site.catch_up()?;
    site.read_every_cell(false).await.context("at the end")?;
    site.product().gateway(&["cache", "drop"])?;
    site.read_every_cell(false)
        .await
        .context("at the end, from the miners")?;
    println!(
        "SOAK_SEED={seed}: {round} faults of {} kinds in {:.0?}, {} writes begun, nothing lost; at most {} MiB resident, {} MiB staging, {} MiB cache, {} MiB metadata",
        thrown.len(),
        began.elapsed(),
        site.ledger().begun(),
        most.resident >> 20,
        most.staging >> 20,
        most.cache >> 20,
        most.meta >> 20,
    );
    site.stop()?;
    Ok(thrown.keys().collect::<BTreeSet<_>>().len())
}

fn last_words(site: &Site) -> String {
    let said = site.said();
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// The soak itself works, and two minutes of it lose nothing.
#[tokio::test(flavor = "multi_thread")]
async fn two_minutes_of_faults_lose_nothing() -> Result<()> {
    let seed = setting("SOAK_SEED")?.unwrap_or(1);
    soak(SHORT, seed, Tempo::SHORT).await.map(drop)
}

/// `make soak`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs for an hour: `make soak`"]
async fn hours_of_faults_lose_nothing() -> Result<()> {
    let minutes = setting("SOAK_MINUTES")?.unwrap_or(MINUTES);
    let seed = setting("SOAK_SEED")?.unwrap_or_else(rand_seed);
    let kinds = soak(Duration::from_secs(minutes * 60), seed, Tempo::LONG).await?;
    ensure!(
        minutes < MINUTES || kinds >= FAULTS_OF_AN_HOUR,
        "only {kinds} kinds of faults were thrown in {minutes} minutes"
    );
    Ok(())
}

/// Another order every time; it is printed.
fn rand_seed() -> u64 {
    store::random::u64() >> 32
}
