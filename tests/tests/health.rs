//! What an operator sees when miners lose data, from the command line: `explain`, `scrub`, `status`.
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use product_tests::content;
use product_tests::product::Product;
use serde_json::Value;

/// More than three data fragments, so that no fragment is zeros.
const SIZE: usize = 28_000_000;

fn text(product: &Product, arguments: &[&str]) -> Result<String> {
    let output = product.gateway(arguments)?;
    String::from_utf8(output.stdout).context("the answer is not text")
}

fn json(product: &Product, arguments: &[&str]) -> Result<Value> {
    serde_json::from_str(&text(product, arguments)?).context("the answer is not JSON")
}

/// Accounts of the miners that hold fragments 0 to 11 of the only segment, and its pack.
fn holders(product: &Product) -> Result<(u64, Vec<String>)> {
    let life = json(product, &["explain", "photos/large", "--json"])?;
    let pack = &life["store"]["packs"][0];
    let fragments = pack["health"][0]["fragments"]
        .as_array()
        .context("no fragments")?;
    let miners = fragments
        .iter()
        .map(|fragment| fragment["miner"].as_str().map(str::to_owned).context("no miner"))
        .collect::<Result<_>>()?;
    Ok((pack["id"].as_u64().context("no pack")?, miners))
}

/// Scrubs until the report is as `wanted`: miners file what they reported within a second, and what
/// they forget goes then.
fn scrub_until(product: &Product, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let report = json(product, &["scrub", "--now", "--json"])?;
        if wanted(&report) {
            return Ok(report);
        }
        ensure!(Instant::now() < deadline, "{report}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn an_operator_sees_losses_and_repairs_and_what_is_beyond_repair() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let arguments = ["--miners", "24", "--disk-cache", "0B", "--memory-cache", "1MiB"];
    let product = Product::start(&scratch.path().join("data"), &arguments)?;
    let bytes = content::bytes(3, SIZE);
    let bucket = product.ready.mount.join("photos");
    std::fs::create_dir(&bucket)?;
    let file = bucket.join("large");
    std::fs::write(&file, &bytes)?;
    let said = text(&product, &["scrub"])?;
    ensure!(said.contains("nothing is verified yet"), "{said}");
    product.gateway(&["flush", "--wait", "verified", "--timeout", "120s"])?;
    product.gateway(&["worker", "limit", "scrubber", "none"])?;

    // The life of the object, by either name.
    let path = file.to_str().context("a path that is no text")?;
    let life = json(&product, &["explain", path, "--json"])?;
    ensure!(
        life["path"] == "photos/large" && life["size"] == SIZE && life["level"] == "verified",
        "{life}"
    );
    let said = text(&product, &["explain", "photos/large"])?;
    for expected in [
        "FID",
        "declared",
        ", block ",
        "reclaimed",
        "12/12 good",
        "parity",
        "http://",
    ] {
        ensure!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    let said = product
        .gateway(&["explain", "photos/nothing"])
        .err()
        .context("it was explained")?;
    ensure!(format!("{said:#}").contains("photos/nothing"), "{said:#}");
    product.gateway(&["cache", "drop"])?;
    ensure!(std::fs::read(&file)? == bytes, "the file changed");
    let said = text(&product, &["explain", "photos/large"])?;
    ensure!(said.contains("last reads") && said.contains("answered"), "{said}");
    let report = json(&product, &["scrub", "photos/large", "--json"])?;
    ensure!(report["looked"] == 1 && report["whole"] == 1, "{report}");

    // Five miners forget: the pack is stored again.
    let (old, miners) = holders(&product)?;
    for miner in &miners[..5] {
        product.fault(miner, "forget")?;
    }
    let report = scrub_until(&product, |report| report["at_risk"] == 1)?;
    ensure!(report["lost_chunks"] == 0, "{report}");
    product.gateway(&["flush", "--wait", "verified", "--timeout", "120s"])?;
    let (new, miners) = holders(&product)?;
    ensure!(new != old, "it lies in the old pack still");
    let said = text(&product, &["status"])?;
    ensure!(said.contains("1 at 12/12"), "{said}");
    product.gateway(&["cache", "drop"])?;
    ensure!(std::fs::read(&file)? == bytes, "the file changed");

    // Nine forget: what is lost is named, by file and range.
    for miner in &miners[..9] {
        product.fault(miner, "forget")?;
    }
    scrub_until(&product, |report| report["lost_chunks"].as_u64() > Some(0))?;
    let said = text(&product, &["scrub"])?;
    ensure!(
        said.contains("CANNOT BE REBUILT now: photos/large (inode "),
        "{said}"
    );
    let said = text(&product, &["status"])?;
    ensure!(said.contains("CANNOT BE REBUILT"), "{said}");
    product.gateway(&["cache", "drop"])?;
    ensure!(std::fs::read(&file).is_err(), "what nobody has was read");

    // Deleting the file ends the matter, once a new checkpoint has replaced the one in the same pack,
    // for which there must be twelve miners that keep what they take.
    product.fault("--all", "heal")?;
    std::fs::remove_file(&file)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while text(&product, &["status"])?.contains("CANNOT BE REBUILT") {
        if Instant::now() > deadline {
            bail!("{}", text(&product, &["status"])?);
        }
        product.gateway(&["flush", "--wait", "verified", "--timeout", "60s"])?;
        std::thread::sleep(Duration::from_millis(200));
    }
    product.stop()
}
