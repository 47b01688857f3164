//! Two gateways on one namespace: what each does is seen by the other, and nothing is taken from it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::large_stack_arrays)] // tests
mod namespace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use meta::observed::{Observed, Observer};
use meta::shared::Opening;
use meta::{FjallEngine, Meta};
use namespace::{ME, Namespace, noise};
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;
use vfs::{Error, InodeNo, Kind, LockRequest, Locked, Precondition, RenameFlags, SetAttr};

/// How long something may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two gateways, and who watches what they ask of the metadata.
struct Two {
    a: Namespace,
    b: Namespace,
    observer: Observer,
    _dir: TempDir,
}

impl Two {
    async fn new() -> Self {
        Self::patient(PATIENCE).await
    }

    /// Two that declare each other dead after so much silence.
    async fn patient(patience: Duration) -> Self {
        let dir = TempDir::new().unwrap();
        let observer = Observer::default();
        let engine = FjallEngine::open(&dir.path().join("meta"), 8 << 20).unwrap();
        let first = Opening::first(Arc::new(Observed::new(engine, observer.clone())));
        let second = first.another();
        let over = |opening| Meta::over(Arc::new(opening), &dir.path().join("guard")).unwrap();
        let gateway = |opening| Namespace::member(TempDir::new().unwrap(), over(opening), patience);
        let (a, b) = (gateway(first).await, gateway(second).await);
        Self {
            a,
            b,
            observer,
            _dir: dir,
        }
    }
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !done().await {
        assert!(Instant::now() < give_up, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn whole(owner: u64, exclusive: bool) -> LockRequest {
    LockRequest {
        owner,
        first: 0,
        last: u64::MAX,
        exclusive,
        pid: 7,
    }
}

async fn never() {
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_commits_the_next_look_through_the_other_shows() {
    let Two { a, b, .. } = Two::new().await;
    let bucket = a.bucket("b").await;
    assert_eq!(b.lookup(InodeNo::ROOT, "b").await.unwrap().ino, bucket);
    assert!(b.lookup(bucket, "f").await.is_err());
    let file = a.file(bucket, "f").await;
    assert_eq!(b.lookup(bucket, "f").await.unwrap().ino, file);
    let mode = SetAttr {
        mode: Some(0o600),
        ..SetAttr::default()
    };
    b.vfs.setattr(file, mode).await.unwrap();
    assert_eq!(a.vfs.getattr(file).await.unwrap().mode, 0o600);
    b.vfs
        .rename(bucket, b"f", bucket, b"g", RenameFlags::default())
        .await
        .unwrap();
    assert!(a.lookup(bucket, "f").await.is_err());
    assert_eq!(a.lookup(bucket, "g").await.unwrap().ino, file);
    // Exactly one of two makes a name, and one of two conditional PUTs is the first.
    let (one, two) = tokio::join!(
        a.vfs.mknod(bucket, b"only", Kind::File, 0, ME),
        b.vfs.mknod(bucket, b"only", Kind::File, 0, ME)
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    b.put("b", "object", b"first").await.unwrap();
    assert_eq!(a.get("b", "object").await.unwrap(), b"first");
    a.put("b", "object", b"the second").await.unwrap();
    assert_eq!(b.get("b", "object").await.unwrap(), b"the second");
    assert_eq!(b.lookup(bucket, "object").await.unwrap().size, 10);
    assert!(
        b.vfs
            .delete_object("b", b"object", Precondition::default())
            .await
            .unwrap()
    );
    assert!(a.vfs.head_object("b", b"object").await.is_err());
    assert!(a.lookup(bucket, "object").await.is_err());
}

/// The names and attributes that a mount asks for again and again stay in memory here, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_not_read_again_until_another_gateway_changes_it() {
    let two = Two::new().await;
    let Two { a, b, .. } = &two;
    let bucket = a.bucket("b").await;
    let file = a.file(bucket, "f").await;
    let look = async || b.lookup(bucket, "f").await;
    look().await.unwrap();
    // Beats of members are written and read meanwhile: so the least of some tries.
    let mut least = u64::MAX;
    for _ in 0..20 {
        let before = two.observer.counts();
        look().await.unwrap();
        least = least.min(two.observer.counts().since(&before).reads());
    }
    assert_eq!(least, 0);
    a.vfs.unlink(bucket, b"f").await.unwrap();
    assert!(matches!(look().await, Err(Error::NotFound)));
    let again = a.file(bucket, "f").await;
    assert_ne!(again, file);
    assert_eq!(look().await.unwrap().ino, again);
}

#[tokio::test(flavor = "multi_thread")]
async fn written_bytes_show_elsewhere_when_they_are_stored() {
    let Two { a, b, .. } = Two::new().await;
    let bucket = a.bucket("b").await;
    let file = a.file(bucket, "f").await;
    let read = async |n: &Namespace| n.vfs.read(file, 0, 100).await.unwrap();
    a.write(file, 0, b"one").await;
    assert_eq!(read(&a).await, "one");
    assert_eq!(read(&b).await, "", "buffered at the other gateway");
    // As a mount does when a file is closed.
    a.vfs.publish(file).await.unwrap();
    assert_eq!(read(&b).await, "one");
    assert_eq!(b.vfs.open_inode(file).await.unwrap().size, 3);
    b.vfs.close(file).await.unwrap();
    b.write(file, 3, b" two").await;
    b.vfs.fsync(file, None).await.unwrap();
    assert_eq!(read(&a).await, "one two");
    assert_eq!(a.get("b", "f").await.unwrap(), b"one two");
    // An object is of the moment of the request, whoever wrote.
    a.write(file, 0, b"ONE").await;
    assert_eq!(a.get("b", "f").await.unwrap(), b"ONE two");
    assert_eq!(b.get("b", "f").await.unwrap(), b"ONE two");
}

/// Both write, cut and lengthen the same files at the same time. What is left is what was stored last,
/// byte by byte, and nothing lies beyond the end.
#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_a_file_leave_a_file() {
    let Two { a, b, .. } = Two::new().await;
    let bucket = a.bucket("b").await;
    let mut random = rand::rngs::StdRng::seed_from_u64(5);
    for round in 0..12 {
        let file = a.file(bucket, &format!("{round}")).await;
        for _ in 0..40 {
            let n = if random.random_bool(0.5) { &a } else { &b };
            let at = random.random_range(0..3000u64);
            match random.random_range(0..6) {
                0..3 => n.write(file, at, &[round as u8 + 1; 200]).await,
                3 => {
                    let size = SetAttr {
                        size: Some(at),
                        ..SetAttr::default()
                    };
                    n.vfs.setattr(file, size).await.unwrap();
                }
                4 => {
                    n.vfs
                        .append(file, Bytes::from_static(&[99; 50]))
                        .await
                        .map(drop)
                        .unwrap();
                }
                _ => n.vfs.fsync(file, None).await.unwrap(),
            }
        }
        a.vfs.fsync(file, None).await.unwrap();
        b.vfs.fsync(file, None).await.unwrap();
        let size = a.vfs.open_inode(file).await.unwrap().size;
        assert_eq!(b.vfs.open_inode(file).await.unwrap().size, size);
        let seen = a.vfs.read(file, 0, 10_000).await.unwrap();
        assert_eq!(seen.len() as u64, size);
        assert_eq!(b.vfs.read(file, 0, 10_000).await.unwrap(), seen);
        let longer = SetAttr {
            size: Some(20_000),
            ..SetAttr::default()
        };
        a.vfs.setattr(file, longer).await.unwrap();
        let beyond = a.vfs.read(file, size, 20_000).await.unwrap();
        assert!(beyond.iter().all(|byte| *byte == 0), "round {round}");
    }
}

/// Who only appends loses nothing to others who append, whichever gateways they use.
#[tokio::test(flavor = "multi_thread")]
async fn appenders_of_both_gateways_never_overlap() {
    const RECORDS: usize = 60;
    let Two { a, b, .. } = Two::new().await;
    let bucket = a.bucket("b").await;
    let file = a.file(bucket, "log").await;
    let appender = |n: &Namespace, name: &'static str| {
        let vfs = n.vfs.clone();
        tokio::spawn(async move {
            for number in 0..RECORDS {
                let record = format!("{name} {number:>5}\n");
                vfs.append(file, record.into()).await.unwrap();
                if number % 3 == 0 {
                    vfs.fsync(file, None).await.unwrap();
                }
            }
            vfs.fsync(file, None).await.unwrap();
        })
    };
    let (one, two) = (appender(&a, "one"), appender(&b, "two"));
    one.await.unwrap();
    two.await.unwrap();
    let log = String::from_utf8(a.read(file).await).unwrap();
    assert_eq!(b.read(file).await, log.as_bytes());
    for name in ["one", "two"] {
        let own: Vec<_> = log.lines().filter(|line| line.starts_with(name)).collect();
        let wanted: Vec<_> = (0..RECORDS).map(|number| format!("{name} {number:>5}")).collect();
        assert_eq!(own, wanted);
    }
    assert_eq!(log.lines().count(), 2 * RECORDS);
    // What is only buffered shows behind what another one stored since.
    a.vfs.append(file, Bytes::from_static(b"mine")).await.unwrap();
    b.vfs.append(file, Bytes::from_static(b"theirs ")).await.unwrap();
    b.vfs.fsync(file, None).await.unwrap();
    assert!(a.vfs.read(file, log.len() as u64, 100).await.unwrap() == "theirs mine");
    a.vfs.fsync(file, None).await.unwrap();
    assert!(b.vfs.read(file, log.len() as u64, 100).await.unwrap() == "theirs mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_holds_at_every_gateway_and_orders_what_is_written() {
    let Two { a, b, .. } = Two::new().await;
    let bucket = a.bucket("b").await;
    let file = a.file(bucket, "f").await;
    let (vfs_a, vfs_b) = (a.vfs.clone(), b.vfs.clone());
    assert_eq!(vfs_a.lock(file, whole(1, true)).await.unwrap(), Locked::Done);
    assert_eq!(vfs_b.lock(file, whole(1, false)).await.unwrap(), Locked::Held);
    let found = vfs_b.find_lock(file, whole(1, false)).await.unwrap().unwrap();
    assert!(found.exclusive && found.pid.is_none() && (found.first, found.last) == (0, u64::MAX));
    let found = vfs_a.find_lock(file, whole(2, false)).await.unwrap().unwrap();
    assert_eq!(found.pid, Some(7));
    // Who was interrupted has nothing.
    let interrupted = vfs_b.lock_patiently(file, whole(1, true), async {}).await;
    assert_eq!(interrupted.unwrap(), Locked::Held);
    let waiter = tokio::spawn(async move {
        let locked = vfs_b.lock_patiently(file, whole(1, true), never()).await.unwrap();
        (locked, vfs_b.read(file, 0, 10).await.unwrap())
    });
    a.write(file, 0, b"under it").await;
    assert!(!waiter.is_finished());
    vfs_a.unlock(file, 1, 0, u64::MAX).await.unwrap();
    assert_eq!(
        waiter.await.unwrap(),
        (Locked::Done, Bytes::from_static(b"under it"))
    );
    assert_eq!(vfs_a.lock(file, whole(1, true)).await.unwrap(), Locked::Held);
    // As when its process closes the file.
    b.vfs.unlock_all(file, 1).await.unwrap();
    assert_eq!(vfs_a.lock(file, whole(1, true)).await.unwrap(), Locked::Done);
    assert_eq!(vfs_a.lock(file, whole(1, false)).await.unwrap(), Locked::Done);
    assert_eq!(b.vfs.lock(file, whole(1, false)).await.unwrap(), Locked::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_would_never_end_is_refused() {
    let Two { a, .. } = Two::new().await;
    let bucket = a.bucket("b").await;
    let (one, two) = (a.file(bucket, "1").await, a.file(bucket, "2").await);
    assert_eq!(a.vfs.lock(one, whole(1, true)).await.unwrap(), Locked::Done);
    assert_eq!(a.vfs.lock(two, whole(2, true)).await.unwrap(), Locked::Done);
    let vfs = a.vfs.clone();
    let first = tokio::spawn(async move { vfs.lock_patiently(two, whole(1, true), never()).await });
    until("one of them is refused", async || {
        let soon = tokio::time::sleep(Duration::from_millis(50));
        let second = a.vfs.lock_patiently(one, whole(2, true), soon).await;
        second.unwrap() == Locked::Deadlock || first.is_finished()
    })
    .await;
    // Whoever closed the circle was refused, and that may be the first, if it came late.
    let refused = first.is_finished();
    a.vfs.unlock_all(two, 2).await.unwrap();
    let expected = if refused { Locked::Deadlock } else { Locked::Done };
    assert_eq!(first.await.unwrap().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_would_never_end_across_gateways_is_refused_and_an_interrupted_one_is_forgotten() {
    let Two { a, b, .. } = Two::new().await;
    let bucket = a.bucket("b").await;
    let (one, two) = (a.file(bucket, "1").await, a.file(bucket, "2").await);
    assert_eq!(a.vfs.lock(one, whole(1, true)).await.unwrap(), Locked::Done);
    assert_eq!(b.vfs.lock(two, whole(1, true)).await.unwrap(), Locked::Done);
    // Nobody waits for what is held by now: it was interrupted.
    let soon = tokio::time::sleep(Duration::from_millis(50));
    let waited = b.vfs.lock_patiently(one, whole(1, true), soon).await;
    assert_eq!(waited.unwrap(), Locked::Held);
    let soon = tokio::time::sleep(Duration::from_millis(50));
    let waited = a.vfs.lock_patiently(two, whole(1, true), soon).await;
    assert_eq!(waited.unwrap(), Locked::Held);
    let vfs = a.vfs.clone();
    let first = tokio::spawn(async move { vfs.lock_patiently(two, whole(1, true), never()).await });
    until("one of them is refused", async || {
        let soon = tokio::time::sleep(Duration::from_millis(50));
        let second = b.vfs.lock_patiently(one, whole(1, true), soon).await;
        second.unwrap() == Locked::Deadlock || first.is_finished()
    })
    .await;
    let refused = first.is_finished();
    b.vfs.unlock_all(two, 1).await.unwrap();
    let expected = if refused { Locked::Deadlock } else { Locked::Done };
    assert_eq!(first.await.unwrap().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gateway_at_a_time_has_a_device_attached() {
    let Two { a, b, .. } = Two::new().await;
    a.bucket("b").await;
    a.vfs.create_volume("b/disk", 1 << 20, 512, "").await.unwrap();
    let ino = b.vfs.export(b"b/disk").await.unwrap().ino;
    a.vfs.attach(ino).await.unwrap();
    a.vfs.attach(ino).await.unwrap();
    assert!(matches!(b.vfs.attach(ino).await, Err(Error::Busy(_))));
    assert!(matches!(b.vfs.delete_volume("b/disk").await, Err(Error::Busy(_))));
    assert!(matches!(
        b.put("b", "disk", b"over it").await,
        Err(Error::Busy(_))
    ));
    a.vfs.detach(ino).await.unwrap();
    assert!(matches!(b.vfs.attach(ino).await, Err(Error::Busy(_))));
    // Whoever moves from one to the other is there before its goodbye was heard.
    let (attached, detached) = tokio::join!(b.vfs.attach(ino), a.vfs.detach(ino));
    attached.unwrap();
    detached.unwrap();
    assert!(matches!(a.vfs.delete_volume("b/disk").await, Err(Error::Busy(_))));
    b.vfs.detach(ino).await.unwrap();
    a.vfs.delete_volume("b/disk").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_gateway_held_is_free() {
    let Two { a, b, .. } = Two::patient(Duration::from_secs(1)).await;
    let bucket = b.bucket("b").await;
    let file = b.file(bucket, "f").await;
    assert_eq!(a.vfs.lock(file, whole(1, true)).await.unwrap(), Locked::Done);
    a.vfs.attach(file).await.unwrap();
    assert_eq!(b.vfs.lock(file, whole(1, true)).await.unwrap(), Locked::Held);
    // From here on nothing that it writes is taken, its beats neither.
    b.meta.end(a.meta.start().unwrap()).await.unwrap();
    let locked = tokio::time::timeout(PATIENCE, b.vfs.lock_patiently(file, whole(1, true), never()));
    assert_eq!(locked.await.unwrap().unwrap(), Locked::Done);
    b.vfs.attach(file).await.unwrap();
    a.write(file, 0, b"too late").await;
    assert!(a.vfs.fsync(file, None).await.is_err());
    assert_eq!(b.vfs.read(file, 0, 10).await.unwrap(), "");
    until("the other one does the work for all", async || {
        b.store.is_keeper()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_name_lives_while_any_gateway_has_it_open() {
    let Two { a, b, .. } = Two::new().await;
    assert!(a.store.is_keeper() && !b.store.is_keeper());
    let bucket = a.bucket("b").await;
    let data = noise(1, 9000);
    let file = a.file(bucket, "f").await;
    a.write(file, 0, &data).await;
    a.vfs.fsync(file, None).await.unwrap();
    b.vfs.open_inode(file).await.unwrap();
    a.vfs.unlink(bucket, b"f").await.unwrap();
    // One that nobody has open goes; by then the first was looked at.
    let other = a.file(bucket, "g").await;
    a.vfs.unlink(bucket, b"g").await.unwrap();
    let gone = async |n: &Namespace, ino| matches!(n.vfs.getattr(ino).await, Err(Error::NotFound));
    until("the other file goes", async || gone(&a, other).await).await;
    assert_eq!(b.vfs.read(file, 0, 10_000).await.unwrap(), data);
    b.write(file, 0, b"still").await;
    b.vfs.fsync(file, None).await.unwrap();
    b.vfs.close(file).await.unwrap();
    until("it goes with its last opener", async || gone(&a, file).await).await;
    assert!(gone(&b, file).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_at_another_gateway_keeps_its_moment() {
    let Two { a, b, .. } = Two::new().await;
    a.bucket("b").await;
    // Frames of this size lie in the metadata, which both have.
    let data = noise(2, 9000);
    let ino = a.put("b", "k", &data).await.unwrap().ino;
    let reader = b.vfs.get_object("b", b"k").await.unwrap();
    a.write(ino, 0, &noise(3, 9000)).await;
    a.vfs.fsync(ino, None).await.unwrap();
    let dropped = || a.rows(0x0d);
    // Long enough for it to be asked for, and to be given back wrongly.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(dropped(), 1, "held back");
    let got: Vec<Bytes> = reader.stream(0..u64::MAX).map(Result::unwrap).collect().await;
    assert_eq!(got.concat(), data);
    until("it is given back when nobody reads it", async || dropped() == 0).await;
}

/// Quotas are counted wherever things are made, and enforced by what all made.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_counts_what_every_gateway_makes() {
    let Two { a, b, .. } = Two::new().await;
    let bucket = a.bucket("b").await;
    let limits = vfs::QuotaLimits {
        bytes: None,
        inodes: Some(6),
    };
    a.vfs.set_quota(bucket, limits).await.unwrap();
    until("it is counted", async || {
        a.vfs.quota(bucket).await.unwrap().unwrap().counted
    })
    .await;
    let mut made = BTreeMap::new();
    for number in 0..10 {
        let n = if number % 2 == 0 { &a } else { &b };
        let name = format!("{number}");
        let result = n.vfs.mknod(bucket, name.as_bytes(), Kind::File, 0, ME).await;
        made.insert(number, result.is_ok());
    }
    assert_eq!(made.values().filter(|made| **made).count(), 5, "{made:?}");
    b.vfs.unlink(bucket, b"0").await.unwrap();
    a.vfs.mknod(bucket, b"again", Kind::File, 0, ME).await.unwrap();
    assert_eq!(a.vfs.quota(bucket).await.unwrap().unwrap().used_inodes, 6);
}
