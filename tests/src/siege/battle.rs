//! One fault from beginning to end.
//!
//! Load runs at all doors; the fault is thrown, lasts, and ends; then everything must catch up by
//! itself, every cell must hold what it may, and memory and disk must be inside their budgets.
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use meta::failpoint::VARIABLE;

use super::budget::{self, Taken};
use super::fault::{Fault, How};
use super::load::{Load, Tally};
use super::site::{STAGING, Site};

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Tempo {
    /// Load before the fault.
    pub before: Duration,
    /// The fault.
    pub during: Duration,
}

impl Tempo {
    /// For the matrix, which throws every fault once.
    pub const SHORT: Self = Self {
        before: Duration::from_millis(700),
        during: Duration::from_millis(1_800),
    };
    /// For the soak: long enough for placing to meet the fault.
    pub const LONG: Self = Self {
        before: Duration::from_secs(4),
        during: Duration::from_secs(12),
    };
}

/// Longest wait for a failpoint to be reached, and for a door to take writes again.
const PATIENCE: Duration = Duration::from_secs(100);
/// How often something awaited is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Blocks that the chain makes before some of them are retracted.
const RETRACTED: u32 = 3;

/// How it went.
#[derive(Debug)]
pub struct Report {
    /// Writes acknowledged while the fault lasted, and refused.
    pub writes: (u64, u64),
    /// Reads answered while it lasted, and failed.
    pub reads: (u64, u64),
    /// The most that was seen of what the gateway takes, at the end of the fault and afterwards.
    pub taken: Taken,
    /// From the end of the fault until everything was verified.
    pub caught_up: Duration,
}

/// Counts at a moment.
#[derive(Clone, Copy)]
struct Counts {
    writes: (u64, u64),
    reads: (u64, u64),
}

fn counts(load: &Load) -> Counts {
    let tallies = load.tallies();
    let doors = [&tallies.objects, &tallies.file, &tallies.volume];
    Counts {
        writes: (
            doors.iter().map(|tally| tally.successes()).sum(),
            doors.iter().map(|tally| tally.failures()).sum(),
        ),
        reads: (tallies.reads.successes(), tallies.reads.failures()),
    }
}

fn since(before: Counts, after: Counts) -> Counts {
    let less = |a: (u64, u64), b: (u64, u64)| (a.0 - b.0, a.1 - b.1);
    Counts {
        writes: less(after.writes, before.writes),
        reads: less(after.reads, before.reads),
    }
}

/// Throws `fault`; `round` seeds the load and the disk's images.
pub async fn fight(site: &mut Site, fault: &Fault, tempo: Tempo, round: u64) -> Result<Report> {
    let outcome = attempt(site, fault, tempo, round).await;
    // Whatever happened, the next fault begins on a whole world.
    if let Ok(disk) = site.disk() {
        disk.heal();
    }
    outcome.with_context(|| format!("fault {:?}, round {round}", fault.name))
}

async fn attempt(site: &mut Site, fault: &Fault, tempo: Tempo, round: u64) -> Result<Report> {
    let (during, taken) = match fault.how {
        How::Kill | How::KillAt(_) | How::PowerCut => {
            (die(site, fault, tempo, round).await?, Taken::default())
        }
        _ => endure(site, fault, tempo, round).await?,
    };
    let ended = Instant::now();
    site.catch_up()?;
    let caught_up = ended.elapsed();
    site.read_every_cell(false).await.context("after catching up")?;
    Ok(Report {
        writes: during.writes,
        reads: during.reads,
        taken: taken.most(budget::check(site)?),
        caught_up,
    })
}

/// Faults that the process does not survive.
async fn die(site: &mut Site, fault: &Fault, tempo: Tempo, round: u64) -> Result<Counts> {
    if let How::KillAt(point) = fault.how {
        // Points of the metadata are passed many times while a gateway starts.
        let visit = if meta::failpoint::POINTS.contains(&point) {
            60
        } else {
            1
        };
        let order = format!("{}=kill@{visit}", point.name());
        // It may die while it starts, of work that the last round left.
        if site.restart(&[(VARIABLE, &order)]).await.is_err() {
            ensure!(!site.product_mut().runs()?, "it does not start");
            site.start_again(&[]).await?;
            return Ok(Counts {
                writes: (0, 0),
                reads: (0, 0),
            });
        }
    }
    let load = site.load(round)?;
    let begun = counts(&load);
    let mut cut = None;
    match fault.how {
        How::KillAt(_) => {
            site.product_mut()
                .wait(PATIENCE)
                .context("the failpoint was not reached")?;
        }
        How::PowerCut => {
            tokio::time::sleep(tempo.before + tempo.during).await;
            cut = Some(site.power_off()?);
        }
        _ => {
            tokio::time::sleep(tempo.before + tempo.during).await;
            site.product_mut().kill()?;
        }
    }
    let lived = since(begun, counts(&load));
    site.product().let_go();
    load.stop().await?;
    match cut {
        Some(cut) => site.power_on(&cut, round, false).await?,
        None => site.start_again(&[]).await?,
    }
    Ok(lived)
}

