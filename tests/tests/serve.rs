//! `cess-gateway serve` from a configuration file, on a network that runs apart, as an operator
//! has it: an account, a territory, secrets in files.
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cess::chain::{Chain, ChainConfig};
use product_tests::process::{Process, program};
use product_tests::product::S3;
use product_tests::s3::S3Client;
use product_tests::{content, tools};
use subxt_signer::SecretUri;
use subxt_signer::sr25519::Keypair;

fn secret(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
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

fn configuration(dir: &Path, rpc: &str) -> String {
    let dir = dir.display();
    format!(
        r#"
data = "{dir}/data"
[keys]
passphrase_file = "{dir}/passphrase"
[network]
rpc = ["{rpc}"]
signer_file = "{dir}/signer"
territory = "archive"
[s3]
listen = "127.0.0.1:0"
credentials_file = "{dir}/credentials"
[mount]
path = "{dir}/mnt"
[nbd]
unix = "{dir}/nbd.sock"
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_gateway() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    let up = |rpc: &str| -> Result<Command> {
        let mut network = Command::new(program("cess-devnet")?);
        network
            .args(["up", "--miners", "12", "--rpc", rpc, "--data"])
            .arg(dir.join("network"));
        Ok(network)
    };
    let (mut network, line) = Process::start(&mut up("127.0.0.1:0")?, &dir.join("network.log"))?;
    let line: serde_json::Value = serde_json::from_str(&line)?;
    let rpc = line["chain"]["rpc"]
        .as_str()
        .context("the network says where its chain is")?;
    lease_territory(rpc).await?;

    secret(&dir.join("passphrase"), "correct horse battery staple\n")?;
    secret(&dir.join("signer"), "//Bob\n")?;
    secret(&dir.join("credentials"), "AK:SK\n")?;
    std::fs::write(dir.join("gateway.toml"), configuration(dir, rpc))?;
    let start = || {
        let mut serve = Command::new(program("cess-gateway")?);
        serve
            .args(["serve", "--json", "--config"])
            .arg(dir.join("gateway.toml"));
        Process::start(&mut serve, &dir.join("gateway.log"))
    };
    let (mut gateway, line) = start()?;
    ensure!(!line.contains("SK"), "serve repeats a secret that it was given");
    let ready: serde_json::Value = serde_json::from_str(&line)?;
    ensure!(
        ready["devnet"].is_null() && ready["miners"].as_array().map(Vec::len) == Some(12),
        "{ready}"
    );
    let door = |ready: &serde_json::Value| -> Result<S3> {
        Ok(S3 {
            endpoint: ready["s3"]["endpoint"]
                .as_str()
                .context("an endpoint")?
                .to_owned(),
            region: "us-east-1".into(),
            access_key: "AK".into(),
            secret_key: "SK".into(),
        })
    };
    let s3 = S3Client::new(&door(&ready)?, "papers")?;
    s3.create_bucket().await?;
    let body = content::bytes(3, 3 << 20);
    s3.put("contract.pdf", body.clone()).await?;
    ensure!(
        std::fs::read(dir.join("mnt/papers/contract.pdf"))? == body,
        "the mount shows something else"
    );
    if let Some(nbdinfo) = tools::find("nbdinfo") {
        let uri = ready["nbd"]["uri"].as_str().context("a URI")?;
        let uri = uri.replace(":///?", ":///papers/contract.pdf?");
        let size = tools::run(Command::new(nbdinfo).args(["--size", &uri]))?;
        ensure!(
            String::from_utf8(size.stdout)?.trim() == body.len().to_string(),
            "NBD sees another size"
        );
    }
    let data = dir.join("data");
    let command = |arguments: &[&str]| {
        tools::run(
            Command::new(program("cess-gateway")?)
                .args(arguments)
                .arg("--data")
                .arg(&data),
        )
    };
    command(&["flush", "--wait", "verified", "--timeout", "5min"])?;
    let status = command(&["status"])?;
    let status = String::from_utf8(status.stdout)?;
    ensure!(
        status.contains("territory archive (active), 96.0 MiB used"),
        "{status}"
    );

    gateway.stop()?;
    ensure!(
        std::fs::read_dir(dir.join("mnt"))?.next().is_none(),
        "the mount stayed behind"
    );
    // With another passphrase the same directory does not open, and nothing changes.
    secret(&dir.join("passphrase"), "wrong\n")?;
    let refused = start().err().context("a wrong passphrase opened the store")?;
    ensure!(refused.to_string().contains("passphrase"), "{refused}");
    secret(&dir.join("passphrase"), "correct horse battery staple\n")?;
    let (mut gateway, line) = start()?;
    let s3 = S3Client::new(&door(&serde_json::from_str(&line)?)?, "papers")?;
    ensure!(
        s3.get("contract.pdf").await?.context("the object is gone")? == body,
        "the object changed"
    );
    gateway.stop()?;

    // Without a chain it starts, serves what it has, takes more, and catches up by itself.
    network.stop()?;
    let (mut gateway, line) = start()?;
    let s3 = S3Client::new(&door(&serde_json::from_str(&line)?)?, "papers")?;
    let later = content::bytes(4, 2 << 20);
    s3.put("annex.pdf", later.clone()).await?;
    ensure!(s3.get("annex.pdf").await?.context("just put")? == later);
    let outlook = || -> Result<String> {
        let status = command(&["status", "--json"])?;
        let status: serde_json::Value = serde_json::from_slice(&status.stdout)?;
        Ok(status["store"]["chain"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    let until = async |wanted: &str| -> Result<()> {
        for _ in 0..300 {
            if outlook()? == wanted {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::bail!("the chain is {}, not {wanted}", outlook()?)
    };
    until("unreachable").await?;
    let mut again = up(rpc.trim_start_matches("ws://"))?;
    let (mut network, _) = Process::start(&mut again, &dir.join("network.log"))?;
    command(&["flush", "--wait", "verified", "--timeout", "5min"])?;
    until("serves").await?;
    command(&["cache", "drop"])?;
    ensure!(s3.get("annex.pdf").await?.context("from the miners")? == later);
    gateway.stop()?;
    network.stop()
}

/// Every mistake in a configuration is named, and so is the way out.
#[test]
fn mistakes_are_named() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    let file = dir.join("gateway.toml");
    let refusal = |text: &str| -> Result<String> {
        std::fs::write(&file, text)?;
        let output = Command::new(program("cess-gateway")?)
            .args(["serve", "--config"])
            .arg(&file)
            .output()?;
        ensure!(!output.status.success(), "it served");
        Ok(String::from_utf8(output.stderr)?)
    };
    let good = configuration(dir, "ws://127.0.0.1:9");
    let said = refusal(&good.replace("territory =", "teritory ="))?;
    ensure!(said.contains("teritory"), "{said}");
    let said = refusal(&good)?;
    ensure!(said.contains("cannot read") && said.contains("signer"), "{said}");
    secret(&dir.join("signer"), "//Bob")?;
    secret(&dir.join("passphrase"), "p")?;
    std::fs::write(dir.join("credentials"), "AK:SK")?;
    std::fs::set_permissions(dir.join("credentials"), std::fs::Permissions::from_mode(0o644))?;
    let said = refusal(&good)?;
    ensure!(said.contains("chmod 600") && !said.contains("AK:SK"), "{said}");
    secret(&dir.join("credentials"), "AK:SK")?;
    let said = refusal(&good.replace("ws://127.0.0.1:9", "no address"))?;
    ensure!(
        said.contains("cannot work with the chain at no address"),
        "{said}"
    );
    Ok(())
}
