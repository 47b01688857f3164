//! Volumes and exports.
#![allow(clippy::unwrap_used, clippy::panic, clippy::large_stack_arrays)] // tests
mod namespace;

use bytes::Bytes;
use namespace::Namespace;
use vfs::{Error, Precondition, SetAttr};

macro_rules! fails {
    ($result:expr, $error:pat) => {
        match $result {
            Err($error) => {}
            other => panic!("expected {}, got {other:?}", stringify!($error)),
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_have_a_fixed_size() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    let v = &n.vfs;
    let volume = v
        .create_volume("b/disks/one", 1 << 30, 4096, "the first")
        .await
        .unwrap();
    assert_eq!((volume.size, volume.allocated, volume.sector), (1 << 30, 0, 4096));
    fails!(v.create_volume("b/disks/one", 4096, 512, "").await, Error::Exists);
    fails!(v.create_volume("b/x", 1000, 512, "").await, Error::Invalid(_));
    fails!(v.create_volume("b/x", 0, 512, "").await, Error::Invalid(_));
    fails!(v.create_volume("b/x", 4096, 1024, "").await, Error::Invalid(_));
    fails!(
        v.create_volume("b/x/", 4096, 512, "").await,
        Error::InvalidName(_)
    );
    fails!(
        v.create_volume("none/x", 4096, 512, "").await,
        Error::NoSuchBucket
    );
    fails!(v.create_volume("b", 4096, 512, "").await, Error::InvalidName(_));
    let export = v.export(b"b/disks/one").await.unwrap();
    assert_eq!(
        (export.size, export.sector, export.description.as_str()),
        (1 << 30, 4096, "the first")
    );
    let ino = export.ino;
    n.write(ino, (1 << 30) - 4, b"tail").await;
    fails!(
        v.write(ino, (1 << 30) - 3, Bytes::from_static(b"tail")).await,
        Error::NoSpace
    );
    fails!(v.append(ino, Bytes::from_static(b"x")).await, Error::NoSpace);
    fails!(
        v.setattr(
            ino,
            SetAttr {
                size: Some(0),
                ..SetAttr::default()
            }
        )
        .await,
        Error::NotPermitted
    );
    v.attach(ino).await.unwrap();
    fails!(v.delete_volume("b/disks/one").await, Error::Busy(_));
    fails!(n.put("b", "disks/one", b"").await, Error::Busy(_));
    fails!(
        v.resize_volume("b/disks/one", 1 << 20, true).await,
        Error::Busy(_)
    );
    assert_eq!(
        v.resize_volume("b/disks/one", 2 << 30, false).await.unwrap().size,
        2 << 30
    );
    v.detach(ino).await.unwrap();
    fails!(v.detach(ino).await, Error::Invalid(_));
    fails!(
        v.resize_volume("b/disks/one", 1 << 20, false).await,
        Error::Invalid(_)
    );
    assert_eq!(
        v.resize_volume("b/disks/one", 1 << 20, true)
            .await
            .unwrap()
            .allocated,
        0
    );
    let listed = v.volumes().await.unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|volume| volume.path.as_str())
            .collect::<Vec<_>>(),
        ["b/disks/one"]
    );
    let n = n.reopen().await;
    let v = &n.vfs;
    assert_eq!(v.volumes().await.unwrap()[0].size, 1 << 20);
    v.delete_volume("b/disks/one").await.unwrap();
    assert!(v.volumes().await.unwrap().is_empty());
    fails!(v.export(b"b/disks/one").await, Error::NotFound);
    n.settle().await;
    assert_eq!(n.vfs.statfs().await.unwrap().inodes, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_file_is_an_export() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.put("b", "image", &[7; 5000]).await.unwrap();
    let export = n.vfs.export(b"b/image").await.unwrap();
    assert_eq!((export.size, export.sector), (5000, 1));
    n.vfs.attach(export.ino).await.unwrap();
    n.write(export.ino, 0, b"boot").await;
    assert_eq!(&n.get("b", "image").await.unwrap()[..5], b"boot\x07");
    // It is no volume: its key may go, and the export stays until it is detached.
    n.vfs
        .delete_object("b", b"image", Precondition::default())
        .await
        .unwrap();
    assert_eq!(n.vfs.read(export.ino, 0, 4).await.unwrap(), &b"boot"[..]);
    n.vfs.detach(export.ino).await.unwrap();
    n.settle().await;
    fails!(n.vfs.attach(export.ino).await, Error::NotFound);
    fails!(n.vfs.delete_volume("b/image").await, Error::NotFound);
    for name in [&b""[..], b"b", b"b/", b"none/x", b"b/none", b"/", b"\xff/x"] {
        fails!(
            n.vfs.export(name).await,
            Error::NotFound | Error::NoSuchBucket | Error::InvalidName(_)
        );
    }
}
