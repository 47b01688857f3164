//! A gateway as an operator has it: secrets in files, a configuration file, a network that runs apart, and an
//! account on it that holds a territory.
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cess::chain::{Chain, ChainConfig};
use meta::PostgresConfig;
use serde_json::Value;
use subxt_signer::SecretUri;
use subxt_signer::sr25519::Keypair;

use crate::process::{Process, program};
use crate::product::S3;
use crate::tools;

/// The account that signs and pays.
const SIGNER: &str = "//Bob";
/// Its territory.
const TERRITORY: &str = "archive";
/// How long that is leased, in days.
const DAYS: u32 = 30;
/// The pair of S3 keys.
const KEYS: (&str, &str) = ("AK", "SK");

/// A network with twelve miners. Dropping it kills it.
pub struct Network {
    /// Where its chain is, `ws://ADDRESS`.
    pub rpc: String,
    dir: PathBuf,
    process: Process,
}

impl Network {
    /// Starts one that keeps its state in `dir`, and leases `gib` GiB of territory.
    pub async fn start(dir: &Path, gib: u32) -> Result<Self> {
        let (process, line) = Self::up(dir, "127.0.0.1:0")?;
        let line: Value = serde_json::from_str(&line)?;
        let rpc = line["chain"]["rpc"]
            .as_str()
            .context("the network says where its chain is")?
            .to_owned();
        let chain = Chain::connect(ChainConfig {
            endpoints: vec![rpc.clone()],
            signer: Keypair::from_uri(&SecretUri::from_str(SIGNER)?)?,
            miner_endpoints: BTreeMap::new(),
            rpc_timeout: Duration::from_secs(30),
        })
        .await?;
        chain.mint_territory(TERRITORY.as_bytes(), gib, DAYS).await?;
        Ok(Self {
            rpc,
            dir: dir.to_owned(),
            process,
        })
    }

    fn up(dir: &Path, rpc: &str) -> Result<(Process, String)> {
        let mut up = Command::new(program("cess-devnet")?);
        up.args(["up", "--miners", "12", "--rpc", rpc, "--data"])
            .arg(dir.join("network"));
        Process::start(&mut up, &dir.join("network.log"))
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop()
    }

    /// Starts again after [`Self::stop`], at the same address.
    pub fn restart(&mut self) -> Result<()> {
        (self.process, _) = Self::up(&self.dir, self.rpc.trim_start_matches("ws://"))?;
        Ok(())
    }
}

/// Writes a file that nobody else may read.
pub fn secret(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// The passphrase file, and the other secrets of a gateway in `dir`.
pub fn secrets(dir: &Path) -> Result<()> {
    secret(&dir.join("passphrase"), "correct horse battery staple\n")?;
    secret(&dir.join("signer"), &format!("{SIGNER}\n"))?;
    let (access, hidden) = KEYS;
    secret(&dir.join("credentials"), &format!("{access}:{hidden}\n"))
}

/// What every configuration of a gateway in `dir` says: its data, its secrets, the network at `rpc`, an S3 door
/// and a mount. More sections may follow.
pub fn configuration(dir: &Path, rpc: &str) -> String {
    let dir = dir.display();
    format!(
        r#"
data = "{dir}/data"
[keys]
passphrase_file = "{dir}/passphrase"
[network]
rpc = ["{rpc}"]
signer_file = "{dir}/signer"
territory = "{TERRITORY}"
[s3]
listen = "127.0.0.1:0"
credentials_file = "{dir}/credentials"
[mount]
path = "{dir}/mnt"
"#
    )
}

/// The keys of `[metadata.postgres]` for this database, without a password.
pub fn database(config: &PostgresConfig) -> String {
    let (hosts, database, user) = (&config.hosts, &config.database, &config.user);
    format!("hosts = {hosts:?}\ndatabase = {database:?}\nuser = {user:?}\ntls = \"disable\"\n")
}

/// Writes the configuration of a gateway in `dir`.
pub fn configure(dir: &Path, text: &str) -> Result<()> {
    Ok(std::fs::write(dir.join("gateway.toml"), text)?)
}

/// `cess-gateway serve` with the configuration in `dir`; the line that it prints once everything serves.
pub fn serve(dir: &Path) -> Result<(Process, Value)> {
    let mut serve = Command::new(program("cess-gateway")?);
    serve
        .args(["serve", "--json", "--config"])
        .arg(dir.join("gateway.toml"));
    let (process, line) = Process::start(&mut serve, &dir.join("gateway.log"))?;
    let ready = serde_json::from_str(&line)
        .with_context(|| format!("no line of JSON but {line:?}; the log says: {}", process.said()))?;
    Ok((process, ready))
}

/// The S3 door of a gateway that said this when it was ready.
pub fn door(ready: &Value) -> Result<S3> {
    let endpoint = ready["s3"]["endpoint"].as_str().context("no S3 endpoint")?;
    let (access, hidden) = KEYS;
    Ok(S3 {
        endpoint: endpoint.to_owned(),
        region: "us-east-1".into(),
        access_key: access.into(),
        secret_key: hidden.into(),
    })
}

/// Runs `cess-gateway ARGUMENTS --data DIR/data`.
pub fn command(dir: &Path, arguments: &[&str]) -> Result<Output> {
    tools::run(
        Command::new(program("cess-gateway")?)
            .args(arguments)
            .arg("--data")
            .arg(dir.join("data")),
    )
}
