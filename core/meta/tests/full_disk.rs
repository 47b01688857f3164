//! A disk that is full, and well again later: a small one of memory, in a mount namespace of its own.

#![allow(clippy::unwrap_used, clippy::panic)]
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use meta::{Durability, Engine, EngineKind, Error, Meta, MetaConfig, Result, SledEngine};

/// Set to the small disk when a test runs on it.
const DISK: &str = "CESS_TEST_SMALL_DISK";
/// Bytes of the disk, and of what fills most of it.
const DISK_BYTES: u64 = 200 << 20;
const BALLAST_BYTES: u64 = 150 << 20;

/// The disk, in the run of the test that is on it. Outside: starts that run; `None` when it is over.
fn small_disk(test: &str) -> Option<PathBuf> {
    if let Some(disk) = std::env::var_os(DISK) {
        return Some(disk.into());
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size={DISK_BYTES} small \"$0\" && exec \"$@\"");
    let done = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &mount])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DISK, dir.path())
        .status();
    match done {
        Ok(status) if std::fs::metadata("/proc/self").is_ok_and(|it| is_root(&it)) => {
            assert!(status.success(), "on the small disk: {status}");
        }
        _ => eprintln!("SKIPPED: this test needs root and unshare(1)"),
    }
    None
}

/// Runs a test on the small disk.
fn on_small_disk<F: Future<Output = ()>>(test: &str, run: impl FnOnce(PathBuf) -> F) {
    let Some(disk) = small_disk(test) else { return };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(run(disk));
}

fn is_root(of: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(of) == 0
}

fn open(dir: &Path) -> Meta {
    Meta::open(&MetaConfig {
        engine: EngineKind::Fjall,
        path: dir.join("meta"),
        cache_bytes: 8 << 20,
    })
    .unwrap()
}

/// A commit of two rows that belong together.
async fn pair(meta: &Meta, number: u32, durability: Durability) -> Result<()> {
    meta.write(durability, move |tx| {
        let value = vec![number as u8; 30_000];
        for side in [b'a', b'b'] {
            let mut key = vec![side];
            key.extend_from_slice(&number.to_be_bytes());
            tx.put(&key, &value)?;
        }
        Ok(())
    })
    .await
}

/// Whether a pair is there; half of one is a failure.
fn has(meta: &Meta, number: u32) -> bool {
    let view = meta.snapshot().unwrap();
    let [a, b] = [b'a', b'b'].map(|side| {
        let mut key = vec![side];
        key.extend_from_slice(&number.to_be_bytes());
        view.get(&key).unwrap()
    });
    assert_eq!(a, b, "half of commit {number}");
    assert!(
        a.as_ref()
            .is_none_or(|value| *value == vec![number as u8; 30_000])
    );
    a.is_some()
}

