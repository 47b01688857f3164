//! Attributes, kinds and times between the vfs and the kernel.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use vfs::{Attr, InodeNo, Kind, TimeChange, Timestamp};

/// How long the kernel may use attributes and entries without asking: not at all, since the other
/// doors change them (crate docs).
pub(crate) const TTL: Duration = Duration::ZERO;

/// The vfs never gives an inode number to a second inode, so one generation is enough.
pub(crate) const GENERATION: fuser::Generation = fuser::Generation(0);

/// `st_blksize`, and the unit of `statfs`. The size of a page: larger values only change how some
/// programs size their buffers, and those that care use more anyway.
pub(crate) const BLOCK_SIZE: u32 = 4096;

/// Unit of `st_blocks`.
const STAT_BLOCK: u64 = 512;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// The kernel's inode number as the vfs writes it; the two are the same number.
pub(crate) fn inode(ino: INodeNo) -> InodeNo {
    InodeNo(ino.0)
}

/// Attributes as the kernel wants them.
pub(crate) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.allocated.div_ceil(STAT_BLOCK),
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.birth),
        kind: file_type(attr.kind),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// Kind as the kernel wants it.
pub(crate) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// Kind that `mknod` asks for; `None` for those it cannot make.
pub(crate) fn node_kind(mode: u32) -> Option<Kind> {
    match mode & libc::S_IFMT {
        // POSIX lets mknod without a type make a regular file.
        0 | libc::S_IFREG => Some(Kind::File),
        libc::S_IFIFO => Some(Kind::Fifo),
        libc::S_IFSOCK => Some(Kind::Socket),
        libc::S_IFCHR => Some(Kind::CharDevice),
        libc::S_IFBLK => Some(Kind::BlockDevice),
        _ => None,
    }
}

/// A moment as the kernel wants it.
fn system_time(time: Timestamp) -> SystemTime {
    let distance = Duration::from_nanos(time.0.unsigned_abs());
    if time.0 < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    }
}

/// A moment from the kernel, clamped to what a [`Timestamp`] can hold.
///
/// `fuser` 0.18 builds a moment before 1970 as `epoch - (seconds + nanoseconds)` where the kernel
/// means `epoch - seconds + nanoseconds`; the two parts are still whole, so they are put right here.
/// For the least of all seconds, which a process can ask for, that works because the kernel sends no
/// nanoseconds with them and `fuser` is built without overflow checks.
fn timestamp(time: SystemTime) -> Timestamp {
    let nanos = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::from(after.as_secs()) * NANOS_PER_SECOND + i128::from(after.subsec_nanos()),
        Err(error) => {
            let before = error.duration();
            i128::from(before.subsec_nanos()) - i128::from(before.as_secs()) * NANOS_PER_SECOND
        }
    };
    Timestamp(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

/// A time to set.
pub(crate) fn time_change(time: TimeOrNow) -> TimeChange {
    match time {
        TimeOrNow::Now => TimeChange::Now,
        TimeOrNow::SpecificTime(time) => TimeChange::At(timestamp(time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `fuser` builds it from the kernel's seconds and nanoseconds.
    fn from_kernel(seconds: i64, nanos: u32) -> SystemTime {
        if seconds >= 0 {
            UNIX_EPOCH + Duration::new(seconds as u64, nanos)
        } else {
            UNIX_EPOCH - Duration::new(seconds.unsigned_abs(), nanos)
        }
    }

    #[test]
    fn times_keep_their_nanoseconds_on_both_sides_of_1970() {
        for (seconds, nanos, expected) in [
            (0, 0, 0),
            (1, 5, 1_000_000_005),
            (-1, 0, -1_000_000_000),
            // Half a second before 1970.
            (-1, 500_000_000, -500_000_000),
            (-2, 999_999_999, -1_000_000_001),
        ] {
            assert_eq!(
                timestamp(from_kernel(seconds, nanos)),
                Timestamp(expected),
                "{seconds} {nanos}"
            );
        }
    }

    #[test]
    fn times_out_of_range_are_clamped() {
        assert_eq!(timestamp(from_kernel(i64::MAX, 0)), Timestamp(i64::MAX));
        assert_eq!(timestamp(from_kernel(-(1 << 40), 0)), Timestamp(i64::MIN));
        assert_eq!(timestamp(from_kernel(i64::MIN, 0)), Timestamp(i64::MIN));
        assert_eq!(
            timestamp(from_kernel(i64::MIN + 1, 999_999_999)),
            Timestamp(i64::MIN)
        );
    }

    #[test]
    fn times_reach_the_kernel_unchanged() {
        for nanos in [i64::MIN, -1_500_000_000, -1, 0, 1, i64::MAX] {
            let time = system_time(Timestamp(nanos));
            let back = match time.duration_since(UNIX_EPOCH) {
                Ok(after) => after.as_nanos() as i128,
                Err(error) => -(error.duration().as_nanos() as i128),
            };
            assert_eq!(back, i128::from(nanos));
        }
    }

    #[test]
    fn blocks_round_up() {
        let attr = Attr {
            ino: InodeNo(7),
            kind: Kind::File,
            mode: 0o104_755,
            uid: 1,
            gid: 2,
            nlink: 3,
            rdev: 0,
            size: 10,
            allocated: 513,
            atime: Timestamp(0),
            mtime: Timestamp(0),
            ctime: Timestamp(0),
            birth: Timestamp(0),
        };
        let shown = file_attr(&attr);
        assert_eq!(
            (shown.blocks, shown.perm, shown.nlink, shown.ino.0),
            (2, 0o4755, 3, 7)
        );
    }
}
