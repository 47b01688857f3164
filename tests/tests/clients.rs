//! Client scripts (`tests/clients/`) against a running gateway: the SDKs and tools that people have.
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use product_tests::product::Product;
use product_tests::tools;

/// Runs a script by `interpreter`, with `programs` in its path; says aloud if one of them is missing.
fn script(interpreter: &str, name: &str, programs: &[&str]) -> Result<()> {
    let Some(interpreter) = tools::find(interpreter) else {
        return Ok(());
    };
    let mut path = Vec::new();
    for program in programs {
        let Some(found) = tools::find(program) else {
            return Ok(());
        };
        path.extend(found.parent().map(Path::to_owned));
    }
    path.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let s3 = &product.ready.s3;
    let output = tools::run(
        Command::new(interpreter)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name))
            .env("S3_ENDPOINT", &s3.endpoint)
            .env("S3_REGION", &s3.region)
            .env("S3_ACCESS_KEY", &s3.access_key)
            .env("S3_SECRET_KEY", &s3.secret_key)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env(
                "NODE_PATH",
                tools::node_modules()
                    .as_deref()
                    .map_or(OsStr::new(""), Path::as_os_str),
            )
            .env("PATH", std::env::join_paths(path)?),
    )?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    product.stop()
}

/// Every operation the S3 door offers, by the AWS SDK for Python.
#[test]
fn boto3() -> Result<()> {
    script("python3", "s3_boto3.py", &[])
}

#[test]
fn minio_for_python() -> Result<()> {
    script("python3", "s3_minio.py", &[])
}

/// The AWS SDK and MinIO's client for JavaScript.
#[test]
fn javascript() -> Result<()> {
    if tools::node_modules().is_none() {
        return Ok(());
    }
    script("node", "s3_javascript.mjs", &[])
}

#[test]
fn s3cmd() -> Result<()> {
    script("python3", "s3_s3cmd.py", &["s3cmd"])
}

#[test]
fn parquet_by_arrow() -> Result<()> {
    script("python3", "s3_parquet.py", &[])
}

/// Backup, change, backup, restore of both states.
#[test]
fn restic_and_rclone_journeys() -> Result<()> {
    script("python3", "s3_backup.py", &["restic", "rclone"])
}

/// Eight want Terraform's lock at once.
#[test]
fn a_lock_by_conditional_writes() -> Result<()> {
    script("python3", "s3_lock.py", &[])
}
