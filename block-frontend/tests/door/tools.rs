//! Real NBD clients (libnbd's and qemu's) against disks in memory. A tool that is not installed is
//! said to be skipped.
use std::path::Path;
use std::process::{Output, Stdio};

use super::memory::Memory;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tokio::process::Command;

const MIB: usize = 1 << 20;

/// Runs a tool to its end. `None` when it is not installed.
async fn run(tool: &str, arguments: &[&str]) -> Option<Output> {
    let child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(std::time::Duration::from_secs(50), child)
        .await
        .unwrap()
    {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: {tool} is not installed");
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn image(path: &Path, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    StdRng::seed_from_u64(9).fill_bytes(&mut bytes[..size / 3]);
    bytes[size / 2] = 1;
    bytes[size - 1] = 2;
    std::fs::write(path, &bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn nbdinfo_shows_what_the_export_can() {
    let memory = Memory::new(&[(b"vm/root", 3 * MIB, 512), (b"vm/100%", 1000, 1)]);
    let (_server, address) = memory.serve().await;
    let Some(output) = run("nbdinfo", &["--json", &format!("nbd://{address}/vm/root")]).await else {
        return;
    };
    let text = succeeded(&output);
    for expected in [
        "\"export-size\": 3145728",
        "\"can_flush\": true",
        "\"can_fua\": true",
        "\"can_multi_conn\": true",
        "\"can_trim\": true",
        "\"can_zero\": true",
        "\"can_fast_zero\": true",
        "\"can_df\": true",
        "\"can_cache\": true",
        "\"is_read_only\": false",
        "\"block_size_minimum\": 512",
        "base:allocation",
    ] {
        assert!(text.contains(expected), "{expected} not in {text}");
    }
    let listed = succeeded(
        &run("nbdinfo", &["--list", &format!("nbd://{address}")])
            .await
            .unwrap(),
    );
    assert!(
        listed.contains("vm/root") && listed.contains("vm/100%25"),
        "{listed}"
    );
    let size = run("nbdinfo", &["--size", &format!("nbd://{address}/vm/100%2525")])
        .await
        .unwrap();
    assert_eq!(succeeded(&size).trim(), "1000");
    let missing = run("nbdinfo", &["--size", &format!("nbd://{address}/vm/none")])
        .await
        .unwrap();
    assert!(!missing.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn nbdcopy_there_and_back() {
    let size = 24 * MIB;
    let memory = Memory::new(&[(b"vm/root", size, 4096)]);
    let (_server, address) = memory.serve().await;
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from.img"), dir.path().join("to.img"));
    let bytes = image(&from, size);
    let uri = format!("nbd://{address}/vm/root");
    let there = ["--flush", "--connections=4", from.to_str().unwrap(), &uri];
    let Some(output) = run("nbdcopy", &there).await else {
        return;
    };
    succeeded(&output);
    assert!(*memory.disk(b"vm/root").bytes.lock() == bytes);
    assert!(
        memory.disk(b"vm/root").data.lock().iter().any(|data| !data),
        "holes stay holes"
    );
    let back = ["--connections=4", &uri, to.to_str().unwrap()];
    succeeded(&run("nbdcopy", &back).await.unwrap());
    assert!(std::fs::read(&to).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_img_there_and_back() {
    let size = 16 * MIB;
    let memory = Memory::new(&[(b"vm/root", size, 512)]);
    let (_server, address) = memory.serve().await;
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from.img"), dir.path().join("to.qcow2"));
    let bytes = image(&from, size);
    let uri = format!("nbd://{address}/vm/root");
    let Some(info) = run("qemu-img", &["info", "-f", "raw", &uri]).await else {
        return;
    };
    assert!(succeeded(&info).contains("16 MiB (16777216 bytes)"));
    let there = [
        "convert",
        "-n",
        "-f",
        "raw",
        "-O",
        "raw",
        from.to_str().unwrap(),
        &uri,
    ];
    succeeded(&run("qemu-img", &there).await.unwrap());
    assert!(*memory.disk(b"vm/root").bytes.lock() == bytes);
    let back = ["convert", "-f", "raw", "-O", "qcow2", &uri, to.to_str().unwrap()];
    succeeded(&run("qemu-img", &back).await.unwrap());
    let compare = [
        "compare",
        "-f",
        "raw",
        "-F",
        "qcow2",
        from.to_str().unwrap(),
        to.to_str().unwrap(),
    ];
    assert!(succeeded(&run("qemu-img", &compare).await.unwrap()).contains("identical"));
    let map = succeeded(
        &run("qemu-img", &["map", "--output=json", "-f", "raw", &uri])
            .await
            .unwrap(),
    );
    assert!(
        map.contains("\"zero\": true") && map.contains("\"data\": true"),
        "{map}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_io_commands() {
    let memory = Memory::new(&[(b"vm/root", 8 * MIB, 512)]);
    let (_server, address) = memory.serve().await;
    let uri = format!("nbd://{address}/vm/root");
    let commands = [
        "write -P 0x5a 0 1M",
        "write -f -P 0x5b 1M 64k",
        "write -z 512 4096",
        "write -z -u 8192 4096",
        "discard 16384 65536",
        "flush",
        "read -P 0 512 4096",
        "read -P 0 8192 4096",
        "read -P 0 16384 65536",
        "read -P 0x5a 81920 966656",
        "read -P 0x5b 1M 64k",
        "aio_write -P 0x11 4M 2M",
        "aio_flush",
        "read -P 0x11 4M 2M",
    ];
    let mut arguments = vec!["-f", "raw"];
    for command in commands {
        arguments.extend(["-c", command]);
    }
    arguments.push(&uri);
    let Some(output) = run("qemu-io", &arguments).await else {
        return;
    };
    let text = succeeded(&output);
    assert!(
        !text.contains("verification failed") && !text.contains("error"),
        "{text}"
    );
    let bytes = memory.disk(b"vm/root").bytes.lock();
    assert!(bytes[512..4608].iter().all(|byte| *byte == 0) && bytes[4608] == 0x5a && bytes[MIB] == 0x5b);
}
