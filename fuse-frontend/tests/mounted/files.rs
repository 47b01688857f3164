//! Regular files: bytes in, bytes out.
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use crate::support::{Gateway, bytes, errno};

/// Sizes around the page, the chunk and the request.
const SIZES: [usize; 9] = [
    0,
    1,
    4095,
    4096,
    4097,
    (256 << 10) - 1,
    (256 << 10) + 1,
    (1 << 20) + 1,
    (3 << 20) + 7,
];

#[test]
fn what_is_written_reads_back() {
    let Some(gateway) = Gateway::start() else { return };
    for (seed, size) in SIZES.into_iter().enumerate() {
        let path = gateway.path(&format!("size-{size}"));
        let data = bytes(seed as u64, size);
        fs::write(&path, &data).expect("write");
        assert_eq!(fs::metadata(&path).expect("stat").len(), size as u64);
        assert!(fs::read(&path).expect("read") == data, "{size} bytes differ");
    }
}

#[test]
fn overwrites_change_only_their_range() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    let mut data = bytes(1, 1 << 20);
    fs::write(&path, &data).expect("write");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("open");
    for (seed, (offset, len)) in [
        (0, 1),
        (4095, 2),
        (100_000, 70_000),
        (262_143, 2),
        (1_048_570, 20),
    ]
    .into_iter()
    .enumerate()
    {
        let patch = bytes(100 + seed as u64, len);
        file.write_all_at(&patch, offset as u64).expect("write");
        data.resize(data.len().max(offset + len), 0);
        data[offset..offset + len].copy_from_slice(&patch);
        assert!(
            fs::read(&path).expect("read") == data,
            "after {len} bytes at {offset}"
        );
    }
    let mut part = vec![0; 5000];
    file.read_exact_at(&mut part, 261_000).expect("read");
    assert!(part == data[261_000..266_000]);
    assert_eq!(file.read_at(&mut part, data.len() as u64).expect("at the end"), 0);
    assert_eq!(
        file.read_at(&mut part, data.len() as u64 - 10)
            .expect("near the end"),
        10
    );
}

#[test]
fn truncation_cuts_and_extends_with_zeroes() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    let data = bytes(2, 700_000);
    fs::write(&path, &data).expect("write");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("open");
    file.set_len(300_001).expect("cut");
    assert!(fs::read(&path).expect("read") == data[..300_001]);
    file.set_len(600_000).expect("extend");
    let read = fs::read(&path).expect("read");
    assert!(read[..300_001] == data[..300_001] && read[300_001..].iter().all(|&byte| byte == 0));
    assert_eq!(read.len(), 600_000);
    // Truncation at open.
    let file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .expect("open");
    assert_eq!(file.metadata().expect("stat").len(), 0);
    file.write_all_at(b"x", 10).expect("write");
    assert_eq!(fs::read(&path).expect("read"), b"\0\0\0\0\0\0\0\0\0\0x");
}

#[test]
fn opening_refuses_what_posix_refuses() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    fs::write(&path, "x").expect("write");
    fs::create_dir(gateway.path("dir")).expect("mkdir");
    assert_eq!(errno(File::open(gateway.path("none"))), libc::ENOENT);
    assert_eq!(errno(File::open(path.join("below"))), libc::ENOTDIR);
    assert_eq!(errno(File::create(gateway.path("dir"))), libc::EISDIR);
    assert_eq!(
        errno(OpenOptions::new().write(true).create_new(true).open(&path)),
        libc::EEXIST
    );
    assert_eq!(errno(fs::remove_file(gateway.path("dir"))), libc::EISDIR);
    assert_eq!(errno(fs::remove_dir(&path)), libc::ENOTDIR);
    assert_eq!(errno(fs::remove_file(gateway.path("none"))), libc::ENOENT);
    // The root holds buckets alone.
    assert_eq!(errno(fs::write(gateway.root.join("file"), "x")), libc::EPERM);
    assert_eq!(fs::read(&path).expect("read"), b"x");
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    let data = bytes(3, 500_000);
    fs::write(&path, &data).expect("write");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("open");
    fs::remove_file(&path).expect("unlink");
    assert_eq!(errno(fs::metadata(&path)), libc::ENOENT);
    assert_eq!(file.metadata().expect("fstat").nlink(), 0);
    // The name can be used again, for another inode.
    fs::write(&path, "new").expect("write");
    file.write_all_at(b"still here", 499_995).expect("write");
    let mut read = vec![0; 500_005];
    file.read_exact_at(&mut read, 0).expect("read");
    assert!(read[..499_995] == data[..499_995] && &read[499_995..] == b"still here");
    file.sync_all().expect("fsync");
    drop(file);
    assert_eq!(fs::read(&path).expect("read"), b"new");
}

#[test]
fn handles_of_one_file_see_each_other() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    let writer = File::create(&path).expect("create");
    let mut reader = File::open(&path).expect("open");
    let mut seen = Vec::new();
    for round in 0..20_u8 {
        writer
            .write_all_at(&[round; 3000], u64::from(round) * 3000)
            .expect("write");
        let before = seen.len();
        reader.read_to_end(&mut seen).expect("read");
        assert_eq!(seen.len() - before, 3000, "round {round}");
        assert!(seen[before..].iter().all(|&byte| byte == round));
    }
}

#[test]
fn direct_io_sees_the_same_bytes() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    let data = bytes(4, 64 << 10);
    fs::write(&path, &data).expect("write");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .expect("open for direct I/O");
    let mut read = vec![0; 64 << 10];
    file.read_exact_at(&mut read, 0).expect("read");
    assert!(read == data);
    file.write_all_at(&data[..8192], 16 << 10).expect("write");
    let read = fs::read(&path).expect("read");
    assert!(read[16 << 10..24 << 10] == data[..8192] && read[..16 << 10] == data[..16 << 10]);
}

#[test]
fn writers_of_disjoint_ranges_do_not_disturb_each_other() {
    const WRITERS: usize = 8;
    const BLOCK: usize = 10_007;
    const BLOCKS: usize = 12;
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    File::create(&path).expect("create");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = &path;
            scope.spawn(move || {
                let file = OpenOptions::new().write(true).open(path).expect("open");
                for block in 0..BLOCKS {
                    let at = (block * WRITERS + writer) * BLOCK;
                    file.write_all_at(&[writer as u8 + 1; BLOCK], at as u64)
                        .expect("write");
                }
                file.sync_all().expect("fsync");
            });
        }
    });
    let read = fs::read(&path).expect("read");
    assert_eq!(read.len(), WRITERS * BLOCK * BLOCKS);
    for (number, block) in read.chunks(BLOCK).enumerate() {
        assert!(
            block
                .iter()
                .all(|&byte| usize::from(byte) == number % WRITERS + 1),
            "block {number}"
        );
    }
}
