//! Modes, owners, times, devices, space.
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::statvfs::statvfs;
use nix::sys::time::TimeSpec;

use crate::support::{Gateway, errno};

/// A user that owns nothing.
const NOBODY: u32 = 65534;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("stat").mode() & 0o7777
}

#[test]
fn modes_and_owners_are_kept() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    fs::write(&path, "x").expect("write");
    for bits in [0, 0o4755, 0o2711, 0o1777, 0o600, 0o7777] {
        fs::set_permissions(&path, Permissions::from_mode(bits)).expect("chmod");
        assert_eq!(mode(&path), bits);
    }
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
    chown(&path, Some(1234), Some(5678)).expect("chown");
    let metadata = fs::metadata(&path).expect("stat");
    assert_eq!((metadata.uid(), metadata.gid()), (1234, 5678));
    chown(&path, None, Some(u32::MAX - 1)).expect("chown");
    let metadata = fs::metadata(&path).expect("stat");
    assert_eq!((metadata.uid(), metadata.gid()), (1234, u32::MAX - 1));
    std::os::unix::fs::symlink("file", gateway.path("link")).expect("symlink");
    lchown(gateway.path("link"), Some(7), Some(8)).expect("lchown");
    assert_eq!(
        fs::symlink_metadata(gateway.path("link")).expect("lstat").uid(),
        7
    );
    assert_eq!(fs::metadata(&path).expect("stat").uid(), 1234);
    // A change of owner takes the privilege away.
    fs::set_permissions(&path, Permissions::from_mode(0o6755)).expect("chmod");
    chown(&path, Some(1), Some(1)).expect("chown");
    assert_eq!(mode(&path), 0o755);
}

#[test]
fn the_umask_and_the_group_of_the_directory_apply() {
    let Some(gateway) = Gateway::start() else { return };
    let dir = gateway.path("dir");
    fs::create_dir(&dir).expect("mkdir");
    fs::set_permissions(&dir, Permissions::from_mode(0o2777)).expect("chmod");
    chown(&dir, Some(0), Some(4321)).expect("chown");
    fs::set_permissions(&dir, Permissions::from_mode(0o2777)).expect("chmod");
    let made = Command::new("sh")
        .args(["-c", "umask 027; echo x > file; mkdir sub"])
        .current_dir(&dir)
        .status()
        .expect("sh");
    assert!(made.success());
    assert_eq!(mode(&dir.join("file")), 0o640);
    assert_eq!(mode(&dir.join("sub")) & 0o777, 0o750);
    assert_eq!(fs::metadata(dir.join("file")).expect("stat").gid(), 4321);
    // Directories hand the bit on.
    let sub = fs::metadata(dir.join("sub")).expect("stat");
    assert_eq!((sub.gid(), sub.mode() & 0o2000), (4321, 0o2000));
}

#[test]
fn the_kernel_enforces_permissions_for_other_users() {
    let Some(gateway) = Gateway::start() else { return };
    let directory = fs::metadata(gateway.root.parent().expect("parent")).expect("stat");
    assert_eq!(directory.mode() & 0o700, 0o700);
    fs::set_permissions(
        gateway.root.parent().expect("parent"),
        Permissions::from_mode(0o755),
    )
    .expect("chmod");
    let path = gateway.path("file");
    fs::write(&path, "content").expect("write");
    let read_as_nobody = || {
        Command::new("cat")
            .arg(&path)
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .expect("cat")
    };
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
    let refused = read_as_nobody();
    assert!(!refused.status.success() && refused.stdout.is_empty());
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
    assert_eq!(read_as_nobody().stdout, b"content");
    let written = Command::new("sh")
        .args(["-c", "echo x > new"])
        .current_dir(&gateway.bucket)
        .uid(NOBODY)
        .output()
        .expect("sh");
    assert!(!written.status.success() && !gateway.path("new").exists());
    // What another user makes is his.
    fs::set_permissions(&gateway.bucket, Permissions::from_mode(0o1777)).expect("chmod");
    let made = Command::new("sh")
        .args(["-c", "echo x > new"])
        .current_dir(&gateway.bucket)
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
        .expect("sh");
    assert!(made.success());
    let metadata = fs::metadata(gateway.path("new")).expect("stat");
    assert_eq!((metadata.uid(), metadata.gid()), (NOBODY, NOBODY));
}

