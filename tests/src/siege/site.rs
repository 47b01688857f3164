//! A gateway on a disk that can fail, with its network, and how to break both.
//!
//! Metadata, staging and cache lie on a [`Disk`]; the network in a box lies on the machine's own
//! and loses nothing when the gateway's power goes.
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::ledger::{BLOCK, BLOCKS, Ledger};
use super::load::{BUCKET, Doors, FILE, Load, VOLUME};
use super::reader;
use crate::disk::{Cut, Disk, Names, Trouble, Volume};
use crate::product::Product;
use crate::s3::S3Client;

/// Most sealed data that may wait for the network.
pub const STAGING: u64 = 192 << 20;
/// Ciphertext cache.
pub const CACHE: u64 = 64 << 20;
/// Plaintext cache.
pub const MEMORY: u64 = 32 << 20;
/// Miners of the network. Eight are caught lying again and again, and then not trusted for an hour; a
/// reorganisation may take its fragment from any other one, which is then not trusted either; and a pack is
/// stored again only when twelve others are.
pub const MINERS: usize = 24;

/// How the gateway is started.
fn arguments() -> Vec<String> {
    let settings = [
        ("--miners", MINERS.to_string()),
        ("--block-period", "200ms".into()),
        ("--pack-max-age", "3s".into()),
        ("--pack-segments", "1".into()),
        ("--memory-cache", format!("{MEMORY}B")),
        ("--disk-cache", format!("{CACHE}B")),
        ("--staging-limit", format!("{STAGING}B")),
    ];
    settings
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
}

/// A gateway under siege.
pub struct Site {
    // The gateway goes first, then the disk that it uses, then the directory of both.
    product: Product,
    disk: Option<Disk>,
    ledger: Arc<Ledger>,
    seed: u64,
    clock: PathBuf,
    scratch: TempDir,
}

impl Site {
    /// Starts a gateway and makes what the load works on.
    pub async fn start(names: Names, seed: u64) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("siege-").tempdir()?;
        let disk = Disk::mount(Volume::new(names, seed), &scratch.path().join("disk"))?;
        let data = scratch.path().join("data");
        std::fs::create_dir(&data)?;
        for part in ["meta", "store"] {
            std::fs::create_dir(disk.path().join(part))?;
            symlink(disk.path().join(part), data.join(part))?;
        }
        // Directories that an installation makes are there for good.
        nix::unistd::fsync(std::fs::File::open(disk.path())?)?;
        let clock = scratch.path().join("clock");
        let arguments = arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let product = Product::start_with(&data, &arguments, &environment(&clock, &[]))?;
        let site = Self {
            product,
            disk: Some(disk),
            ledger: Arc::new(Ledger::new(seed)),
            seed,
            clock,
            scratch,
        };
        site.make_cells().await?;
        Ok(site)
    }

    async fn make_cells(&self) -> Result<()> {
        let s3 = S3Client::new(&self.product.ready.s3, BUCKET)?;
        s3.create_bucket().await?;
        let size = BLOCK * BLOCKS as usize;
        s3.put(FILE, vec![0; size]).await?;
        let volume = format!("{BUCKET}/{VOLUME}");
        self.product
            .gateway(&["volume", "create", &volume, "--size", &format!("{size}B")])
            .map(drop)
    }

    /// The gateway.
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// The gateway, to be killed or waited for.
    pub fn product_mut(&mut self) -> &mut Product {
        &mut self.product
    }

    /// What was acknowledged.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The gateway's disk.
    pub fn disk(&self) -> Result<&Disk> {
        self.disk.as_ref().context("the disk is gone")
    }

    /// Starts load at all doors.
    pub fn load(&self, round: u64) -> Result<Load> {
        Load::start(&self.product, &self.ledger, self.seed.wrapping_add(round))
    }

    /// Something goes wrong on the disk, below `path`.
    pub fn break_disk(&self, trouble: impl FnOnce(PathBuf) -> Trouble, path: &str) -> Result<()> {
        self.disk()?.break_with(trouble(path.into()));
        Ok(())
    }

    /// kill -9, and a start with `environment`. What every cell has then is what it keeps.
    pub async fn restart(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        self.product.kill()?;
        self.start_again(environment).await
    }

    /// The start alone: the gateway is dead.
    pub async fn start_again(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        self.start_and_read(variables, true).await
    }

    async fn start_and_read(&mut self, variables: &[(&str, &str)], settle: bool) -> Result<()> {
        self.product.let_go();
        self.product
            .restart_with(&environment(&self.clock, variables))
            .context("the gateway does not start again")?;
        self.read_every_cell(settle).await.context("after the restart")
    }

    /// Takes the disk's power away and ends the gateway.
    pub fn power_off(&mut self) -> Result<Cut> {
        let cut = self.disk()?.cut();
        self.product.kill()?;
        Ok(cut)
    }

    /// Starts the gateway on what `seed` leaves of its disk, and reads every cell. What is found is
    /// what stays, unless the same cut is to be drawn again (`again`).
    pub async fn power_on(&mut self, cut: &Cut, seed: u64, again: bool) -> Result<()> {
        self.product.let_go();
        let path = self.disk()?.path().to_owned();
        self.disk = None;
        self.disk = Some(Disk::mount(cut.image(seed), &path)?);
        self.start_and_read(&[], !again)
            .await
            .with_context(|| format!("after a power cut, image {seed}"))
    }

    /// The gateway's wall clock is so many seconds ahead, or behind.
    pub fn turn_clock(&self, seconds: i64) -> Result<()> {
        Ok(std::fs::write(&self.clock, seconds.to_string())?)
    }

    /// Reads every cell through its own door, while nobody writes.
    pub async fn read_every_cell(&self, settle: bool) -> Result<()> {
        reader::every_cell(&Doors::of(&self.product)?, &self.ledger, settle).await
    }

    /// Waits until everything is verified and staging has given its space back.
    pub fn catch_up(&self) -> Result<()> {
        let flushed = self
            .product
            .gateway(&["flush", "--wait", "verified", "--timeout", "3min"]);
        flushed.map(drop).context("it does not catch up by itself")
    }

    /// Deletes what miners keep of packs that the gateway has forgotten: those of the box keep
    /// everything for ever, and a long siege would fill the machine.
    pub fn sweep_network(&self) -> Result<()> {
        let mut kept = Vec::new();
        for miner in std::fs::read_dir(self.product.dir().join("devnet/miners"))? {
            let files = miner?.path().join("file");
            for file in std::fs::read_dir(&files).with_context(|| format!("{}", files.display()))? {
                kept.push(file?.path());
            }
        }
        // Asked after the list was made: what is listed and not known now was forgotten.
        let status = self.product.status()?;
        let packs = status["store"]["packs"]
            .as_array()
            .context("no packs in the status")?;
        let known: BTreeSet<&str> = packs.iter().filter_map(|pack| pack["fid"].as_str()).collect();
        for file in kept {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if !known.contains(name.as_ref()) {
                std::fs::remove_dir_all(&file)?;
            }
        }
        Ok(())
    }

    /// What the gateway logged.
    pub fn said(&self) -> String {
        self.product.said()
    }

    /// Where everything lies.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A clean stop.
    pub fn stop(self) -> Result<()> {
        let Self {
            product,
            disk,
            scratch,
            ..
        } = self;
        product.stop()?;
        drop(disk);
        drop(scratch);
        Ok(())
    }
}

fn environment<'a>(clock: &'a Path, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = more.to_vec();
    if let Some(clock) = clock.to_str() {
        all.push((store::clock::JUMPS, clock));
    }
    all
}
