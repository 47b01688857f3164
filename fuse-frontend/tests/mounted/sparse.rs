//! Holes: seeking, allocating, punching, and copying ranges.
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

use crate::support::syscalls::copy_range;
use crate::support::{Gateway, bytes, errno};

const MIB: i64 = 1 << 20;

fn file(gateway: &Gateway, name: &str) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(gateway.path(name))
        .expect("open")
}

fn seek(file: &File, offset: i64, whence: Whence) -> std::io::Result<i64> {
    Ok(lseek(file, offset, whence)?)
}

fn allocate(file: &File, flags: FallocateFlags, offset: i64, len: i64) -> std::io::Result<()> {
    Ok(fallocate(file, flags, offset, len)?)
}

#[test]
fn holes_are_found_and_take_no_space() {
    let Some(gateway) = Gateway::start() else { return };
    let file = file(&gateway, "sparse");
    file.write_all_at(&bytes(1, 4096), MIB as u64).expect("write");
    file.write_all_at(&bytes(2, 8192), 5 * MIB as u64).expect("write");
    file.set_len(8 * MIB as u64).expect("extend");
    for synced in [false, true] {
        if synced {
            file.sync_all().expect("fsync");
        }
        let metadata = file.metadata().expect("stat");
        assert_eq!(metadata.len(), 8 * MIB as u64);
        assert!(
            metadata.blocks() * 512 < MIB as u64,
            "{} blocks",
            metadata.blocks()
        );
        assert_eq!(seek(&file, 0, Whence::SeekData).expect("data"), MIB);
        assert_eq!(seek(&file, 0, Whence::SeekHole).expect("hole"), 0);
        assert_eq!(seek(&file, MIB + 100, Whence::SeekData).expect("data"), MIB + 100);
        assert_eq!(seek(&file, MIB, Whence::SeekHole).expect("hole"), MIB + 4096);
        assert_eq!(seek(&file, MIB + 4096, Whence::SeekData).expect("data"), 5 * MIB);
        assert_eq!(
            seek(&file, 5 * MIB, Whence::SeekHole).expect("hole"),
            5 * MIB + 8192
        );
        assert_eq!(errno(seek(&file, 6 * MIB, Whence::SeekData)), libc::ENXIO);
        assert_eq!(errno(seek(&file, 8 * MIB, Whence::SeekHole)), libc::ENXIO);
        assert_eq!(errno(seek(&file, -1, Whence::SeekData)), libc::ENXIO);
    }
    assert!(
        fs::read(gateway.path("sparse")).expect("read")[..MIB as usize]
            .iter()
            .all(|&byte| byte == 0)
    );
}

#[test]
fn a_file_without_holes_has_one_at_its_end() {
    let Some(gateway) = Gateway::start() else { return };
    let file = file(&gateway, "full");
    file.write_all_at(&bytes(1, 600_000), 0).expect("write");
    assert_eq!(seek(&file, 0, Whence::SeekHole).expect("hole"), 600_000);
    assert_eq!(seek(&file, 599_999, Whence::SeekData).expect("data"), 599_999);
    assert_eq!(errno(seek(&file, 600_000, Whence::SeekData)), libc::ENXIO);
}

#[test]
fn ranges_are_punched_and_zeroed() {
    let Some(gateway) = Gateway::start() else { return };
    let file = file(&gateway, "file");
    let mut data = bytes(3, 2 << 20);
    file.write_all_at(&data, 0).expect("write");
    file.sync_all().expect("fsync");
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let before = file.metadata().expect("stat").blocks();
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | keep;
    allocate(&file, punch, 300_000, 800_000).expect("punch");
    data[300_000..1_100_000].fill(0);
    assert!(fs::read(gateway.path("file")).expect("read") == data);
    file.sync_all().expect("fsync");
    assert!(file.metadata().expect("stat").blocks() * 512 + 700_000 < before * 512);
    assert_eq!(seek(&file, 300_000, Whence::SeekData).expect("data"), 1_100_000);
    // Past the end: nothing happens.
    allocate(&file, punch, 4 << 20, 4096).expect("punch");
    assert_eq!(file.metadata().expect("stat").len(), 2 << 20);

    let zero = FallocateFlags::FALLOC_FL_ZERO_RANGE;
    allocate(&file, zero, 10, 20_000).expect("zero");
    data[10..20_010].fill(0);
    allocate(&file, zero | keep, (2 << 20) - 5, 100).expect("zero, keeping the size");
    let end = data.len();
    data[end - 5..].fill(0);
    assert!(fs::read(gateway.path("file")).expect("read") == data);
    allocate(&file, zero, (2 << 20) - 5, 100).expect("zero and extend");
    data.resize(end + 95, 0);
    assert!(fs::read(gateway.path("file")).expect("read") == data);
}

#[test]
fn reserving_extends_unless_told_not_to() {
    let Some(gateway) = Gateway::start() else { return };
    let file = file(&gateway, "file");
    file.write_all_at(b"content", 0).expect("write");
    allocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 50_000).expect("reserve");
    assert_eq!(file.metadata().expect("stat").len(), 7);
    allocate(&file, FallocateFlags::empty(), 0, 50_000).expect("reserve and extend");
    let mut expected = b"content".to_vec();
    expected.resize(50_000, 0);
    assert!(fs::read(gateway.path("file")).expect("read") == expected);
    assert_eq!(
        errno(allocate(&file, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, 4096)),
        libc::EOPNOTSUPP
    );
    assert_eq!(
        errno(allocate(&file, FallocateFlags::empty(), 0, 0)),
        libc::EINVAL
    );
}

#[test]
fn ranges_are_copied_within_and_between_files() {
    let Some(gateway) = Gateway::start() else { return };
    let data = bytes(5, 900_000);
    let from = file(&gateway, "from");
    from.write_all_at(&data, 0).expect("write");
    let copy = |from: &File, from_at: i64, to: &File, to_at: i64, len: usize| {
        let mut done = 0;
        while done < len {
            let at = done as i64;
            let now = copy_range(from, from_at + at, to, to_at + at, len - done).expect("copy");
            if now == 0 {
                break;
            }
            done += now;
        }
        done
    };
    let to = file(&gateway, "to");
    assert_eq!(copy(&from, 0, &to, 0, data.len()), data.len());
    assert!(fs::read(gateway.path("to")).expect("read") == data);
    // Odd offsets, beyond the end of the target, past the end of the source.
    assert_eq!(copy(&from, 1001, &to, 1_000_003, 400_000), 400_000);
    let mut expected = data.clone();
    expected.resize(1_000_003, 0);
    expected.extend_from_slice(&data[1001..401_001]);
    assert!(fs::read(gateway.path("to")).expect("read") == expected);
    assert_eq!(copy(&from, 899_990, &to, 5, 1000), 10);
    assert_eq!(copy(&from, 900_000, &to, 5, 1000), 0);
    // Within one file.
    assert_eq!(copy(&to, 0, &to, 500_000, 100_000), 100_000);
    let head = fs::read(gateway.path("to")).expect("read");
    assert!(head[500_000..600_000] == head[..100_000]);
    // The source is its own.
    from.write_all_at(&[7; 1000], 0).expect("write");
    assert!(fs::read(gateway.path("to")).expect("read") == head);

    fs::create_dir(gateway.root.join("second")).expect("a second bucket");
    fs::copy(gateway.path("to"), gateway.root.join("second/copy")).expect("copy across buckets");
    assert!(fs::read(gateway.root.join("second/copy")).expect("read") == head);
}
