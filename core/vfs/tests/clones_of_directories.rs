//! Clones of directories: what they hold, what they cost, what they give back.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::collections::BTreeMap;
use std::time::Duration;

use namespace::{ME, Namespace, noise};
use vfs::{
    Attr, Creator, Error, FoundVersion, InodeNo, Kind, ListRequest, Precondition, QuotaLimits, RenameFlags,
    SetAttr, VersionId, VersionRequest, Versioning, XattrSet,
};

const INODE: u8 = 0x02;
const DENTRY: u8 = 0x03;
const EXTENT: u8 = 0x04;
const LINK: u8 = 0x07;
const LONG_NAME: u8 = 0x0c;
const SNAPSHOT: u8 = 0x31;
const PRESERVED: u8 = 0x32;
const CLONE: u8 = 0x34;
const COPIED: u8 = 0x35;
const FOLDED: u8 = 0x3a;
const FOLDED_IN: u8 = 0x3b;
const COPY: u8 = 0x3c;

/// Nothing is unfolded that nobody looks at.
async fn only_when_looked_at(n: &Namespace) {
    // It registers as soon as it runs.
    while n.store.workers().pause("unfolder").is_err() {
        tokio::task::yield_now().await;
    }
}

/// Waits until everything is unfolded.
async fn unfolded(n: &Namespace) {
    while n.store.workers().resume("unfolder").is_err() {
        tokio::task::yield_now().await;
    }
    for _ in 0..3000 {
        if n.rows(FOLDED) == 0 && n.rows(COPY) == 0 {
            assert_eq!(n.rows(FOLDED_IN), 0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} directories stay folded", n.rows(FOLDED));
}

/// Waits until nothing is left of clones and snapshots.
async fn nothing_left(n: &Namespace) {
    for _ in 0..3000 {
        if n.rows(SNAPSHOT) == 0 && n.rows(COPY) == 0 {
            n.settle().await;
            for table in [
                EXTENT, LINK, LONG_NAME, PRESERVED, CLONE, COPIED, FOLDED, FOLDED_IN,
            ] {
                assert_eq!(n.rows(table), 0, "table {table:#x}");
            }
            assert_eq!(n.chunks(), 0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} snapshots are left", n.rows(SNAPSHOT));
}

fn all_rows(n: &Namespace) -> usize {
    (0..=0x3f).map(|table| n.rows(table)).sum()
}

/// What a mount sees below a directory: kinds, attributes that a copy keeps, contents.
async fn tree(n: &Namespace, dir: InodeNo) -> BTreeMap<String, (Kind, u32, u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut next = vec![(String::new(), dir)];
    while let Some((path, dir)) = next.pop() {
        for entry in n.vfs.readdir(dir, None, 10_000).await.unwrap() {
            let Attr {
                ino,
                kind,
                mode,
                nlink,
                mtime,
                ..
            } = n.vfs.lookup(dir, &entry.name).await.unwrap();
            assert_eq!(ino, entry.attr.ino);
            let name = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
            let content = match kind {
                Kind::File => n.read(ino).await,
                Kind::Symlink => n.vfs.readlink(ino).await.unwrap(),
                _ => Vec::new(),
            };
            if kind == Kind::Directory {
                next.push((name.clone(), ino));
            }
            found.insert(name, (kind, mode, nlink, mtime.0, content));
        }
    }
    found
}

async fn remove_all(n: &Namespace, dir: InodeNo) {
    for entry in n.vfs.readdir(dir, None, 100_000).await.unwrap() {
        if entry.attr.kind == Kind::Directory {
            Box::pin(remove_all(n, entry.attr.ino)).await;
            n.vfs.rmdir(dir, &entry.name).await.unwrap();
        } else {
            n.vfs.unlink(dir, &entry.name).await.unwrap();
        }
    }
}

/// A directory `b/d` with one of everything, and `files` files beside.
async fn sample(n: &Namespace, bucket: InodeNo, files: usize) -> InodeNo {
    let d = n.dir(bucket, "d").await;
    let sub = n.dir(d, "sub").await;
    for number in 0..files {
        n.file(d, &format!("f{number:05}")).await;
    }
    n.put("b", "d/implied/deep/object", &noise(1, 300_000))
        .await
        .unwrap();
    n.put("b", &format!("d/{}", "l".repeat(300)), b"long")
        .await
        .unwrap();
    n.put("b", "d/sub/", b"a directory with bytes").await.unwrap();
    let file = n.file(sub, "file").await;
    n.write(file, 0, &noise(2, 100_000)).await;
    n.vfs
        .setxattr(file, b"user.x", b"1", XattrSet::Any)
        .await
        .unwrap();
    n.vfs.setxattr(d, b"user.y", b"2", XattrSet::Any).await.unwrap();
    n.vfs.symlink(sub, b"link", b"file", ME).await.unwrap();
    n.vfs.mknod(sub, b"fifo", Kind::Fifo, 0, ME).await.unwrap();
    let mode = SetAttr {
        mode: Some(0o751),
        uid: Some(7),
        ..SetAttr::default()
    };
    n.vfs.setattr(d, mode).await.unwrap();
    d
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_cloned_with_a_few_rows_and_each_goes_its_own_way() {
    let mut costs = Vec::new();
    for files in [0, 700] {
        let n = Namespace::new().await;
        let bucket = n.bucket("b").await;
        let d = sample(&n, bucket, files).await;
        only_when_looked_at(&n).await;
        let file = n
            .lookup(n.lookup(d, "sub").await.unwrap().ino, "file")
            .await
            .unwrap()
            .ino;
        n.write(file, 5, b"buffered").await;
        let then = tree(&n, d).await;
        n.vfs
            .flush_all(vfs::Level::Staged, Duration::from_secs(10))
            .await
            .unwrap();
        let before = all_rows(&n);
        let made = n.vfs.make_clone("b/d", "b/c/e").await.unwrap();
        costs.push(all_rows(&n) - before);
        assert_eq!((made.kind, made.mode, made.uid), (Kind::Directory, 0o751, 7));
        assert_eq!(n.vfs.getxattr(made.ino, b"user.y").await.unwrap(), b"2");
        // What changes in the origin from now on does not show, looked at or not.
        n.write(file, 0, b"later").await;
        n.vfs.fsync(file, None).await.unwrap();
        n.file(d, "later").await;
        n.vfs
            .delete_object("b", b"d/implied/deep/object", Precondition::default())
            .await
            .unwrap();
        // S3 sees it at once, and what it lists the mount finds.
        assert_eq!(
            n.get("b", "c/e/implied/deep/object").await.unwrap(),
            noise(1, 300_000)
        );
        assert_eq!(n.get("b", "c/e/sub/").await.unwrap(), b"a directory with bytes");
        let request = ListRequest {
            prefix: b"c/e/".to_vec(),
            max: 10_000,
            ..ListRequest::default()
        };
        let page = n.list("b", request).await;
        let keys: Vec<_> = page
            .objects
            .iter()
            .map(|object| String::from_utf8_lossy(&object.key).into_owned())
            .filter(|key| !key.contains("/f0"))
            .collect();
        let long = format!("c/e/{}", "l".repeat(300));
        let expected = [
            "c/e/",
            "c/e/implied/deep/object",
            &long,
            "c/e/sub/",
            "c/e/sub/file",
        ];
        assert_eq!(keys, expected);
        assert!(tree(&n, made.ino).await == then);
        let sub = n.lookup(made.ino, "sub").await.unwrap().ino;
        let clone = n.lookup(sub, "file").await.unwrap().ino;
        assert_ne!(clone, file);
        assert_eq!(n.vfs.getxattr(clone, b"user.x").await.unwrap(), b"1");
        // The other way round.
        n.write(clone, 50, b"of the clone").await;
        n.vfs.fsync(clone, None).await.unwrap();
        assert_eq!(&n.read(file).await[..5], b"later");
        assert_eq!(n.read(file).await[50..62], noise(2, 100_000)[50..62]);
        let now = tree(&n, made.ino).await;
        let n = n.reopen().await;
        assert_eq!(n.lookup(sub, "file").await.unwrap().ino, clone);
        unfolded(&n).await;
        assert!(tree(&n, made.ino).await == now);
        remove_all(&n, bucket).await;
        nothing_left(&n).await;
        assert_eq!(n.rows(INODE), 2);
        assert_eq!(n.rows(DENTRY), 1);
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0] <= 20, "{costs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_one_file_are_names_of_one_file_in_the_clone() {
    for first in ["x/one", "y/two"] {
        let n = Namespace::new().await;
        let bucket = n.bucket("b").await;
        let d = n.dir(bucket, "d").await;
        let (x, y) = (n.dir(d, "x").await, n.dir(d, "y").await);
        let file = n.file(x, "one").await;
        n.write(file, 0, b"content").await;
        n.vfs.link(file, y, b"two").await.unwrap();
        // One outside is no name of the clone's.
        n.vfs.link(file, bucket, b"outside").await.unwrap();
        only_when_looked_at(&n).await;
        let made = n.vfs.make_clone("b/d", "b/c").await.unwrap().ino;
        let (dir, name) = first.split_once('/').unwrap();
        let dir = n.lookup(made, dir).await.unwrap().ino;
        let clone = n.lookup(dir, name).await.unwrap();
        assert_eq!(clone.nlink, 2);
        // Its first name goes before anybody has seen the other.
        n.write(clone.ino, 0, b"CON").await;
        n.vfs.unlink(dir, name.as_bytes()).await.unwrap();
        n.settle().await;
        assert_eq!(n.vfs.getattr(clone.ino).await.unwrap().nlink, 1);
        let (dir, name) = if first == "x/one" {
            ("y", "two")
        } else {
            ("x", "one")
        };
        let dir = n.lookup(made, dir).await.unwrap().ino;
        let other = n.lookup(dir, name).await.unwrap();
        assert_eq!((other.ino, other.nlink), (clone.ino, 1));
        assert_eq!(n.read(other.ino).await, b"CONtent");
        assert_eq!(n.read(file).await, b"content");
        assert_eq!(n.vfs.getattr(file).await.unwrap().nlink, 3);
        let path = n.vfs.path_of(other.ino).await.unwrap().unwrap();
        assert!(path == "b/c/y/two" || path == "b/c/x/one", "{path}");
        unfolded(&n).await;
        remove_all(&n, bucket).await;
        nothing_left(&n).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_cloned_is_refused() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    n.bucket("other").await;
    let d = n.dir(bucket, "d").await;
    n.dir(d, "in").await;
    n.put("b", "file", b"").await.unwrap();
    n.vfs.create_snapshot("b/d/", "s").await.unwrap();
    let inodes = n.rows(INODE);
    for (from, to, expected) in [
        ("b/d", "other/c", "CrossBucket"),
        ("b/d", "b/d", "Exists"),
        ("b/d/", "b/file/", "Exists"),
        ("b/d", "b/d/in/c", "Invalid"),
        ("b/d", "b/d/.snapshots/x", "ReadOnly"),
        ("b", "b/c", "Invalid"),
        ("b/none", "b/c", "NotFound"),
        ("b/d@none", "b/c", "NotFound"),
        ("b/file", "b/c/", "InvalidName"),
    ] {
        let refused = n.vfs.make_clone(from, to).await.unwrap_err();
        assert!(
            format!("{refused:?}").starts_with(expected),
            "{from} {to}: {refused:?}"
        );
    }
    assert_eq!((n.rows(INODE), n.rows(FOLDED)), (inodes, 0));
    // Of a snapshot it may well lie in what that was taken of.
    n.vfs.make_clone("b/d@s", "b/d/then/").await.unwrap();
    let then = n.lookup(d, "then").await.unwrap().ino;
    assert_eq!(n.names(then).await, ["in"]);
}

/// A folded directory is there for every operation as one that is not.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_meets_a_folded_directory() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let d = n.dir(bucket, "d").await;
    n.file(d, "f").await;
    n.put("b", "d/o", b"object").await.unwrap();
    n.vfs.create_volume("b/d/v", 1 << 20, 512, "").await.unwrap();
    let sub = n.dir(d, "sub").await;
    n.file(sub, "g").await;
    n.vfs.create_snapshot("b/d/", "s").await.unwrap();
    only_when_looked_at(&n).await;
    let elsewhere = n.dir(bucket, "elsewhere").await;
    let mut clones = 0;
    let mut clone = async || {
        clones += 1;
        let name = format!("c{clones}");
        let made = n.vfs.make_clone("b/d@s", &format!("b/{name}")).await.unwrap();
        assert!(n.rows(FOLDED_IN) >= 1);
        (name, made.ino)
    };
    let flags = RenameFlags::default();
    let creator = Creator { mode: 0o755, ..ME };
    let (_, c) = clone().await;
    assert!(matches!(
        n.vfs.mkdir(c, b"sub", creator).await,
        Err(Error::Exists)
    ));
    let (_, c) = clone().await;
    n.vfs.unlink(c, b"f").await.unwrap();
    assert_eq!(n.names(c).await, ["o", "sub", "v"]);
    let (name, c) = clone().await;
    assert!(matches!(
        n.vfs.rmdir(bucket, name.as_bytes()).await,
        Err(Error::NotEmpty)
    ));
    n.vfs.rename(c, b"sub", elsewhere, b"moved", flags).await.unwrap();
    let moved = n.lookup(elsewhere, "moved").await.unwrap().ino;
    assert_eq!(n.names(moved).await, ["g"]);
    // Itself it moves folded.
    let (name, c) = clone().await;
    n.vfs
        .rename(bucket, name.as_bytes(), elsewhere, b"whole", flags)
        .await
        .unwrap();
    assert_eq!(n.vfs.path_of(c).await.unwrap().unwrap(), "b/elsewhere/whole/");
    assert_eq!(n.names(c).await, ["f", "o", "sub", "v"]);
    let (_, c) = clone().await;
    let f = n.file(elsewhere, "f").await;
    n.vfs.link(f, c, b"new").await.unwrap();
    assert!(matches!(n.vfs.link(f, c, b"f").await, Err(Error::Exists)));
    let (name, _) = clone().await;
    assert_eq!(n.get("b", &format!("{name}/o")).await.unwrap(), b"object");
    let (name, _) = clone().await;
    n.put("b", &format!("{name}/o"), b"new").await.unwrap();
    assert!(n.keys("b").await.contains(&format!("{name}/sub/g")));
    let (name, _) = clone().await;
    let key = format!("{name}/o");
    assert!(
        n.vfs
            .delete_object("b", key.as_bytes(), Precondition::default())
            .await
            .unwrap()
    );
    let (name, _) = clone().await;
    assert_eq!(
        n.vfs
            .export(format!("b/{name}/v").as_bytes())
            .await
            .unwrap()
            .sector,
        512
    );
    let (name, _) = clone().await;
    n.vfs.delete_volume(&format!("b/{name}/v")).await.unwrap();
    let (name, _) = clone().await;
    n.vfs
        .create_snapshot(&format!("b/{name}/sub/"), "t")
        .await
        .unwrap();
    n.vfs
        .delete_snapshot(&format!("b/{name}/sub/"), "t")
        .await
        .unwrap();
    // A snapshot of all has all, and clones of clones have it, too.
    let (name, c) = clone().await;
    n.vfs.create_snapshot("b", "all").await.unwrap();
    assert_eq!(n.rows(FOLDED), 0);
    n.vfs.unlink(c, b"f").await.unwrap();
    assert_eq!(
        n.get("b", &format!(".snapshots/all/{name}/o")).await.unwrap(),
        b"object"
    );
    let (name, _) = clone().await;
    n.vfs.make_clone(&format!("b/{name}"), "b/again").await.unwrap();
    n.vfs.make_clone("b/again", "b/and/again").await.unwrap();
    assert_eq!(n.get("b", "and/again/o").await.unwrap(), b"object");
    let (name, c) = clone().await;
    let limits = QuotaLimits {
        bytes: Some(1 << 30),
        inodes: None,
    };
    n.vfs.set_quota(c, limits).await.unwrap();
    for _ in 0..1000 {
        if n.vfs.quota(c).await.unwrap().unwrap().counted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let used = async || {
        let quota = n.vfs.quota(c).await.unwrap().unwrap();
        (quota.used_inodes, quota.used_bytes, quota.counted)
    };
    assert_eq!(used().await, (5, 6, true), "{name}, without what is folded in it");
    let sub = n.lookup(c, "sub").await.unwrap().ino;
    assert_eq!(n.names(sub).await, ["g"]);
    assert_eq!(used().await, (6, 6, true));
    n.vfs.delete_snapshot("b/d/", "s").await.unwrap();
    n.vfs.delete_snapshot("b", "all").await.unwrap();
    unfolded(&n).await;
    remove_all(&n, bucket).await;
    nothing_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_removed_at_once_and_nothing_is_taken_over_for_that() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    n.vfs
        .set_trash("b", Some(Duration::from_secs(3600)))
        .await
        .unwrap();
    let d = sample(&n, bucket, 700).await;
    let (x, y) = (n.dir(d, "x").await, n.dir(d, "y").await);
    let linked = n.file(x, "one").await;
    n.write(linked, 0, b"content").await;
    n.vfs.link(linked, y, b"two").await.unwrap();
    n.vfs.link(linked, bucket, b"outside").await.unwrap();
    only_when_looked_at(&n).await;
    n.vfs.create_snapshot("b/d/", "s").await.unwrap();
    let then = tree(&n, d).await;
    let inodes = n.rows(INODE);
    // Not looked at: one inode more, and gone again.
    n.vfs.make_clone("b/d@s", "b/c").await.unwrap();
    assert_eq!(n.rows(INODE), inodes + 1);
    n.vfs.remove_tree("b/c/").await.unwrap();
    assert!(n.lookup(bucket, "c").await.is_err());
    n.settle().await;
    assert_eq!((n.rows(INODE), n.rows(FOLDED)), (inodes, 0));
    // Looked at in part, one of two names of a file included; and somebody has a file of it open.
    let c = n.vfs.make_clone("b/d@s", "b/c").await.unwrap().ino;
    let in_x = n.lookup(c, "x").await.unwrap().ino;
    let one = n.lookup(in_x, "one").await.unwrap().ino;
    n.vfs.open_inode(one).await.unwrap();
    assert_eq!((n.rows(COPY), n.rows(FOLDED) > 0), (1, true));
    n.vfs.remove_tree("b/c").await.unwrap();
    for _ in 0..1000 {
        if n.rows(FOLDED) == 0 && n.rows(INODE) == inodes + 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(n.read(one).await, b"content");
    n.vfs.close(one).await.unwrap();
    unfolded(&n).await;
    n.settle().await;
    assert_eq!(n.rows(INODE), inodes);
    // What is no clone goes as well; a name elsewhere and the snapshot stay, and nothing is in the trash.
    n.vfs.remove_tree("b/d").await.unwrap();
    n.settle().await;
    assert_eq!(n.vfs.getattr(linked).await.unwrap().nlink, 1);
    assert_eq!(n.read(linked).await, b"content");
    assert_eq!(n.vfs.trashed("b", b"", 10).await.unwrap(), []);
    let list = n.lookup(bucket, ".snapshots").await.unwrap().ino;
    let view = n.lookup(list, "d@s").await.unwrap().ino;
    assert!(tree(&n, view).await == then);
    for (path, expected) in [
        ("b/d", "NotFound"),
        ("b/outside", "NotFound"),
        ("b/.trash", "NotPermitted"),
        ("b/.snapshots/d@s/x", "ReadOnly"),
        ("none/d", "NoSuchBucket"),
        ("b", "InvalidName"),
    ] {
        let refused = n.vfs.remove_tree(path).await.unwrap_err();
        assert!(
            format!("{refused:?}").starts_with(expected),
            "{path}: {refused:?}"
        );
    }
    n.vfs.delete_snapshot("b/d", "s").await.unwrap();
    n.vfs.set_trash("b", None).await.unwrap();
    n.vfs.unlink(bucket, b"outside").await.unwrap();
    nothing_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfolding_goes_on_after_a_crash() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let d = sample(&n, bucket, 1500).await;
    let then = tree(&n, d).await;
    only_when_looked_at(&n).await;
    let made = n.vfs.make_clone("b/d", "b/c").await.unwrap().ino;
    n.vfs.sync_namespace().await.unwrap();
    let before = n.rows(INODE);
    let vfs = n.vfs.clone();
    let looking = tokio::spawn(async move { vfs.lookup(made, b"sub").await.unwrap().ino });
    let mut images = Vec::new();
    while !looking.is_finished() {
        if n.rows(INODE) > before && images.len() < 3 {
            images.push(n.crash_image().await);
        }
        tokio::task::yield_now().await;
    }
    let sub = looking.await.unwrap();
    images.push(n.crash_image().await);
    for image in &images {
        assert!(tree(image, made).await == then);
        unfolded(image).await;
    }
    n.vfs.sync_namespace().await.unwrap();
    let image = n.crash_image().await;
    assert_eq!(image.lookup(made, "sub").await.unwrap().ino, sub);
}

/// Whoever looks first, whatever others do and however far the worker is: all see the same inodes.
#[tokio::test(flavor = "multi_thread")]
async fn many_who_look_at_once_see_the_same_inodes() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let d = n.dir(bucket, "d").await;
    let mut names = Vec::new();
    for number in 0..300 {
        let (dir, name) = (format!("s{}", number % 3), format!("f{number}"));
        let parent = match n.lookup(d, &dir).await {
            Ok(found) => found.ino,
            Err(_) => n.dir(d, &dir).await,
        };
        n.file(parent, &name).await;
        names.push((dir, name));
    }
    let made = n.vfs.make_clone("b/d", "b/c").await.unwrap().ino;
    let tasks: Vec<_> = (0..6)
        .map(|task| {
            let (vfs, names) = (n.vfs.clone(), names.clone());
            tokio::spawn(async move {
                let mut seen = BTreeMap::new();
                for at in 0..names.len() {
                    let (dir, name) = &names[(at * 7 + task * 50) % names.len()];
                    let dir = vfs.lookup(made, dir.as_bytes()).await.unwrap().ino;
                    if task == 0 && at % 10 == 0 {
                        let new = format!("new{at}");
                        vfs.mknod(dir, new.as_bytes(), Kind::File, 0, ME).await.unwrap();
                    }
                    let found = vfs.lookup(dir, name.as_bytes()).await.unwrap();
                    seen.insert(name.clone(), found.ino);
                }
                seen
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    assert!(all.iter().all(|seen| *seen == all[0]));
    unfolded(&n).await;
    n.settle().await;
    assert_eq!(tree(&n, made).await.len(), 3 + 300 + 30);
    remove_all(&n, bucket).await;
    nothing_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_what_is_folded_are_those_of_the_origin() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let d = n.dir(bucket, "d").await;
    let e = n.dir(d, "e").await;
    let file = n.file(e, "f").await;
    n.write(file, 0, b"content").await;
    only_when_looked_at(&n).await;
    n.vfs.make_clone("b/d", "b/c").await.unwrap();
    let all = VersionRequest {
        max: 100,
        ..VersionRequest::default()
    };
    let listed = n.vfs.list_versions("b", all).await.unwrap();
    let keys: Vec<_> = listed.entries.iter().map(|entry| entry.key.clone()).collect();
    for key in ["c/e/f", "d/e/f"] {
        assert!(keys.contains(&key.as_bytes().to_vec()), "{keys:?}");
    }
    n.vfs.make_clone("b/d", "b/g").await.unwrap();
    let found = n.vfs.get_version("b", b"g/e/f", VersionId::NULL).await.unwrap();
    assert!(matches!(found, FoundVersion::Object(_)));
    // A bucket that keeps what is deleted keeps it from this, too.
    n.vfs
        .set_versioning("b", Some(Versioning::Enabled))
        .await
        .unwrap();
    assert!(matches!(n.vfs.remove_tree("b/g").await, Err(Error::Invalid(_))));
    assert!(n.lookup(bucket, "g").await.is_ok());
}