/// Faults that the process survives.
async fn endure(site: &mut Site, fault: &Fault, tempo: Tempo, round: u64) -> Result<(Counts, Taken)> {
    let load = site.load(round)?;
    tokio::time::sleep(tempo.before).await;
    throw(site, fault)?;
    let begun = counts(&load);
    let mut taken = Taken::default();
    if let How::Backlog = fault.how {
        taken = fill_staging(site).await?;
    }
    tokio::time::sleep(tempo.during).await;
    taken = taken.most(budget::check(site)?);
    let lasted = since(begun, counts(&load));
    heal(site, fault)?;
    let mut restarted = false;
    let load = if matches!(fault.how, How::Disk { restart: true, .. }) {
        load.tell_to_stop();
        site.product_mut().kill()?;
        site.product().let_go();
        load.stop().await?;
        site.start_again(&[]).await.context("with the disk well again")?;
        restarted = true;
        site.load(round)?
    } else {
        load
    };
    let last_read_error = load.tallies().reads.last_error();
    let recovered = all_doors_write(&load).await;
    if recovered.is_err() {
        // Clients may be waiting for answers that never come.
        load.tell_to_stop();
        site.product_mut().kill()?;
        site.product().let_go();
    }
    load.stop().await?;
    recovered?;
    ensure!(site.product_mut().runs()?, "the gateway died of it");
    if fault.reads {
        ensure!(
            restarted || lasted.reads.1 == 0,
            "{} reads failed while it lasted, {} worked; the last: {}",
            lasted.reads.1,
            lasted.reads.0,
            last_read_error.unwrap_or_default()
        );
        ensure!(lasted.reads.0 > 0, "no read ended while it lasted");
    }
    if fault.writes {
        ensure!(lasted.writes.0 > 0, "no write was taken while it lasted");
    }
    Ok((lasted, taken))
}

/// Every door acknowledges something.
async fn all_doors_write(load: &Load) -> Result<()> {
    let tallies = load.tallies();
    let doors: [(&str, &Tally); 3] = [
        ("S3", &tallies.objects),
        ("the mount", &tallies.file),
        ("NBD", &tallies.volume),
    ];
    let begun = doors.map(|(_, tally)| tally.successes());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let late = doors
            .iter()
            .zip(begun)
            .find(|((_, tally), begun)| tally.successes() <= begun + 1);
        let Some(((door, tally), _)) = late else {
            return Ok(());
        };
        if Instant::now() > deadline {
            bail!(
                "{door} takes no writes although the fault is over: {}",
                tally.last_error().unwrap_or_default()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn throw(site: &Site, fault: &Fault) -> Result<()> {
    let product = site.product();
    match fault.how {
        How::Kill | How::KillAt(_) | How::PowerCut => Ok(()),
        How::Disk { trouble, below, .. } => site.break_disk(trouble, below),
        How::Miners { count, fault } => {
            for miner in product.ready.miners.iter().take(count) {
                product.fault(&miner.account, fault)?;
            }
            // Reads are to come from miners. Under load the last step of it, rewriting the metadata's
            // files, may give up; the caches are empty by then.
            let _ = product.gateway(&["cache", "drop"]);
            Ok(())
        }
        How::Chain(fault) => product.chain_fault(fault),
        How::Backlog => product.chain_fault("rpc-dead"),
        How::Reorganise => product.chain_fault("finality-stall"),
        How::Territory => product.chain_fault("territories:frozen"),
        How::Clock(seconds) => site.turn_clock(seconds),
    }
}

fn heal(site: &Site, fault: &Fault) -> Result<()> {
    let product = site.product();
    match fault.how {
        How::Kill | How::KillAt(_) | How::PowerCut => Ok(()),
        How::Disk { .. } => {
            site.disk()?.heal();
            Ok(())
        }
        How::Miners { .. } => product.fault("--all", "heal"),
        How::Chain(_) | How::Backlog => product.chain_fault("heal"),
        How::Reorganise => {
            product.chain_fault(&format!("reorg:{RETRACTED}"))?;
            product.chain_fault("heal")
        }
        How::Territory => product.chain_fault("territories:active"),
        How::Clock(_) => site.turn_clock(0),
    }
}

/// Puts objects that nobody reads until the gateway says that staging is full; answers what it takes
/// then.
async fn fill_staging(site: &Site) -> Result<Taken> {
    const OBJECT: usize = 8 << 20;
    let s3 = crate::s3::S3Client::new(&site.product().ready.s3, super::load::BUCKET)?;
    for number in 0..=2 * STAGING / OBJECT as u64 {
        let key = format!("ballast/{number}");
        if let Err(refused) = s3.put(&key, crate::content::bytes(number, OBJECT)).await {
            let text = format!("{refused:#}");
            ensure!(
                text.contains("SlowDown"),
                "staging is full, and the answer is {text}"
            );
            let taken = budget::check(site)?;
            for number in 0..number {
                // Its space is needed; being refused now is no fault.
                let _ = s3.delete(&format!("ballast/{number}")).await;
            }
            return Ok(taken);
        }
    }
    bail!("staging took twice its limit")
}
