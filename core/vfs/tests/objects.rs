//! Object operations on a real store.
#![allow(clippy::unwrap_used, clippy::panic, clippy::large_stack_arrays)] // tests
mod namespace;

use std::collections::BTreeMap;

use bytes::Bytes;
use namespace::{ME, Namespace, fake_md5, noise};
use vfs::object::{Commit, CopyMeta, ObjectSource};
use vfs::{
    Creator, Error, InodeNo, Kind, ListRequest, ObjectMeta, Precondition, RenameFlags, SetAttr, TimeChange,
    Timestamp, UploadId,
};

macro_rules! fails {
    ($result:expr, $error:pat) => {
        match $result {
            Err($error) => {}
            other => panic!("expected {}, got {:?}", stringify!($error), other.map(|_| ())),
        }
    };
}

fn if_match(tag: &str) -> Precondition {
    Precondition {
        if_match: Some(vec![tag.to_owned()]),
        ..Precondition::default()
    }
}

fn if_none_match(tag: &str) -> Precondition {
    Precondition {
        if_none_match: Some(vec![tag.to_owned()]),
        ..Precondition::default()
    }
}

fn meta(pairs: &[(&str, &str)]) -> ObjectMeta {
    let user = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    ObjectMeta {
        user,
        headers: BTreeMap::from([("content-type".to_owned(), "a/b".to_owned())]),
        ..ObjectMeta::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_in_an_object_are_neighbours_in_packs() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    let (a, b) = (noise(1, 40 * store::CHUNK_MAX), noise(2, 40 * store::CHUNK_MAX));
    let (one, other) = tokio::join!(n.put("b", "a", &a), n.put("b", "b", &b));
    for ino in [one.unwrap().ino, other.unwrap().ino] {
        let extents = n.vfs.explain(ino, 100).await.unwrap().extents;
        assert_eq!(extents.len(), 40);
        for pair in extents.windows(2) {
            assert!(pair[0].offset < pair[1].offset);
            // Packs take chunks in the order of their ids.
            assert!(pair[0].chunk < pair[1].chunk, "{pair:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_all_sizes_come_back() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    for (size, key) in [
        (0, "empty"),
        (1, "one"),
        (262_144, "chunk"),
        (262_145, "more"),
        (3_000_000, "deep/er/down"),
    ] {
        let data = noise(size as u64, size);
        let info = n.put("b", key, &data).await.unwrap();
        assert_eq!(
            (info.size, info.etag.as_str()),
            (size as u64, fake_md5(&data).as_str())
        );
        assert!(n.get("b", key).await.unwrap() == data);
        assert_eq!(n.vfs.head_object("b", key.as_bytes()).await.unwrap(), info);
    }
    let data = noise(3_000_000, 3_000_000);
    for range in [
        0..1,
        262_143..262_145,
        999_999..2_999_999,
        2_999_999..9_000_000,
        5..5,
        4_000_000..5_000_000,
    ] {
        let got = n.get_range("b", b"deep/er/down", range.clone()).await.unwrap();
        let want = &data[range.start.min(3_000_000) as usize..range.end.min(3_000_000) as usize];
        assert!(got == want, "{range:?}");
    }
    let n = n.reopen().await;
    assert!(n.get("b", "deep/er/down").await.unwrap() == data);
    assert_eq!(
        n.keys("b").await,
        ["chunk", "deep/er/down", "empty", "more", "one"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_refused_but_the_empty_and_the_long() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    let mut keys: Vec<Vec<u8>> = [
        "a",
        "a/",
        "a/b",
        "a//b",
        "a//",
        "/",
        "//",
        "/a",
        "./.",
        "../..",
        "a/./b",
        ".cess~empty",
        "\0",
        "a\0/b",
        "ü/ß",
    ]
    .iter()
    .map(|key| key.as_bytes().to_vec())
    .collect();
    keys.push(vec![b'/'; 1024]);
    keys.push(vec![b'k'; 1024]);
    keys.push([vec![b'k'; 500], vec![b'/'], vec![b'l'; 500]].concat());
    keys.push(vec![0xff, 0xfe, b'/', 0xff]);
    for key in &keys {
        let commit = Commit {
            etag: fake_md5(key),
            ..Commit::default()
        };
        n.put_as("b", key, key, commit).await.unwrap();
    }
    for key in &keys {
        assert_eq!(&n.get_range("b", key, 0..u64::MAX).await.unwrap(), key);
    }
    let page = n
        .list(
            "b",
            ListRequest {
                max: 1000,
                ..ListRequest::default()
            },
        )
        .await;
    keys.sort();
    assert_eq!(
        page.objects
            .iter()
            .map(|info| info.key.clone())
            .collect::<Vec<_>>(),
        keys
    );
    fails!(n.vfs.object_writer("b", b"").await, Error::InvalidName(_));
    fails!(n.vfs.object_writer("b", &[b'k'; 1025]).await, Error::NameTooLong);
    fails!(n.vfs.object_writer("none", b"k").await, Error::NoSuchBucket);
    for key in &keys {
        assert!(
            n.vfs
                .delete_object("b", key, Precondition::default())
                .await
                .unwrap()
        );
        assert!(
            !n.vfs
                .delete_object("b", key, Precondition::default())
                .await
                .unwrap()
        );
    }
    n.vfs.delete_bucket("b").await.unwrap();
    n.settle().await;
    assert_eq!((n.chunks(), n.vfs.statfs().await.unwrap().inodes), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_a_file_and_the_reverse() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let info = n.put("b", "d/f", b"from s3").await.unwrap();
    let dir = n.lookup(bucket, "d").await.unwrap();
    let file = n.lookup(dir.ino, "f").await.unwrap();
    assert_eq!((file.ino, file.size, file.nlink), (info.ino, 7, 1));
    assert_eq!(n.read(file.ino).await, b"from s3");
    n.write(file.ino, 5, b"POSIX").await;
    assert_eq!(n.get("b", "d/f").await.unwrap(), b"from POSIX");
    let written = n.vfs.head_object("b", b"d/f").await.unwrap();
    assert!(written.etag.contains('-') && written.etag != info.etag);
    assert_eq!(
        n.vfs.head_object("b", b"d/f").await.unwrap().etag,
        written.etag,
        "stable while nothing changes"
    );
    n.write(file.ino, 0, b"F").await;
    let listed = n
        .list(
            "b",
            ListRequest {
                max: 9,
                ..ListRequest::default()
            },
        )
        .await
        .objects;
    assert_ne!(listed[0].etag, written.etag, "buffered changes show in listings");
    assert_eq!(n.vfs.head_object("b", b"d/f").await.unwrap().etag, listed[0].etag);
    // A PUT takes the place, keeps owner and permissions, and leaves the old inode to who has it.
    n.vfs
        .setattr(
            file.ino,
            SetAttr {
                mode: Some(0o640),
                uid: Some(5),
                ..SetAttr::default()
            },
        )
        .await
        .unwrap();
    n.vfs.open_inode(file.ino).await.unwrap();
    let put = n.put("b", "d/f", b"again").await.unwrap();
    let attr = n.lookup(dir.ino, "f").await.unwrap();
    assert_eq!((attr.ino, attr.mode, attr.uid), (put.ino, 0o640, 5));
    assert_eq!(n.read(file.ino).await, b"From POSIX");
    n.vfs.close(file.ino).await.unwrap();
    n.settle().await;
    fails!(n.vfs.getattr(file.ino).await, Error::NotFound);
    assert_eq!(n.chunks(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn implicit_directories_come_and_go() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    n.put("b", "x/y/z", b"1").await.unwrap();
    assert_eq!(n.keys("b").await, ["x/y/z"]);
    n.vfs
        .delete_object("b", b"x/y/z", Precondition::default())
        .await
        .unwrap();
    assert_eq!(n.names(bucket).await, [""; 0]);
    assert_eq!(n.vfs.getattr(bucket).await.unwrap().nlink, 2);
    // Explicit ones stay until they are deleted themselves.
    n.put("b", "x/", b"").await.unwrap();
    n.put("b", "x/y", b"2").await.unwrap();
    n.vfs
        .delete_object("b", b"x/y", Precondition::default())
        .await
        .unwrap();
    assert_eq!(n.keys("b").await, ["x/"]);
    n.put("b", "x/y", b"2").await.unwrap();
    n.vfs
        .delete_object("b", b"x/", Precondition::default())
        .await
        .unwrap();
    assert_eq!(n.keys("b").await, ["x/y"]);
    // A mount empties one: it stays, and S3 can see and delete it.
    let x = n.lookup(bucket, "x").await.unwrap().ino;
    n.vfs.unlink(x, b"y").await.unwrap();
    assert_eq!(n.keys("b").await, ["x/"]);
    fails!(n.vfs.delete_bucket("b").await, Error::NotEmpty);
    n.vfs
        .delete_object("b", b"x/", Precondition::default())
        .await
        .unwrap();
    n.dir(bucket, "made").await;
    assert_eq!(n.keys("b").await, ["made/"]);
    // Directories may carry bytes.
    let info = n.put("b", "made/", b"content").await.unwrap();
    assert_eq!(info.size, 7);
    assert_eq!(n.get("b", "made/").await.unwrap(), b"content");
    n.put("b", "made/", b"other").await.unwrap();
    assert_eq!(n.get("b", "made/").await.unwrap(), b"other");
    n.vfs
        .delete_object("b", b"made/", Precondition::default())
        .await
        .unwrap();
    n.settle().await;
    assert_eq!(n.chunks(), 0);
    n.vfs.delete_bucket("b").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_decided_in_the_transaction() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let put = |etag: &str, precondition| Commit {
        etag: etag.to_owned(),
        precondition,
        ..Commit::default()
    };
    fails!(
        n.put_as("b", b"k", b"", put("e", if_match("*"))).await,
        Error::NotFound
    );
    n.put_as("b", b"k", b"1", put("e1", if_none_match("*")))
        .await
        .unwrap();
    fails!(
        n.put_as("b", b"k", b"2", put("e2", if_none_match("*"))).await,
        Error::PreconditionFailed
    );
    fails!(
        n.put_as("b", b"k", b"2", put("e2", if_match("e0"))).await,
        Error::PreconditionFailed
    );
    n.put_as("b", b"k", b"2", put("e2", if_match("e1")))
        .await
        .unwrap();
    fails!(
        n.vfs.delete_object("b", b"k", if_match("e1")).await,
        Error::PreconditionFailed
    );
    fails!(
        n.vfs.delete_object("b", b"none", if_match("*")).await,
        Error::NotFound
    );
    // A buffered write changes the ETag before it is stored.
    let ino = n.lookup(bucket, "k").await.unwrap().ino;
    n.write(ino, 0, b"3").await;
    fails!(
        n.vfs.delete_object("b", b"k", if_match("e2")).await,
        Error::PreconditionFailed
    );
    let etag = n.vfs.head_object("b", b"k").await.unwrap().etag;
    n.vfs.delete_object("b", b"k", if_match(&etag)).await.unwrap();
    // Of many writers that all want to be first, one is.
    let n = std::sync::Arc::new(n);
    let tries = (0..16).map(|number| {
        let n = n.clone();
        tokio::spawn(async move {
            let commit = put(&format!("e{number}"), if_none_match("*"));
            n.put_as("b", b"race", format!("{number}").as_bytes(), commit)
                .await
        })
    });
    let mut winners = Vec::new();
    for result in futures::future::join_all(tries).await {
        match result.unwrap() {
            Ok(info) => winners.push(info.etag),
            Err(error) => assert!(matches!(error, Error::PreconditionFailed)),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(n.get("b", "race").await.unwrap(), &winners[0].as_bytes()[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_mtime_round_trip() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    let given = meta(&[("mtime", "1700000000.000000005"), ("color", "red")]);
    let commit = Commit {
        etag: "e".to_owned(),
        meta: given.clone(),
        ..Commit::default()
    };
    let info = n.put_as("b", b"k", b"1", commit).await.unwrap();
    assert_eq!(info.meta, given);
    assert_eq!(n.vfs.head_object("b", b"k").await.unwrap().meta, given);
    assert_eq!(
        n.vfs.getattr(info.ino).await.unwrap().mtime,
        Timestamp(1_700_000_000_000_000_005)
    );
    assert_eq!(
        n.vfs.getxattr(info.ino, b"user.s3.meta.color").await.unwrap(),
        b"red"
    );
    let at = TimeChange::At(Timestamp(7_000_000_000));
    n.vfs
        .setattr(
            info.ino,
            SetAttr {
                mtime: Some(at),
                ..SetAttr::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(
        n.vfs.head_object("b", b"k").await.unwrap().meta.user["mtime"],
        "7.000000000"
    );
    assert_eq!(
        n.vfs.head_object("b", b"k").await.unwrap().etag,
        "e",
        "setting times changes no content"
    );
    let copy = n
        .vfs
        .copy_object("b", b"k", "b", b"l", CopyMeta::Keep, Precondition::default())
        .await
        .unwrap();
    assert_eq!(
        (copy.meta.user["mtime"].as_str(), copy.meta.user["color"].as_str()),
        ("7.000000000", "red")
    );
    n.put("b", "k", b"2").await.unwrap();
    assert_eq!(
        n.vfs.head_object("b", b"k").await.unwrap().meta,
        ObjectMeta::default()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_share_within_a_bucket_and_not_beyond() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.bucket("c").await;
    let data = noise(9, 1_000_000);
    let source = n.put("b", "k", &data).await.unwrap();
    let chunks = n.chunks();
    let copy = n
        .vfs
        .copy_object("b", b"k", "b", b"d/l", CopyMeta::Keep, Precondition::default())
        .await
        .unwrap();
    assert_eq!((copy.size, &copy.etag), (source.size, &source.etag));
    assert_ne!(copy.ino, source.ino);
    assert_eq!(n.chunks(), chunks);
    let far = n
        .vfs
        .copy_object("b", b"k", "c", b"k", CopyMeta::Keep, Precondition::default())
        .await
        .unwrap();
    assert_eq!(far.etag, source.etag);
    assert_eq!(n.chunks(), 2 * chunks);
    // Onto itself, to change metadata.
    let replace = CopyMeta::Replace(meta(&[("a", "b")]));
    let same = n
        .vfs
        .copy_object("b", b"k", "b", b"k", replace, Precondition::default())
        .await
        .unwrap();
    assert_eq!(same.meta.user["a"], "b");
    assert!(n.get("b", "k").await.unwrap() == data);
    n.put("b", "dir/", b"bytes").await.unwrap();
    let replace = CopyMeta::Replace(meta(&[("a", "b")]));
    n.vfs
        .copy_object("b", b"dir/", "b", b"dir/", replace, Precondition::default())
        .await
        .unwrap();
    assert_eq!(n.get("b", "dir/").await.unwrap(), b"bytes");
    fails!(
        n.vfs
            .copy_object("b", b"none", "b", b"x", CopyMeta::Keep, Precondition::default())
            .await,
        Error::NotFound
    );
    fails!(
        n.vfs
            .copy_object("b", b"k", "b", b"d/l", CopyMeta::Keep, if_none_match("*"))
            .await,
        Error::PreconditionFailed
    );
    for key in ["k", "dir/"] {
        n.vfs
            .delete_object("b", key.as_bytes(), Precondition::default())
            .await
            .unwrap();
    }
    n.settle().await;
    assert!(n.get("b", "d/l").await.unwrap() == data);
    n.vfs
        .delete_object("b", b"d/l", Precondition::default())
        .await
        .unwrap();
    n.vfs
        .delete_object("c", b"k", Precondition::default())
        .await
        .unwrap();
    n.settle().await;
    assert_eq!(n.chunks(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn multipart_uploads_join_their_parts() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    let id = n
        .vfs
        .create_upload("b", b"d/big", meta(&[("x", "y")]))
        .await
        .unwrap();
    let part = async |number: u32, data: &[u8]| {
        let mut writer = n.vfs.part_writer("b", b"d/big", &id, number).await?;
        writer.write(Bytes::copy_from_slice(data)).await?;
        writer.commit_part(fake_md5(data)).await
    };
    let data: Vec<Vec<u8>> = (0..4).map(|seed| noise(seed, 400_000)).collect();
    let mut etags = vec![String::new()];
    for number in 1..=3 {
        etags.push(part(number, &data[number as usize]).await.unwrap().etag);
    }
    // Replaced, and one that will not be named.
    assert_ne!(part(2, &data[0]).await.unwrap().etag, etags[2]);
    part(9, b"unused").await.unwrap();
    fails!(part(0, b"").await, Error::InvalidPart(0));
    fails!(part(10_001, b"").await, Error::InvalidPart(10_001));
    n.put("b", "src", &data[3]).await.unwrap();
    let source = ObjectSource {
        bucket: "b",
        key: b"src",
        version: None,
    };
    let copied = n
        .vfs
        .copy_part(source, None, Some(100..200_100), "b", b"d/big", &id, 4)
        .await
        .unwrap();
    assert_eq!((copied.size, copied.etag.len()), (200_000, 32));
    fails!(
        n.vfs
            .copy_part(source, None, Some(0..9_999_999), "b", b"d/big", &id, 5)
            .await,
        Error::OutOfRange
    );
    let (parts, more) = n.vfs.list_parts("b", b"d/big", &id, 1, 2).await.unwrap();
    assert_eq!(
        (parts.iter().map(|part| part.number).collect::<Vec<_>>(), more),
        (vec![2, 3], true)
    );
    assert_eq!(n.keys("b").await, ["src"]);

    let named = |list: &[(u32, &str)]| {
        list.iter()
            .map(|(number, etag)| (*number, (*etag).to_owned()))
            .collect::<Vec<_>>()
    };
    let complete = async |parts: Vec<(u32, String)>| {
        let headers = BTreeMap::from([("x-added".to_owned(), "1".to_owned())]);
        n.vfs
            .complete_upload(
                "b",
                b"d/big",
                &id,
                &parts,
                "tag-4".to_owned(),
                headers,
                Precondition::default(),
            )
            .await
    };
    let zero = fake_md5(&data[0]);
    fails!(complete(named(&[(1, "wrong")])).await, Error::InvalidPart(1));
    fails!(
        complete(named(&[(2, &zero), (1, &etags[1])])).await,
        Error::InvalidPart(1)
    );
    fails!(complete(named(&[(7, "")])).await, Error::InvalidPart(7));
    fails!(complete(Vec::new()).await, Error::Invalid(_));
    let good = named(&[(1, &etags[1]), (2, &zero), (3, &etags[3]), (4, &copied.etag)]);
    let info = complete(good.clone()).await.unwrap();
    let want = [&data[1][..], &data[0], &data[3], &data[3][100..200_100]].concat();
    assert_eq!(
        (info.size, info.parts, info.etag.as_str()),
        (want.len() as u64, Some(4), "tag-4")
    );
    assert_eq!(
        (
            info.meta.user["x"].as_str(),
            info.meta.headers["x-added"].as_str()
        ),
        ("y", "1")
    );
    assert!(n.get("b", "d/big").await.unwrap() == want);
    assert_eq!(
        complete(good.clone()).await.unwrap(),
        info,
        "asked again, it answers the same"
    );
    fails!(
        n.vfs.list_parts("b", b"d/big", &id, 0, 9).await,
        Error::NoSuchUpload
    );
    let n2 = n
        .vfs
        .delete_object("b", b"d/big", Precondition::default())
        .await
        .unwrap();
    assert!(n2);
    fails!(complete(good).await, Error::NoSuchUpload);
    n.vfs
        .delete_object("b", b"src", Precondition::default())
        .await
        .unwrap();
    n.settle().await;
    assert_eq!((n.chunks(), n.vfs.statfs().await.unwrap().inodes), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_listed_and_dropped() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    let mut ids = Vec::new();
    for key in ["a", "a", "a/b", "b\0c", "b"] {
        ids.push(
            n.vfs
                .create_upload("b", key.as_bytes(), ObjectMeta::default())
                .await
                .unwrap(),
        );
    }
    let list = async |prefix: &str, after, max| {
        let (uploads, more) = n
            .vfs
            .list_uploads("b", prefix.as_bytes(), after, max)
            .await
            .unwrap();
        (
            uploads.into_iter().map(|upload| upload.id).collect::<Vec<_>>(),
            more,
        )
    };
    let pick = |list: &[usize]| list.iter().map(|at| ids[*at].clone()).collect::<Vec<_>>();
    assert_eq!(list("", None, 10).await, (pick(&[0, 1, 2, 4, 3]), false));
    assert_eq!(list("a", None, 2).await, (pick(&[0, 1]), true));
    assert_eq!(
        list("", Some((b"a".to_vec(), Some(ids[0].clone()))), 2).await,
        (pick(&[1, 2]), true)
    );
    assert_eq!(
        list("", Some((b"a".to_vec(), None)), 10).await,
        (pick(&[2, 4, 3]), false)
    );
    assert_eq!(
        list("b", Some((b"a".to_vec(), None)), 10).await,
        (pick(&[4, 3]), false)
    );
    let mut writer = n.vfs.part_writer("b", b"a", &ids[0], 1).await.unwrap();
    writer.write(Bytes::from(noise(1, 300_000))).await.unwrap();
    let open = n.vfs.part_writer("b", b"a", &ids[0], 2).await.unwrap();
    writer.commit_part("e".to_owned()).await.unwrap();
    n.vfs.abort_upload("b", b"a", &ids[0]).await.unwrap();
    fails!(open.commit_part("e".to_owned()).await, Error::NoSuchUpload);
    fails!(n.vfs.abort_upload("b", b"a", &ids[0]).await, Error::NoSuchUpload);
    fails!(n.vfs.upload("b", b"other", &ids[1]).await, Error::NoSuchUpload);
    fails!(
        n.vfs.upload("b", b"a", &UploadId("nonsense".to_owned())).await,
        Error::NoSuchUpload
    );
    assert_eq!(n.vfs.upload("b", b"a", &ids[1]).await.unwrap().key, b"a");
    // A bucket goes with its uploads.
    let mut writer = n.vfs.part_writer("b", b"a", &ids[1], 1).await.unwrap();
    writer.write(Bytes::from(noise(1, 300_000))).await.unwrap();
    writer.commit_part("e".to_owned()).await.unwrap();
    n.vfs.delete_bucket("b").await.unwrap();
    n.settle().await;
    assert_eq!((n.chunks(), n.vfs.statfs().await.unwrap().inodes), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_object_is_replaced_not_followed() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    n.vfs.symlink(bucket, b"l", b"/etc/passwd", ME).await.unwrap();
    fails!(n.get("b", "l").await, Error::NotFound);
    assert!(
        !n.vfs
            .delete_object("b", b"l", Precondition::default())
            .await
            .unwrap()
    );
    n.put_as(
        "b",
        b"l",
        b"x",
        Commit {
            precondition: if_none_match("*"),
            ..Commit::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(n.lookup(bucket, "l").await.unwrap().kind, Kind::File);
    // A directory in the place of a key is no object either, and stays beside it.
    n.vfs
        .mkdir(bucket, b"d", Creator { mode: 0o755, ..ME })
        .await
        .unwrap();
    fails!(n.get("b", "d").await, Error::NotFound);
    n.put("b", "d", b"file").await.unwrap();
    assert_eq!(n.keys("b").await, ["d", "d/", "l"]);
    assert_eq!(n.names(bucket).await, [".cess~file~d", "d", "l"]);
    n.vfs
        .rename(bucket, b".cess~file~d", bucket, b"e", RenameFlags::default())
        .await
        .unwrap();
    assert_eq!(n.get("b", "e").await.unwrap(), b"file");
    assert_eq!(n.vfs.buckets().await.unwrap().len(), 1);
    fails!(n.vfs.delete_bucket("nope").await, Error::NoSuchBucket);
    fails!(n.vfs.bucket("b/d").await, Error::NoSuchBucket);
    assert_eq!(n.vfs.parent(bucket).await.unwrap(), InodeNo::ROOT);
}
