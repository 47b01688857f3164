//! The program: its parts run together and apart, faults from the command line, kill and start.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A child that ends with the test.
struct Running {
    child: Child,
    line: Value,
}

impl Running {
    fn start(arguments: &[&str], data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cess-devnet"))
            .args(arguments)
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut text)
            .unwrap();
        let line = serde_json::from_str(&text).unwrap();
        Self { child, line }
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cess-devnet"))
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .unwrap()
}

fn status(data: &Path) -> Value {
    let output = command(&["status", "--json"], data);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn faults_are_thrown_from_the_command_line_and_healed_by_a_start() {
    let dir = tempfile::tempdir().unwrap();
    // As under the data directory of a gateway.
    let devnet = dir.path().join("devnet");
    let running = Running::start(&["up", "--miners", "2"], &devnet);
    let account = running.line["miners"][0]["account"].as_str().unwrap().to_owned();
    assert!(account.starts_with("cX"), "{account}");
    for fault in ["slow:10", "corrupt"] {
        assert!(command(&["fault", &account, fault], dir.path()).status.success());
    }
    assert!(command(&["fault", "--all", "lie"], &devnet).status.success());
    let miners = status(dir.path())["miners"].clone();
    assert_eq!(
        miners[0]["faults"],
        serde_json::json!(["slow:10", "corrupt", "lie"])
    );
    assert_eq!(miners[1]["faults"], serde_json::json!(["lie"]));
    for bad in [
        &["fault", "--all", "nonsense"][..],
        &["fault", "nobody", "dead"],
        &["fault", "dead"],
        &["chain-fault", "reorg:9"],
    ] {
        assert!(!command(bad, &devnet).status.success(), "{bad:?}");
    }
    assert!(command(&["chain-fault", "seal:5"], &devnet).status.success());
    assert!(command(&["chain-fault", "stall"], &devnet).status.success());
    let before = status(&devnet)["chain"].clone();
    assert_eq!(
        (before["best"]["number"].as_u64(), &before["stalled"]),
        (Some(5), &Value::Bool(true))
    );

    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(devnet.join("admin.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    running.kill();
    assert!(!command(&["status"], &devnet).status.success());
    let _running = Running::start(&["up", "--miners", "2"], &devnet);
    let after = status(&devnet);
    assert_eq!(
        after["chain"]["best"]["hash"], before["best"]["hash"],
        "nothing announced was lost"
    );
    assert_eq!(after["chain"]["stalled"], false);
    assert_eq!(after["miners"][0]["faults"], serde_json::json!([]));
    let table = command(&["status"], &devnet).stdout;
    assert!(String::from_utf8(table).unwrap().contains("healthy"));
}

#[test]
fn the_admin_api_is_closed_without_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(&["up", "--miners", "0"], dir.path());
    let url = running.line["admin"]["url"].as_str().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(async {
        reqwest::Client::new()
            .get(format!("{url}/status"))
            .bearer_auth("guess")
            .send()
            .await
            .unwrap()
    });
    assert_eq!(answer.status().as_u16(), 401);
}

#[test]
fn chain_and_miners_run_apart() {
    let (chain_dir, miners_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let chain = Running::start(
        &[
            "chain",
            "--rpc",
            "127.0.0.1:0",
            "--period-ms",
            "0",
            "--miners",
            "3",
        ],
        chain_dir.path(),
    );
    let url = chain.line["chain"]["rpc"].as_str().unwrap().to_owned();
    let miners = Running::start(&["miners", "--chain", &url, "--count", "3"], miners_dir.path());
    let endpoints: Vec<_> = miners.line["miners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|miner| {
            (
                miner["account"].as_str().unwrap().to_owned(),
                miner["endpoint"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(place_remotely(&url, &endpoints));
    let unknown = command(
        &["miners", "--chain", &url, "--count", "4"],
        tempfile::tempdir().unwrap().path(),
    );
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("not a registered miner"));
}

/// One fragment group goes to a miner, which reports it over RPC.
async fn place_remotely(url: &str, endpoints: &[(String, String)]) {
    use cess::chain::{Chain, ChainConfig, Declaration};
    use cess::codec::{FRAGMENT_SIZE, SEGMENT_SIZE, encode, fid_merkle, hash_segment};
    use subxt_signer::sr25519::dev;
    let config = ChainConfig {
        endpoints: vec![url.to_owned()],
        signer: dev::alice(),
        miner_endpoints: std::collections::BTreeMap::new(),
        rpc_timeout: std::time::Duration::from_secs(10),
    };
    let chain = Chain::connect(config).await.unwrap();
    for miner in chain.miners().await.unwrap() {
        let text = miner.account.to_ss58(cess::account::SS58_PREFIX);
        let (_, endpoint) = endpoints.iter().find(|(account, _)| *account == text).unwrap();
        assert_eq!(
            miner.endpoint,
            Some(format!("http://{endpoint}")),
            "told to the chain"
        );
    }
    chain.mint_territory(b"apart", 1, 30).await.unwrap();
    let segment = vec![5; SEGMENT_SIZE];
    let mut parity = vec![0; 8 * FRAGMENT_SIZE];
    encode(&segment, &mut parity).unwrap();
    let hashes = hash_segment(&segment, &parity);
    let fid = fid_merkle(&[hashes.segment]);
    let file = Declaration {
        fid,
        segments: vec![hashes.clone()],
        owner: chain.account(),
        file_name: b"apart".to_vec(),
        territory: b"apart".to_vec(),
        file_size: 5,
    };
    chain.declare(vec![file]).await.pop().unwrap().unwrap();
    let client = cess::miner::MinerClient::new(dev::bob(), std::time::Duration::from_secs(20)).unwrap();
    let data = bytes::Bytes::copy_from_slice(&segment[..FRAGMENT_SIZE]);
    client
        .put(&endpoints[0].1, fid, hashes.fragments[0], data)
        .await
        .unwrap();
    let deadline = std::time::Duration::from_secs(30);
    tokio::time::timeout(deadline, async {
        while chain.deal(fid).await.unwrap().unwrap().complete.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("reported in time");
}
