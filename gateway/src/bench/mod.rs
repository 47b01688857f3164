//! Measures this build: the doors against a gateway of its own, started as a child process so that
//! clients and server share nothing but the kernel; the codec beside the bare calls it wraps; cold
//! reads beside plain HTTP GETs of the same bytes; what placing costs beside the hashing that the
//! protocol forces; what many small objects cost; and what the namespace adds to its engine.
//!
//! Figures from one machine and one moment: compare ratios, and medians of several runs.
mod alone;
pub mod codec;
pub mod fuse;
pub mod meta;
pub mod nbd;
pub mod objects;
pub mod place;
pub mod read;
pub mod s3;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// One measurement.
#[derive(Clone, Serialize)]
pub struct Line {
    /// What was measured.
    pub name: String,
    /// Operations per second.
    pub per_second: f64,
    /// Bytes per second moved by them, if they move any.
    pub bytes_per_second: Option<f64>,
    /// Median latency in microseconds.
    pub p50_us: Option<f64>,
    /// 99th percentile in microseconds.
    pub p99_us: Option<f64>,
    /// Speed as a multiple of the bare library call, or of plain HTTP.
    pub ratio: Option<f64>,
    /// Requests to miners per operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<f64>,
    /// Bytes, of a line that gives a size instead of a speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What else is to be said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Line {
    fn write_note(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.as_ref().map_or(Ok(()), |note| write!(f, "  {note}"))
    }

    /// A line with nothing but a rate; the rest is filled in where it is known.
    pub fn named(name: &str, per_second: f64) -> Self {
        Self {
            name: name.to_owned(),
            per_second,
            bytes_per_second: None,
            p50_us: None,
            p99_us: None,
            ratio: None,
            requests: None,
            size: None,
            note: None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(size) = self.size {
            let mib = size as f64 / 1_048_576.0;
            write!(f, "{:<54} {size:>13} B {mib:>9.1} MiB", self.name)?;
            return self.write_note(f);
        }
        write!(f, "{:<44} {:>11.0}/s", self.name, self.per_second)?;
        if let Some(bytes) = self.bytes_per_second {
            write!(f, " {:>9.1} MiB/s", bytes / 1_048_576.0)?;
        }
        if let (Some(p50), Some(p99)) = (self.p50_us, self.p99_us) {
            write!(f, "  p50 {p50:>8.0} µs  p99 {p99:>8.0} µs")?;
        }
        if let Some(ratio) = self.ratio {
            write!(f, "  {ratio:.2} × the bare call")?;
        }
        if let Some(requests) = self.requests {
            write!(f, "  {requests:.2} requests each")?;
        }
        self.write_note(f)
    }
}

/// The gateway that is measured.
pub struct Target {
    /// What it said when it was ready.
    pub ready: Ready,
    /// How long each line is measured.
    pub time: Duration,
    child: Child,
}

/// The part of the ready line that clients need.
#[derive(Deserialize)]
#[allow(missing_docs)]
pub struct Ready {
    pub s3: S3,
    pub mount: PathBuf,
    pub nbd: Nbd,
}

/// `s3` of [`Ready`].
#[derive(Deserialize)]
#[allow(missing_docs)]
pub struct S3 {
    pub endpoint: String,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
}

/// `nbd` of [`Ready`].
#[derive(Deserialize)]
#[allow(missing_docs)]
pub struct Nbd {
    pub uri: String,
}

impl Target {
    /// Starts this program's `dev` on a scratch directory.
    pub async fn start(scratch: &Path, time: Duration) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["dev", "--json", "--data"])
            .arg(scratch.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the gateway to measure")?;
        let stdout = child
            .stdout
            .take()
            .context("the gateway has no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let ready = serde_json::from_str(&line).context("the gateway to measure did not come up")?;
        Ok(Self { ready, time, child })
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Stops it cleanly, so that no mount stays behind.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.child.id() {
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(i32::try_from(pid)?),
                nix::sys::signal::Signal::SIGTERM,
            )?;
        }
        self.child.wait().await?;
        Ok(())
    }
}

/// Latencies of operations that ran for a while.
#[derive(Default)]
pub struct Samples {
    latencies: Vec<Duration>,
}

impl Samples {
    /// Times one operation.
    pub fn add(&mut self, latency: Duration) {
        self.latencies.push(latency);
    }

    /// Puts what several clients measured together.
    pub fn merge(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
    }

    /// The line, for operations of `bytes` each that took `elapsed` in all.
    pub fn line(mut self, name: String, elapsed: Duration, bytes: u64) -> Line {
        self.latencies.sort_unstable();
        let at = |part: usize| {
            let index = (self.latencies.len() * part / 100).min(self.latencies.len().saturating_sub(1));
            self.latencies
                .get(index)
                .map(|latency| latency.as_secs_f64() * 1e6)
        };
        let per_second = self.latencies.len() as f64 / elapsed.as_secs_f64();
        Line {
            bytes_per_second: (bytes > 0).then_some(per_second * bytes as f64),
            p50_us: at(50),
            p99_us: at(99),
            ..Line::named(&name, per_second)
        }
    }
}

/// Repeats a blocking operation for `time`.
pub fn repeat(time: Duration, mut operation: impl FnMut(u64) -> Result<()>) -> Result<(Samples, Duration)> {
    let mut samples = Samples::default();
    let start = Instant::now();
    for number in 0.. {
        let before = Instant::now();
        operation(number)?;
        samples.add(before.elapsed());
        if start.elapsed() >= time {
            break;
        }
    }
    Ok((samples, start.elapsed()))
}

/// Repeats an operation for `time` in each of `clients` tasks. `operation` gets (client, number).
pub async fn repeat_in_parallel<O, F>(
    clients: u64,
    time: Duration,
    operation: O,
) -> Result<(Samples, Duration)>
where
    O: Fn(u64, u64) -> F + Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let operation = operation.clone();
            tokio::spawn(async move {
                let mut samples = Samples::default();
                for number in 0.. {
                    let before = Instant::now();
                    operation(client, number).await?;
                    samples.add(before.elapsed());
                    if start.elapsed() >= time {
                        break;
                    }
                }
                anyhow::Ok(samples)
            })
        })
        .collect();
    let mut all = Samples::default();
    for task in tasks {
        all.merge(task.await??);
    }
    Ok((all, start.elapsed()))
}

/// `len` bytes that do not compress and differ from call to call.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    use rand::{RngCore as _, SeedableRng as _};
    let mut out = vec![0; len];
    rand::rngs::SmallRng::seed_from_u64(seed).fill_bytes(&mut out);
    out
}
