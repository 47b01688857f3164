//! One `cess-gateway dev` as a child process.
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::tools;

/// Longest wait for a gateway to serve. Generous: test machines are slow and shared.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// Longest wait for a clean stop.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

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
    child: Child,
}

/// Where a program of this workspace was built: `CESS_BIN_DIR`, or beside the test itself.
pub fn program(name: &str) -> Result<PathBuf> {
    let dir = if let Some(dir) = std::env::var_os("CESS_BIN_DIR") {
        PathBuf::from(dir)
    } else {
        let test = std::env::current_exe()?;
        test.ancestors()
            .nth(2)
            .context("the test runs from an odd place")?
            .to_owned()
    };
    let path = dir.join(name);
    if !path.is_file() {
        bail!("{} is not built; run `cargo build --bins` first", path.display());
    }
    Ok(path)
}

impl Product {
    /// Starts a gateway on `dir` with extra `arguments` and waits until everything serves. Its log
    /// goes to `dir`'s sibling `LOG` file.
    pub fn start(dir: &Path, arguments: &[&str]) -> Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (child, ready) = spawn(dir, &arguments)?;
        Ok(Self {
            ready,
            dir: dir.to_owned(),
            arguments,
            child,
        })
    }

    /// The gateway's data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, and nothing else: what a crash leaves is left.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts again on the same directory after [`Self::kill`]. Ports may be others than before.
    pub fn restart(&mut self) -> Result<()> {
        let (child, ready) = spawn(&self.dir, &self.arguments)?;
        self.child = child;
        self.ready = ready;
        Ok(())
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    bail!(
                        "the gateway ended with {status}; see {}",
                        log_path(&self.dir).display()
                    );
                }
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the gateway does not stop; see {}", log_path(&self.dir).display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
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
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = nix::mount::umount2(&self.ready.mount, nix::mount::MntFlags::MNT_DETACH);
    }
}

fn log_path(dir: &Path) -> PathBuf {
    dir.with_extension("log")
}

fn spawn(dir: &Path, arguments: &[String]) -> Result<(Child, Ready)> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_path(dir))?;
    let mut child = Command::new(program("cess-gateway")?)
        .args(["dev", "--json", "--data"])
        .arg(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start the gateway")?;
    let stdout = child.stdout.take().context("no standard output")?;
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        // The receiver is gone only when the wait below gave up.
        let _ = tell.send(read.map(|_| line));
    });
    let line = match told.recv_timeout(START_PATIENCE) {
        Ok(line) => line?,
        Err(_) => {
            child.kill()?;
            child.wait()?;
            bail!("the gateway does not come up; see {}", log_path(dir).display());
        }
    };
    match serde_json::from_str(&line) {
        Ok(ready) => Ok((child, ready)),
        Err(error) => {
            let status = child.wait()?;
            let log = std::fs::read_to_string(log_path(dir)).unwrap_or_default();
            bail!("the gateway ended with {status} instead of serving ({error}): {log}");
        }
    }
}
