//! Lose the gateway, keep the data: a namespace of more than 10,000 inodes comes back on a blank
//! machine from the chain, the miners and the passphrase, inode by inode and byte by byte.
use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cess::chain::{Chain, ChainConfig};
use product_tests::process::{Process, program};
use product_tests::product::S3;
use product_tests::s3::{S3Client, checked};
use product_tests::{census, content, tools};
use rusty_s3::S3Action as _;
use subxt_signer::SecretUri;
use subxt_signer::sr25519::Keypair;

const HOUR: Duration = Duration::from_secs(3600);
const DIRECTORIES: usize = 100;
/// In each of them, beside a symlink to every one of half of the files.
const FILES: usize = 66;

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
    chain.mint_territory(b"archive", 20, 30).await?;
    Ok(())
}

/// An operator's files in `dir`, for the network at `rpc`.
fn configure(dir: &Path, rpc: &str) -> Result<()> {
    secret(&dir.join("passphrase"), "correct horse battery staple\n")?;
    secret(&dir.join("signer"), "//Bob\n")?;
    secret(&dir.join("credentials"), "AK:SK\n")?;
    let at = dir.display();
    std::fs::write(
        dir.join("gateway.toml"),
        format!(
            "data = \"{at}/data\"\n\
             [keys]\npassphrase_file = \"{at}/passphrase\"\n\
             [network]\nrpc = [\"{rpc}\"]\nsigner_file = \"{at}/signer\"\nterritory = \"archive\"\n\
             [s3]\nlisten = \"127.0.0.1:0\"\ncredentials_file = \"{at}/credentials\"\n\
             [mount]\npath = \"{at}/mnt\"\n"
        ),
    )?;
    Ok(())
}

fn serve(dir: &Path) -> Result<(Process, S3)> {
    let mut serve = Command::new(program("cess-gateway")?);
    serve
        .args(["serve", "--json", "--config"])
        .arg(dir.join("gateway.toml"));
    let (process, line) = Process::start(&mut serve, &dir.join("gateway.log"))?;
    let ready: serde_json::Value = serde_json::from_str(&line)?;
    let s3 = S3 {
        endpoint: ready["s3"]["endpoint"]
            .as_str()
            .context("an endpoint")?
            .to_owned(),
        region: "us-east-1".into(),
        access_key: "AK".into(),
        secret_key: "SK".into(),
    };
    Ok((process, s3))
}

fn command(dir: &Path, arguments: &[&str]) -> Result<Output> {
    tools::run(
        Command::new(program("cess-gateway")?)
            .args(arguments)
            .arg("--data")
            .arg(dir.join("data")),
    )
}

