//! Mounting and unmounting, in order and out of order.
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use fuse_frontend::{Mount, MountConfig};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::support::gateway;
use crate::support::syscalls::become_user;
use crate::support::{Gateway, Map, bytes, errno};

/// Leaves a mount whose server is gone, as a killed gateway does.
fn make_stale(path: &Path, kind: &str) {
    let channel = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .expect("/dev/fuse");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", channel.as_raw_fd());
    mount(
        Some("cess"),
        path,
        Some(kind),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .expect("mount");
    drop(channel);
    assert_eq!(errno(fs::metadata(path)), libc::ENOTCONN);
}

#[test]
fn a_dead_mount_of_our_own_is_replaced() {
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    fs::write(gateway.path("file"), "kept").expect("write");
    gateway.unmount();
    assert_eq!(
        fs::read_dir(&gateway.root).expect("list").count(),
        0,
        "the mountpoint is bare again"
    );
    make_stale(&gateway.root, "fuse.cess");
    gateway.remount(false);
    assert_eq!(fs::read(gateway.path("file")).expect("read"), b"kept");
    gateway.unmount();
    assert_eq!(fs::read_dir(&gateway.root).expect("list").count(), 0);
}

#[test]
fn a_dead_mount_of_others_is_left_alone() {
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    gateway.unmount();
    make_stale(&gateway.root, "fuse.other");
    let error = gateway::mount(&gateway.runtime, &gateway.root, &gateway.vfs, false).expect_err("not ours");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    assert!(
        error.to_string().contains("dead mount of something else"),
        "{error}"
    );
    umount2(&gateway.root, MntFlags::MNT_DETACH).expect("unmount");
}

#[test]
fn a_mount_in_use_by_another_gateway_is_refused() {
    let Some(gateway) = Gateway::start() else { return };
    let error = gateway::mount(&gateway.runtime, &gateway.root, &gateway.vfs, false).expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    assert!(error.to_string().contains("served by another gateway"), "{error}");
    fs::write(gateway.path("file"), "x").expect("the first one still serves");
}

#[test]
fn a_read_only_mount_refuses_writes_and_shows_those_of_others() {
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    fs::write(gateway.path("file"), "x").expect("write");
    gateway.unmount();
    gateway.remount(true);
    assert_eq!(errno(fs::write(gateway.path("file"), "y")), libc::EROFS);
    assert_eq!(errno(fs::create_dir(gateway.path("dir"))), libc::EROFS);
    gateway.put_object("object", b"through S3");
    assert_eq!(fs::read(gateway.path("object")).expect("read"), b"through S3");
}

#[test]
fn a_busy_mount_is_taken_away_without_losing_what_was_written() {
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    let data = bytes(1, 400_000);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(gateway.path("file"))
        .expect("create");
    file.write_all_at(&data, 0).expect("write");
    let mut map = Map::shared(&gateway.path("file"), data.len());
    map.write(1000, b"mapped");
    let directory = File::open(&gateway.bucket).expect("open");
    gateway.unmount();
    // Out of the namespace, and dead for those who hold it.
    assert_eq!(fs::read_dir(&gateway.root).expect("list").count(), 0);
    assert_eq!(errno(file.metadata()), libc::ENOTCONN);
    assert_eq!(errno(file.sync_all()), libc::ENOTCONN);
    assert_eq!(errno(directory.metadata()), libc::ENOTCONN);
    drop((map, file, directory));
    gateway.remount(false);
    let mut expected = data;
    expected[1000..1006].copy_from_slice(b"mapped");
    assert!(fs::read(gateway.path("file")).expect("read") == expected);
}

/// A container or a service that was started after the mount has a copy of it, which nobody outside
/// can unmount.
#[test]
fn a_mount_that_another_namespace_holds_ends_all_the_same() {
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    let other = Command::new("unshare")
        .args(["--mount", "sh", "-c", "echo ready; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut other) = other else {
        eprintln!("SKIPPED: this test needs unshare");
        return;
    };
    let mut ready = [0; 6];
    let out = other.stdout.as_mut().expect("a pipe");
    out.read_exact(&mut ready).expect("a new namespace");
    let inside = format!("/proc/{}/root{}", other.id(), gateway.path("file").display());
    fs::write(&inside, "written there").expect("the copy works");
    gateway.unmount();
    assert_eq!(fs::read_dir(&gateway.root).expect("list").count(), 0);
    assert_eq!(errno(fs::metadata(&inside)), libc::ENOTCONN);
    gateway.remount(false);
    assert_eq!(fs::read(gateway.path("file")).expect("read"), b"written there");
    drop(other.stdin.take());
    other.wait().expect("it ends at the end of its input");
}

#[test]
fn a_dropped_mount_leaves_nothing_behind() {
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    let file = File::create(gateway.path("file")).expect("create");
    drop(gateway.take_mount());
    assert_eq!(fs::read_dir(&gateway.root).expect("list").count(), 0);
    assert_eq!(errno(file.metadata()), libc::ENOTCONN);
    gateway.remount(false);
    assert!(gateway.path("file").exists());
}

#[test]
fn a_mount_taken_away_by_hand_ends_in_order() {
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    fs::write(gateway.path("file"), "x").expect("write");
    umount2(&gateway.root, MntFlags::empty()).expect("umount by hand");
    gateway.unmount();
    gateway.remount(false);
    assert_eq!(fs::read(gateway.path("file")).expect("read"), b"x");
}

/// Unmounting must not take away what the mountpoint is itself mounted on.
#[test]
fn a_mountpoint_that_is_itself_a_mount_stays_one() {
    if !gateway::can_mount() {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let below = dir.path().join("mnt");
    fs::create_dir(&below).expect("mkdir");
    mount(
        Some("none"),
        &below,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .expect("tmpfs");
    let path = dir.path().to_path_buf();
    let is_tmpfs = |path: &Path| {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        table
            .lines()
            .any(|line| line.contains(path.to_str().expect("text")) && line.contains(" - tmpfs "))
    };
    let mut gateway = Gateway::start_in(dir).expect("can mount");
    assert_eq!(fs::read_dir(&gateway.root).expect("list").count(), 0);
    gateway.unmount();
    assert!(is_tmpfs(&path.join("mnt")), "the file system below was unmounted");
    umount2(&below, MntFlags::MNT_DETACH).expect("unmount");
}

#[test]
fn without_the_right_to_mount_the_helper_mounts() {
    const USER: u32 = 65534;
    let has = |path: &str, bits: u32| fs::metadata(path).is_ok_and(|found| found.mode() & bits == bits);
    if !has("/usr/bin/fusermount3", 0o4000) || !has("/dev/fuse", 0o006) {
        eprintln!("SKIPPED: this test needs fusermount3 (set-user-id) and a /dev/fuse open to all");
        return;
    }
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    gateway.put_object("object", b"for everybody");
    gateway.unmount();
    let root = gateway.root.clone();
    // The user's own directory, in one that the user may enter.
    fs::set_permissions(root.parent().expect("parent"), fs::Permissions::from_mode(0o755)).expect("chmod");
    std::os::unix::fs::chown(&root, Some(USER), Some(USER)).expect("chown");
    let (runtime, vfs) = (&gateway.runtime, &gateway.vfs);
    let mounted = || mount_kind(&root) == Some("fuse.cess".into());
    std::thread::scope(|scope| {
        let user = scope.spawn(|| {
            become_user(USER).expect("setresuid");
            let config = MountConfig {
                path: root.clone(),
                allow_other: false,
                read_only: false,
                threads: 2,
            };
            let mount = {
                let _inside = runtime.enter();
                Mount::start(config, vfs.clone()).expect("mount")
            };
            assert!(mounted());
            assert_eq!(
                fs::read(root.join("bucket/object")).expect("read"),
                b"for everybody"
            );
            assert_eq!(errno(fs::write(root.join("bucket/object"), "x")), libc::EACCES);
            runtime.block_on(mount.shutdown());
        });
        user.join().expect("no panic");
    });
    assert!(!mounted());
}

/// Type of what is mounted at a path.
fn mount_kind(path: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let line = table
        .lines()
        .find(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == path))?;
    line.split(" - ").nth(1)?.split(' ').next().map(str::to_string)
}
