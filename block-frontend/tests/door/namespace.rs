//! The door over a real namespace, without a network behind it: everything stays staged.
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use block_frontend::client::{Client, Handshake};
use block_frontend::proto::constants::{Errno, allocation, option_reply};
use block_frontend::proto::reply::Descriptor;
use block_frontend::{Error, NbdConfig, NbdServer};
use bytes::Bytes;
use futures::TryStreamExt as _;
use meta::{EngineKind, Meta, MetaConfig};
use store::{PassphraseCost, Store, StoreConfig};
use vfs::object::Commit;
use vfs::{Creator, InodeNo, Level, SetAttr, Vfs, VfsConfig};

pub const MIB: u64 = 1 << 20;

pub async fn open(dir: &Path) -> Vfs {
    let meta = Meta::open(&MetaConfig {
        engine: EngineKind::Fjall,
        path: dir.join("meta"),
        cache_bytes: 8 * MIB,
    })
    .unwrap();
    let config = StoreConfig {
        passphrase_cost: PassphraseCost::LIGHT,
        ..StoreConfig::new(dir.join("store"))
    };
    let passphrase = zeroize::Zeroizing::new(b"passphrase of a test".to_vec());
    let store = Store::open(config, meta.clone(), passphrase, None).await.unwrap();
    let config = VfsConfig {
        write_buffer: 16 * MIB,
        write_back_age: Duration::from_hours(1),
        ack: Level::Staged,
        ack_doors: Level::Staged,
        ack_timeout: Duration::from_secs(10),
    };
    Vfs::open(config, meta, store).await.unwrap()
}

pub async fn serve(vfs: &Vfs) -> (NbdServer, SocketAddr) {
    let config = NbdConfig {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        unix: None,
    };
    let server = NbdServer::start(config, vfs.clone()).await.unwrap();
    let address = server.address().unwrap();
    (server, address)
}

async fn get(vfs: &Vfs, key: &[u8]) -> Vec<u8> {
    let object = vfs.get_object("vm", key).await.unwrap();
    let size = object.info().size;
    object
        .stream(0..size)
        .map_ok(|bytes| bytes.to_vec())
        .try_concat()
        .await
        .unwrap()
}

