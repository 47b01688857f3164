//! Quotas and the trash through all doors and the commands.
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use block_frontend::client::Client;
use nix::errno::Errno;
use product_tests::content;
use product_tests::product::Product;
use product_tests::s3::S3Client;

fn json(product: &Product, arguments: &[&str]) -> Result<serde_json::Value> {
    let output = product.gateway(arguments)?;
    serde_json::from_slice(&output.stdout).context("the answer is not JSON")
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_through_every_door() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let s3 = S3Client::new(&product.ready.s3, "team")?;
    s3.create_bucket().await?;
    s3.put("kept", content::bytes(1, 100_000)).await?;
    product.gateway(&["quota", "set", "team", "--bytes", "1MiB", "--inodes", "10"])?;
    // The bucket is small: it is counted at the next look.
    let mut quota = json(&product, &["quota", "get", "team", "--json"])?;
    for _ in 0..100 {
        if quota["counted"] == true {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        quota = json(&product, &["quota", "get", "team", "--json"])?;
    }
    ensure!(
        quota["counted"] == true && quota["used_bytes"] == 100_000,
        "{quota}"
    );

    let bucket = product.ready.mount.join("team");
    let space = nix::sys::statvfs::statvfs(&bucket)?;
    let unit = space.fragment_size();
    ensure!(space.blocks() * unit == 1 << 20, "{space:?}");
    ensure!(
        space.blocks_available() * unit <= (1 << 20) - 100_000,
        "{space:?}"
    );
    ensure!(space.files_available() == 8, "{space:?}");

    write(&bucket.join("file"), &content::bytes(2, 900_000))?;
    let refused = write(&bucket.join("more"), &content::bytes(3, 100_000));
    let errno = refused.err().and_then(|error| error.raw_os_error());
    ensure!(errno == Some(Errno::EDQUOT as i32), "{errno:?}");
    let refused = s3.put("more", content::bytes(4, 100_000)).await;
    let said = format!("{:#}", refused.err().context("the PUT was taken")?);
    ensure!(said.contains("403") && said.contains("QuotaExceeded"), "{said}");
    product.gateway(&["volume", "create", "team/disk", "--size", "8MiB"])?;
    let uri = &product.ready.nbd.uri;
    let address = uri.strip_prefix("nbd://").context("not TCP")?.parse()?;
    let mut volume = Client::attach(address, b"team/disk").await?;
    let refused = volume.write(0, &content::bytes(5, 1 << 17), true).await;
    let said = format!("{:?}", refused.err().context("the write was taken")?);
    ensure!(said.contains("NoSpc"), "{said}");
    volume.write(0, &content::bytes(5, 4096), true).await?;

    // What was deleted makes room.
    std::fs::remove_file(bucket.join("file"))?;
    s3.put("more", content::bytes(4, 100_000)).await?;
    let listed = json(&product, &["quota", "list", "--json"])?;
    ensure!(listed["quotas"][0]["path"] == "team/", "{listed}");
    product.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_comes_back() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let s3 = S3Client::new(&product.ready.s3, "team")?;
    s3.create_bucket().await?;
    let set = json(&product, &["bucket", "set", "team", "--trash", "7d", "--json"])?;
    ensure!(set["trash"] == 7 * 86_400, "{set}");
    s3.put("docs/a", "first").await?;
    s3.put("docs/b", "second").await?;
    let bucket = product.ready.mount.join("team");
    std::fs::remove_dir_all(bucket.join("docs"))?;
    ensure!(s3.get("docs/a").await?.is_none());
    let listed = json(&product, &["trash", "list", "team", "docs/", "--json"])?;
    ensure!(listed["entries"].as_array().map(Vec::len) == Some(2), "{listed}");
    let entry = listed["entries"][0]["now"].as_str().context("no name")?;
    ensure!(bucket.join(entry).exists(), "{entry}");
    ensure!(s3.get(entry).await?.is_some(), "{entry}");
    let done = json(&product, &["trash", "restore", "team", "docs/", "--json"])?;
    ensure!(done["restored"] == 2, "{done}");
    ensure!(s3.get("docs/b").await?.context("not there")? == "second");
    ensure!(std::fs::read(bucket.join("docs/a"))? == b"first");
    s3.delete("docs/a").await?;
    // By hand, too.
    let listed = json(&product, &["trash", "list", "team", "--json"])?;
    let entry = listed["entries"][0]["now"].as_str().context("no name")?;
    std::fs::rename(bucket.join(entry), bucket.join("a"))?;
    ensure!(s3.get("a").await?.context("not there")? == "first");
    s3.delete("a").await?;
    let done = json(&product, &["trash", "empty", "team", "--json"])?;
    ensure!(done["deleted"] == 1, "{done}");
    product.stop()
}
