//! The commands of `cess-gateway` against a running gateway.
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use product_tests::process::{Process, program};
use product_tests::product::Product;

fn json(product: &Product, arguments: &[&str]) -> Result<serde_json::Value> {
    let output = product.gateway(arguments)?;
    serde_json::from_slice(&output.stdout).context("the answer is not JSON")
}

/// What a command that must fail says.
fn refusal(product: &Product, arguments: &[&str]) -> Result<String> {
    product
        .gateway(arguments)
        .err()
        .map(|error| error.to_string())
        .context("it was not refused")
}

#[test]
fn volumes_are_made_listed_resized_and_deleted() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let made = json(
        &product,
        &[
            "volume",
            "create",
            "vms/disk 1",
            "--size",
            "1GiB",
            "--sector",
            "4096",
            "--description",
            "root",
            "--json",
        ],
    )?;
    ensure!(
        made["size"] == 1_u64 << 30 && made["sector"] == 4096 && made["allocated"] == 0,
        "{made}"
    );
    let file = product.ready.mount.join("vms/disk 1");
    ensure!(
        std::fs::metadata(&file)?.len() == 1 << 30,
        "the mount shows another size"
    );
    let said = refusal(&product, &["volume", "create", "vms/disk 1", "--size", "1GiB"])?;
    ensure!(said.contains("already exists"), "{said}");
    let said = refusal(&product, &["volume", "resize", "vms/disk 1", "--size", "1MiB"])?;
    ensure!(
        !said.is_empty() && std::fs::metadata(&file)?.len() == 1 << 30,
        "it shrank without being told to"
    );
    let grown = json(
        &product,
        &["volume", "resize", "vms/disk 1", "--size", "2GiB", "--json"],
    )?;
    ensure!(grown["size"] == 2_u64 << 30, "{grown}");
    let listed = json(&product, &["volume", "list", "--json"])?;
    ensure!(listed["volumes"].as_array().map(Vec::len) == Some(1), "{listed}");
    product.gateway(&["volume", "delete", "vms/disk 1"])?;
    ensure!(!file.exists(), "the file is still there");
    let said = refusal(&product, &["volume", "delete", "vms/disk 1"])?;
    ensure!(said.contains("not found"), "{said}");
    product.stop()
}

#[test]
fn snapshots_clones_and_rules_are_made_shown_and_ended() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let bucket = product.ready.mount.join("b");
    std::fs::create_dir(&bucket)?;
    std::fs::write(bucket.join("file"), "then")?;
    let taken = json(&product, &["snapshot", "create", "b/file@s", "--json"])?;
    ensure!(taken["path"] == "b/file" && taken["name"] == "s", "{taken}");
    product.gateway(&["snapshot", "create", "b@all"])?;
    let said = refusal(&product, &["snapshot", "create", "b@all"])?;
    ensure!(said.contains("already exists"), "{said}");
    std::fs::write(bucket.join("file"), "now")?;
    let listed = json(&product, &["snapshot", "list", "--json"])?;
    ensure!(
        listed["snapshots"].as_array().map(Vec::len) == Some(2),
        "{listed}"
    );
    let listed = json(&product, &["snapshot", "list", "b/file", "--json"])?;
    ensure!(
        listed["snapshots"].as_array().map(Vec::len) == Some(1),
        "{listed}"
    );
    product.gateway(&["clone", "b/file@s", "b/then"])?;
    for path in ["then", ".snapshots/file@s", ".snapshots/all/file"] {
        ensure!(std::fs::read(bucket.join(path))? == b"then", "{path}");
    }
    let rules = [
        "snapshot", "policy", "b", "--hourly", "24", "--weekly", "4", "--json",
    ];
    let rules = json(&product, &rules)?;
    let rule = &rules["rules"][0];
    ensure!(rule["path"] == "b/" && rule["rule"]["hourly"] == 24, "{rules}");
    let rules = json(&product, &["snapshot", "policy", "b", "--off", "--json"])?;
    ensure!(rules["rules"].as_array().map(Vec::len) == Some(0), "{rules}");
    product.gateway(&["snapshot", "delete", "b/file@s"])?;
    product.gateway(&["snapshot", "delete", "b@all"])?;
    let said = refusal(&product, &["snapshot", "delete", "b@all"])?;
    ensure!(said.contains("not found"), "{said}");
    ensure!(
        std::fs::read(bucket.join("then"))? == b"then",
        "the clone needs it"
    );
    product.stop()
}

