//! Client scripts (`tests/clients/`) against a running gateway.
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use product_tests::product::Product;
use product_tests::tools;

/// Every operation the S3 door offers, by the AWS SDK for Python.
#[test]
fn boto3() -> Result<()> {
    let Some(python) = tools::find("python3") else {
        return Ok(());
    };
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/s3_boto3.py");
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
