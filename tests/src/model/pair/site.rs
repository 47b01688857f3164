//! A network, and two gateways on one namespace in a database.
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cess::chain::{Chain, ChainConfig};
use subxt_signer::SecretUri;
use subxt_signer::sr25519::Keypair;
use tempfile::TempDir;

use crate::process::{Process, program};
use crate::product::S3;
use crate::tools;

/// Names of the gateways.
const NAMES: [&str; 2] = ["one", "two"];

/// A running gateway, and how to reach its doors.
pub struct Gateway {
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
    _network: Process,
    _dir: TempDir,
}

impl Site {
    /// Starts all of it. `database` is the section `[metadata.postgres]` of their configuration.
    pub fn start(database: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("pair-").tempdir()?;
        let mut up = Command::new(program("cess-devnet")?);
        up.args(["up", "--miners", "12", "--rpc", "127.0.0.1:0", "--data"])
            .arg(dir.path().join("network"));
        let (network, line) = Process::start(&mut up, &dir.path().join("network.log"))?;
        let line: serde_json::Value = serde_json::from_str(&line)?;
        let rpc = line["chain"]["rpc"]
            .as_str()
            .context("the network says where its chain is")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(lease_territory(rpc))?;
        let one = Gateway::start(dir.path(), NAMES[0], rpc, database)?;
        let two = Gateway::start(dir.path(), NAMES[1], rpc, database)?;
        Ok(Self {
            gateways: [one, two],
            _network: network,
            _dir: dir,
        })
    }
}

impl Gateway {
    fn start(dir: &Path, name: &str, rpc: &str, database: &str) -> Result<Self> {
        let dir = dir.join(name);
        std::fs::create_dir(&dir)?;
        for (file, text) in [
            ("passphrase", "correct horse battery staple\n"),
            ("signer", "//Bob\n"),
            ("credentials", "AK:SK\n"),
        ] {
            let path = dir.join(file);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        }
        let configuration = configuration(&dir, name, rpc, database);
        std::fs::write(dir.join("gateway.toml"), configuration)?;
        let (process, ready) = serve(&dir)?;
        Self::ready(dir, process, &ready)
    }

    fn ready(dir: PathBuf, process: Process, ready: &serde_json::Value) -> Result<Self> {
        let (s3, nbd) = doors(ready)?;
        Ok(Self {
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
        let (process, ready) = serve(&self.dir)?;
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
        let output = tools::run(
            Command::new(program("cess-gateway")?)
                .args(arguments)
                .arg("--data")
                .arg(self.dir.join("data")),
        )?;
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
    let said = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let s3 = S3 {
        endpoint: said(&ready["s3"]["endpoint"]).context("no S3 endpoint")?,
        region: "us-east-1".into(),
        access_key: "AK".into(),
        secret_key: "SK".into(),
    };
    Ok((s3, said(&ready["nbd"]["uri"]).context("no NBD address")?))
}

fn serve(dir: &Path) -> Result<(Process, serde_json::Value)> {
    let mut command = Command::new(program("cess-gateway")?);
    command
        .args(["serve", "--json", "--config"])
        .arg(dir.join("gateway.toml"));
    let (process, line) = Process::start(&mut command, &dir.join("log"))?;
    let ready = serde_json::from_str(&line)
        .with_context(|| format!("no line of JSON but {line:?}; the log says: {}", process.said()))?;
    Ok((process, ready))
}

fn configuration(dir: &Path, name: &str, rpc: &str, database: &str) -> String {
    let dir = dir.display();
    format!(
        r#"
data = "{dir}/data"
[gateway]
name = "{name}"
patience = "5s"
[keys]
passphrase_file = "{dir}/passphrase"
[network]
rpc = ["{rpc}"]
signer_file = "{dir}/signer"
territory = "archive"
[store]
checkpoint_interval = "0s"
[s3]
listen = "127.0.0.1:0"
credentials_file = "{dir}/credentials"
[mount]
path = "{dir}/mnt"
[nbd]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[metadata]
engine = "postgres"
[metadata.postgres]
{database}
"#
    )
}

async fn lease_territory(rpc: &str) -> Result<()> {
    let chain = Chain::connect(ChainConfig {
        endpoints: vec![rpc.to_owned()],
        signer: Keypair::from_uri(&SecretUri::from_str("//Bob")?)?,
        miner_endpoints: BTreeMap::new(),
        rpc_timeout: Duration::from_secs(30),
    })
    .await?;
    chain.mint_territory(b"archive", 10, 30).await?;
    Ok(())
}
