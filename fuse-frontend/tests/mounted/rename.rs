//! Renames and their flags.
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::support::{Gateway, errno};

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> std::io::Result<()> {
    Ok(renameat2(AT_FDCWD, from, AT_FDCWD, to, flags)?)
}

#[test]
fn a_rename_replaces_in_one_step() {
    let Some(gateway) = Gateway::start() else { return };
    let (a, b) = (gateway.path("a"), gateway.path("b"));
    fs::write(&a, "new").expect("write");
    fs::write(&b, "old").expect("write");
    let ino = fs::metadata(&a).expect("stat").ino();
    let mut old = File::open(&b).expect("open");
    fs::rename(&a, &b).expect("rename");
    assert_eq!(errno(fs::metadata(&a)), libc::ENOENT);
    assert_eq!(fs::metadata(&b).expect("stat").ino(), ino);
    assert_eq!(fs::read(&b).expect("read"), b"new");
    // Who had it open keeps what was there.
    let mut text = String::new();
    old.read_to_string(&mut text).expect("read");
    assert_eq!(text, "old");
}

#[test]
fn directories_move_with_all_below() {
    let Some(gateway) = Gateway::start() else { return };
    fs::create_dir_all(gateway.path("from/deep/er")).expect("mkdir");
    fs::write(gateway.path("from/deep/er/file"), "x").expect("write");
    fs::create_dir(gateway.path("to")).expect("mkdir");
    fs::rename(gateway.path("from/deep"), gateway.path("to/moved")).expect("rename");
    assert_eq!(fs::read(gateway.path("to/moved/er/file")).expect("read"), b"x");
    assert!(!gateway.path("from/deep").exists());
    assert_eq!(fs::metadata(gateway.path("from")).expect("stat").nlink(), 2);
    assert_eq!(fs::metadata(gateway.path("to")).expect("stat").nlink(), 3);
    let parent = fs::metadata(gateway.path("to/moved/..")).expect("stat");
    assert_eq!(
        parent.ino(),
        fs::metadata(gateway.path("to")).expect("stat").ino()
    );
}

#[test]
fn what_posix_refuses_is_refused() {
    let Some(gateway) = Gateway::start() else { return };
    for dir in ["empty", "full", "full/sub", "other"] {
        fs::create_dir(gateway.path(dir)).expect("mkdir");
    }
    fs::write(gateway.path("file"), "x").expect("write");
    let rename = |from: &str, to: &str| fs::rename(gateway.path(from), gateway.path(to));
    assert_eq!(errno(rename("other", "full")), libc::ENOTEMPTY);
    assert_eq!(errno(rename("other", "file")), libc::ENOTDIR);
    assert_eq!(errno(rename("file", "empty")), libc::EISDIR);
    assert_eq!(errno(rename("full", "full/sub/x")), libc::EINVAL);
    assert_eq!(errno(rename("none", "x")), libc::ENOENT);
    rename("other", "empty").expect("over an empty directory");
    fs::create_dir(gateway.root.join("second")).expect("a second bucket");
    assert_eq!(
        errno(fs::rename(gateway.path("file"), gateway.root.join("second/file"))),
        libc::EXDEV
    );
    assert_eq!(fs::read(gateway.path("file")).expect("read"), b"x");
}

#[test]
fn no_replace_refuses_and_exchange_swaps() {
    let Some(gateway) = Gateway::start() else { return };
    let (a, b, dir) = (gateway.path("a"), gateway.path("b"), gateway.path("dir"));
    fs::write(&a, "a").expect("write");
    fs::write(&b, "b").expect("write");
    fs::create_dir(&dir).expect("mkdir");
    fs::write(dir.join("inside"), "i").expect("write");
    assert_eq!(
        errno(rename_with(&a, &b, RenameFlags::RENAME_NOREPLACE)),
        libc::EEXIST
    );
    assert_eq!(fs::read(&b).expect("read"), b"b");
    rename_with(&a, &gateway.path("c"), RenameFlags::RENAME_NOREPLACE).expect("to a free name");
    fs::rename(gateway.path("c"), &a).expect("back");

    rename_with(&a, &b, RenameFlags::RENAME_EXCHANGE).expect("exchange");
    assert_eq!(
        (fs::read(&a).expect("read"), fs::read(&b).expect("read")),
        (b"b".to_vec(), b"a".to_vec())
    );
    // A file and a directory.
    rename_with(&a, &dir, RenameFlags::RENAME_EXCHANGE).expect("exchange");
    assert_eq!(fs::read(&dir).expect("read"), b"b");
    assert_eq!(fs::read(a.join("inside")).expect("read"), b"i");
    assert_eq!(
        errno(rename_with(
            &a,
            &gateway.path("none"),
            RenameFlags::RENAME_EXCHANGE
        )),
        libc::ENOENT
    );
    assert_eq!(
        errno(rename_with(&b, &gateway.path("w"), RenameFlags::RENAME_WHITEOUT)),
        libc::EINVAL
    );
    assert!(b.exists());
}
