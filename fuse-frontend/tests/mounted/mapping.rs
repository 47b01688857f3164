//! Memory maps.
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

use vfs::InodeNo;

use crate::support::{Gateway, Map, bytes};

fn mapped(gateway: &Gateway, data: &[u8]) -> (File, Map, InodeNo) {
    let path = gateway.path("mapped");
    fs::write(&path, data).expect("write");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("open");
    let map = Map::shared(&path, data.len());
    let ino = InodeNo(file.metadata().expect("stat").ino());
    (file, map, ino)
}

#[test]
fn a_synced_map_is_seen_by_every_door() {
    let Some(gateway) = Gateway::start() else { return };
    let mut data = bytes(1, 300_000);
    let (file, mut map, ino) = mapped(&gateway, &data);
    assert!(map.read(0, data.len()) == data);
    for (seed, at) in [(2, 0_usize), (3, 4090), (4, 131_072), (5, 299_900)] {
        let patch = bytes(seed, 100);
        map.write(at, &patch);
        data[at..at + 100].copy_from_slice(&patch);
        // Another handle of the file sees it at once, the other doors after msync.
        let mut read = vec![0; 100];
        file.read_exact_at(&mut read, at as u64).expect("read");
        assert!(read == patch);
    }
    map.sync();
    let seen = gateway
        .runtime
        .block_on(gateway.vfs.read(ino, 0, 300_000))
        .expect("read");
    assert!(seen == data);
    assert!(gateway.get_object("mapped").expect("get") == data);
    assert_eq!(
        file.metadata().expect("stat").len(),
        300_000,
        "a map never extends the file"
    );
}

#[test]
fn a_map_and_writes_share_their_pages() {
    let Some(gateway) = Gateway::start() else { return };
    let (file, mut map, _) = mapped(&gateway, &bytes(1, 20_000));
    file.write_all_at(b"by a write", 5000).expect("write");
    assert_eq!(map.read(5000, 10), b"by a write");
    map.write(9000, b"by the map");
    let mut read = [0; 10];
    file.read_exact_at(&mut read, 9000).expect("read");
    assert_eq!(&read, b"by the map");
}

#[test]
fn a_map_that_was_never_synced_is_written_back_when_it_goes() {
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    let data = bytes(1, 50_000);
    let (file, mut map, ino) = mapped(&gateway, &data);
    map.write(10_000, b"left in the page cache");
    drop(map);
    drop(file);
    gateway.unmount();
    let seen = gateway
        .runtime
        .block_on(gateway.vfs.read(ino, 10_000, 22))
        .expect("read");
    assert_eq!(&seen[..], b"left in the page cache");
}
