//! `cess-gateway serve` from a configuration file, on a network that runs apart, as an operator
//! has it: an account, a territory, secrets in files.
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use product_tests::operator::{self, Network, secret};
use product_tests::process::program;
use product_tests::s3::S3Client;
use product_tests::{content, tools};

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_gateway() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    let mut network = Network::start(dir, 10).await?;
    operator::secrets(dir)?;
    let nbd = format!("[nbd]\nunix = \"{}/nbd.sock\"\n", dir.display());
    operator::configure(dir, &(operator::configuration(dir, &network.rpc) + &nbd))?;
    let (mut gateway, ready) = operator::serve(dir)?;
    ensure!(
        !ready.to_string().contains("SK"),
        "serve repeats a secret that it was given"
    );
    ensure!(
        ready["devnet"].is_null() && ready["miners"].as_array().map(Vec::len) == Some(12),
        "{ready}"
    );
    let s3 = S3Client::new(&operator::door(&ready)?, "papers")?;
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
    let command = |arguments: &[&str]| operator::command(dir, arguments);
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
    let refused = operator::serve(dir)
        .err()
        .context("a wrong passphrase opened the store")?;
    ensure!(refused.to_string().contains("passphrase"), "{refused}");
    secret(&dir.join("passphrase"), "correct horse battery staple\n")?;
    let (mut gateway, ready) = operator::serve(dir)?;
    let s3 = S3Client::new(&operator::door(&ready)?, "papers")?;
    ensure!(
        s3.get("contract.pdf").await?.context("the object is gone")? == body,
        "the object changed"
    );
    gateway.stop()?;

    // Without a chain it starts, serves what it has, takes more, and catches up by itself.
    network.stop()?;
    let (mut gateway, ready) = operator::serve(dir)?;
    let s3 = S3Client::new(&operator::door(&ready)?, "papers")?;
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
    network.restart()?;
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
    let good = operator::configuration(dir, "ws://127.0.0.1:9");
    let said = refusal(&good.replace("territory =", "teritory ="))?;
    ensure!(said.contains("teritory"), "{said}");
    let said = refusal(&good)?;
    ensure!(said.contains("cannot read") && said.contains("signer"), "{said}");
    secret(&dir.join("signer"), "//Bob")?;
    secret(&dir.join("passphrase"), "p")?;
    std::fs::write(dir.join("credentials"), "AK:SK")?;
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(dir.join("credentials"), everybody)?;
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