#[test]
fn times_keep_their_nanoseconds() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    fs::write(&path, "x").expect("write");
    for (access, change) in [
        ((1_234_567_890, 123_456_789), (987_654_321, 1)),
        ((0, 0), (0, 999_999_999)),
        // Before 1970: half a second before, and 30 years before.
        ((-1, 500_000_000), (-946_684_800, 7)),
        // After 2038.
        ((4_102_444_800, 5), (6_000_000_000, 0)),
    ] {
        let (atime, mtime) = (
            TimeSpec::new(access.0, access.1),
            TimeSpec::new(change.0, change.1),
        );
        utimensat(AT_FDCWD, &path, &atime, &mtime, UtimensatFlags::FollowSymlink).expect("utimens");
        let metadata = fs::metadata(&path).expect("stat");
        assert_eq!((metadata.atime(), metadata.atime_nsec()), access);
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), change);
    }
    // One alone, and the present.
    let kept = fs::metadata(&path).expect("stat").atime();
    utimensat(
        AT_FDCWD,
        &path,
        &TimeSpec::UTIME_OMIT,
        &TimeSpec::UTIME_NOW,
        UtimensatFlags::FollowSymlink,
    )
    .expect("utimens");
    let metadata = fs::metadata(&path).expect("stat");
    assert_eq!(metadata.atime(), kept);
    assert_eq!(
        (metadata.mtime(), metadata.mtime_nsec()),
        (metadata.ctime(), metadata.ctime_nsec())
    );
}

#[test]
fn moments_beyond_all_bounds_are_clamped_and_end_no_event_loop() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    fs::write(&path, "x").expect("write");
    let least = i64::MIN.div_euclid(1_000_000_000);
    // More often than there are event loops.
    for _ in 0..8 {
        for (seconds, nanos) in [
            (i64::MIN, 0),
            (i64::MIN, 1),
            (i64::MIN, 999_999_999),
            (i64::MIN + 1, 999_999_999),
        ] {
            let time = TimeSpec::new(seconds, nanos);
            utimensat(AT_FDCWD, &path, &time, &time, UtimensatFlags::FollowSymlink).expect("utimens");
            let metadata = fs::metadata(&path).expect("stat");
            assert_eq!((metadata.mtime(), metadata.atime()), (least, least));
        }
        let time = TimeSpec::new(i64::MAX, 999_999_999);
        utimensat(AT_FDCWD, &path, &time, &time, UtimensatFlags::FollowSymlink).expect("utimens");
        assert_eq!(
            fs::metadata(&path).expect("stat").mtime(),
            i64::MAX / 1_000_000_000
        );
    }
}

#[test]
fn changes_move_the_times_that_posix_says() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    let times = |path: &Path| {
        let metadata = fs::metadata(path).expect("stat");
        (
            (metadata.mtime(), metadata.mtime_nsec()),
            (metadata.ctime(), metadata.ctime_nsec()),
        )
    };
    let parent = times(&gateway.bucket);
    fs::write(&path, "x").expect("write");
    assert!(
        times(&gateway.bucket).0 > parent.0,
        "a new entry changes the directory"
    );
    let first = times(&path);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
    let second = times(&path);
    assert!(
        second.0 == first.0 && second.1 > first.1,
        "chmod moves ctime alone"
    );
    File::options()
        .append(true)
        .open(&path)
        .and_then(|file| file.set_len(5))
        .expect("truncate");
    let third = times(&path);
    assert!(third.0 > second.0 && third.1 > second.1, "truncate moves both");
    fs::write(&path, "y").expect("write");
    assert!(times(&path).0 > third.0);
    let parent = times(&gateway.bucket);
    fs::remove_file(&path).expect("unlink");
    assert!(times(&gateway.bucket).0 > parent.0);
}

#[test]
fn special_files_keep_their_kind_and_number() {
    let Some(gateway) = Gateway::start() else { return };
    let device = makedev(259, 70_000);
    for (name, kind) in [("char", SFlag::S_IFCHR), ("block", SFlag::S_IFBLK)] {
        mknod(&gateway.path(name), kind, Mode::from_bits_truncate(0o640), device).expect("mknod");
        let metadata = fs::metadata(gateway.path(name)).expect("stat");
        assert_eq!(metadata.rdev(), device);
        assert_eq!(metadata.file_type().is_char_device(), kind == SFlag::S_IFCHR);
        assert_eq!(metadata.file_type().is_block_device(), kind == SFlag::S_IFBLK);
        // The mount is nodev.
        assert_eq!(errno(File::open(gateway.path(name))), libc::EACCES);
    }
    let fifo = gateway.path("fifo");
    mknod(&fifo, SFlag::S_IFIFO, Mode::S_IRWXU, 0).expect("mkfifo");
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::write(fifo, "through the pipe")
    });
    assert_eq!(fs::read_to_string(&fifo).expect("read"), "through the pipe");
    writer.join().expect("no panic").expect("write");
    let socket = gateway.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
    assert!(fs::metadata(&socket).expect("stat").file_type().is_socket());
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
}

#[test]
fn space_is_reported() {
    let Some(gateway) = Gateway::start() else { return };
    let space = statvfs(&gateway.bucket).expect("statvfs");
    assert!(space.blocks() > 0 && space.blocks_available() > 0);
    assert!(space.blocks_available() <= space.blocks());
    assert!(space.files_free() > 0 && space.files() >= space.files_free());
    assert_eq!(space.name_max(), 255);
}
