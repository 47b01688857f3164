//! Lose the gateway, keep the data: a namespace of more than 10,000 inodes comes back on a blank
//! machine from the chain, the miners and the passphrase, inode by inode and byte by byte: files of all
//! kinds, volumes, versions, snapshots, clones, quotas, trash, settings, and an upload that is in flight.
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use product_tests::operator::{self, Network, command, secret};
use product_tests::picture::Picture;
use product_tests::process::{Process, program};
use product_tests::product::S3;
use product_tests::s3::{S3Client, checked};
use product_tests::{content, tools};
use rusty_s3::S3Action as _;

const HOUR: Duration = Duration::from_secs(3600);
const DIRECTORIES: usize = 100;
/// In each of them, beside a symlink to every one of half of the files.
const FILES: usize = 66;

fn serve(dir: &Path) -> Result<(Process, S3)> {
    let (process, ready) = operator::serve(dir)?;
    let s3 = operator::door(&ready)?;
    Ok((process, s3))
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
    tools::run(Command::new("mkfifo").arg(bucket.join("pipe")))?;
    std::fs::File::open(bucket)?.sync_all()?;
    Ok(())
}

/// A volume, snapshots, clones, quotas, a trash and settings, in the bucket `papers` of the mount; and what
/// changed since the snapshots were taken.
async fn furnish(dir: &Path, client: &S3Client) -> Result<()> {
    let bucket = dir.join("mnt/papers");
    command(
        dir,
        &[
            "bucket",
            "set",
            "papers",
            "--trash",
            "30d",
            "--compression",
            "lz4",
        ],
    )?;
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
    let disk = std::fs::File::options().write(true).open(bucket.join("disk"))?;
    disk.write_all_at(&content::bytes(21, 1 << 20), 1 << 20)?;
    disk.sync_all()?;
    command(dir, &["snapshot", "create", "papers/directory-3/@early"])?;
    command(dir, &["snapshot", "create", "papers/disk@early"])?;
    command(
        dir,
        &["snapshot", "policy", "papers/directory-9/", "--weekly", "1"],
    )?;
    command(dir, &["clone", "papers/disk@early", "papers/twin"])?;
    command(dir, &["clone", "papers/large", "papers/large-twin"])?;
    // From here on the snapshots show something else than the present.
    disk.write_all_at(&content::bytes(22, 100_000), (1 << 20) + 4096)?;
    disk.sync_all()?;
    let twin = std::fs::File::options().write(true).open(bucket.join("twin"))?;
    twin.write_all_at(&content::bytes(23, 50_000), 3 << 20)?;
    twin.sync_all()?;
    let directory = bucket.join("directory-3");
    std::fs::write(directory.join("file-1"), b"written over")?;
    std::fs::rename(directory.join("file-2"), bucket.join("moved out"))?;
    for number in 4..20 {
        std::fs::remove_file(directory.join(format!("file-{number}")))?;
    }
    client.delete("directory-5/file-5").await?;
    command(
        dir,
        &["quota", "set", "papers", "--bytes", "1GiB", "--inodes", "100000"],
    )?;
    command(dir, &["quota", "set", "papers/directory-6", "--bytes", "10MiB"])?;
    Ok(())
}

/// Objects with a history in the bucket `ledger`: replaced, deleted, and put again while versioning is
/// suspended.
async fn keep_books(dir: &Path, s3: &S3) -> Result<()> {
    let client = S3Client::new(s3, "ledger")?;
    client.create_bucket().await?;
    client.put("old", content::bytes(30, 1000)).await?;
    command(dir, &["bucket", "set", "ledger", "--versioning", "on"])?;
    for round in 0..3 {
        client.put("old", content::bytes(31 + round, 2000)).await?;
        client
            .put("deep/large", content::bytes(40 + round, 300_000))
            .await?;
    }
    client.delete("deep/large").await?;
    let mounted = dir.join("mnt/ledger");
    for round in 0..2 {
        std::fs::write(mounted.join("new"), content::bytes(50 + round, 5000))?;
        std::fs::rename(mounted.join("new"), mounted.join("by mount"))?;
    }
    command(dir, &["bucket", "set", "ledger", "--versioning", "suspended"])?;
    client.put("old", content::bytes(60, 10)).await?;
    Ok(())
}

/// What the namespace shows through the mount, through S3, and to commands.
async fn picture(dir: &Path, s3: &S3) -> Result<Picture> {
    let mut picture = Picture::default();
    let mount = dir.join("mnt");
    picture.tree("the mount", &mount, true)?;
    for (subject, below) in [
        ("a snapshot of a directory", "papers/directory-3/.snapshots/early"),
        ("snapshots of files", "papers/.snapshots"),
    ] {
        picture.tree(subject, &mount.join(below), false)?;
    }
    picture.objects("objects", &S3Client::new(s3, "papers")?).await?;
    picture
        .versions("versions", &S3Client::new(s3, "ledger")?)
        .await?;
    for arguments in [
        &["bucket", "list"][..],
        &["quota", "list"],
        &["trash", "list", "papers"],
        &["volume", "list"],
        &["snapshot", "list", "papers/disk"],
        &["snapshot", "list", "papers/directory-3/"],
        &["snapshot", "policy"],
    ] {
        let answer = command(dir, &[arguments, &["--json"]].concat())?;
        let answer = serde_json::from_slice(&answer.stdout)?;
        picture.answer("commands", &arguments.join(" "), &answer);
    }
    Ok(picture)
}

