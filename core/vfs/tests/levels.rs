//! Which level an acknowledgement stands for. The store has no network here: everything stays staged,
//! so that an acknowledgement that stands for more must be refused at once.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::time::Duration;

use namespace::{Namespace, noise, quiet};
use vfs::object::{Commit, CopyMeta};
use vfs::{Error, InodeNo, Level, Precondition, VfsConfig, XattrSet};

const ACK: &[u8] = b"user.cess.ack";

/// The level that the answer to an fsync would have to wait for.
async fn fsync(vfs: &vfs::Vfs, ino: InodeNo) -> Level {
    match vfs.fsync(ino, None).await {
        Ok(()) => Level::Staged,
        Err(Error::NotYet(level)) => level,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_strictest_of_gateway_door_request_file_and_bucket_counts() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    n.write(file, 0, b"bytes").await;
    assert_eq!(fsync(&n.vfs, file).await, Level::Staged);
    let levels = [
        None,
        Some(Level::Staged),
        Some(Level::Placed),
        Some(Level::Verified),
    ];
    for of_bucket in levels {
        n.vfs.set_ack(bucket, of_bucket).await.unwrap();
        for of_file in levels {
            n.vfs.set_ack(file, of_file).await.unwrap();
            assert_eq!(n.vfs.ack(file).await.unwrap(), of_file);
            for of_door in levels {
                let door = n.vfs.demanding(of_door, None);
                let strictest = of_bucket.max(of_file).max(of_door).unwrap_or(Level::Staged);
                assert_eq!(
                    fsync(&door, file).await,
                    strictest,
                    "{of_bucket:?} {of_file:?} {of_door:?}"
                );
                assert_eq!(door.ack_in_force(file).await.unwrap(), strictest);
            }
        }
    }
    n.vfs.set_ack(bucket, None).await.unwrap();
    n.vfs.set_ack(file, None).await.unwrap();
    assert!(matches!(
        n.vfs.fsync(file, Some(Level::Placed)).await,
        Err(Error::NotYet(Level::Placed))
    ));
    // A request cannot ask for less than its door.
    let strict = n.vfs.demanding(Some(Level::Placed), None);
    assert!(matches!(
        strict
            .demanding(Some(Level::Staged), None)
            .fsync(file, Some(Level::Staged))
            .await,
        Err(Error::NotYet(Level::Placed))
    ));
    assert_eq!(n.vfs.level(file).await.unwrap(), Some(Level::Staged));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_wide_level_holds_for_all() {
    let n = Namespace::with(VfsConfig {
        ack: Level::Verified,
        ..quiet()
    })
    .await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    n.write(file, 0, b"bytes").await;
    n.vfs.set_ack(file, Some(Level::Placed)).await.unwrap();
    assert_eq!(fsync(&n.vfs, file).await, Level::Verified);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_objects_stand_for_the_level_too_and_lose_nothing_when_it_is_late() {
    let n = Namespace::new().await;
    n.vfs
        .create_bucket_with_ack("b", Some(Level::Placed))
        .await
        .unwrap();
    let data = noise(1, 300_000);
    let late = n.put("b", "late", &data).await;
    assert!(matches!(late, Err(Error::NotYet(Level::Placed))));
    assert_eq!(
        n.get("b", "late").await.unwrap(),
        data,
        "it is there all the same"
    );
    let bucket = n.vfs.bucket("b").await.unwrap().ino;
    n.vfs.set_ack(bucket, None).await.unwrap();
    n.put("b", "soon", &data).await.unwrap();
    let copy = |vfs: vfs::Vfs| async move {
        vfs.copy_object(
            "b",
            b"soon",
            "b",
            b"copy",
            CopyMeta::Keep,
            Precondition::default(),
        )
        .await
    };
    copy(n.vfs.clone()).await.unwrap();
    let strict = n.vfs.demanding(Some(Level::Verified), None);
    assert!(matches!(
        copy(strict.clone()).await,
        Err(Error::NotYet(Level::Verified))
    ));
    let mut writer = strict.object_writer("b", b"strict").await.unwrap();
    writer.write(data.clone().into()).await.unwrap();
    assert!(matches!(
        writer.commit(Commit::default()).await,
        Err(Error::NotYet(Level::Verified))
    ));
    // What has no bytes needs no miners.
    n.vfs.set_ack(bucket, Some(Level::Verified)).await.unwrap();
    n.put("b", "empty", b"").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_attribute_is_set_read_removed_and_survives() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let (file, dir) = (n.file(bucket, "f").await, n.dir(bucket, "d").await);
    let root = InodeNo::ROOT;
    for ino in [bucket, file] {
        assert!(matches!(n.vfs.getxattr(ino, ACK).await, Err(Error::NotFound)));
        n.vfs
            .setxattr(ino, ACK, b"placed\n", XattrSet::Any)
            .await
            .unwrap();
        assert_eq!(n.vfs.getxattr(ino, ACK).await.unwrap(), b"placed");
        assert_eq!(n.vfs.ack(ino).await.unwrap(), Some(Level::Placed));
        assert!(matches!(
            n.vfs.setxattr(ino, ACK, b"placed", XattrSet::Create).await,
            Err(Error::Exists)
        ));
        assert!(matches!(
            n.vfs.setxattr(ino, ACK, b"soon", XattrSet::Any).await,
            Err(Error::Invalid(_))
        ));
    }
    for ino in [dir, root] {
        assert!(matches!(
            n.vfs.setxattr(ino, ACK, b"placed", XattrSet::Any).await,
            Err(Error::Invalid(_))
        ));
        assert!(n.vfs.set_ack(ino, Some(Level::Placed)).await.is_err());
    }
    assert!(matches!(
        n.vfs
            .setxattr(file, b"user.cess.state", b"placed", XattrSet::Any)
            .await,
        Err(Error::NotPermitted)
    ));
    n.vfs.removexattr(file, ACK).await.unwrap();
    assert_eq!(n.vfs.ack(file).await.unwrap(), None);
    n.vfs.set_ack(file, Some(Level::Verified)).await.unwrap();
    let n = n.crash_image().await;
    assert_eq!(n.vfs.ack(file).await.unwrap(), Some(Level::Verified));
    assert_eq!(n.vfs.ack(bucket).await.unwrap(), Some(Level::Placed));
    // A PUT makes a new inode, which has its bucket's level alone.
    assert!(n.put("b", "f", b"new").await.is_err());
    let new = n.lookup(bucket, "f").await.unwrap().ino;
    assert_eq!(n.vfs.ack(new).await.unwrap(), None);
    assert_eq!(n.vfs.ack_in_force(new).await.unwrap(), Level::Placed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_and_polling_say_the_same() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    let patience = Duration::from_millis(50);
    n.write(file, 0, b"bytes").await;
    assert_eq!(n.vfs.level(file).await.unwrap(), None);
    n.vfs.wait_level(file, Level::Staged, patience).await.unwrap();
    assert_eq!(n.vfs.level(file).await.unwrap(), Some(Level::Staged));
    // What the file asks for does not matter to who asks for less.
    n.vfs.set_ack(file, Some(Level::Verified)).await.unwrap();
    n.vfs.wait_level(file, Level::Staged, patience).await.unwrap();
    assert!(matches!(
        n.vfs.wait_level(file, Level::Placed, patience).await,
        Err(Error::NotYet(Level::Placed))
    ));
}

/// What lies in a snapshot has a level of its own to wait for: that of its bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_fsync_in_a_snapshot_stands_for_the_level_of_what_is_there() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let dir = n.dir(bucket, "d").await;
    let file = n.file(dir, "f").await;
    n.write(file, 0, &noise(1, 100_000)).await;
    n.vfs.create_snapshot("b/d/", "s").await.unwrap();
    n.vfs.unlink(dir, b"f").await.unwrap();
    n.settle().await;
    let list = n.lookup(dir, ".snapshots").await.unwrap().ino;
    let root = n.lookup(list, "s").await.unwrap().ino;
    let then = n.lookup(root, "f").await.unwrap().ino;
    let patience = Duration::from_millis(50);
    for at in [list, root, then] {
        assert_eq!(fsync(&n.vfs, at).await, Level::Staged);
    }
    assert!(matches!(
        n.vfs.fsync(then, Some(Level::Placed)).await,
        Err(Error::NotYet(Level::Placed))
    ));
    assert!(matches!(
        n.vfs.wait_level(then, Level::Placed, patience).await,
        Err(Error::NotYet(Level::Placed))
    ));
    // Its bucket may ask for more by now.
    n.vfs.set_ack(bucket, Some(Level::Placed)).await.unwrap();
    assert_eq!(n.vfs.ack_in_force(then).await.unwrap(), Level::Placed);
    assert_eq!(fsync(&n.vfs, then).await, Level::Placed);
}
