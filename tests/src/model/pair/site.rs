//! A network, and two gateways on one namespace in a database.
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::operator::{self, Network};
use crate::process::Process;
use crate::product::S3;

/// Names of the gateways.
const NAMES: [&str; 2] = ["one", "two"];

/// A running gateway, and how to reach its doors.
pub struct Gateway {
    /// What the others call it.
    pub name: &'static str,
    dir: PathBuf,
    process: Process,
    /// The S3 door.
    pub s3: S3,
    /// The mount.
    pub mount: PathBuf,
    /// The NBD door, `nbd://ADDRESS`.
    pub nbd: String,
}

/// The network and both gateways. Dropping it kills them and takes their mounts away.
pub struct Site {
    /// The gateways.
    pub gateways: [Gateway; NAMES.len()],
    _network: Network,
    _dir: TempDir,
}

impl Site {
    /// Starts all of it. `database` is the section `[metadata.postgres]` of their configuration.
    pub fn start(database: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("pair-").tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let network = runtime.block_on(Network::start(dir.path(), 10))?;
        let one = Gateway::start(dir.path(), NAMES[0], &network.rpc, database)?;
        let two = Gateway::start(dir.path(), NAMES[1], &network.rpc, database)?;
        Ok(Self {
            gateways: [one, two],
            _network: network,
            _dir: dir,
        })
    }
}

impl Gateway {
    fn start(dir: &Path, name: &'static str, rpc: &str, database: &str) -> Result<Self> {
        let dir = dir.join(name);
        std::fs::create_dir(&dir)?;
        operator::secrets(&dir)?;
        operator::configure(&dir, &configuration(&dir, name, rpc, database))?;
        let (process, ready) = operator::serve(&dir)?;
        Self::ready(name, dir, process, &ready)
    }

    fn ready(name: &'static str, dir: PathBuf, process: Process, ready: &serde_json::Value) -> Result<Self> {
        let (s3, nbd) = doors(ready)?;
        Ok(Self {
            name,
            s3,
            mount: dir.join("mnt"),
            nbd,
            dir,
            process,
        })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// kill -9, and nothing else.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts again after [`Self::kill`].
    pub fn restart(&mut self) -> Result<()> {
        let (process, ready) = operator::serve(&self.dir)?;
        self.process = process;
        (self.s3, self.nbd) = doors(&ready)?;
        Ok(())
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop()
    }

    /// What it logged so far.
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// Runs `cess-gateway ARGUMENTS --data DIR` and answers what it prints.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = operator::command(&self.dir, arguments)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Whatever fails here, the test's own verdict stands.
        let _ = self.process.kill();
        let _ = nix::mount::umount2(&self.mount, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// The S3 door and the address of the NBD door.
fn doors(ready: &serde_json::Value) -> Result<(S3, String)> {
    let nbd = ready["nbd"]["uri"].as_str().context("no NBD address")?;
    Ok((operator::door(ready)?, nbd.to_owned()))
}

fn configuration(dir: &Path, name: &str, rpc: &str, database: &str) -> String {
    let mut text = operator::configuration(dir, rpc);
    text += &format!(
        r#"
[gateway]
name = "{name}"
patience = "5s"
[store]
checkpoint_interval = "0s"
[nbd]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[peers]
listen = "127.0.0.1:0"
[metadata]
engine = "postgres"
[metadata.postgres]
{database}
"#
    );
    text
}