/// An upload that goes on after the loss: two of its parts are there.
struct Upload {
    id: String,
    tags: Vec<String>,
    content: Vec<u8>,
}

impl Upload {
    async fn begin(client: &S3Client) -> Result<Self> {
        let (bucket, credentials) = (&client.bucket, &client.credentials);
        let begin = bucket
            .create_multipart_upload(Some(credentials), "upload")
            .sign(HOUR);
        let begun = checked(client.http.post(begin).send().await?)
            .await?
            .text()
            .await?;
        let begun = rusty_s3::actions::CreateMultipartUpload::parse_response(&begun)?;
        let id = begun.upload_id().to_owned();
        let (mut tags, mut content) = (Vec::new(), Vec::new());
        for (number, len) in [(1, 5 << 20), (2, 70_000)] {
            let part = content::bytes(10 + u64::from(number), len);
            let url = bucket
                .upload_part(Some(credentials), "upload", number, &id)
                .sign(HOUR);
            let sent = checked(client.http.put(url).body(part.clone()).send().await?).await?;
            tags.push(sent.headers()["etag"].to_str()?.to_owned());
            content.extend_from_slice(&part);
        }
        Ok(Self { id, tags, content })
    }

    async fn finish(self, client: &S3Client) -> Result<()> {
        let finish = client.bucket.complete_multipart_upload(
            Some(&client.credentials),
            "upload",
            &self.id,
            self.tags.iter().map(String::as_str),
        );
        let (url, body) = (finish.sign(HOUR), finish.body());
        checked(client.http.post(url).body(body).send().await?).await?;
        ensure!(client.get("upload").await?.context("the upload")? == self.content);
        Ok(())
    }
}

/// The machine is gone: nothing is left of the gateway but what an operator has elsewhere.
fn lose(dir: &Path, gateway: &mut Process) -> Result<()> {
    gateway.kill()?;
    let _ = nix::mount::umount2(&dir.join("mnt"), nix::mount::MntFlags::MNT_DETACH);
    std::fs::remove_dir_all(dir.join("data"))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_gateway_comes_back_inode_by_inode() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    let mut network = Network::start(dir, 20).await?;
    operator::secrets(dir)?;
    operator::configure(dir, &operator::configuration(dir, &network.rpc))?;

    let (mut gateway, s3) = serve(dir)?;
    let client = S3Client::new(&s3, "papers")?;
    client.create_bucket().await?;
    populate(&dir.join("mnt/papers"))?;
    client.put("a//key that is no path/", &b"whole"[..]).await?;
    furnish(dir, &client).await?;
    keep_books(dir, &s3).await?;
    let upload = Upload::begin(&client).await?;
    command(dir, &["flush", "--wait", "verified", "--timeout", "5min"])?;
    let before = picture(dir, &s3).await?;
    ensure!(before.len() > 10_000, "{} items", before.len());
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

    lose(dir, &mut gateway)?;
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
    let holds = &report["holds"];
    ensure!(
        holds["snapshots"].as_u64() >= Some(2)
            && holds["clones"] == 2
            && holds["volumes"].as_u64() >= Some(1)
            && holds["uploads"] == 1
            && holds["inodes"].as_u64() > Some(10_000),
        "{holds}"
    );
    let twice = restore(dir, &[]).err().context("restored over a namespace")?;
    ensure!(twice.to_string().contains("empty"), "{twice}");

    let (mut gateway, s3) = serve(dir)?;
    let client = S3Client::new(&s3, "papers")?;
    before.compare(&picture(dir, &s3).await?)?;
    let status: serde_json::Value = serde_json::from_slice(&command(dir, &["status", "--json"])?.stdout)?;
    let restored = &status["store"]["restored"];
    ensure!(
        restored["incarnation"] == 1
            && restored["checkpoint"] == newest["number"]
            && restored["lost_chunks"] == 0,
        "{restored}"
    );
    ensure!(client.get("late").await?.is_none(), "it was never placed");
    ensure!(client.get("a//key that is no path/").await?.as_deref() == Some(b"whole".as_slice()));
    upload.finish(&client).await?;
    std::fs::write(dir.join("mnt/papers/new"), b"life goes on")?;
    command(dir, &["trash", "restore", "papers", "directory-5/file-5"])?;
    let limit = std::fs::write(dir.join("mnt/papers/directory-6/too much"), vec![1; 11 << 20]);
    ensure!(limit.is_err(), "the quota does not hold any more");
    command(dir, &["flush", "--wait", "verified", "--timeout", "5min"])?;
    let status: serde_json::Value = serde_json::from_slice(&command(dir, &["status", "--json"])?.stdout)?;
    let unseen = &status["store"]["restored"]["unseen_segments"];
    ensure!(
        *unseen == 0,
        "verified, and {unseen} segments were never looked at"
    );

    // Lost once more, and restored into another engine.
    let before = picture(dir, &s3).await?;
    lose(dir, &mut gateway)?;
    let mut settings = std::fs::read_to_string(dir.join("gateway.toml"))?;
    settings += "[metadata]\nengine = \"sled\"\n";
    std::fs::write(dir.join("gateway.toml"), settings)?;
    let report = restore(dir, &[])?;
    ensure!(report["incarnation"] == 2, "{report}");
    ensure!(dir.join("data/meta/sled").is_dir() && !dir.join("data/meta/fjall").exists());
    let (mut gateway, s3) = serve(dir)?;
    before.compare(&picture(dir, &s3).await?)?;
    gateway.stop()?;
    network.stop()
}
