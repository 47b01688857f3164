//! Hard links and symlinks.
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use crate::support::{Gateway, errno};

#[test]
fn hard_links_are_one_file() {
    let Some(gateway) = Gateway::start() else { return };
    let (a, b) = (gateway.path("a"), gateway.path("dir/b"));
    fs::create_dir(gateway.path("dir")).expect("mkdir");
    fs::write(&a, "one").expect("write");
    fs::hard_link(&a, &b).expect("link");
    let (of_a, of_b) = (fs::metadata(&a).expect("stat"), fs::metadata(&b).expect("stat"));
    assert_eq!((of_a.ino(), of_a.nlink()), (of_b.ino(), 2));
    fs::write(&b, "two, longer").expect("write");
    assert_eq!(fs::read(&a).expect("read"), b"two, longer");
    assert_eq!(errno(fs::hard_link(&a, &b)), libc::EEXIST);
    // Renaming one name of a file to another of its names does nothing.
    fs::rename(&a, &b).expect("rename");
    assert!(a.exists() && b.exists());
    fs::remove_file(&a).expect("unlink");
    assert_eq!(fs::metadata(&b).expect("stat").nlink(), 1);
    assert_eq!(fs::read(&b).expect("read"), b"two, longer");
}

#[test]
fn directories_and_other_buckets_take_no_hard_links() {
    let Some(gateway) = Gateway::start() else { return };
    fs::create_dir(gateway.path("dir")).expect("mkdir");
    fs::write(gateway.path("file"), "x").expect("write");
    fs::create_dir(gateway.root.join("other")).expect("a second bucket");
    assert_eq!(
        errno(fs::hard_link(gateway.path("dir"), gateway.path("dir2"))),
        libc::EPERM
    );
    assert_eq!(
        errno(fs::hard_link(
            gateway.path("file"),
            gateway.root.join("other/file")
        )),
        libc::EXDEV
    );
}

#[test]
fn symlinks_hold_any_target() {
    let Some(gateway) = Gateway::start() else { return };
    fs::write(gateway.path("file"), "behind").expect("write");
    symlink("file", gateway.path("relative")).expect("symlink");
    symlink("nowhere/at all", gateway.path("dangling")).expect("symlink");
    let long = "x/".repeat(2000);
    symlink(&long, gateway.path("long")).expect("symlink");
    assert_eq!(fs::read(gateway.path("relative")).expect("read"), b"behind");
    assert_eq!(errno(fs::read(gateway.path("dangling"))), libc::ENOENT);
    assert_eq!(
        fs::read_link(gateway.path("dangling")).expect("readlink"),
        Path::new("nowhere/at all")
    );
    assert_eq!(
        fs::read_link(gateway.path("long")).expect("readlink"),
        Path::new(&long)
    );
    let metadata = fs::symlink_metadata(gateway.path("relative")).expect("lstat");
    assert!(metadata.is_symlink());
    assert_eq!(metadata.len(), 4);
    assert_eq!(errno(symlink("other", gateway.path("relative"))), libc::EEXIST);
    fs::remove_file(gateway.path("relative")).expect("unlink");
    assert_eq!(fs::read(gateway.path("file")).expect("read"), b"behind");
}
