//! A gateway that is lost with its embedded metadata comes back in a PostgreSQL database, and from there on can be one
//! of several.
#[allow(dead_code, clippy::unwrap_used)] // shared with the tests of the engine, which use more of it
#[path = "../../core/meta/tests/postgres_server/mod.rs"]
mod postgres_server;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use postgres_server::Server;
use product_tests::operator::{self, Network, command};
use product_tests::picture::Picture;
use product_tests::process::program;
use product_tests::product::S3;
use product_tests::s3::S3Client;
use product_tests::{content, tools};

/// `cess-gateway restore` with the operator's configuration; its answer.
fn restore(dir: &Path) -> Result<serde_json::Value> {
    let output = tools::run(
        Command::new(program("cess-gateway")?)
            .args(["restore", "--json", "--config"])
            .arg(dir.join("gateway.toml")),
    )?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the mount in `dir` and the S3 door show.
async fn picture(dir: &Path, s3: &S3) -> Result<Picture> {
    let mut picture = Picture::default();
    picture.tree("the mount", &dir.join("mnt"), true)?;
    picture.tree("a snapshot", &dir.join("mnt/papers/.snapshots"), false)?;
    picture.objects("objects", &S3Client::new(s3, "papers")?).await?;
    Ok(picture)
}

async fn populate(dir: &Path, s3: &S3) -> Result<()> {
    let client = S3Client::new(s3, "papers")?;
    client.create_bucket().await?;
    for number in 0..40 {
        let len = 300 << (number % 11);
        client
            .put(
                &format!("shelf-{}/{number}", number % 4),
                content::bytes(number, len),
            )
            .await?;
    }
    command(
        dir,
        &[
            "volume",
            "create",
            "papers/disk",
            "--size",
            "8MiB",
            "--sector",
            "4096",
        ],
    )?;
    command(dir, &["snapshot", "create", "papers/disk@early"])?;
    let disk = std::fs::File::options()
        .write(true)
        .open(dir.join("mnt/papers/disk"))?;
    std::os::unix::fs::FileExt::write_all_at(&disk, &content::bytes(50, 1 << 20), 4096)?;
    disk.sync_all()?;
    command(dir, &["flush", "--wait", "verified", "--timeout", "5min"])?;
    Ok(())
}

/// A second gateway, with a directory of its own beside the first one's in `dir`.
fn second(dir: &Path, network: &Network, metadata: &str) -> Result<std::path::PathBuf> {
    let second = dir.join("second");
    std::fs::create_dir(&second)?;
    operator::secrets(&second)?;
    let text = operator::configuration(&second, &network.rpc) + "[gateway]\nname = \"second\"\n" + metadata;
    operator::configure(&second, &text)?;
    Ok(second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_gateway_comes_back_in_a_database_and_another_one_joins_it() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    let mut network = Network::start(dir, 10).await?;
    operator::secrets(dir)?;
    let text = operator::configuration(dir, &network.rpc);
    operator::configure(dir, &text)?;
    let (mut gateway, ready) = operator::serve(dir)?;
    let s3 = operator::door(&ready)?;
    populate(dir, &s3).await?;
    let before = picture(dir, &s3).await?;

    gateway.kill()?;
    let _ = nix::mount::umount2(&dir.join("mnt"), nix::mount::MntFlags::MNT_DETACH);
    std::fs::remove_dir_all(dir.join("data"))?;
    let keys = operator::database(&server.config());
    let metadata = format!("[metadata]\nengine = \"postgres\"\n[metadata.postgres]\n{keys}");
    operator::configure(dir, &(text + "[gateway]\nname = \"first\"\n" + &metadata))?;
    let report = restore(dir)?;
    ensure!(
        report["incarnation"] == 1 && report["lost"].as_array().is_some_and(Vec::is_empty),
        "{report}"
    );
    let twice = restore(dir).err().context("restored over a namespace")?;
    ensure!(twice.to_string().contains("empty"), "{twice}");

    let (mut gateway, ready) = operator::serve(dir)?;
    let s3 = operator::door(&ready)?;
    before.compare(&picture(dir, &s3).await?)?;
    // Another directory does not make the database another one.
    let other = second(dir, &network, &metadata)?;
    let in_use = restore(&other)
        .err()
        .context("restored under a running gateway")?;
    ensure!(in_use.to_string().contains("use these metadata"), "{in_use}");

    let (mut joined, ready) = operator::serve(&other)?;
    let joined_s3 = operator::door(&ready)?;
    before.compare(&picture(&other, &joined_s3).await?)?;
    let status: serde_json::Value = serde_json::from_slice(&command(&other, &["status", "--json"])?.stdout)?;
    let gateways = status["store"]["gateways"].as_array().context("gateways")?;
    let names: Vec<_> = gateways.iter().filter_map(|one| one["name"].as_str()).collect();
    ensure!(names == ["first", "second"], "{names:?}");
    let body = content::bytes(99, 5000);
    S3Client::new(&joined_s3, "papers")?
        .put("since", body.clone())
        .await?;
    ensure!(
        S3Client::new(&s3, "papers")?
            .get("since")
            .await?
            .context("since")?
            == body
    );
    // The second one is not the keeper, and waits all the same for what the restore brought back to be looked at.
    command(&other, &["flush", "--wait", "verified", "--timeout", "5min"])?;
    joined.stop()?;
    gateway.stop()?;
    network.stop()
}