fn refusal<T>(result: Result<T, Error>) -> u32 {
    match result {
        Err(Error::OptionRefused { code, .. }) => code,
        Err(other) => panic!("not a refusal: {other}"),
        Ok(_) => panic!("should be refused"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_listed_attached_and_seen_by_the_other_doors() {
    let dir = tempfile::tempdir().unwrap();
    let vfs = open(dir.path()).await;
    vfs.create_bucket("vm").await.unwrap();
    let volume = vfs
        .create_volume("vm/disks/root", 8 * MIB, 4096, "the root disk")
        .await
        .unwrap();
    let (_server, address) = serve(&vfs).await;

    let listed = Handshake::tcp(address).await.unwrap().list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0].name[..], &listed[0].description[..]),
        (&b"vm/disks/root"[..], &b"the root disk"[..])
    );

    let mut client = Client::attach(address, b"vm/disks/root").await.unwrap();
    assert_eq!(client.size(), 8 * MIB);
    let data: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    client.write(MIB - 1000, &data, false).await.unwrap();

    // POSIX and S3 see it at once.
    let ino = InodeNo(volume.ino);
    assert_eq!(vfs.read(ino, MIB - 1000, 300_000).await.unwrap(), data);
    let object = get(&vfs, b"disks/root").await;
    assert_eq!(object.len() as u64, 8 * MIB);
    assert_eq!(object[(MIB - 1000) as usize..][..data.len()], data);

    // And the other way round.
    vfs.write(ino, 0, Bytes::from_static(b"from the mount"))
        .await
        .unwrap();
    assert_eq!(&client.read(0, 14).await.unwrap()[..], b"from the mount");

    let runs = client.block_status(4 * MIB, MIB as u32).await.unwrap();
    assert_eq!(
        runs,
        [Descriptor {
            len: MIB as u32,
            status: allocation::HOLE | allocation::ZERO
        }]
    );
    client.trim(0, 2 * MIB as u32, false).await.unwrap();
    let runs = client.block_status(0, 8 * MIB as u32).await.unwrap();
    assert_eq!(
        runs,
        [Descriptor {
            len: 8 * MIB as u32,
            status: allocation::HOLE | allocation::ZERO
        }]
    );

    assert!(matches!(
        vfs.delete_volume("vm/disks/root").await,
        Err(vfs::Error::Busy(_))
    ));
    client.disconnect().await.unwrap();
    // Letting go of the export follows the goodbye, in its own time.
    for _ in 0..500 {
        if vfs.delete_volume("vm/disks/root").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still attached");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_file_is_an_export_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let vfs = open(dir.path()).await;
    let bucket = vfs.create_bucket("vm").await.unwrap();
    let key = b"a dir/100% \xff";
    let mut writer = vfs.object_writer("vm", key).await.unwrap();
    writer.write(Bytes::from_static(b"object")).await.unwrap();
    writer
        .commit(Commit {
            etag: "0".repeat(32),
            ..Commit::default()
        })
        .await
        .unwrap();
    let creator = Creator {
        uid: 0,
        gid: 0,
        mode: 0o755,
    };
    vfs.symlink(bucket.ino, b"link", b"a dir", creator).await.unwrap();
    let (_server, address) = serve(&vfs).await;

    let name = block_frontend::name::encode(&[&b"vm/"[..], key].concat());
    let mut client = Client::attach(address, name.as_bytes()).await.unwrap();
    assert_eq!(&client.read(0, 6).await.unwrap()[..], b"object");
    client.write(0, b"OB", true).await.unwrap();
    assert_eq!(get(&vfs, key).await, b"OBject");
    match client.write(5, b"xy", false).await {
        Err(Error::Failed {
            errno: Errno::NoSpc, ..
        }) => {}
        other => panic!("a device does not grow: {other:?}"),
    }
    for wrong in [
        "vm",
        "vm/",
        "vm/none",
        "vm/a dir",
        "vm/a dir/",
        "vm/link",
        "none/x",
        "/",
        "vm/a%20dir",
    ] {
        let answer = Handshake::tcp(address).await.unwrap().go(wrong.as_bytes()).await;
        assert_eq!(refusal(answer), option_reply::ERR_UNKNOWN, "{wrong}");
    }

    // The file lives on as long as it is attached.
    vfs.delete_object("vm", key, vfs::Precondition::default())
        .await
        .unwrap();
    assert_eq!(&client.read(0, 6).await.unwrap()[..], b"OBject");
    client.write(0, b"still there", false).await.unwrap_err();
    client.write(0, b"lives!", true).await.unwrap();
    assert_eq!(&client.read(0, 6).await.unwrap()[..], b"lives!");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_cut_short_keeps_its_size_as_a_device() {
    let dir = tempfile::tempdir().unwrap();
    let vfs = open(dir.path()).await;
    let bucket = vfs.create_bucket("vm").await.unwrap();
    let creator = Creator {
        uid: 0,
        gid: 0,
        mode: 0o644,
    };
    let file = vfs
        .mknod(bucket.ino, b"disk", vfs::Kind::File, 0, creator)
        .await
        .unwrap();
    vfs.write(file.ino, 0, Bytes::from(vec![7; 200_000]))
        .await
        .unwrap();
    let (_server, address) = serve(&vfs).await;
    let mut client = Client::attach(address, b"vm/disk").await.unwrap();
    vfs.setattr(
        file.ino,
        SetAttr {
            size: Some(10),
            ..SetAttr::default()
        },
    )
    .await
    .unwrap();
    let read = client.read(0, 200_000).await.unwrap();
    assert!(read[..10].iter().all(|byte| *byte == 7) && read[10..].iter().all(|byte| *byte == 0));
    let runs = client.block_status(0, 200_000).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.len).sum::<u32>(), 200_000);
    client.write_zeroes(150_000, 50_000, 0).await.unwrap();
    assert_eq!(vfs.getattr(file.ino).await.unwrap().size, 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_flushed_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let image = tempfile::tempdir().unwrap();
    {
        let vfs = open(dir.path()).await;
        vfs.create_bucket("vm").await.unwrap();
        vfs.create_volume("vm/disk", MIB, 512, "").await.unwrap();
        let (_server, address) = serve(&vfs).await;
        let mut one = Client::attach(address, b"vm/disk").await.unwrap();
        let mut two = Client::attach(address, b"vm/disk").await.unwrap();
        one.write(0, b"forced", true).await.unwrap();
        one.write(1000, b"flushed by the other connection", false)
            .await
            .unwrap();
        two.flush().await.unwrap();
        copy(dir.path(), image.path());
    }
    let vfs = open(image.path()).await;
    let (_server, address) = serve(&vfs).await;
    let mut client = Client::attach(address, b"vm/disk").await.unwrap();
    assert_eq!(&client.read(0, 6).await.unwrap()[..], b"forced");
    assert_eq!(
        &client.read(1000, 31).await.unwrap()[..],
        b"flushed by the other connection"
    );
}

/// The files as a crash would leave them.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
