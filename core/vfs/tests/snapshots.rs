//! Snapshots: what they hold, what they cost, what they give back.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use namespace::{ME, Namespace, noise};
use vfs::object::CopyMeta;
use vfs::posix::Allocate;
use vfs::{Creator, Error, InodeNo, ListRequest, Precondition, RenameFlags, SetAttr, XattrSet};

/// Tables: kept rows, the notes that lead to them, snapshots.
const PRESERVED: u8 = 0x32;
const PRESERVED_IN: u8 = 0x33;
const SNAPSHOT: u8 = 0x31;
const EXTENT: u8 = 0x04;

/// Waits until nothing is left of deleted snapshots when none are left.
async fn cleaned(n: &Namespace) {
    for _ in 0..6000 {
        if n.rows(SNAPSHOT) == 0 {
            assert_eq!((n.rows(PRESERVED), n.rows(PRESERVED_IN)), (0, 0));
            n.settle().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("deleted snapshots do not go");
}

/// Waits until one is left fewer.
async fn cleaned_to(n: &Namespace, snapshots: usize) {
    for _ in 0..6000 {
        if n.rows(SNAPSHOT) == snapshots {
            return n.settle().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a deleted snapshot does not go");
}

/// A path below an inode.
async fn walk(n: &Namespace, from: InodeNo, path: &str) -> Result<InodeNo, Error> {
    let mut at = from;
    for name in path.split('/') {
        at = n.lookup(at, name).await?.ino;
    }
    Ok(at)
}

async fn store(n: &Namespace, ino: InodeNo, offset: u64, data: &[u8]) {
    n.write(ino, offset, data).await;
    n.vfs.fsync(ino, None).await.unwrap();
}

fn every_row(n: &Namespace) -> BTreeMap<Vec<u8>, Vec<u8>> {
    use std::ops::Bound::{Excluded, Included};
    let snapshot = n.meta.snapshot().unwrap();
    let rows = snapshot.range(Included(&[1]), Excluded(&[0x80]), false).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_stays_as_it_was_and_its_space_comes_back() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    let old = noise(1, 700_000);
    n.write(file, 0, &old).await;
    // Buffered only: the snapshot has it.
    n.vfs.create_snapshot("b/f", "one").await.unwrap();
    let chunks = n.chunks();
    store(&n, file, 100_000, &noise(2, 300_000)).await;
    let middle = n.read(file).await;
    n.vfs.create_snapshot("b/f", "two").await.unwrap();
    n.vfs
        .setattr(
            file,
            SetAttr {
                size: Some(10),
                ..SetAttr::default()
            },
        )
        .await
        .unwrap();
    n.vfs.fsync(file, None).await.unwrap();
    n.settle().await;
    let one = walk(&n, bucket, ".snapshots/f@one").await.unwrap();
    let two = walk(&n, bucket, ".snapshots/f@two").await.unwrap();
    n.vfs.drop_caches().await.unwrap();
    assert!(n.read(one).await == old && n.read(two).await == middle);
    assert_eq!(n.read(file).await, middle[..10]);
    assert_eq!(n.vfs.getattr(one).await.unwrap().size, 700_000);
    let info = n.vfs.explain(one, 10).await.unwrap();
    let lost = store::ChunkId(info.extents.last().unwrap().chunk);
    let users = n.vfs.users_of(&[lost], 10).await.unwrap();
    assert_eq!((users.len(), users[0].path.as_deref()), (1, Some("b/f@two")));
    // The older one needs what the newer one kept for it, and no more.
    n.vfs.delete_snapshot("b/f", "two").await.unwrap();
    assert!(matches!(n.vfs.read(two, 0, 1).await, Err(Error::NotFound)));
    cleaned_to(&n, 1).await;
    assert!(n.read(one).await == old);
    assert!(n.chunks() <= chunks + 1, "{} after {chunks}", n.chunks());
    n.vfs.delete_snapshot("b/f", "one").await.unwrap();
    cleaned(&n).await;
    assert_eq!(n.chunks(), 1);
    assert_eq!(n.read(file).await, middle[..10]);
    n.vfs.unlink(bucket, b"f").await.unwrap();
    n.settle().await;
    assert_eq!((n.chunks(), n.rows(EXTENT)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_writes_two_rows_whatever_the_size() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    n.vfs.create_volume("b/big", 1 << 40, 4096, "").await.unwrap();
    let volume = n.lookup(bucket, "big").await.unwrap().ino;
    for block in 0..3000u64 {
        n.write(volume, block * (349 << 20), &noise(block, 4096)).await;
    }
    n.vfs.fsync(volume, None).await.unwrap();
    assert!(n.rows(EXTENT) >= 3000);
    for number in 0..50 {
        n.put("b", &format!("d/{number}"), b"x").await.unwrap();
    }
    for (path, name) in [("b/big", "v"), ("b", "bucket"), ("b/d/", "d"), ("b/big", "w")] {
        let before = every_row(&n);
        n.vfs.create_snapshot(path, name).await.unwrap();
        let after = every_row(&n);
        let written: Vec<u8> = after
            .iter()
            .filter(|(key, value)| before.get(*key) != Some(*value))
            .map(|(key, _)| key[0])
            .collect();
        assert_eq!(written, [0x30, SNAPSHOT], "{path}");
        assert!(before.keys().all(|key| after.contains_key(key)));
    }
    // A change keeps what it changes.
    store(&n, volume, 0, &noise(9, 4096)).await;
    let kept = n.rows(PRESERVED);
    assert_eq!(kept, 2, "the extent and the inode");
    store(&n, volume, 0, &noise(10, 4096)).await;
    assert_eq!(n.rows(PRESERVED), kept, "once");
    let view = walk(&n, bucket, ".snapshots/bucket/big").await.unwrap();
    assert!(n.vfs.read(view, 0, 4096).await.unwrap() == noise(0, 4096));
    assert!(n.vfs.read(view, 7 * (349 << 20), 4096).await.unwrap() == noise(7, 4096));
    for (path, name) in [("b/big", "v"), ("b", "bucket"), ("b/d", "d"), ("b/big", "w")] {
        n.vfs.delete_snapshot(path, name).await.unwrap();
    }
    cleaned(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_belongs_to_it_is_kept() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let (inside, outside) = (n.dir(bucket, "in").await, n.dir(bucket, "out").await);
    let (a, z) = (n.file(inside, "a").await, n.file(outside, "z").await);
    let linked = n.file(inside, "l").await;
    for ino in [a, z, linked] {
        store(&n, ino, 0, &noise(ino.0, 10_000)).await;
    }
    n.vfs.link(linked, outside, b"l2").await.unwrap();
    n.vfs.create_snapshot("b/in", "s").await.unwrap();
    // What lies elsewhere, and what is new, is nobody's concern.
    store(&n, z, 0, &noise(7, 10_000)).await;
    assert_eq!(n.rows(PRESERVED), 0);
    let new = n.file(inside, "new").await;
    let made = n.rows(PRESERVED);
    store(&n, new, 0, &noise(7, 10_000)).await;
    assert_eq!(n.rows(PRESERVED), made);
    // Nor what moves in.
    let rename = async |from, name: &str, to, new_name: &str| {
        n.vfs
            .rename(
                from,
                name.as_bytes(),
                to,
                new_name.as_bytes(),
                RenameFlags::default(),
            )
            .await
            .unwrap();
    };
    rename(outside, "z", inside, "z").await;
    let moved = n.rows(PRESERVED);
    store(&n, z, 0, &noise(8, 10_000)).await;
    assert_eq!(n.rows(PRESERVED), moved);
    // But what moves out, and what has another name outside.
    rename(inside, "a", outside, "a").await;
    store(&n, a, 0, &noise(9, 20_000)).await;
    store(&n, linked, 0, &noise(9, 20_000)).await;
    n.vfs.unlink(outside, b"a").await.unwrap();
    n.vfs.unlink(inside, b"l").await.unwrap();
    n.vfs.unlink(outside, b"l2").await.unwrap();
    n.settle().await;
    let view = walk(&n, inside, ".snapshots/s").await.unwrap();
    assert_eq!(n.names(view).await, ["a", "l"]);
    for (name, ino) in [("a", a), ("l", linked)] {
        let at = n.lookup(view, name).await.unwrap();
        assert!(n.read(at.ino).await == noise(ino.0, 10_000));
    }
    assert_eq!(n.lookup(view, "l").await.unwrap().nlink, 2);
    n.vfs.delete_snapshot("b/in/", "s").await.unwrap();
    cleaned(&n).await;
    assert_eq!(n.names(inside).await, ["new", "z"]);
    assert_eq!(n.chunks(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_in_a_snapshot() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let dir = n.dir(bucket, "d").await;
    let file = n.file(dir, "f").await;
    store(&n, file, 0, b"content").await;
    n.vfs
        .setxattr(file, b"user.x", b"1", XattrSet::Any)
        .await
        .unwrap();
    n.vfs.symlink(dir, b"s", b"f", ME).await.unwrap();
    assert!(matches!(
        n.lookup(bucket, ".snapshots").await,
        Err(Error::NotFound)
    ));
    n.vfs.create_snapshot("b", "s").await.unwrap();
    assert!(matches!(
        n.vfs.create_snapshot("b", "s").await,
        Err(Error::Exists)
    ));
    assert!(matches!(
        n.vfs.create_snapshot("b/none", "s").await,
        Err(Error::NotFound)
    ));
    assert!(matches!(
        n.vfs.create_snapshot("b/d/s", "s").await,
        Err(Error::Invalid(_))
    ));
    assert!(matches!(
        n.vfs.create_snapshot("c", "s").await,
        Err(Error::NoSuchBucket)
    ));
    // There for who asks, in no listing.
    assert_eq!(n.names(bucket).await, ["d"]);
    let list = n.lookup(bucket, ".snapshots").await.unwrap().ino;
    assert_eq!(n.names(list).await, ["s"]);
    assert!(matches!(n.lookup(dir, ".snapshots").await, Err(Error::NotFound)));
    let root = n.lookup(list, "s").await.unwrap().ino;
    let (d, f) = (
        walk(&n, root, "d").await.unwrap(),
        walk(&n, root, "d/f").await.unwrap(),
    );
    assert_eq!(n.names(d).await, ["f", "s"]);
    assert_eq!(n.vfs.parent(d).await.unwrap(), root);
    assert_eq!(n.vfs.parent(root).await.unwrap(), list);
    assert_eq!(n.vfs.parent(list).await.unwrap(), bucket);
    assert_eq!(n.vfs.getxattr(f, b"user.x").await.unwrap(), b"1");
    assert_eq!(n.vfs.getxattr(f, b"user.cess.state").await.unwrap(), b"staged");
    assert_eq!(n.vfs.listxattr(f).await.unwrap().len(), 3);
    assert_eq!(n.vfs.listxattr(list).await.unwrap().len(), 0);
    let link = n.lookup(d, "s").await.unwrap();
    assert_eq!(n.vfs.readlink(link.ino).await.unwrap(), b"f");
    n.vfs.open_inode(f).await.unwrap();
    n.vfs.fsync(f, None).await.unwrap();
    n.vfs.close(f).await.unwrap();
    macro_rules! refused {
        ($($call:expr),* $(,)?) => {
            $(assert!(matches!($call.await, Err(Error::ReadOnly)), "{}", stringify!($call));)*
        };
    }
    let any = Creator { mode: 0o755, ..ME };
    for at in [root, d, list] {
        refused!(
            n.vfs.mkdir(at, b"n", any),
            n.vfs.mknod(at, b"n", vfs::Kind::File, 0, any),
            n.vfs.symlink(at, b"n", b"t", any),
            n.vfs.unlink(at, b"f"),
            n.vfs.rmdir(at, b"d"),
            n.vfs.link(file, at, b"n"),
            n.vfs.rename(at, b"f", dir, b"n", RenameFlags::default()),
            n.vfs.rename(dir, b"f", at, b"n", RenameFlags::default()),
        );
    }
    for at in [f, list] {
        refused!(
            n.vfs.write(at, 0, Bytes::from_static(b"x")),
            n.vfs.append(at, Bytes::from_static(b"x")),
            n.vfs.setattr(
                at,
                SetAttr {
                    size: Some(0),
                    ..SetAttr::default()
                }
            ),
            n.vfs.setattr(
                at,
                SetAttr {
                    mode: Some(0),
                    ..SetAttr::default()
                }
            ),
            n.vfs.setxattr(at, b"user.y", b"1", XattrSet::Any),
            n.vfs.removexattr(at, b"user.x"),
            n.vfs.allocate(at, 0, 1, Allocate::Punch),
            n.vfs.copy_range(file, 0, at, 0, 1),
            n.vfs.link(at, dir, b"n"),
        );
    }
    // Out of it is allowed, and moves no bytes.
    let copy = n.file(dir, "copy").await;
    let chunks = n.chunks();
    assert_eq!(n.vfs.copy_range(f, 0, copy, 0, 100).await.unwrap(), 7);
    assert_eq!(n.chunks(), chunks);
    assert_eq!(n.read(copy).await, b"content");
    // A bucket's key outlives its snapshots.
    for name in [&b"copy"[..], b"f", b"s"] {
        n.vfs.unlink(dir, name).await.unwrap();
    }
    n.vfs.rmdir(bucket, b"d").await.unwrap();
    assert!(matches!(n.vfs.delete_bucket("b").await, Err(Error::NotEmpty)));
    assert!(matches!(
        n.vfs.rmdir(InodeNo::ROOT, b"b").await,
        Err(Error::NotEmpty)
    ));
    n.vfs.drop_caches().await.unwrap();
    assert_eq!(n.read(f).await, b"content");
    n.vfs.delete_snapshot("b", "s").await.unwrap();
    assert!(matches!(
        n.vfs.delete_snapshot("b", "s").await,
        Err(Error::NotFound)
    ));
    assert!(matches!(
        n.lookup(bucket, ".snapshots").await,
        Err(Error::NotFound)
    ));
    n.vfs.delete_bucket("b").await.unwrap();
    cleaned(&n).await;
    assert_eq!(n.chunks(), 0);
    assert_eq!(n.vfs.statfs().await.unwrap().inodes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_below_the_snapshot_and_never_written_there() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    let data = noise(1, 600_000);
    n.put("b", "d/e/big", &data).await.unwrap();
    for key in ["d/e-f", "d/g", "top"] {
        n.put("b", key, key.as_bytes()).await.unwrap();
    }
    n.vfs.create_snapshot("b/d/", "s").await.unwrap();
    n.vfs.create_snapshot("b/top", "t").await.unwrap();
    n.put("b", "d/e/big", b"new").await.unwrap();
    n.vfs
        .delete_object("b", b"d/g", Precondition::default())
        .await
        .unwrap();
    n.put("b", "d/later", b"").await.unwrap();
    n.put("b", "top", b"other").await.unwrap();
    n.settle().await;
    assert!(n.get("b", "d/.snapshots/s/e/big").await.unwrap() == data);
    assert!(
        n.get_range("b", b"d/.snapshots/s/e/big", 5..300_000)
            .await
            .unwrap()
            == data[5..300_000]
    );
    // A PUT makes a new inode: the old one is found where it was.
    assert_eq!(n.vfs.export(b"b/top@t").await.unwrap().size, 3);
    for missing in [
        "d/.snapshots/s/later",
        "d/.snapshots/none/g",
        "d/.snapshots/s",
        "d/.snapshots/s/",
        "d/.snapshots/",
        ".snapshots/s/g",
    ] {
        assert!(
            matches!(n.get("b", missing).await, Err(Error::NotFound)),
            "{missing}"
        );
    }
    let page = async |prefix: &str, delimiter: bool, start_after: Option<&str>, max| {
        let request = ListRequest {
            prefix: prefix.into(),
            delimiter: delimiter.then(|| b"/".to_vec()),
            start_after: start_after.map(Into::into),
            max,
        };
        let page = n.list("b", request).await;
        let mut keys: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
        keys.extend(page.prefixes);
        let keys: Vec<_> = keys
            .into_iter()
            .map(|key| String::from_utf8(key).unwrap())
            .collect();
        (keys, page.next.map(|next| String::from_utf8(next).unwrap()))
    };
    let at = |key: &str| format!("d/.snapshots/s/{key}");
    let all = ["e-f", "e/big", "g"].map(at).to_vec();
    assert_eq!(page(&at(""), false, None, 100).await, (all.clone(), None));
    assert_eq!(
        page(&at("e"), true, None, 100).await,
        ([at("e-f"), at("e/")].to_vec(), None)
    );
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let (keys, next) = page(&at(""), false, after.as_deref(), 1).await;
        seen.extend(keys);
        let Some(next) = next else { break };
        after = Some(next);
    }
    assert_eq!(seen, all);
    assert_eq!(page(&at(""), false, Some("a"), 100).await.0.len(), 3);
    assert_eq!(page(&at(""), false, Some("z"), 100).await.0.len(), 0);
    assert_eq!(page("d/.snapshots/", true, None, 100).await, (vec![at("")], None));
    assert_eq!(page("d/.snapshots/x", true, None, 100).await, (vec![], None));
    assert_eq!(page("d/.snapshots/", false, None, 100).await, (vec![], None));
    assert!(!n.keys("b").await.iter().any(|key| key.contains("snapshots")));
    // Refused, whether there is such a snapshot or not, as long as the directory shows them.
    for key in [
        "d/.snapshots/s/g",
        "d/.snapshots/s/new",
        "d/.snapshots/other",
        "d/.snapshots/",
    ] {
        assert!(
            matches!(n.put("b", key, b"x").await, Err(Error::ReadOnly)),
            "{key}"
        );
        let deleted = n
            .vfs
            .delete_object("b", key.as_bytes(), Precondition::default())
            .await;
        assert!(matches!(deleted, Err(Error::ReadOnly)), "{key}");
    }
    n.put("b", "e/.snapshots/s/g", b"a key like any other")
        .await
        .unwrap();
    // Back from the dead.
    let precondition = Precondition::default();
    n.vfs
        .copy_object("b", at("g").as_bytes(), "b", b"d/g", CopyMeta::Keep, precondition)
        .await
        .unwrap();
    assert_eq!(n.get("b", "d/g").await.unwrap(), b"d/g");
    n.vfs.delete_snapshot("b/d/", "s").await.unwrap();
    n.vfs.delete_snapshot("b/top", "t").await.unwrap();
    cleaned(&n).await;
    assert!(matches!(n.get("b", &at("g")).await, Err(Error::NotFound)));
    n.put("b", "d/.snapshots/s/g", b"x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_keeps_what_a_deleted_snapshot_gave_it() {
    use futures::StreamExt;
    let n = Namespace::new().await;
    n.bucket("b").await;
    let data = noise(1, 5_000_000);
    n.put("b", "k", &data).await.unwrap();
    n.vfs.create_snapshot("b", "s").await.unwrap();
    let mut stream = n
        .vfs
        .get_object("b", b".snapshots/s/k")
        .await
        .unwrap()
        .stream(0..u64::MAX);
    let mut got = stream.next().await.unwrap().unwrap().to_vec();
    n.vfs
        .delete_object("b", b"k", Precondition::default())
        .await
        .unwrap();
    n.vfs.delete_snapshot("b", "s").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    n.vfs.drop_caches().await.unwrap();
    while let Some(piece) = stream.next().await {
        got.extend_from_slice(&piece.unwrap());
    }
    assert!(got == data);
    drop(stream);
    cleaned(&n).await;
    assert_eq!(n.chunks(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_snapshot_reads_what_it_was() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    n.vfs.create_volume("b/v", 1 << 20, 512, "disk").await.unwrap();
    let volume = n.lookup(bucket, "v").await.unwrap().ino;
    store(&n, volume, 4096, &noise(1, 4096)).await;
    n.vfs.create_snapshot("b/v", "s").await.unwrap();
    n.put("b", "a@b", b"a name with an at sign").await.unwrap();
    let export = n.vfs.export(b"b/v@s").await.unwrap();
    assert!(export.read_only && export.size == 1 << 20 && export.sector == 512);
    assert_eq!(export.description, "disk");
    assert!(!n.vfs.export(b"b/a@b").await.unwrap().read_only);
    assert!(matches!(n.vfs.export(b"b/v@t").await, Err(Error::NotFound)));
    n.vfs.attach(export.ino).await.unwrap();
    store(&n, volume, 0, &noise(2, 1 << 16)).await;
    assert!(n.vfs.read(export.ino, 4096, 4096).await.unwrap() == noise(1, 4096));
    assert!(n.vfs.read(export.ino, 0, 4096).await.unwrap() == [0; 4096][..]);
    let runs = n.vfs.extents(export.ino, 0, 1 << 20, 10).await.unwrap();
    assert_eq!(runs.len(), 3);
    assert!(runs[0].hole && !runs[1].hole && runs[1].len == 4096 && runs[2].hole);
    n.vfs.detach(export.ino).await.unwrap();
    let list = n.vfs.snapshots(Some("b/v")).await.unwrap();
    assert_eq!(
        (list.len(), list[0].path.as_str(), list[0].name.as_str()),
        (1, "b/v", "s")
    );
}

/// A writer makes `x` and then `y` count up: a snapshot in between sees `y` at most one behind, and
/// what was acknowledged before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_one_moment_while_writers_go_on() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    let n = Arc::new(Namespace::new().await);
    n.bucket("b").await;
    for key in ["d/x", "d/y"] {
        n.put("b", key, b"0").await.unwrap();
    }
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicU64::new(0));
    let writer = tokio::spawn({
        let (n, acknowledged, stop) = (n.clone(), acknowledged.clone(), stop.clone());
        async move {
            let mut round = 0u64;
            while stop.load(Ordering::SeqCst) == 0 {
                round += 1;
                for key in ["d/x", "d/y"] {
                    n.put("b", key, round.to_string().as_bytes()).await.unwrap();
                }
                acknowledged.store(round, Ordering::SeqCst);
            }
        }
    });
    for number in 0..25 {
        let before = acknowledged.load(Ordering::SeqCst);
        n.vfs.create_snapshot("b", &format!("s{number}")).await.unwrap();
        let value = async |key: &str| -> u64 {
            let key = format!(".snapshots/s{number}/d/{key}");
            String::from_utf8(n.get("b", &key).await.unwrap())
                .unwrap()
                .parse()
                .unwrap()
        };
        let (x, y) = (value("x").await, value("y").await);
        assert!(x == y || x == y + 1, "{x} {y}");
        assert!(y >= before, "{y} {before}");
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!((value("x").await, value("y").await), (x, y));
    }
    stop.store(1, Ordering::SeqCst);
    writer.await.unwrap();
    for number in 0..25 {
        n.vfs.delete_snapshot("b", &format!("s{number}")).await.unwrap();
    }
    cleaned(&n).await;
}

/// Deletion goes on after a crash in the middle of it, and never touches what others need.
#[tokio::test(flavor = "multi_thread")]
async fn deletion_goes_on_after_a_crash() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    n.vfs.create_volume("b/v", 64 << 20, 4096, "").await.unwrap();
    let volume = n.lookup(bucket, "v").await.unwrap().ino;
    let fill = async |seed: u64, blocks: std::ops::Range<u64>| {
        for block in blocks {
            n.write(volume, block * 8192, &noise(seed + block, 4096)).await;
        }
        n.vfs.fsync(volume, None).await.unwrap();
    };
    fill(1, 0..1500).await;
    n.vfs.create_snapshot("b/v", "old").await.unwrap();
    fill(2, 0..700).await;
    n.vfs.create_snapshot("b/v", "new").await.unwrap();
    fill(3, 0..1500).await;
    let kept = n.rows(PRESERVED);
    n.vfs.delete_snapshot("b/v", "new").await.unwrap();
    let mut middles = 0;
    for _ in 0..6 {
        let image = n.crash_image().await;
        let left = image.rows(PRESERVED);
        middles += usize::from(left < kept && image.rows(PRESERVED_IN) > 1);
        cleaned_to(&image, 1).await;
        let bucket = image.lookup(InodeNo::ROOT, "b").await.unwrap().ino;
        let view = walk(&image, bucket, ".snapshots/v@old").await.unwrap();
        for block in [0, 1, 699, 700, 701, 1499] {
            let data = image.vfs.read(view, block * 8192, 4096).await.unwrap();
            assert!(data == noise(1 + block, 4096), "block {block}");
            let now = image
                .vfs
                .read(walk(&image, bucket, "v").await.unwrap(), block * 8192, 4096)
                .await
                .unwrap();
            assert!(now == noise(3 + block, 4096), "block {block} now");
        }
        image.vfs.delete_snapshot("b/v", "old").await.unwrap();
        cleaned(&image).await;
        assert_eq!(image.chunks(), 1500);
    }
    println!("{middles} images were from the middle of a deletion");
    cleaned_to(&n, 1).await;
    // 1,500 blocks of each of the two states that are left.
    assert_eq!(n.chunks(), 3000);
}

/// What was taken of a directory that is removed is read where the directory was, through names and keys.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_has_its_snapshots_where_it_was() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    for round in ["old", "new"] {
        n.put("b", "p/d/e/f", round.as_bytes()).await.unwrap();
        n.put("b", "p/x", round.as_bytes()).await.unwrap();
        n.vfs.create_snapshot("b/p/d/", "s").await.unwrap();
        n.vfs
            .create_snapshot("b/p/d/e/", &format!("e{round}"))
            .await
            .unwrap();
        n.vfs.create_snapshot("b/p/x", "t").await.unwrap();
        let p = n.lookup(bucket, "p").await.unwrap().ino;
        let list = n.lookup(p, ".snapshots").await.unwrap().ino;
        // What is there is not shown as what was, and comes before it.
        if round == "old" {
            assert_eq!(n.names(list).await, ["x@t"]);
        }
        assert_eq!(
            n.read(n.lookup(list, "x@t").await.unwrap().ino).await,
            round.as_bytes()
        );
        // The directories that only the object made go with it.
        for key in [&b"p/d/e/f"[..], b"p/x"] {
            n.vfs
                .delete_object("b", key, Precondition::default())
                .await
                .unwrap();
        }
        n.settle().await;
        assert!(n.lookup(bucket, "p").await.is_err());
    }
    let list = n.lookup(bucket, ".snapshots").await.unwrap().ino;
    // Of two of one name the newest is shown.
    assert_eq!(
        n.names(list).await,
        ["p:d:e@enew", "p:d:e@eold", "p:d@s", "p:x@t"]
    );
    let d = n.lookup(list, "p:d@s").await.unwrap();
    assert_eq!(n.vfs.parent(d.ino).await.unwrap(), list);
    let f = walk(&n, d.ino, "e/f").await.unwrap();
    assert_eq!(n.read(f).await, b"new");
    assert_eq!(n.get("b", ".snapshots/p:d@s/e/f").await.unwrap(), b"new");
    assert_eq!(n.get("b", ".snapshots/p:d:e@eold/f").await.unwrap(), b"old");
    assert_eq!(n.get("b", ".snapshots/p:x@t").await.unwrap(), b"new");
    assert!(matches!(
        n.put("b", ".snapshots/p:d@s/e/f", b"x").await,
        Err(Error::ReadOnly)
    ));
    let request = ListRequest {
        prefix: b".snapshots/".to_vec(),
        delimiter: Some(b"/".to_vec()),
        max: 10,
        ..ListRequest::default()
    };
    let page = n.list("b", request).await;
    assert_eq!(
        page.prefixes,
        [
            &b".snapshots/p:d:e@enew/"[..],
            b".snapshots/p:d:e@eold/",
            b".snapshots/p:d@s/"
        ]
    );
    assert_eq!(page.objects.len(), 1);
    // Part of the path is there again: so much nearer are they.
    n.put("b", "p/y", b"").await.unwrap();
    let p = n.lookup(bucket, "p").await.unwrap().ino;
    let list = n.lookup(p, ".snapshots").await.unwrap().ino;
    assert_eq!(n.names(list).await, ["d:e@enew", "d:e@eold", "d@s", "x@t"]);
    assert!(n.lookup(bucket, ".snapshots").await.is_err());
    assert_eq!(n.get("b", "p/.snapshots/d@s/e/f").await.unwrap(), b"new");
    n.vfs.delete_snapshot("b/p/d/", "s").await.unwrap();
    assert_eq!(n.get("b", "p/.snapshots/d@s/e/f").await.unwrap(), b"old");
    for (path, name) in [
        ("d/", "s"),
        ("x", "t"),
        ("x", "t"),
        ("d/e/", "eold"),
        ("d/e/", "enew"),
    ] {
        n.vfs.delete_snapshot(&format!("b/p/{path}"), name).await.unwrap();
    }
    assert!(n.lookup(p, ".snapshots").await.is_err());
    cleaned(&n).await;
}