fn fill(path: &Path, most: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    let block = vec![7; 1 << 20];
    for _ in 0..most >> 20 {
        if file.write_all(&block).is_err() {
            return;
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = std::fs::read_dir(from).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(|entry| entry.file_name() != "guard");
    for entry in entries {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_full_disk_stops_writes_and_a_freed_one_brings_them_back() {
    let name = "a_full_disk_stops_writes_and_a_freed_one_brings_them_back";
    on_small_disk(name, fill_free_and_fill_again);
}

async fn fill_free_and_fill_again(disk: PathBuf) {
    let meta = open(&disk);
    let ballast = disk.join("ballast");
    let mut there = Vec::new();
    let mut refused = Vec::new();
    let mut number = 0;
    for round in 0..2 {
        fill(&ballast, BALLAST_BYTES - (round << 20));
        // Until the disk is full; every second commit is only buffered.
        loop {
            number += 1;
            let durability = [Durability::Synced, Durability::Buffered][number as usize % 2];
            match pair(&meta, number, durability).await {
                Ok(()) => there.push(number),
                Err(Error::Recovering(_)) => {
                    refused.push(number);
                    break;
                }
                Err(error) => panic!("{error}"),
            }
            assert!(number < 10_000, "the disk does not fill up");
        }
        // Nothing more is taken, and everything reads.
        for _ in 0..20 {
            number += 1;
            assert!(matches!(
                pair(&meta, number, Durability::Buffered).await,
                Err(Error::Recovering(_))
            ));
            refused.push(number);
        }
        assert!(meta.sync().await.is_err());
        assert!(meta.trouble().is_some());
        assert!(there.iter().all(|number| has(&meta, *number)));

        std::fs::remove_file(&ballast).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            number += 1;
            match pair(&meta, number, Durability::Synced).await {
                Ok(()) => break,
                Err(error) => assert!(Instant::now() < deadline, "not back: {error}"),
            }
            refused.push(number);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        there.push(number);
        assert!(meta.trouble().is_none());
        assert!(there.iter().all(|number| has(&meta, *number)));
        // A commit that failed at its sync is there, or will be: nobody was told either way. One that
        // failed before it is not.
        let surprising = refused.iter().filter(|number| has(&meta, **number)).count();
        assert!(
            surprising <= 1 + round as usize,
            "{surprising} commits that were refused"
        );
    }
    // What a power cut would leave is a store with everything that was acknowledged.
    let image = tempfile::tempdir().unwrap();
    copy(&disk.join("meta"), &image.path().join("meta"));
    let after = open(image.path());
    assert!(there.iter().all(|number| has(&after, *number)));
}

#[test]
fn a_scour_that_has_no_room_is_refused_and_harms_nothing() {
    let name = "a_scour_that_has_no_room_is_refused_and_harms_nothing";
    on_small_disk(name, scour_without_room);
}

async fn scour_without_room(disk: PathBuf) {
    let meta = open(&disk);
    pair(&meta, 1, Durability::Synced).await.unwrap();
    let ballast = disk.join("ballast");
    fill(&ballast, BALLAST_BYTES);
    let refused = meta.scour().await.unwrap_err().to_string();
    assert!(refused.contains("bytes are free on the disk"), "{refused}");
    // Nothing stopped.
    assert!(meta.trouble().is_none());
    pair(&meta, 2, Durability::Synced).await.unwrap();
    std::fs::remove_file(&ballast).unwrap();
    meta.scour().await.unwrap();
    assert!(has(&meta, 1) && has(&meta, 2));
}

#[test]
fn sled_goes_on_with_nothing_after_a_write_that_failed() {
    let name = "sled_goes_on_with_nothing_after_a_write_that_failed";
    on_small_disk(name, fill_under_sled);
}

async fn fill_under_sled(disk: PathBuf) {
    let path = disk.join("sled");
    let commit = |engine: &SledEngine, number: u32| -> Result<()> {
        let mut tx = engine.begin()?;
        for side in *b"ab" {
            let mut key = vec![side];
            key.extend_from_slice(&number.to_be_bytes());
            tx.put(&key, &[number as u8; 3000])?;
        }
        tx.commit()?;
        engine.sync()
    };
    let engine = SledEngine::open(&path, 8 << 20).unwrap();
    let ballast = disk.join("ballast");
    fill(&ballast, DISK_BYTES);
    let mut there = Vec::new();
    let mut number = 0;
    let failed = loop {
        number += 1;
        match commit(&engine, number) {
            Ok(()) => there.push(number),
            Err(error) => break error,
        }
        assert!(number < 100_000, "the disk does not fill up");
    };
    assert!(matches!(failed, Error::Engine(_)), "{failed}");
    // That there is room again changes nothing: what was half written is not built on.
    std::fs::remove_file(&ballast).unwrap();
    for other in 1..=5 {
        assert!(commit(&engine, number + other).is_err());
        assert!(engine.sync().is_err());
        assert!(engine.snapshot().unwrap().get(b"a").is_err());
    }
    drop(engine);
    let engine = SledEngine::open(&path, 8 << 20).unwrap();
    let view = engine.snapshot().unwrap();
    for number in there {
        for side in *b"ab" {
            let mut key = vec![side];
            key.extend_from_slice(&number.to_be_bytes());
            assert_eq!(view.get(&key).unwrap(), Some(vec![number as u8; 3000]));
        }
    }
    drop(view);
    commit(&engine, number + 10).unwrap();
}