/// A desktop's `http_proxy` names a machine that can reach neither this one's loopback nor miners.
#[test]
fn a_proxy_of_the_environment_is_not_used() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let data = scratch.path().join("data");
    let proxied = || -> Result<Command> {
        let mut command = Command::new(program("cess-gateway")?);
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env(name, "http://127.0.0.1:9");
        }
        command.env_remove("no_proxy").env_remove("NO_PROXY");
        Ok(command)
    };
    let mut dev = proxied()?;
    dev.args(["dev", "--json", "--data"]).arg(&data);
    let (mut process, _) = Process::start(&mut dev, &scratch.path().join("log"))?;
    let bucket = data.join("mnt/bucket");
    std::fs::create_dir(&bucket)?;
    std::fs::write(bucket.join("file"), "to be placed")?;
    let placed = proxied()?
        .args(["flush", "--wait", "placed", "--timeout", "60s", "--data"])
        .arg(&data)
        .output()?;
    let said = String::from_utf8_lossy(&placed.stderr);
    ensure!(placed.status.success(), "{said}");
    process.stop()
}

#[test]
fn a_second_gateway_is_refused_and_a_clean_stop_leaves_nothing() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let data = scratch.path().join("data");
    let product = Product::start(&data, &[])?;
    let second = Command::new(program("cess-gateway")?)
        .args(["dev", "--data"])
        .arg(&data)
        .output()?;
    let said = String::from_utf8(second.stderr)?;
    ensure!(
        !second.status.success() && said.contains("already runs"),
        "{said}"
    );
    let mount = product.ready.mount.clone();
    std::fs::create_dir(mount.join("kept"))?;
    std::fs::write(mount.join("kept/file"), "without an fsync")?;
    product.stop()?;
    ensure!(!mount.join("kept").exists(), "the mount stayed behind");
    let nobody = Command::new(program("cess-gateway")?)
        .args(["status", "--data"])
        .arg(&data)
        .output()?;
    let said = String::from_utf8(nobody.stderr)?;
    ensure!(
        !nobody.status.success() && said.contains("no gateway runs"),
        "{said}"
    );
    // A clean stop keeps what was never synced.
    let product = Product::start(&data, &[])?;
    ensure!(
        std::fs::read(product.ready.mount.join("kept/file"))? == b"without an fsync",
        "the file changed"
    );
    product.stop()
}

#[test]
fn a_reader_who_goes_away_ends_a_command_quietly_and_a_full_disk_is_told() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let product = Product::start(&scratch.path().join("data"), &[])?;
    let status = |stdout: Stdio| -> Result<Output> {
        let mut command = Command::new(program("cess-gateway")?);
        command
            .arg("status")
            .arg("--data")
            .arg(scratch.path().join("data"));
        Ok(command.stdout(stdout).stderr(Stdio::piped()).output()?)
    };
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let quiet = status(writer.into())?;
    ensure!(
        quiet.status.success() && quiet.stderr.is_empty(),
        "{}: {}",
        quiet.status,
        String::from_utf8_lossy(&quiet.stderr)
    );
    let full = status(std::fs::File::options().write(true).open("/dev/full")?.into())?;
    let said = String::from_utf8_lossy(&full.stderr);
    ensure!(
        full.status.code() == Some(1)
            && said.contains("cannot write to standard output")
            && !said.contains("panic"),
        "{}: {said}",
        full.status
    );
    product.stop()
}
