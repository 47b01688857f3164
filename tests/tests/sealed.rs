//! Encryption that clients ask for, checksums of uploads and lifecycle rules, by the AWS SDK for Python.
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use product_tests::product::Product;
use product_tests::tools;

#[test]
fn keys_checksums_and_rules_by_an_sdk() -> Result<()> {
    let Some(python) = tools::find("python3") else {
        return Ok(());
    };
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let s3 = &product.ready.s3;
    let output = tools::run(
        Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/s3_sealed.py"))
            .env("S3_ENDPOINT", &s3.endpoint)
            .env("S3_REGION", &s3.region)
            .env("S3_ACCESS_KEY", &s3.access_key)
            .env("S3_SECRET_KEY", &s3.secret_key)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    product.stop()
}
