//! The other doors' changes show in the mount at once, and the mount's changes show there.
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use vfs::{InodeNo, Precondition};

use crate::support::{Gateway, Map, bytes, errno};

#[test]
fn a_put_shows_in_the_mount_at_once() {
    let Some(gateway) = Gateway::start() else { return };
    assert_eq!(errno(fs::read(gateway.path("dir/key"))), libc::ENOENT);
    for round in 0..30 {
        // The same size each time, so that only its time tells the versions apart.
        let data = bytes(round, 40_000);
        gateway.put_object("dir/key", &data);
        assert!(
            fs::read(gateway.path("dir/key")).expect("read") == data,
            "round {round}"
        );
    }
    assert!(gateway.path("dir").is_dir());
    let data = bytes(99, 10);
    gateway.put_object("dir/key", &data);
    assert_eq!(fs::metadata(gateway.path("dir/key")).expect("stat").len(), 10);
    let gone = gateway
        .vfs
        .delete_object("bucket", b"dir/key", Precondition::default());
    assert!(gateway.runtime.block_on(gone).expect("delete"));
    assert_eq!(errno(fs::read(gateway.path("dir/key"))), libc::ENOENT);
}

#[test]
fn a_write_shows_in_objects_at_once() {
    let Some(gateway) = Gateway::start() else { return };
    for round in 0..10 {
        let data = bytes(round, 300_000 + round as usize);
        fs::write(gateway.path("file"), &data).expect("write");
        assert!(gateway.get_object("file").expect("get") == data, "round {round}");
    }
    fs::rename(gateway.path("file"), gateway.path("other")).expect("rename");
    assert!(matches!(gateway.get_object("file"), Err(vfs::Error::NotFound)));
    assert_eq!(gateway.get_object("other").expect("get").len(), 300_009);
}

/// As when an export of the same file is written: the reader has the file open, its pages cached
/// and mapped.
#[test]
fn cached_pages_follow_writes_through_other_doors() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("volume");
    fs::write(&path, bytes(0, 100_000)).expect("write");
    let file = File::options().read(true).write(true).open(&path).expect("open");
    let ino = InodeNo(file.metadata().expect("stat").ino());
    let mut map = Map::shared(&path, 100_000);
    let mut read = vec![0; 100_000];
    for round in 1..20 {
        file.read_exact_at(&mut read, 0).expect("read, to fill the cache");
        let data = bytes(round, 100_000);
        gateway
            .runtime
            .block_on(gateway.vfs.write(ino, 0, data.clone().into()))
            .expect("write");
        file.read_exact_at(&mut read, 0).expect("read");
        assert!(read == data, "round {round}");
        assert!(map.read(0, 100_000) == data, "round {round}, mapped");
    }
}

#[test]
fn directories_follow_objects() {
    let Some(gateway) = Gateway::start() else { return };
    for number in 0..50 {
        gateway.put_object(&format!("p/{number}"), b"x");
        assert_eq!(fs::read_dir(gateway.path("p")).expect("list").count(), number + 1);
    }
    gateway
        .runtime
        .block_on(gateway.vfs.create_bucket("made-elsewhere"))
        .expect("create");
    assert!(gateway.root.join("made-elsewhere").is_dir());
}

/// A name that another door takes between the kernel's lookup and its create must go through the
/// kernel's permission checks and `O_TRUNC`, not be opened behind them.
#[test]
fn creating_what_another_door_just_made_opens_it() {
    let Some(gateway) = Gateway::start() else { return };
    std::thread::scope(|scope| {
        let gateway = &gateway;
        scope.spawn(move || {
            for round in 0..60 {
                gateway.put_object(&format!("raced-{round}"), b"from the other door");
            }
        });
        for round in 0..60 {
            fs::write(gateway.path(&format!("raced-{round}")), "from the mount").expect("write");
        }
    });
    for round in 0..60 {
        let text = fs::read_to_string(gateway.path(&format!("raced-{round}"))).expect("read");
        assert!(
            ["from the mount", "from the other door"].contains(&text.as_str()),
            "{text:?}"
        );
    }
}
