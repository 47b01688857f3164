//! A gateway whose namespace was restored elsewhere changes nothing of it, through any door, and goes on
//! reading.
#![allow(clippy::unwrap_used)] // tests
mod namespace;

use std::collections::BTreeMap;

use bytes::Bytes;
use meta::Durability;
use namespace::{ME, Namespace, quiet};
use vfs::{Error, ObjectMeta, Precondition, RenameFlags, SetAttr, XattrSet};

/// Opens `names` again as the store finds it that has seen a later incarnation.
async fn superseded(names: Namespace) -> Namespace {
    let Namespace {
        dir,
        vfs,
        store,
        meta,
    } = names;
    vfs.shutdown().await.unwrap();
    store.shutdown().await;
    meta.write::<(), meta::Error, _>(Durability::Synced, |tx| {
        tx.put(&[0x91, 3], b"this namespace was restored elsewhere")
    })
    .await
    .unwrap();
    drop((vfs, store, meta));
    Namespace::open(dir, quiet()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_refused_with_the_reason_and_reads_go_on() {
    let names = Namespace::new().await;
    let bucket = names.bucket("bucket").await;
    let file = names.file(bucket, "file").await;
    names.write(file, 0, b"content").await;
    names.vfs.fsync(file, None).await.unwrap();
    names.put("bucket", "object", b"whole").await.unwrap();
    let dir = names.dir(bucket, "dir").await;
    let upload = names
        .vfs
        .create_upload("bucket", b"part", ObjectMeta::default())
        .await
        .unwrap();
    names
        .vfs
        .create_volume("bucket/volume", 1 << 20, 512, "")
        .await
        .unwrap();
    names.vfs.create_snapshot("bucket", "early").await.unwrap();

    let names = superseded(names).await;
    let vfs = &names.vfs;
    let data = || Bytes::from_static(b"more");
    let refused = [
        ("mkdir", vfs.mkdir(bucket, b"new", ME).await.err()),
        (
            "mknod",
            vfs.mknod(bucket, b"new", vfs::Kind::File, 0, ME).await.err(),
        ),
        ("symlink", vfs.symlink(bucket, b"new", b"to", ME).await.err()),
        ("link", vfs.link(file, bucket, b"new").await.err()),
        ("unlink", vfs.unlink(bucket, b"file").await.err()),
        ("rmdir", vfs.rmdir(bucket, b"dir").await.err()),
        (
            "rename",
            vfs.rename(bucket, b"file", dir, b"file", RenameFlags::default())
                .await
                .err(),
        ),
        (
            "setattr",
            vfs.setattr(
                file,
                SetAttr {
                    mode: Some(0o600),
                    ..SetAttr::default()
                },
            )
            .await
            .err(),
        ),
        (
            "truncate",
            vfs.setattr(
                file,
                SetAttr {
                    size: Some(1),
                    ..SetAttr::default()
                },
            )
            .await
            .err(),
        ),
        (
            "setxattr",
            vfs.setxattr(file, b"user.a", b"b", XattrSet::Any).await.err(),
        ),
        ("removexattr", vfs.removexattr(file, b"user.a").await.err()),
        ("write", vfs.write(file, 0, data()).await.err()),
        ("append", vfs.append(file, data()).await.err()),
        ("put", names.put("bucket", "object", b"other").await.err()),
        (
            "delete",
            vfs.delete_object("bucket", b"object", Precondition::default())
                .await
                .err(),
        ),
        (
            "upload",
            vfs.create_upload("bucket", b"another", ObjectMeta::default())
                .await
                .err(),
        ),
        (
            "complete",
            vfs.complete_upload(
                "bucket",
                b"part",
                &upload,
                &[],
                String::new(),
                BTreeMap::new(),
                Precondition::default(),
            )
            .await
            .err(),
        ),
        ("abort", vfs.abort_upload("bucket", b"part", &upload).await.err()),
        ("bucket", vfs.create_bucket("another").await.err()),
        ("delete bucket", vfs.delete_bucket("bucket").await.err()),
        (
            "compression",
            vfs.set_compression("bucket", Some(store::Compression::Lz4))
                .await
                .err(),
        ),
        (
            "volume",
            vfs.create_volume("bucket/another", 1 << 20, 512, "").await.err(),
        ),
        (
            "resize",
            vfs.resize_volume("bucket/volume", 2 << 20, false).await.err(),
        ),
        ("delete volume", vfs.delete_volume("bucket/volume").await.err()),
        ("snapshot", vfs.create_snapshot("bucket", "late").await.err()),
        (
            "delete snapshot",
            vfs.delete_snapshot("bucket", "early").await.err(),
        ),
        ("clone", vfs.make_clone("bucket/file", "bucket/clone").await.err()),
    ];
    for (what, error) in refused {
        assert!(
            matches!(&error, Some(Error::Superseded(reason)) if reason.contains("restored elsewhere")),
            "{what}: {error:?}"
        );
    }
    assert_eq!(names.read(file).await, b"content");
    assert_eq!(names.get("bucket", "object").await.unwrap(), b"whole");
    assert_eq!(names.names(bucket).await.len(), 4);
    vfs.shutdown().await.unwrap();
}
