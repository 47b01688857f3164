//! How long objects, readers and writers live, on a real store.
#![allow(clippy::unwrap_used, clippy::panic, clippy::large_stack_arrays)] // tests
mod namespace;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use meta::Durability;
use namespace::{Namespace, noise, quiet};
use vfs::object::Commit;
use vfs::{Error, InodeNo, Precondition, SetAttr, VfsConfig};

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_keeps_its_moment() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let data = noise(1, 5_000_000);
    let ino = n.put("b", "k", &data).await.unwrap().ino;
    let start = async || n.vfs.get_object("b", b"k").await.unwrap().stream(0..u64::MAX);
    let mut streams = [start().await, start().await, start().await];
    let mut got = vec![Vec::new(); 3];
    for (stream, got) in streams.iter_mut().zip(&mut got) {
        got.extend_from_slice(&stream.next().await.unwrap().unwrap());
    }
    // Overwritten, truncated, replaced, deleted: nothing of it shows, and nothing is reclaimed early.
    n.write(ino, 0, &noise(2, 2_000_000)).await;
    n.vfs.fsync(ino, None).await.unwrap();
    n.vfs
        .setattr(
            ino,
            SetAttr {
                size: Some(10),
                ..SetAttr::default()
            },
        )
        .await
        .unwrap();
    n.vfs.fsync(ino, None).await.unwrap();
    n.put("b", "k", b"new").await.unwrap();
    n.vfs
        .delete_object("b", b"k", Precondition::default())
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    n.vfs.drop_caches().await.unwrap();
    for (stream, got) in streams.iter_mut().zip(&mut got) {
        while let Some(piece) = stream.next().await {
            got.extend_from_slice(&piece.unwrap());
        }
        assert!(*got == data);
    }
    assert!(n.chunks() > 0);
    drop(streams);
    n.settle().await;
    assert_eq!(n.chunks(), 0);
    assert_eq!(n.names(bucket).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_while_a_reader_is_waited_for_is_released_too() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    let ino = n.put("b", "k", &noise(1, 200_000)).await.unwrap().ino;
    let stored = n.chunks();
    let reader = n.vfs.get_object("b", b"k").await.unwrap();
    for seed in 2..4 {
        n.write(ino, 0, &noise(seed, 200_000)).await;
        n.vfs.fsync(ino, None).await.unwrap();
        // Time for the worker to see each by itself.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    assert_eq!(n.chunks(), stored + 2);
    drop(reader);
    n.settle().await;
    assert_eq!(n.chunks(), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_writer_leaves_nothing() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    let data = Bytes::from(noise(1, 1 << 20));
    let mut writer = n.vfs.object_writer("b", b"k").await.unwrap();
    // More than a writer keeps in memory before it notes chunks on its inode.
    for _ in 0..80 {
        writer.write(data.clone()).await.unwrap();
    }
    assert_eq!(writer.len(), 80 << 20);
    assert!(n.chunks() > 100);
    // A crash in the middle of it.
    let after = n.crash_image().await;
    after.settle().await;
    assert_eq!((after.chunks(), after.keys("b").await), (0, Vec::new()));
    drop(writer);
    n.settle().await;
    assert_eq!((n.chunks(), n.keys("b").await), (0, Vec::new()));
    // And one that ends well.
    let mut writer = n.vfs.object_writer("b", b"k").await.unwrap();
    for _ in 0..80 {
        writer.write(data.clone()).await.unwrap();
    }
    let info = writer
        .commit(Commit {
            etag: "e".to_owned(),
            ..Commit::default()
        })
        .await
        .unwrap();
    n.settle().await;
    assert_eq!(n.vfs.getattr(info.ino).await.unwrap().size, 80 << 20);
    assert!(n.get_range("b", b"k", (79 << 20) - 5..80 << 20).await.unwrap()[5..] == data[..]);
    assert_eq!(n.vfs.statfs().await.unwrap().inodes, 3);
}

/// A client that hangs up drops the commit at any of its steps; the transaction may be on its way.
#[test]
fn a_commit_whose_caller_goes_away_happens_whole_or_not_at_all() {
    // One thread for transactions, which the test can hold up.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let n = Namespace::new().await;
        n.bucket("b").await;
        let data = Bytes::from(vec![7; 1 << 20]);
        for steps in 1..4 {
            n.put("b", "k", b"before").await.unwrap();
            let mut writer = n.vfs.object_writer("b", b"k").await.unwrap();
            for _ in 0..80 {
                writer.write(data.clone()).await.unwrap();
            }
            let mut commit = Box::pin(writer.commit(Commit {
                etag: "e".to_owned(),
                ..Commit::default()
            }));
            let mut held = None;
            for _ in 0..steps {
                drop(held.take());
                let (release, hold) = std::sync::mpsc::channel::<()>();
                let (begins, begun) = tokio::sync::oneshot::channel();
                tokio::task::spawn_blocking(move || {
                    let _ = begins.send(());
                    let _ = hold.recv();
                });
                begun.await.unwrap();
                held = Some(release);
                // On to the next step that needs the thread.
                let moment = std::time::Duration::from_millis(50);
                let _ = tokio::time::timeout(moment, commit.as_mut()).await;
            }
            drop(commit);
            // Time for the purge to begin, behind the transaction.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            drop(held);
            // Behind both of them.
            n.put("b", "other", b"").await.unwrap();
            assert_eq!(n.keys("b").await, ["k", "other"]);
            let stored = n.get("b", "k").await.unwrap();
            let whole = stored.len() == 80 << 20 && stored.iter().all(|byte| *byte == 7);
            assert!(
                stored == b"before" || whole,
                "step {steps}: {} bytes",
                stored.len()
            );
            n.settle().await;
        }
    });
}

