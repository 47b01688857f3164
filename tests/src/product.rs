//! One `cess-gateway dev` as a child process.
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::process::{Process, program};
use crate::tools;

/// The line of JSON that `cess-gateway dev --json` prints once everything serves.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Ready {
    pub s3: S3,
    pub mount: PathBuf,
    pub nbd: Nbd,
    pub admin: Admin,
    pub chain: Chain,
    pub devnet: Devnet,
    pub miners: Vec<Miner>,
}

/// `s3` of [`Ready`].
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct S3 {
    pub endpoint: String,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
}

/// `nbd` of [`Ready`].
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Nbd {
    pub uri: String,
}

/// `admin` of [`Ready`].
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Admin {
    pub url: String,
    pub token: String,
}

/// `chain` of [`Ready`].
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Chain {
    pub rpc: String,
}

/// `devnet` of [`Ready`].
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Devnet {
    pub admin: String,
}

/// One of `miners` of [`Ready`].
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Miner {
    pub account: String,
    pub endpoint: String,
}

/// A running gateway and what it said when it was ready. Dropping it kills it and lets go of its mount.
pub struct Product {
    /// What it said.
    pub ready: Ready,
    dir: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    process: Process,
}

impl Product {
    /// Starts a gateway on `dir` with extra `arguments` and waits until everything serves. It logs
    /// to a file beside `dir`.
    pub fn start(dir: &Path, arguments: &[&str]) -> Result<Self> {
        Self::start_with(dir, arguments, &[])
    }

    /// As [`Self::start`], with variables of the environment. They hold until the next start.
    pub fn start_with(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let environment = owned(environment);
        let (process, ready) = spawn(dir, &arguments, &environment)?;
        Ok(Self {
            ready,
            dir: dir.to_owned(),
            arguments,
            environment,
            process,
        })
    }

    /// The gateway's data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// kill -9, and nothing else: what a crash leaves is left.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts again on the same directory after [`Self::kill`]. Ports may be others than before.
    pub fn restart(&mut self) -> Result<()> {
        (self.process, self.ready) = spawn(&self.dir, &self.arguments, &self.environment)?;
        Ok(())
    }

    /// As [`Self::restart`], with other variables of the environment.
    pub fn restart_with(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        self.environment = owned(environment);
        self.restart()
    }

    /// Takes away the mount that a killed gateway left, so that nobody waits on it.
    pub fn let_go(&self) {
        // It may be gone already.
        let _ = nix::mount::umount2(&self.ready.mount, nix::mount::MntFlags::MNT_DETACH);
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_none())
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.process.wait(patience)
    }

    /// What it logged so far, earlier starts included.
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(mut self) -> Result<()> {
        self.process.stop()
    }

    /// Runs `cess-devnet chain-fault --data DIR FAULT`.
    pub fn chain_fault(&self, fault: &str) -> Result<()> {
        let mut command = Command::new(program("cess-devnet")?);
        command.args(["chain-fault", "--data"]).arg(&self.dir).arg(fault);
        tools::run(&mut command).map(drop)
    }

    /// Runs `cess-gateway ARGUMENTS --data DIR`.
    pub fn gateway(&self, arguments: &[&str]) -> Result<Output> {
        tools::run(
            Command::new(program("cess-gateway")?)
                .args(arguments)
                .arg("--data")
                .arg(&self.dir),
        )
    }

    /// Runs `cess-devnet fault --data DIR MINER FAULT`; `miner` is an account or `--all`.
    pub fn fault(&self, miner: &str, fault: &str) -> Result<()> {
        let mut command = Command::new(program("cess-devnet")?);
        command
            .arg("fault")
            .arg("--data")
            .arg(&self.dir)
            .args([miner, fault]);
        tools::run(&mut command).map(drop)
    }

    /// `cess-gateway status --json`.
    pub fn status(&self) -> Result<serde_json::Value> {
        let output = self.gateway(&["status", "--json"])?;
        serde_json::from_slice(&output.stdout).context("the status is not JSON")
    }

    /// A command with the S3 credentials in its environment.
    pub fn with_credentials(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("AWS_ACCESS_KEY_ID", &self.ready.s3.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.ready.s3.secret_key)
            .env("AWS_DEFAULT_REGION", &self.ready.s3.region)
            .env("AWS_ENDPOINT_URL", &self.ready.s3.endpoint)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// URI of the export of a file.
    pub fn export(&self, name: &str) -> String {
        format!("{}/{name}", self.ready.nbd.uri)
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // Whatever fails here, the test's own verdict stands.
        let _ = self.process.kill();
        self.let_go();
    }
}

fn owned(environment: &[(&str, &str)]) -> Vec<(String, String)> {
    environment
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn spawn(dir: &Path, arguments: &[String], environment: &[(String, String)]) -> Result<(Process, Ready)> {
    let mut command = Command::new(program("cess-gateway")?);
    command.args(["dev", "--json", "--data"]).arg(dir).args(arguments);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let (process, line) = Process::start(&mut command, &dir.with_extension("log"))?;
    let ready = serde_json::from_str(&line)
        .with_context(|| format!("no line of JSON but {line:?}; the log says: {}", process.said()))?;
    Ok((process, ready))
}