/// `cess-gateway restore` with the operator's configuration; its answer.
fn restore(dir: &Path, arguments: &[&str]) -> Result<serde_json::Value> {
    let output = tools::run(
        Command::new(program("cess-gateway")?)
            .args(["restore", "--json", "--config"])
            .arg(dir.join("gateway.toml"))
            .args(arguments),
    )?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Files, hard links, symlinks, attributes, holes and modes, in `bucket` of the mount.
fn populate(bucket: &Path) -> Result<()> {
    for number in 0..DIRECTORIES {
        let directory = bucket.join(format!("directory-{number}"));
        std::fs::create_dir(&directory)?;
        for file in 0..FILES {
            let path = directory.join(format!("file-{file}"));
            std::fs::write(&path, content::bytes((number * FILES + file) as u64, 40 + file))?;
            if file % 2 == 0 {
                symlink(format!("file-{file}"), directory.join(format!("link-{file}")))?;
            }
        }
    }
    let large = bucket.join("large");
    std::fs::write(&large, content::bytes(7, 5 << 20))?;
    std::fs::hard_link(&large, bucket.join("directory-0/another-name"))?;
    std::fs::hard_link(&large, bucket.join("directory-1/yet-another"))?;
    std::fs::set_permissions(&large, std::fs::Permissions::from_mode(0o640))?;
    let sparse = std::fs::File::create(bucket.join("sparse"))?;
    // Read whole by the census, so not too large.
    sparse.set_len(9 << 20)?;
    for at in [0u64, 3 << 20, (9 << 20) - 100] {
        sparse.write_all_at(&content::bytes(at, 100), at)?;
    }
    for (name, value) in [("user.colour", b"blue".as_slice()), ("user.empty", b"")] {
        rustix::fs::setxattr(&large, name, value, rustix::fs::XattrFlags::empty())?;
    }
    let overwritten = bucket.join("overwritten");
    for round in 0..3 {
        std::fs::write(&overwritten, content::bytes(round, 300_000))?;
        std::fs::File::open(&overwritten)?.sync_all()?;
    }
    std::fs::File::open(bucket)?.sync_all()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_gateway_comes_back_inode_by_inode() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    let mut up = Command::new(program("cess-devnet")?);
    up.args(["up", "--miners", "12", "--rpc", "127.0.0.1:0", "--data"])
        .arg(dir.join("network"));
    let (mut network, line) = Process::start(&mut up, &dir.join("network.log"))?;
    let line: serde_json::Value = serde_json::from_str(&line)?;
    let rpc = line["chain"]["rpc"].as_str().context("the chain's address")?;
    lease_territory(rpc).await?;
    configure(dir, rpc)?;

    let (mut gateway, s3) = serve(dir)?;
    let client = S3Client::new(&s3, "papers")?;
    client.create_bucket().await?;
    populate(&dir.join("mnt/papers"))?;
    client.put("a//key that is no path/", &b"whole"[..]).await?;
    // An upload that goes on after the loss.
    let (bucket, credentials) = (&client.bucket, &client.credentials);
    let begin = bucket
        .create_multipart_upload(Some(credentials), "upload")
        .sign(HOUR);
    let begun = checked(client.http.post(begin).send().await?)
        .await?
        .text()
        .await?;
    let upload = rusty_s3::actions::CreateMultipartUpload::parse_response(&begun)?;
    let part = content::bytes(11, 5 << 20);
    let url = bucket
        .upload_part(Some(credentials), "upload", 1, upload.upload_id())
        .sign(HOUR);
    let sent = checked(client.http.put(url).body(part.clone()).send().await?).await?;
    let tag = sent.headers()["etag"].to_str()?.to_owned();
    command(dir, &["flush", "--wait", "verified", "--timeout", "5min"])?;
    let before = census::take(&dir.join("mnt"))?;
    ensure!(before.len() > 10_000, "{} names", before.len());
    let status: serde_json::Value = serde_json::from_slice(&command(dir, &["status", "--json"])?.stdout)?;
    let newest = status["store"]["checkpoint"].clone();
    ensure!(
        newest["level"] == "verified" && newest["window"].is_u64(),
        "{newest}"
    );

    // The drill proves it while the gateway serves, and leaves nothing behind.
    let away = dir.join("scratch");
    std::fs::create_dir(&away)?;
    let drill = restore(dir, &["--drill", "--scratch", &away.display().to_string()])?;
    ensure!(drill["checkpoint"]["number"] == newest["number"], "{drill}");
    ensure!(
        drill["lost"].as_array().is_some_and(Vec::is_empty)
            && drill["sample_failed"].as_array().is_some_and(Vec::is_empty)
            && drill["sampled"].as_u64() > Some(10),
        "{drill}"
    );
    ensure!(
        std::fs::read_dir(&away)?.next().is_none(),
        "the drill left something"
    );
    client.put("late", &b"never placed"[..]).await?;
    ensure!(client.get("late").await?.is_some(), "the gateway serves on");

    gateway.kill()?;
    let _ = nix::mount::umount2(&dir.join("mnt"), nix::mount::MntFlags::MNT_DETACH);
    std::fs::remove_dir_all(dir.join("data"))?;
    secret(&dir.join("passphrase"), "wrong\n")?;
    let refused = restore(dir, &[]).err().context("a wrong passphrase restored")?;
    ensure!(
        refused.to_string().contains("passphrase does not open"),
        "{refused}"
    );
    secret(&dir.join("passphrase"), "correct horse battery staple\n")?;
    let report = restore(dir, &[])?;
    ensure!(
        report["checkpoint"]["number"] == newest["number"] && report["incarnation"] == 1,
        "{report}"
    );
    let twice = restore(dir, &[]).err().context("restored over a namespace")?;
    ensure!(twice.to_string().contains("empty"), "{twice}");

    let (mut gateway, s3) = serve(dir)?;
    let client = S3Client::new(&s3, "papers")?;
    census::compare(&before, &census::take(&dir.join("mnt"))?)?;
    ensure!(client.get("late").await?.is_none(), "it was never placed");
    ensure!(client.get("a//key that is no path/").await?.as_deref() == Some(b"whole".as_slice()));
    let finish = client.bucket.complete_multipart_upload(
        Some(&client.credentials),
        "upload",
        upload.upload_id(),
        std::iter::once(tag.as_str()),
    );
    let (url, body) = (finish.sign(HOUR), finish.body());
    checked(client.http.post(url).body(body).send().await?).await?;
    ensure!(client.get("upload").await?.context("the upload")? == part);
    std::fs::write(dir.join("mnt/papers/new"), b"life goes on")?;
    command(dir, &["flush", "--wait", "verified", "--timeout", "5min"])?;
    gateway.stop()?;
    network.stop()
}
