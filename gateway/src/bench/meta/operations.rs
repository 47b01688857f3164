//! Operations through the namespace, beside the same reads and writes straight at fjall.
//!
//! Three stores: one is measured; in the second the same operations are done while what they ask of
//! the engine is written down; in the third, fjall alone, that is done again and measured. All have
//! the same content at every moment. Both sides count what they do, and it must be the same. All of it is
//! done several times, and the middle one of each line counts: other work on the machine falls on one side
//! or the other.
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use meta::BareFjall;
use meta::observed::{Counts, Observer, Work};
use vfs::{InodeNo, RenameFlags, Vfs};

use super::{Line, META_CACHE, Opened, make_file};

/// Files that each line is about.
const FILES: u64 = 10_000;
/// Times that everything is done.
const ROUNDS: usize = 5;
/// Entries of a page of a listing.
const PAGE: usize = 1_000;
/// Rows per operation that workers may look at beside.
const BESIDE: f64 = 0.05;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Create,
    LookUp,
    LookUpAgain,
    List,
    Rename,
}

const ORDER: [(Operation, &str); 5] = [
    (Operation::Create, "create"),
    (Operation::LookUp, "lookup, not cached"),
    (Operation::LookUpAgain, "lookup, cached"),
    (Operation::List, "list, entries with attributes"),
    (Operation::Rename, "rename"),
];

impl Operation {
    async fn run(self, vfs: &Vfs, dir: InodeNo) -> Result<()> {
        match self {
            Self::Create => {
                for number in 0..FILES {
                    make_file(vfs, dir, &name(number)).await?;
                }
            }
            Self::LookUp | Self::LookUpAgain => {
                for number in 0..FILES {
                    let number = number.wrapping_mul(0x9e37_79b9) % FILES;
                    vfs.lookup(dir, name(number).as_bytes()).await?;
                }
            }
            Self::List => {
                let mut after = None;
                loop {
                    let page = vfs.readdir(dir, after, PAGE).await?;
                    let Some(last) = page.last() else { break };
                    after = Some(last.position.clone());
                }
            }
            Self::Rename => {
                for number in 0..FILES {
                    let (from, to) = (name(number), format!("renamed-{number}"));
                    let flags = RenameFlags::default();
                    vfs.rename(dir, from.as_bytes(), dir, to.as_bytes(), flags)
                        .await?;
                }
            }
        }
        Ok(())
    }
}

fn name(number: u64) -> String {
    format!("file-{number:07}")
}

/// Does again at fjall what was written down. Answers how long that took, and what it was.
async fn replay(bare: &Arc<BareFjall>, work: Vec<Work>) -> Result<(Duration, Counts)> {
    let bare = bare.clone();
    let took = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let done = bare.replay(&work)?;
        anyhow::Ok((start.elapsed(), done))
    });
    took.await?
}

/// Waits until the namespace has counted its inodes, for which it reads all of them.
async fn counted(opened: &Opened) -> Result<()> {
    while opened.vfs.statfs().await?.inodes < FILES {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// What one operation comes to, of each kind.
fn each(counts: &Counts) -> [f64; 4] {
    [counts.reads(), counts.writes, counts.views, counts.commits].map(|number| number as f64 / FILES as f64)
}

/// What both sides did, which must be the same but for what workers of the namespace look at beside.
fn compare(asked: &Counts, done: &Counts) -> Result<String> {
    let (asked, done) = (each(asked), each(done));
    ensure!(
        asked
            .iter()
            .zip(&done)
            .all(|(asked, done)| (asked - done).abs() < BESIDE),
        "the namespace asked for {asked:.2?} rows read, rows written, views and transactions each, \
         and fjall alone did {done:.2?}"
    );
    let say = |[reads, writes, views, commits]: [f64; 4]| {
        format!(
            "{reads:.2} rows read and {writes:.2} written in {views:.2} views and {commits:.2} transactions"
        )
    };
    Ok(format!("{}; fjall alone: {}", say(asked), say(done)))
}

pub(super) async fn measure(dir: &Path, report: &impl Fn(Line)) -> Result<()> {
    let mut rounds = Vec::new();
    for number in 0..ROUNDS {
        rounds.push(round(&dir.join(number.to_string())).await?);
    }
    for at in 0..ORDER.len() {
        let mut lines: Vec<_> = rounds.iter().map(|lines| &lines[at]).collect();
        let value = |line: &Line| line.ratio.unwrap_or(line.per_second);
        lines.sort_by(|a, b| value(a).total_cmp(&value(b)));
        report(lines[ROUNDS / 2].clone());
    }
    Ok(())
}

/// All lines once.
async fn round(dir: &Path) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let (measured, written) = (dir.join("measured"), dir.join("written-down"));
    let observer = Observer::default();
    observer.write_down();
    let mut noted = Opened::watched(&written, observer).await?;
    let mut plain = Opened::open(&measured).await?;
    std::fs::create_dir_all(dir.join("bare"))?;
    let bare = Arc::new(BareFjall::open(&dir.join("bare"), META_CACHE)?);
    let noted_dir = noted.bucket().await?;
    let plain_dir = plain.bucket().await?;
    for (operation, what) in ORDER {
        if matches!(operation, Operation::LookUp) {
            // Begins with nothing in memory of the namespace.
            plain.close().await?;
            plain = Opened::open(&measured).await?;
            let observer = noted.observer.clone();
            noted.close().await?;
            noted = Opened::watched(&written, observer).await?;
            counted(&plain).await?;
            counted(&noted).await?;
        }
        replay(&bare, noted.observer.written_down()).await?;
        noted.observer.write_down();
        operation.run(&noted.vfs, noted_dir).await?;
        let work = noted.observer.written_down();
        noted.observer.write_down();
        let before = plain.observer.counts();
        let start = Instant::now();
        operation.run(&plain.vfs, plain_dir).await?;
        let took = start.elapsed();
        let asked = plain.observer.counts().since(&before);
        let (alone, done) = replay(&bare, work).await?;
        lines.push(Line {
            ratio: (asked.reads() + asked.writes > 0).then(|| alone.as_secs_f64() / took.as_secs_f64()),
            note: Some(compare(&asked, &done)?),
            ..Line::named(&format!("namespace: {what}"), FILES as f64 / took.as_secs_f64())
        });
    }
    noted.close().await?;
    plain.close().await?;
    Ok(lines)
}
