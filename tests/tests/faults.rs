//! The fault matrix: every fault of the table once (kills at failpoints in `failpoints.rs`), a few seconds each, with all doors under load.
//! After each, no acknowledged byte is lost, reads that can work do, everything catches up by
//! itself, and memory and disk stay inside their budgets. `make soak` throws them for hours.
use std::time::Instant;

use anyhow::{Result, ensure};
use product_tests::disk::Names;
use product_tests::siege::battle::{Report, Tempo, fight};
use product_tests::siege::fault::{FAULTS, Fault, How};
use product_tests::siege::site::Site;

/// The order and contents of everything random.
const SEED: u64 = 24;
/// Faults chosen by a part of their names, in this variable; otherwise all but those below.
const ONLY: &str = "CESS_FAULT";

/// Whether `tests/failpoints.rs` throws it already.
fn thrown_elsewhere(fault: &Fault) -> bool {
    matches!(fault.how, How::KillAt(_))
}

fn line(fault: &Fault, verdict: &str, report: Option<&Report>, took: f64) {
    let numbers = report.map_or_else(String::new, |report| {
        format!(
            "writes {}/{} reads {}/{} caught up {:.1} s, RSS {} MiB, staging {} MiB, metadata {} MiB",
            report.writes.0,
            report.writes.1,
            report.reads.0,
            report.reads.1,
            report.caught_up.as_secs_f64(),
            report.taken.resident >> 20,
            report.taken.staging >> 20,
            report.taken.meta >> 20,
        )
    });
    println!("{:<40} {verdict:<8} {took:>5.1} s  {numbers}", fault.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_once() -> Result<()> {
    let mut site = Site::start(Names::Journal, SEED).await?;
    let mut broken = Vec::new();
    let only = std::env::var(ONLY).ok();
    let chosen = FAULTS.iter().filter(|fault| match &only {
        Some(only) => fault.name.contains(only.as_str()),
        None => !thrown_elsewhere(fault),
    });
    for (round, fault) in chosen.enumerate() {
        let began = Instant::now();
        let outcome = fight(&mut site, fault, Tempo::SHORT, round as u64).await;
        let took = began.elapsed().as_secs_f64();
        match (outcome, fault.not_yet) {
            (Ok(report), None) => line(fault, "holds", Some(&report), took),
            (Ok(report), Some(_)) => line(fault, "holds!", Some(&report), took),
            (Err(error), not_yet) => {
                line(
                    fault,
                    if not_yet.is_some() { "NOT YET" } else { "BROKEN" },
                    None,
                    took,
                );
                println!("    {error:#}");
                if let Some(why) = not_yet {
                    println!("    known: {why}");
                } else {
                    println!("    the gateway said last:");
                    for said in site
                        .said()
                        .lines()
                        .rev()
                        .take(30)
                        .collect::<Vec<_>>()
                        .iter()
                        .rev()
                    {
                        println!("      {said}");
                    }
                    broken.push(fault.name);
                }
                site = Site::start(Names::Journal, SEED + round as u64).await?;
            }
        }
    }
    ensure!(broken.is_empty(), "broken: {}", broken.join(", "));
    // Everything that is left is read from the miners alone.
    site.catch_up()?;
    site.product().gateway(&["cache", "drop"])?;
    site.read_every_cell(false).await?;
    site.stop()
}
