//! Snapshots below `.snapshots`.
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::support::{Gateway, bytes, errno};

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .expect("list")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn snapshots_are_read_in_the_mount_and_in_no_listing() {
    let Some(gateway) = Gateway::start() else { return };
    let create = |path: &str, name: &str| {
        let snapshot = gateway.vfs.create_snapshot(path, name);
        gateway.runtime.block_on(snapshot).expect("snapshot");
    };
    let data = bytes(1, 300_000);
    fs::create_dir(gateway.path("dir")).expect("mkdir");
    fs::write(gateway.path("dir/file"), &data).expect("write");
    std::os::unix::fs::symlink("file", gateway.path("dir/link")).expect("symlink");
    assert_eq!(errno(fs::metadata(gateway.path(".snapshots"))), libc::ENOENT);
    create("bucket", "one");
    create("bucket/dir/file", "two");
    // Changed, removed, and a stranger in its place.
    let mut file = File::options()
        .append(true)
        .open(gateway.path("dir/file"))
        .expect("open");
    file.write_all(b"more").expect("append");
    fs::remove_file(gateway.path("dir/link")).expect("remove");
    fs::rename(gateway.path("dir"), gateway.path("other")).expect("rename");
    fs::create_dir(gateway.path("dir")).expect("mkdir");
    assert_eq!(names(&gateway.bucket), ["dir", "other"]);
    assert_eq!(names(&gateway.path("other")), ["file"]);
    let one = gateway.path(".snapshots/one");
    assert_eq!(names(&gateway.path(".snapshots")), ["one"]);
    assert_eq!(names(&one.join("dir")), ["file", "link"]);
    assert!(fs::read(one.join("dir/link")).expect("through the link") == data);
    assert!(fs::read(gateway.path("other/.snapshots/file@two")).expect("read") == data);
    let (then, now) = (one.join("dir/file"), gateway.path("other/file"));
    let inodes = [&then, &now].map(|path| fs::metadata(path).expect("stat").ino());
    assert_ne!(inodes[0], inodes[1]);
    assert_eq!(
        one.join("dir/..").join("dir/file").canonicalize().expect("path"),
        then
    );
    for refused in [
        fs::write(&then, b"x"),
        fs::write(one.join("new"), b"x"),
        fs::remove_file(&then),
        fs::remove_dir(one.join("dir")),
        fs::create_dir(gateway.path(".snapshots/new")),
        fs::remove_dir(&one),
        fs::rename(&then, one.join("dir/moved")),
        fs::set_permissions(&then, fs::Permissions::from_mode(0o600)),
    ] {
        assert_eq!(errno(refused), libc::EROFS);
    }
    assert_eq!(errno(fs::create_dir(gateway.path(".snapshots"))), libc::EEXIST);
    fs::copy(&then, gateway.path("back")).expect("copy out");
    assert!(fs::read(gateway.path("back")).expect("read") == data);
    let open = File::open(&then).expect("open");
    gateway
        .runtime
        .block_on(gateway.vfs.delete_snapshot("bucket", "one"))
        .expect("delete");
    assert_eq!(errno(open.metadata()), libc::ENOENT);
    assert_eq!(errno(fs::metadata(gateway.path(".snapshots"))), libc::ENOENT);
}