/// Writers that wait for room when the stop comes get it from the last flush: what they write then
/// must be refused, for nothing will store it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_written_while_the_namespace_stops_is_kept_or_refused() {
    const PIECE: usize = 100_000;
    for round in 0..5 {
        let n = Namespace::with(VfsConfig {
            write_buffer: 1 << 20,
            ..quiet()
        })
        .await;
        let bucket = n.bucket("b").await;
        let mut writers = Vec::new();
        for writer in 0..16_u64 {
            let ino = n.file(bucket, &format!("f{writer}")).await;
            let vfs = n.vfs.clone();
            writers.push(tokio::spawn(async move {
                let mut accepted = 0;
                loop {
                    let data = Bytes::from(noise(writer * 10_000 + accepted, PIECE));
                    match vfs.write(ino, accepted * PIECE as u64, data).await {
                        Ok(()) => accepted += 1,
                        Err(Error::ShuttingDown) => return (ino, writer, accepted),
                        Err(error) => panic!("{error}"),
                    }
                }
            }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(50 + 20 * round)).await;
        n.vfs.shutdown().await.unwrap();
        let accepted = futures::future::join_all(writers).await;
        // Not through a second stop: that would store what the first one left behind.
        let Namespace {
            dir,
            vfs,
            store,
            meta,
        } = n;
        store.shutdown().await;
        drop((vfs, store, meta));
        let n = Namespace::open(dir, quiet()).await;
        for (ino, writer, accepted) in accepted.into_iter().map(Result::unwrap) {
            let stored = n.read(ino).await;
            assert_eq!(
                stored.len(),
                accepted as usize * PIECE,
                "round {round} file {writer}"
            );
            for (piece, read) in stored.chunks(PIECE).enumerate() {
                assert!(
                    read == noise(writer * 10_000 + piece as u64, PIECE),
                    "{writer} {piece}"
                );
            }
        }
    }
}

/// Writes a row that nobody can read.
async fn spoil(n: &Namespace, table: u8, ino: InodeNo, number: u64) {
    let mut key = vec![table];
    key.extend(ino.0.to_be_bytes());
    key.extend(number.to_be_bytes());
    n.meta
        .write(Durability::Synced, move |tx| -> meta::Result<()> {
            tx.put(&key, &[0xff; 3])
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_any_more_keeps_nothing_else_from_going() {
    const INODE: u8 = 0x02;
    const EXTENT: u8 = 0x04;
    const DROPPED: u8 = 0x0d;
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let mut files = Vec::new();
    for name in ["bad", "one", "two"] {
        let ino = n.file(bucket, name).await;
        n.write(ino, 0, &noise(ino.0, 1000)).await;
        n.vfs.fsync(ino, None).await.unwrap();
        files.push(ino);
    }
    spoil(&n, EXTENT, files[0], 1 << 20).await;
    spoil(&n, DROPPED, files[0], 7).await;
    let inodes = n.rows(INODE);
    // An overwritten chunk is released as well.
    n.write(files[1], 0, &noise(99, 1000)).await;
    n.vfs.fsync(files[1], None).await.unwrap();
    for name in ["bad", "one", "two"] {
        n.vfs.unlink(bucket, name.as_bytes()).await.unwrap();
    }
    let left = || (n.rows(INODE), n.rows(DROPPED), n.chunks());
    for _ in 0..1000 {
        if left() == (inodes - 2, 1, 1) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(left(), (inodes - 2, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_staging_has_no_room_for_is_read_as_an_object_all_the_same() {
    let n = Namespace::with_staging(1 << 20).await;
    let bucket = n.bucket("b").await;
    let ino = n.file(bucket, "f").await;
    let mut model = noise(1, 600_000);
    n.write(ino, 0, &model).await;
    n.vfs.fsync(ino, None).await.unwrap();
    // Over it and behind it, with a hole, and more than there is room for.
    let more = noise(2, 1_500_000);
    n.write(ino, 100_000, &more).await;
    n.vfs
        .allocate(ino, 200_000, 300_000, vfs::posix::Allocate::Punch)
        .await
        .unwrap();
    model.truncate(100_000);
    model.extend(more);
    model[200_000..500_000].fill(0);
    // What shares stored bytes does not share less than all of them.
    let copied = n
        .vfs
        .copy_object(
            "b",
            b"f",
            "b",
            b"g",
            vfs::object::CopyMeta::Keep,
            Precondition::default(),
        )
        .await;
    assert!(matches!(copied, Err(Error::SlowDown { .. })));
    // Into another layer than what is stuck.
    for at in [50, 300_000, 1_599_990] {
        n.write(ino, at as u64, &[7; 20]).await;
        model.resize(model.len().max(at + 20), 0);
        model[at..at + 20].fill(7);
    }
    // As of the moment when it was opened.
    let reader = n.vfs.get_object("b", b"f").await.unwrap();
    assert_eq!(reader.info().size, model.len() as u64);
    assert_eq!(reader.level().await.unwrap(), None);
    n.write(ino, 0, &[9; 250_000]).await;
    let got: Vec<Bytes> = reader.stream(0..u64::MAX).try_collect().await.unwrap();
    assert!(got.concat() == model);
    model[..250_000].fill(9);
    let range = 249_990..500_010;
    let got = n.get_range("b", b"f", range.clone()).await.unwrap();
    assert!(got == model[range.start as usize..range.end as usize]);
}
