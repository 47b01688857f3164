//! What operations cost, in rows read and written: time says little on a busy machine.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::sync::Arc;

use meta::observed::{Counts, Observed, Observer};
use meta::{FjallEngine, Meta};
use namespace::{ME, Namespace, quiet};
use tempfile::TempDir;
use vfs::posix::Allocate;
use vfs::{InodeNo, Kind, Level, ListRequest, RenameFlags, SetAttr};

const EXTENT: u8 = 0x04;

struct Watched {
    n: Namespace,
    observer: Observer,
}

impl Watched {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir_all(dir.path().join("meta")).unwrap();
        let engine = FjallEngine::open(&dir.path().join("meta/fjall"), 16 << 20).unwrap();
        let observer = Observer::default();
        let engine = Observed::new(engine, observer.clone());
        let meta = Meta::over(Arc::new(engine), &dir.path().join("meta/guard")).unwrap();
        let n = Namespace::over(dir, quiet(), meta).await;
        n.settle().await;
        Self { n, observer }
    }

    /// What `f` costs.
    async fn cost(&self, f: impl AsyncFnOnce(&Namespace)) -> Counts {
        let before = self.observer.counts();
        f(&self.n).await;
        self.observer.counts().since(&before)
    }

    /// Makes `count` files, in parallel.
    async fn fill(&self, dir: InodeNo, count: usize) {
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let vfs = self.n.vfs.clone();
                tokio::spawn(async move {
                    for number in (task..count).step_by(8) {
                        let name = format!("f{number:06}");
                        vfs.mknod(dir, name.as_bytes(), Kind::File, 0, ME).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_the_cache_holds_touches_no_engine() {
    let w = Watched::new().await;
    let bucket = w.n.bucket("b").await;
    let dir = w.n.dir(bucket, "d").await;
    let file = w.n.file(dir, "f").await;
    let look = async |n: &Namespace| {
        let attr = n.lookup(dir, "f").await.unwrap();
        assert_eq!(n.vfs.getattr(file).await.unwrap(), attr);
        assert_eq!(n.vfs.getattr(dir).await.unwrap().ino, dir);
        assert!(n.lookup(dir, "nothing").await.is_err());
    };
    let first = w.cost(look).await;
    assert!(first.gets > 0);
    assert_eq!(w.cost(look).await.reads(), 0);
    // Whatever changes is seen at once, and only that is looked up again.
    w.n.write(file, 0, b"grown").await;
    w.n.vfs.fsync(file, None).await.unwrap();
    assert_eq!(w.n.lookup(dir, "f").await.unwrap().size, 5);
    w.cost(look).await;
    assert_eq!(w.cost(look).await.reads(), 0);
    w.n.file(dir, "nothing").await;
    assert!(w.n.lookup(dir, "nothing").await.is_ok());
    w.n.vfs
        .rename(dir, b"f", bucket, b"f", RenameFlags::default())
        .await
        .unwrap();
    assert!(w.n.lookup(dir, "f").await.is_err());
    assert_eq!(w.n.lookup(bucket, "f").await.unwrap().ino, file);
    // Through the other door, too.
    w.n.put("b", "f", b"new").await.unwrap();
    assert_eq!(w.n.lookup(bucket, "f").await.unwrap().size, 3);
    w.n.vfs
        .delete_object("b", b"f", Default::default())
        .await
        .unwrap();
    assert!(w.n.lookup(bucket, "f").await.is_err());
}

/// Writers change one directory while readers look: nobody sees an older state than they were
/// answered about.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_what_the_next_lookup_sees() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let tasks: Vec<_> = (0..6)
        .map(|task| {
            let vfs = n.vfs.clone();
            tokio::spawn(async move {
                let name = format!("{}", task % 3);
                let mine = format!("mine-{task}");
                for round in 0..150u64 {
                    let made = vfs
                        .mknod(bucket, mine.as_bytes(), Kind::File, 0, ME)
                        .await
                        .unwrap();
                    assert_eq!(vfs.lookup(bucket, mine.as_bytes()).await.unwrap().ino, made.ino);
                    let data = bytes::Bytes::from(vec![1; round as usize + 1]);
                    vfs.write(made.ino, 0, data).await.unwrap();
                    vfs.fsync(made.ino, None).await.unwrap();
                    assert_eq!(vfs.getattr(made.ino).await.unwrap().size, round + 1);
                    // Shared names, which others replace at any moment.
                    let flags = RenameFlags::default();
                    vfs.rename(bucket, mine.as_bytes(), bucket, name.as_bytes(), flags)
                        .await
                        .unwrap();
                    assert!(vfs.lookup(bucket, mine.as_bytes()).await.is_err());
                    assert!(vfs.lookup(bucket, name.as_bytes()).await.is_ok());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(n.names(bucket).await, ["0", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_directory_costs_the_same_wherever_it_lies() {
    const FILES: usize = 6_000;
    const PAGE: usize = 500;
    let w = Watched::new().await;
    let bucket = w.n.bucket("b").await;
    let dir = w.n.dir(bucket, "d").await;
    w.fill(dir, FILES).await;
    let (mut costs, mut after, mut seen) = (Vec::new(), None, 0);
    loop {
        let mut page = Vec::new();
        let cost = w
            .cost(async |n: &Namespace| page = n.vfs.readdir(dir, after.clone(), PAGE).await.unwrap())
            .await;
        let Some(last) = page.last() else { break };
        after = Some(last.position.clone());
        seen += page.len();
        costs.push(cost);
    }
    assert_eq!((seen, costs.len()), (FILES, FILES / PAGE));
    for cost in &costs {
        // Each entry: its name and its inode. Whether a directory hides it shows in the name that follows.
        // Inodes of neighbours are scanned, past the few that lie between them.
        assert!(cost.reads() <= 6 * PAGE as u64 + 8, "{cost:?}");
        assert!(cost.gets + cost.ranges <= PAGE as u64 + 8, "{cost:?}");
        assert_eq!(cost.commits, 0);
    }
    let (mut pages, mut start_after) = (0, None);
    loop {
        let mut page = None;
        let cost = w
            .cost(async |n: &Namespace| {
                let request = ListRequest {
                    prefix: b"d/".to_vec(),
                    start_after: start_after.clone(),
                    max: PAGE,
                    ..ListRequest::default()
                };
                page = Some(n.list("b", request).await);
            })
            .await;
        let page = page.unwrap();
        pages += 1;
        // Records of neighbours are scanned, past the few that lie between them.
        assert!(cost.reads() <= 6 * PAGE as u64 + 16, "{cost:?}");
        assert!(cost.gets + cost.ranges <= PAGE as u64 + 16, "{cost:?}");
        start_after = page.next;
        if start_after.is_none() {
            break;
        }
    }
    // The directory was made by a mount, so it is an object of its own.
    assert_eq!(pages, FILES / PAGE + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_objects_made_in_order_is_two_scans() {
    const PAGE: usize = 50;
    const PAGES: usize = 6;
    let w = Watched::new().await;
    w.n.bucket("b").await;
    for number in 0..PAGE * PAGES {
        w.n.put("b", &format!("k{number:04}"), b"x").await.unwrap();
    }
    let mut start_after = None;
    for _ in 0..PAGES {
        let mut page = None;
        let cost = w
            .cost(async |n: &Namespace| {
                let request = ListRequest {
                    start_after: start_after.clone(),
                    max: PAGE,
                    ..ListRequest::default()
                };
                page = Some(n.list("b", request).await);
            })
            .await;
        let page = page.unwrap();
        assert_eq!(page.objects.len(), PAGE);
        // The same for the first page and the last: names and records, once each.
        assert!(cost.rows <= 6 * PAGE as u64, "{cost:?}");
        assert!(cost.gets + cost.ranges <= 16, "{cost:?}");
        start_after = page.next;
    }
    assert!(start_after.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_names_made_together_is_two_scans_in_a_mount_too() {
    const FILES: u64 = 600;
    let w = Watched::new().await;
    let bucket = w.n.bucket("b").await;
    let dir = w.n.dir(bucket, "d").await;
    // In another order than that of their names; and names that lead to one inode.
    for number in 0..FILES {
        w.n.file(dir, &format!("f{:03}", number * 7 % FILES)).await;
    }
    let linked = w.n.lookup(dir, "f000").await.unwrap().ino;
    w.n.vfs.link(linked, dir, b"g").await.unwrap();
    w.n.settle().await;
    let mut page = Vec::new();
    let cost = w
        .cost(async |n: &Namespace| page = n.vfs.readdir(dir, None, 1000).await.unwrap())
        .await;
    assert_eq!((cost.rows, cost.ranges), (2 * FILES + 1, 2), "{cost:?}");
    assert!(cost.gets <= 8, "{cost:?}");
    assert_eq!(page.len() as u64, FILES + 1);
    for entry in page {
        let name = String::from_utf8(entry.name).unwrap();
        assert_eq!(w.n.lookup(dir, &name).await.unwrap(), entry.attr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_does_not_read_what_it_skips() {
    const TOPS: u64 = 12;
    const DEPTH: u64 = 6;
    let w = Watched::new().await;
    w.n.bucket("b").await;
    for top in 0..TOPS {
        for file in 0..40 {
            let key = format!("top{top:02}/a/b/c/d/e/f{file:02}");
            w.n.put("b", &key, b"x").await.unwrap();
        }
    }
    let list = async |prefix: &str| {
        let mut page = None;
        let cost = w
            .cost(async |n: &Namespace| {
                let request = ListRequest {
                    prefix: prefix.as_bytes().to_vec(),
                    delimiter: Some(b"/".to_vec()),
                    max: 1000,
                    ..ListRequest::default()
                };
                page = Some(n.list("b", request).await);
            })
            .await;
        (page.unwrap(), cost)
    };
    let (page, cost) = list("").await;
    assert_eq!((page.prefixes.len() as u64, page.objects.len()), (TOPS, 0));
    // One way down for each prefix: a name and an inode on each level, and the seek behind it.
    assert!(cost.reads() <= TOPS * (2 * DEPTH + 4) + 16, "{cost:?}");
    let (page, cost) = list("top07/a/b/").await;
    assert_eq!(page.prefixes, [b"top07/a/b/c/".to_vec()]);
    assert!(cost.reads() <= 3 * DEPTH + 16, "{cost:?}");
    let (page, cost) = list("top07/a/b/c/d/e/f0").await;
    assert_eq!(page.objects.len(), 10);
    assert!(cost.reads() <= 6 * 10 + 3 * DEPTH + 16, "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn making_and_renaming_a_file_takes_few_rows() {
    let w = Watched::new().await;
    let bucket = w.n.bucket("b").await;
    let dir = w.n.dir(bucket, "d").await;
    w.n.file(dir, "first").await;
    let made = w
        .cost(async |n: &Namespace| {
            n.file(dir, "f").await;
        })
        .await;
    // The directory, the two forms of the name, whether the bucket has versions, the snapshots; name, inode,
    // times of the directory.
    assert_eq!((made.commits, made.reads(), made.writes), (1, 5, 3), "{made:?}");
    assert!(w.n.lookup(dir, "f").await.is_ok());
    let renamed = w
        .cost(async |n: &Namespace| {
            let flags = RenameFlags::default();
            n.vfs.rename(dir, b"f", dir, b"g", flags).await.unwrap();
        })
        .await;
    // The directory, both forms of both names, the inode, what becomes of versions, the snapshots; both names,
    // inode, times.
    assert_eq!(
        (renamed.commits, renamed.reads(), renamed.writes),
        (1, 8, 4),
        "{renamed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn renaming_a_directory_is_one_transaction_of_a_few_rows_whatever_it_holds() {
    let w = Watched::new().await;
    let bucket = w.n.bucket("b").await;
    let other = w.n.dir(bucket, "other").await;
    let mut writes = Vec::new();
    for (name, files) in [("small", 1), ("large", 3_000)] {
        let dir = w.n.dir(bucket, name).await;
        w.fill(dir, files).await;
        w.n.put("b", &format!("{name}/deep/er/object"), b"x")
            .await
            .unwrap();
        let cost = w
            .cost(async |n: &Namespace| {
                n.vfs
                    .rename(
                        bucket,
                        name.as_bytes(),
                        other,
                        name.as_bytes(),
                        RenameFlags::default(),
                    )
                    .await
                    .unwrap();
            })
            .await;
        assert_eq!(cost.commits, 1);
        assert!(cost.writes <= 10 && cost.reads() <= 32, "{cost:?}");
        writes.push(cost.writes);
        let key = format!("other/{name}/deep/er/object");
        assert_eq!(w.n.get("b", &key).await.unwrap(), b"x");
    }
    assert_eq!(writes[0], writes[1]);
}

/// What is changed in one bucket asks no snapshot of another.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_other_buckets_cost_no_rows() {
    let w = Watched::new().await;
    let bucket = w.n.bucket("b").await;
    let dir = w.n.dir(bucket, "d").await;
    let other = w.n.bucket("other").await;
    let mut costs = Vec::new();
    for round in 0..2 {
        for number in 0..20 {
            w.n.file(dir, &format!("f{number}")).await;
        }
        let renamed = RenameFlags::default();
        if round == 1 {
            for number in 0..100 {
                let name = format!("o{number}");
                w.n.dir(other, &name).await;
                w.n.vfs
                    .create_snapshot(&format!("other/{name}/"), "s")
                    .await
                    .unwrap();
            }
        }
        w.n.settle().await;
        let cost = w
            .cost(async |n: &Namespace| {
                for number in 0..20 {
                    let (name, new) = (format!("f{number}"), format!("g{number}"));
                    let file = n.lookup(dir, &name).await.unwrap().ino;
                    n.write(file, 0, b"content").await;
                    n.vfs.fsync(file, None).await.unwrap();
                    n.vfs
                        .rename(dir, name.as_bytes(), dir, new.as_bytes(), renamed)
                        .await
                        .unwrap();
                }
            })
            .await;
        for number in 0..20 {
            w.n.vfs
                .unlink(dir, format!("g{number}").as_bytes())
                .await
                .unwrap();
        }
        w.n.settle().await;
        costs.push(cost);
    }
    // Workers look in between; 20 files asking 100 snapshots would be thousands of rows.
    let [before, after] = [&costs[0], &costs[1]].map(|cost| (cost.gets, cost.writes));
    assert!(after.0 <= before.0 + 150 && after.1 <= before.1 + 20, "{costs:?}");
}

/// A file of so many extents with holes between them: some that are written, and copies of them.
async fn in_pieces(w: &Watched, extents: u64) -> (InodeNo, u64) {
    const WRITTEN: u64 = 1000;
    const APART: u64 = 1024;
    let bucket = w.n.bucket("b").await;
    let ino = w.n.file(bucket, "f").await;
    for number in 0..WRITTEN {
        w.n.write(ino, number * APART, &[1; 16]).await;
    }
    w.n.vfs.fsync(ino, None).await.unwrap();
    for copy in 1..extents / WRITTEN {
        let len = WRITTEN * APART;
        w.n.vfs
            .copy_range(ino, 0, ino, copy * len, len - 512)
            .await
            .unwrap();
    }
    assert_eq!(w.n.rows(EXTENT) as u64, extents);
    (ino, extents * APART)
}

#[tokio::test(flavor = "multi_thread")]
async fn cutting_off_or_discarding_many_extents_takes_many_transactions_of_bounded_size() {
    let w = Watched::new().await;
    let (ino, size) = in_pieces(&w, 10_000).await;
    // A hole in the middle; then all of it.
    let (begin, end) = (size / 10, size - size / 10);
    for cut in [Some(begin..end), None] {
        let left = match &cut {
            Some(_) => 2000,
            None => 0,
        };
        w.observer.write_down();
        if let Some(hole) = cut {
            w.n.vfs
                .allocate(ino, hole.start, hole.end - hole.start, Allocate::Punch)
                .await
                .unwrap();
        } else {
            let empty = SetAttr {
                size: Some(0),
                ..SetAttr::default()
            };
            w.n.vfs.setattr(ino, empty).await.unwrap();
        }
        w.n.vfs.fsync(ino, None).await.unwrap();
        let work = w.observer.written_down();
        let most = work.iter().map(meta::observed::Work::writes).max();
        assert!(most.unwrap() < 10_000, "{most:?}");
        assert_eq!(w.n.rows(EXTENT), left);
        let attr = w.n.vfs.getattr(ino).await.unwrap();
        assert_eq!(attr.allocated, 16 * left as u64);
        let image = w.n.crash_image().await;
        assert_eq!(image.vfs.getattr(ino).await.unwrap(), attr);
    }
    w.n.settle().await;
    assert_eq!(w.n.chunks(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_of_a_file_that_begins_with_a_staged_chunk_costs_little() {
    let w = Watched::new().await;
    let (ino, _) = in_pieces(&w, 10_000).await;
    let asked = w
        .cost(async |n| {
            assert_eq!(n.vfs.level(ino).await.unwrap(), Some(Level::Staged));
            let head = n.vfs.get_object("b", b"f").await.unwrap();
            assert_eq!(head.level().await.unwrap(), Some(Level::Staged));
        })
        .await;
    assert!(asked.reads() < 500, "{asked:?}");
}
