//! Versioned buckets by the clients that people use.
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use product_tests::product::Product;
use product_tests::tools;
use serde_json::Value;

fn json(product: &Product, arguments: &[&str]) -> Result<Value> {
    let output = product.gateway(arguments)?;
    serde_json::from_slice(&output.stdout).context("the answer is not JSON")
}

/// The SDK for Python goes through every operation that knows versions.
#[test]
fn boto3() -> Result<()> {
    let Some(python) = tools::find("python3") else {
        return Ok(());
    };
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/s3_versions.py");
    let s3 = &product.ready.s3;
    let output = tools::run(
        Command::new(python)
            .arg(script)
            .env("S3_ENDPOINT", &s3.endpoint)
            .env("S3_REGION", &s3.region)
            .env("S3_ACCESS_KEY", &s3.access_key)
            .env("S3_SECRET_KEY", &s3.secret_key),
    )?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    product.stop()
}

/// A file is replaced in the mount and deleted by rclone; aws lists, reads and undoes.
#[test]
fn aws_and_rclone_and_the_mount() -> Result<()> {
    let (Some(aws), Some(rclone)) = (tools::find("aws"), tools::find("rclone")) else {
        return Ok(());
    };
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let aws = |arguments: &[&str]| -> Result<Value> {
        let mut command = product.with_credentials(&aws);
        let output = tools::run(command.args(["--output", "json"]).args(arguments))?;
        if output.stdout.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&output.stdout).context("aws answers no JSON")
    };
    let rclone = |arguments: &[&str]| -> Result<String> {
        let mut command = product.with_credentials(&rclone);
        let endpoint = &product.ready.s3.endpoint;
        command.args([
            "--s3-provider",
            "Other",
            "--s3-env-auth",
            "--s3-endpoint",
            endpoint,
        ]);
        command.args(["--s3-region", &product.ready.s3.region, "--config", "/dev/null"]);
        let output = tools::run(command.args(arguments))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    aws(&["s3api", "create-bucket", "--bucket", "team"])?;
    let set = json(
        &product,
        &["bucket", "set", "team", "--versioning", "on", "--json"],
    )?;
    ensure!(set["versioning"] == "on", "{set}");
    let status = aws(&["s3api", "get-bucket-versioning", "--bucket", "team"])?;
    ensure!(status["Status"] == "Enabled", "{status}");

    let bucket = product.ready.mount.join("team");
    std::fs::create_dir(bucket.join("docs"))?;
    for content in ["first", "second"] {
        std::fs::write(bucket.join("docs/.new"), content)?;
        std::fs::rename(bucket.join("docs/.new"), bucket.join("docs/plan"))?;
    }
    rclone(&["deletefile", ":s3:team/docs/plan"])?;
    ensure!(!bucket.join("docs/plan").exists());
    let kept = rclone(&["lsf", "--s3-versions", ":s3:team/docs"])?;
    ensure!(kept.lines().count() == 2, "{kept}");
    let (first, second) = {
        let list = [
            "s3api",
            "list-object-versions",
            "--bucket",
            "team",
            "--prefix",
            "docs/plan",
        ];
        let found = aws(&list)?;
        let versions = found["Versions"].as_array().context("no versions")?;
        ensure!(
            versions.len() == 2 && found["DeleteMarkers"][0]["IsLatest"] == true,
            "{found}"
        );
        let id = |at: usize| versions[at]["VersionId"].as_str().map(str::to_owned);
        (id(1).context("no id")?, id(0).context("no id")?)
    };
    let target = scratch.path().join("read");
    for (id, content) in [(&first, "first"), (&second, "second")] {
        let to = target.to_str().context("a path that is no text")?;
        let read = [
            "s3api",
            "get-object",
            "--bucket",
            "team",
            "--key",
            "docs/plan",
            "--version-id",
            id,
            to,
        ];
        aws(&read)?;
        ensure!(std::fs::read_to_string(&target)? == content, "{id}");
    }
    let copy = format!("team/docs/plan?versionId={first}");
    aws(&[
        "s3api",
        "copy-object",
        "--bucket",
        "team",
        "--key",
        "docs/plan",
        "--copy-source",
        &copy,
    ])?;
    ensure!(std::fs::read_to_string(bucket.join("docs/plan"))? == "first");

    // Off only when nothing is left.
    ensure!(
        product
            .gateway(&["bucket", "set", "team", "--versioning", "off"])
            .is_err()
    );
    rclone(&["backend", "cleanup-hidden", ":s3:team"])?;
    let kept = rclone(&["lsf", "-R", "--files-only", "--s3-versions", ":s3:team"])?;
    ensure!(kept.trim() == "docs/plan", "{kept}");
    let set = json(
        &product,
        &["bucket", "set", "team", "--versioning", "off", "--json"],
    )?;
    ensure!(set["versioning"] == "off", "{set}");
    ensure!(std::fs::read_to_string(bucket.join("docs/plan"))? == "first");
    product.stop()
}
