//! How long opening takes after a clean close and after a kill, beside the bare engine on the same files.
//!
//! A kill takes a process of its own: this program starts itself once more ([`die`]). Whoever opens a
//! killed store first mends it, so that each measurement gets a kill of its own, with as many files
//! made since the last close.
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use meta::FjallEngine;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::{Line, META_CACHE, Opened, engine_dir, make_file};

/// Files that are made before each kill: they are in the engine's log, not in its tables.
const UNWRITTEN: u64 = 20_000;
/// What the process to be killed says when it has made them.
const MADE: &str = "made";

/// Measures both. The namespace in `dir` is closed.
pub(super) async fn measure(dir: &Path, report: &impl Fn(Line)) -> Result<()> {
    // Once before, so that both find the same in the kernel's cache.
    bare(dir)?;
    let (engine, namespace) = (bare(dir)?, whole(dir).await?);
    report(line("  open after a clean close", engine, namespace));
    killed(dir).await?;
    let engine = bare(dir)?;
    killed(dir).await?;
    let namespace = whole(dir).await?;
    report(line("  open after a kill", engine, namespace));
    Ok(())
}

fn line(name: &str, engine: Duration, namespace: Duration) -> Line {
    let (engine, namespace) = (engine.as_secs_f64(), namespace.as_secs_f64());
    Line {
        note: Some(format!("{namespace:.2} s, the bare engine {engine:.2} s")),
        ratio: Some(engine / namespace),
        ..Line::named(name, 1.0 / namespace)
    }
}

fn bare(dir: &Path) -> Result<Duration> {
    let start = Instant::now();
    let engine = FjallEngine::open(&engine_dir(dir), META_CACHE)?;
    let took = start.elapsed();
    drop(engine);
    Ok(took)
}

async fn whole(dir: &Path) -> Result<Duration> {
    let start = Instant::now();
    let opened = Opened::open(dir).await?;
    let took = start.elapsed();
    opened.close().await?;
    Ok(took)
}

/// Has another process open the namespace and make files, and kills it.
async fn killed(dir: &Path) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["bench", "meta", "--die-in"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the process that is to be killed")?;
    let stdout = child
        .stdout
        .take()
        .context("the process that is to be killed has no standard output")?;
    let mut said = String::new();
    BufReader::new(stdout).read_line(&mut said).await?;
    ensure!(
        said.trim() == MADE,
        "the process that is to be killed ended by itself"
    );
    child.kill().await?;
    Ok(())
}

/// The process that is to be killed: opens the namespace in `dir`, makes files, says so, and waits.
pub async fn die(dir: &Path) -> Result<()> {
    let opened = Opened::open(dir).await?;
    let bucket = opened.bucket().await?;
    // No process makes what another one made.
    let name = format!("before-kill-{}", std::process::id());
    let into = opened.vfs.mkdir(bucket, name.as_bytes(), super::ME).await?.ino;
    for number in 0..UNWRITTEN {
        make_file(&opened.vfs, into, &format!("file-{number:09}")).await?;
    }
    println!("{MADE}");
    std::future::pending().await
}
