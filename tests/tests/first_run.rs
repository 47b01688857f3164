//! What a newcomer does in the first hour, with the tools a newcomer has: copy a tree in, look at
//! it in the mount, copy a disk image, see it placed, lose the caches and eight of twelve miners,
//! and read everything back through all three doors.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cess::Hash;
use cess::chain::{Chain, ChainConfig};
use product_tests::leftovers::Samples;
use product_tests::product::Product;
use product_tests::{content, tools};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use subxt_signer::sr25519::dev;

/// Files of the tree.
const FILES: usize = 10_000;
/// Bytes of the disk image.
const IMAGE: usize = 48 << 20;

/// A tree of 10,000 files in 100 directories, most of them small, names as people give them.
fn make_tree(root: &Path) -> Result<()> {
    for directory in 0..100 {
        let path = root.join(format!("album {directory:02}/größe-{}", directory % 7));
        std::fs::create_dir_all(&path)?;
        for file in 0..FILES / 100 {
            let number = directory * 1_000 + file;
            let len = match number % 50 {
                0 => 0,
                1 => 300_000,
                2..10 => 20_000,
                _ => 100 + number % 4_000,
            };
            let name = path.join(format!("photo {file} (copy).jpg"));
            std::fs::write(name, content::bytes(number as u64, len))?;
        }
    }
    Ok(())
}

fn same_trees(left: &Path, right: &Path) -> Result<()> {
    tools::run(Command::new("diff").arg("-r").arg(left).arg(right)).map(drop)
}

/// The SHA-256 of what a command prints.
fn sha256_of_output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(
        output.status.success(),
        "{}: {}",
        command.get_program().display(),
        output.status
    );
    Ok(content::sha256(&output.stdout))
}

struct Clients {
    aws: PathBuf,
    rclone: PathBuf,
    nbdcopy: PathBuf,
    qemu_img: PathBuf,
}

impl Clients {
    fn find() -> Option<Self> {
        Some(Self {
            aws: tools::find("aws")?,
            rclone: tools::find("rclone")?,
            nbdcopy: tools::find("nbdcopy")?,
            qemu_img: tools::find("qemu-img")?,
        })
    }
}

fn rclone(product: &Product, clients: &Clients, arguments: &[&str]) -> Result<()> {
    let mut command = product.with_credentials(&clients.rclone);
    command
        .args(arguments)
        .args([
            "--s3-provider",
            "Other",
            "--s3-env-auth",
            "--s3-endpoint",
            &product.ready.s3.endpoint,
        ])
        .args([
            "--s3-region",
            &product.ready.s3.region,
            "--transfers",
            "16",
            "--checkers",
            "16",
        ])
        .args(["--config", "/dev/null"]);
    tools::run(&mut command).map(drop)
}

