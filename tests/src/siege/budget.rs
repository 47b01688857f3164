//! Memory and disk stay inside what the settings say.
use anyhow::{Context as _, Result, ensure};

use super::site::{CACHE, STAGING, Site};

/// Resident memory of the process: the gateway's budgets (32 MiB of plaintext, 128 MiB of write
/// buffer, 128 MiB of metadata cache, 2 × 96 MiB of packs on their way, 5 × 32 MiB of decoded
/// segments), and beside them chain and miners of the box in the same process, which hold the
/// fragments that are being sent to them.
pub const RESIDENT: u64 = 1_100 << 20;
/// Staging counts bytes, the disk pages; and a file goes when nothing in it is needed.
const STAGING_SLACK: u64 = 32 << 20;
/// What the disk cache takes beside the bytes in it.
const CACHE_SLACK: u64 = 24 << 20;

/// What a gateway takes, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Resident memory of the process.
    pub resident: u64,
    /// Staging files on the disk.
    pub staging: u64,
    /// The disk cache.
    pub cache: u64,
    /// The metadata engine.
    pub meta: u64,
}

impl Taken {
    /// The larger of each.
    pub fn most(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            staging: self.staging.max(other.staging),
            cache: self.cache.max(other.cache),
            meta: self.meta.max(other.meta),
        }
    }
}

/// Measures.
pub fn taken(site: &Site) -> Result<Taken> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", site.product().pid()))?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .context("no VmRSS")?;
    let disk = site.disk()?;
    Ok(Taken {
        resident: resident << 10,
        staging: disk.used("store/staging"),
        cache: disk.used("store/cache"),
        meta: disk.used("meta"),
    })
}

/// Measures, and fails when something takes more than it may.
pub fn check(site: &Site) -> Result<Taken> {
    let taken = taken(site)?;
    ensure!(taken.resident <= RESIDENT, "memory is over its budget: {taken:?}");
    ensure!(
        taken.staging <= STAGING + STAGING_SLACK,
        "staging is over its budget: {taken:?}"
    );
    ensure!(
        taken.cache <= CACHE + CACHE_SLACK,
        "the cache is over its budget: {taken:?}"
    );
    Ok(taken)
}
