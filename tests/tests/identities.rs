//! `cess-gateway iam` against a running gateway, and the AWS SDK for Python with what it made.
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use product_tests::product::Product;
use product_tests::tools;

fn json(product: &Product, arguments: &[&str]) -> Result<serde_json::Value> {
    let output = product.gateway(arguments)?;
    serde_json::from_slice(&output.stdout).context("the answer is not JSON")
}

fn refusal(product: &Product, arguments: &[&str]) -> Result<String> {
    product
        .gateway(arguments)
        .err()
        .map(|error| error.to_string())
        .context("it was not refused")
}

fn holds(directory: &Path, text: &str) -> Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            holds(&path, text)?
        } else {
            let bytes = std::fs::read(&path)?;
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn users_groups_policies_and_keys_are_made_shown_and_ended() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let data = scratch.path().join("data");
    let product = Product::start(&data, &[])?;
    let document = scratch.path().join("policy.json");
    std::fs::write(
        &document,
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#,
    )?;
    let document = document.to_str().context("a path in UTF-8")?;
    let broken = scratch.path().join("broken.json");
    std::fs::write(&broken, "{}")?;
    let broken = broken.to_str().context("a path in UTF-8")?;

    product.gateway(&["iam", "user", "create", "ann"])?;
    let said = refusal(&product, &["iam", "user", "create", "ann"])?;
    ensure!(said.contains("user ann already exists"), "{said}");
    product.gateway(&["iam", "group", "create", "readers"])?;
    product.gateway(&["iam", "group", "add", "readers", "ann"])?;
    product.gateway(&["iam", "policy", "put", "all", document])?;
    let said = refusal(&product, &["iam", "policy", "put", "none", broken])?;
    ensure!(said.contains("malformed"), "{said}");
    product.gateway(&["iam", "policy", "attach", "all", "--group", "readers"])?;
    let said = refusal(&product, &["iam", "policy", "delete", "all"])?;
    ensure!(said.contains("group readers"), "{said}");

    let file = scratch.path().join("key");
    let to = file.to_str().context("a path in UTF-8")?;
    product.gateway(&["iam", "key", "create", "--user", "ann", "--to", to])?;
    ensure!(std::fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600);
    let pair = std::fs::read_to_string(&file)?;
    let (access_key, secret) = pair.trim().split_once(':').context("no pair")?;
    let shown = json(&product, &["iam", "user", "show", "ann", "--json"])?;
    let user = &shown["users"][0];
    ensure!(
        user["groups"][0] == "readers" && user["keys"][0]["access_key"] == access_key,
        "{shown}"
    );
    ensure!(!shown.to_string().contains(secret), "a secret is shown again");
    ensure!(holds(&data.join("meta"), access_key)? && !holds(&data.join("meta"), secret)?);
    ensure!(!product.said().contains(secret), "a secret is logged");

    let explain = |who: &[&str], action: &str| {
        let mut arguments = vec!["iam", "explain", "--action", action];
        arguments.extend(["--resource", "arn:aws:s3:::shop/k", "--json"]);
        arguments.extend(who);
        json(&product, &arguments)
    };
    ensure!(
        refusal(
            &product,
            &[
                "iam",
                "explain",
                "--action",
                "s3:GetObject",
                "--resource",
                "arn:aws:s3:::shop"
            ]
        )?
        .contains("bucket")
    );
    std::fs::create_dir(product.ready.mount.join("shop"))?;
    let may = explain(&["--user", "ann"], "s3:GetObject")?;
    ensure!(
        may["allowed"] == true && may["decision"].to_string().contains("statement 1"),
        "{may}"
    );
    ensure!(explain(&["--anonymous"], "s3:GetObject")?["allowed"] == false);
    ensure!(explain(&[], "s3:PutObject")?["allowed"] == true);

    let rotated = json(&product, &["iam", "key", "rotate", access_key, "--json"])?;
    let second = rotated["key"]["access_key"]
        .as_str()
        .context("no key")?
        .to_owned();
    let keys = json(&product, &["iam", "key", "list", "--json"])?;
    let disabled = keys["keys"]
        .as_array()
        .context("no list")?
        .iter()
        .filter(|key| key["disabled"] == true);
    ensure!(disabled.count() == 1, "{keys}");
    let said = refusal(&product, &["iam", "user", "delete", "ann"])?;
    ensure!(said.contains("access keys"), "{said}");
    for key in [access_key, &second] {
        product.gateway(&["iam", "key", "delete", key])?;
    }
    product.gateway(&["iam", "user", "delete", "ann"])?;
    let said = refusal(&product, &["iam", "user", "show", "ann"])?;
    ensure!(said.contains("ann not found"), "{said}");
    product.stop()
}

#[test]
fn boto3_takes_a_role_and_works_in_its_session() -> Result<()> {
    let Some(python) = tools::find("python3") else {
        return Ok(());
    };
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let trust = scratch.path().join("trust.json");
    std::fs::write(
        &trust,
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}"#,
    )?;
    let trust = trust.to_str().context("a path in UTF-8")?;
    let made = json(&product, &["iam", "role", "put", "night", trust, "--json"])?;
    let arn = made["roles"][0]["arn"].as_str().context("no name")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/s3_sts.py");
    let s3 = &product.ready.s3;
    let output = tools::run(
        Command::new(python)
            .arg(script)
            .env("S3_ENDPOINT", &s3.endpoint)
            .env("S3_REGION", &s3.region)
            .env("S3_ACCESS_KEY", &s3.access_key)
            .env("S3_SECRET_KEY", &s3.secret_key)
            .env("ROLE_ARN", arn),
    )?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    product.stop()
}
