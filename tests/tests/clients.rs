//! Client scripts (`tests/clients/`) against a running gateway.
use std::path::Path;

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
    let output = tools::run(product.with_credentials(&python).arg(script))?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    product.stop()
}
