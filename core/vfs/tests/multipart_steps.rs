//! Completing an upload with very many extents: bounded steps, and one that shows.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::collections::BTreeMap;
use std::sync::Arc;

use meta::observed::{Observed, Observer};
use meta::{FjallEngine, Meta};
use namespace::{Namespace, quiet};
use tempfile::TempDir;
use vfs::object::ObjectSource;
use vfs::{Error, ObjectInfo, ObjectMeta, Precondition, Result, UploadId};

const EXTENT: u8 = 0x04;
const INODE: u8 = 0x02;
const PART: u8 = 0x09;
const KEY: &[u8] = b"d/k";
/// Extents of one part.
const EXTENTS: u64 = 3000;
const APART: u64 = 1024;

/// An upload of three parts with more extents together than one transaction takes, and its bytes.
async fn upload(n: &Namespace) -> (UploadId, Vec<(u32, String)>, Vec<u8>) {
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    for number in 0..EXTENTS {
        n.write(file, number * APART, &number.to_be_bytes()).await;
    }
    n.vfs.fsync(file, None).await.unwrap();
    let source = ObjectSource {
        bucket: "b",
        key: b"f",
        version: None,
    };
    let size = (EXTENTS - 1) * APART + 8;
    let id = n
        .vfs
        .create_upload("b", KEY, ObjectMeta::default())
        .await
        .unwrap();
    let (mut parts, mut bytes) = (Vec::new(), Vec::new());
    let content = n.read(file).await;
    for number in 1..=3u32 {
        // Each another range, so that none is like another.
        let range = u64::from(number)..size;
        bytes.extend_from_slice(&content[number as usize..]);
        let part = n
            .vfs
            .copy_part(source, None, Some(range), "b", KEY, &id, number)
            .await
            .unwrap();
        parts.push((number, part.etag));
    }
    (id, parts, bytes)
}

async fn complete(
    n: &Namespace,
    id: &UploadId,
    parts: &[(u32, String)],
    precondition: Precondition,
) -> Result<ObjectInfo> {
    let etag = format!("{}-{}", "0".repeat(32), parts.len());
    n.vfs
        .complete_upload("b", KEY, id, parts, etag, BTreeMap::new(), precondition)
        .await
}

fn never() -> Precondition {
    Precondition {
        if_match: Some(vec!["*".to_owned()]),
        ..Precondition::default()
    }
}

/// The object is there, its parts are not, and nothing is left of how it was made.
async fn is_whole(n: &Namespace, bytes: &[u8]) {
    assert!(n.get("b", "d/k").await.unwrap() == bytes);
    n.settle().await;
    assert_eq!(n.rows(PART), 0);
    // Root, bucket, file, directory, object.
    assert_eq!(n.rows(INODE), 5);
    assert_eq!(n.rows(EXTENT) as u64, 4 * EXTENTS);
    n.vfs
        .delete_object("b", KEY, Precondition::default())
        .await
        .unwrap();
    n.vfs
        .delete_object("b", b"f", Precondition::default())
        .await
        .unwrap();
    n.settle().await;
    assert_eq!(
        (n.rows(EXTENT), n.chunks()),
        (0, 0),
        "every reference was given back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_is_larger_than_the_bound_and_the_answer_repeats() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir_all(dir.path().join("meta")).unwrap();
    let engine = FjallEngine::open(&dir.path().join("meta/fjall"), 16 << 20).unwrap();
    let observer = Observer::default();
    let engine = Observed::new(engine, observer.clone());
    let meta = Meta::over(Arc::new(engine), &dir.path().join("meta/guard")).unwrap();
    let n = Namespace::over(dir, quiet(), meta).await;
    let (id, parts, bytes) = upload(&n).await;
    n.settle().await;
    observer.write_down();
    let info = complete(&n, &id, &parts, Precondition::default()).await.unwrap();
    let work = observer.written_down();
    let largest = work.iter().map(meta::observed::Work::writes).max().unwrap();
    assert!(
        largest > 4096 && largest < 9000,
        "{largest} rows in one transaction"
    );
    assert_eq!(info.parts, Some(3));
    let again = complete(&n, &id, &parts, Precondition::default()).await.unwrap();
    assert_eq!((again.ino, again.etag), (info.ino, info.etag));
    is_whole(&n, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_is_refused_or_cut_off_goes_on_when_it_is_repeated() {
    let n = Namespace::new().await;
    let (id, parts, bytes) = upload(&n).await;
    // All is gathered, and the last step refused: the object is not there, the parts are.
    assert!(matches!(
        complete(&n, &id, &parts, never()).await,
        Err(Error::NotFound)
    ));
    assert!(matches!(n.get("b", "d/k").await, Err(Error::NotFound)));
    let listed = n.vfs.list_parts("b", KEY, &id, 0, 100).await.unwrap().0;
    assert_eq!(
        listed.iter().map(|part| part.number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    n.vfs
        .flush_all(vfs::Level::Staged, std::time::Duration::from_secs(60))
        .await
        .unwrap();
    let crashed = n.crash_image().await;
    complete(&crashed, &id, &parts, Precondition::default())
        .await
        .unwrap();
    is_whole(&crashed, &bytes).await;
    // Another list than the one that was gathered.
    let fewer = &parts[1..];
    complete(&n, &id, fewer, Precondition::default()).await.unwrap();
    let skipped = bytes.len() / 3;
    let got = n.get("b", "d/k").await.unwrap();
    assert!(bytes.ends_with(&got) && got.len() < bytes.len() && got.len() > skipped);
    n.settle().await;
    assert_eq!(n.rows(PART), 0);
    assert_eq!(n.rows(INODE), 5);
}

/// The gateway stops at some moment between the first step and the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_steps_loses_nothing() {
    let n = Arc::new(Namespace::new().await);
    let (id, parts, bytes) = upload(&n).await;
    let task = {
        let (n, id, parts) = (n.clone(), id.clone(), parts.clone());
        tokio::spawn(async move { complete(&n, &id, &parts, Precondition::default()).await })
    };
    // The assembly is a part more.
    while n.rows(PART) == 3 && !task.is_finished() {
        tokio::task::yield_now().await;
    }
    let crashed = n.crash_image().await;
    task.await.unwrap().unwrap();
    complete(&crashed, &id, &parts, Precondition::default())
        .await
        .unwrap();
    is_whole(&crashed, &bytes).await;
    is_whole(&n, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aborting_takes_along_what_was_gathered() {
    let n = Namespace::new().await;
    let (id, parts, _) = upload(&n).await;
    assert!(matches!(
        complete(&n, &id, &parts, never()).await,
        Err(Error::NotFound)
    ));
    n.vfs.abort_upload("b", KEY, &id).await.unwrap();
    n.settle().await;
    assert_eq!((n.rows(PART), n.rows(INODE)), (0, 3));
    assert_eq!(n.rows(EXTENT) as u64, EXTENTS);
    let gone = complete(&n, &id, &parts, Precondition::default()).await;
    assert!(matches!(gone, Err(Error::NoSuchUpload)));
}