/// The FIDs that `status` lists; the chain must list each with twelve distinct miners.
async fn packs_on_chain(product: &Product) -> Result<Vec<Hash>> {
    let status = product.status()?;
    let packs = status["store"]["packs"]
        .as_array()
        .context("status lists packs")?;
    let chain = Chain::connect(ChainConfig {
        endpoints: vec![product.ready.chain.rpc.clone()],
        signer: dev::alice(),
        miner_endpoints: std::collections::BTreeMap::new(),
        rpc_timeout: Duration::from_secs(30),
    })
    .await?;
    let mut fids = Vec::new();
    for pack in packs {
        let fid: Hash = pack["fid"].as_str().context("a placed pack has a FID")?.parse()?;
        let file = chain
            .file(fid)
            .await?
            .with_context(|| format!("the chain does not list {fid}"))?;
        for (segment, fragments) in &file.segments {
            let miners: BTreeSet<_> = fragments.iter().map(|fragment| fragment.miner).collect();
            ensure!(
                miners.len() == 12,
                "segment {segment} of {fid} lies on {} miners",
                miners.len()
            );
        }
        fids.push(fid);
    }
    Ok(fids)
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_in_and_out_through_every_door_and_every_loss() -> Result<()> {
    let Some(clients) = Clients::find() else {
        return Ok(());
    };
    let scratch = tempfile::tempdir()?;
    let tree = scratch.path().join("tree");
    make_tree(&tree)?;
    let image = scratch.path().join("disk.img");
    std::fs::write(&image, content::bytes(77, IMAGE))?;

    let data = scratch.path().join("data");
    let product = Product::start(&data, &["--miners", "12", "--block-period", "200ms"])?;
    let aws = |arguments: &[&str]| {
        let mut command = product.with_credentials(&clients.aws);
        command
            .arg("--endpoint-url")
            .arg(&product.ready.s3.endpoint)
            .args(arguments);
        command
    };
    tools::run(&mut aws(&["s3", "mb", "s3://photos"]))?;
    let tree_text = tree.to_str().context("a plain path")?;
    rclone(&product, &clients, &["copy", tree_text, ":s3:photos/tree"])?;
    let mounted = product.ready.mount.join("photos/tree");
    same_trees(&tree, &mounted).context("the mount shows another tree")?;

    // A disk image in through NBD is the same object.
    let size = IMAGE.to_string();
    product.gateway(&["volume", "create", "photos/disk", "--size", &size])?;
    tools::run(
        Command::new(&clients.nbdcopy)
            .arg(&image)
            .arg(product.export("photos/disk")),
    )?;
    let sum = content::sha256(&std::fs::read(&image)?);
    ensure!(
        sha256_of_output(&mut aws(&["s3", "cp", "s3://photos/disk", "-"]))? == sum,
        "NBD in, S3 out"
    );
    // And an object in through S3 is the same export.
    let image_text = image.to_str().context("a plain path")?;
    tools::run(&mut aws(&["s3", "cp", image_text, "s3://photos/uploaded.img"]))?;
    let export = product.export("photos/uploaded.img");
    let info = tools::run(
        Command::new(&clients.qemu_img)
            .args(["info", "--output=json"])
            .arg(&export),
    )?;
    let info: serde_json::Value = serde_json::from_slice(&info.stdout)?;
    ensure!(info["virtual-size"] == IMAGE, "qemu-img sees {info}");
    let converted = scratch.path().join("converted.img");
    let mut convert = Command::new(&clients.qemu_img);
    convert
        .args(["convert", "-f", "raw", "-O", "raw"])
        .arg(&export)
        .arg(&converted);
    tools::run(&mut convert)?;
    ensure!(
        content::sha256(&std::fs::read(&converted)?) == sum,
        "S3 in, qemu-img out"
    );

    product.gateway(&["flush", "--wait", "placed", "--timeout", "15min"])?;
    let fids = packs_on_chain(&product).await?;
    ensure!(!fids.is_empty(), "nothing was placed");
    product.gateway(&["flush", "--wait", "verified", "--timeout", "15min"])?;
    let stored = Samples::of(&data.join("devnet"))?;
    ensure!(
        stored.len() > 10_000,
        "only {} samples of fragments",
        stored.len()
    );
    let elsewhere = [data.join("devnet"), product.ready.mount.clone()];
    let elsewhere = [elsewhere[0].as_path(), elsewhere[1].as_path()];
    // Were it not for the caches and the metadata engine's old rows, this search would show nothing.
    ensure!(
        !stored.found_below(&data, &elsewhere)?.is_empty(),
        "the search does not find what is still cached"
    );
    product.gateway(&["cache", "drop"])?;
    let status = product.status()?;
    ensure!(
        status["store"]["staging_bytes"] == 0,
        "staging still holds {}",
        status["store"]["staging_bytes"]
    );

    // Nothing of the content is left here: no file holds a byte of what the miners store, and
    // without miners every read fails …
    let left = stored.found_below(&data, &elsewhere)?;
    ensure!(left.is_empty(), "sealed bytes are left in {left:?}");
    product.fault("--all", "dead")?;
    let disk = product.ready.mount.join("photos/disk");
    let lost = tokio::task::spawn_blocking(move || std::fs::read(disk)).await?;
    ensure!(
        lost.is_err(),
        "read {} bytes that no miner gave",
        lost.map_or(0, |bytes| bytes.len())
    );
    // … and any four of the twelve are enough for everything.
    product.fault("--all", "heal")?;
    let mut miners = product.ready.miners.clone();
    let seed = std::env::var("FIRST_RUN_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    println!("FIRST_RUN_SEED={seed} chooses the eight miners that die");
    miners.shuffle(&mut StdRng::seed_from_u64(seed));
    for miner in &miners[..8] {
        product.fault(&miner.account, "dead")?;
    }
    product.gateway(&["cache", "drop"])?;
    let back = scratch.path().join("back");
    let back_text = back.to_str().context("a plain path")?;
    rclone(&product, &clients, &["copy", ":s3:photos/tree", back_text])?;
    same_trees(&tree, &back).context("S3 gives another tree back")?;
    product.gateway(&["cache", "drop"])?;
    same_trees(&tree, &mounted).context("the mount gives another tree back")?;
    product.gateway(&["cache", "drop"])?;
    let copied = scratch.path().join("copied.img");
    tools::run(
        Command::new(&clients.nbdcopy)
            .arg(product.export("photos/disk"))
            .arg(&copied),
    )?;
    ensure!(
        content::sha256(&std::fs::read(&copied)?) == sum,
        "NBD gives another image back"
    );
    product.stop()
}
