//! Directories, small and large, still and changing.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use crate::support::syscalls::Directory;
use crate::support::{Gateway, errno};

#[test]
fn directories_are_made_and_removed() {
    let Some(gateway) = Gateway::start() else { return };
    let dir = gateway.path("dir");
    fs::create_dir(&dir).expect("mkdir");
    assert_eq!(errno(fs::create_dir(&dir)), libc::EEXIST);
    assert_eq!(errno(fs::create_dir(gateway.path("none/dir"))), libc::ENOENT);
    assert_eq!(fs::metadata(&dir).expect("stat").nlink(), 2);
    fs::create_dir(dir.join("sub")).expect("mkdir");
    fs::write(dir.join("file"), "x").expect("write");
    assert_eq!(fs::metadata(&dir).expect("stat").nlink(), 3);
    assert_eq!(errno(fs::remove_dir(&dir)), libc::ENOTEMPTY);
    fs::remove_dir(dir.join("sub")).expect("rmdir");
    fs::remove_file(dir.join("file")).expect("unlink");
    fs::remove_dir(&dir).expect("rmdir");
    assert_eq!(errno(fs::metadata(&dir)), libc::ENOENT);
    // A bucket goes the same way.
    assert_eq!(fs::read_dir(&gateway.bucket).expect("list").count(), 0);
    fs::remove_dir(&gateway.bucket).expect("rmdir");
    assert_eq!(fs::read_dir(&gateway.root).expect("list").count(), 0);
}

#[test]
fn dot_and_dot_dot_are_listed_with_their_inodes() {
    let Some(gateway) = Gateway::start() else { return };
    fs::create_dir(gateway.path("dir")).expect("mkdir");
    for (dir, parent) in [
        (gateway.path("dir"), &gateway.bucket),
        (gateway.bucket.clone(), &gateway.root),
    ] {
        let entries = Directory::open(&dir).expect("open").rest().expect("list");
        let ino = |name: &str| {
            entries
                .iter()
                .find(|entry| entry.name == name)
                .map(|entry| entry.ino)
        };
        assert_eq!(ino("."), Some(fs::metadata(&dir).expect("stat").ino()));
        assert_eq!(ino(".."), Some(fs::metadata(parent).expect("stat").ino()));
        assert!(
            entries
                .iter()
                .filter(|entry| entry.name == "." || entry.name == "..")
                .all(|entry| { entry.kind == libc::DT_DIR })
        );
    }
    let entries = Directory::open(&gateway.root)
        .expect("open")
        .rest()
        .expect("list");
    let mut names: Vec<_> = entries.iter().map(|entry| entry.name.clone()).collect();
    names.sort();
    assert_eq!(names, [".", "..", "bucket"]);
}

/// An entry that is there all the time is listed exactly once, whatever comes and goes around it.
#[test]
fn a_large_directory_is_listed_right_while_it_changes() {
    const ENTRIES: usize = 5000;
    let Some(gateway) = Gateway::start() else { return };
    let dir = gateway.path("large");
    fs::create_dir(&dir).expect("mkdir");
    for number in 0..ENTRIES {
        File::create(dir.join(format!("entry-{number:05}"))).expect("create");
    }
    let all: BTreeSet<_> = fs::read_dir(&dir)
        .expect("list")
        .map(|e| e.expect("entry").file_name())
        .collect();
    assert_eq!(all.len(), ENTRIES);

    // Every third entry goes before or after it is listed; new ones come.
    let mut listing = Directory::open(&dir).expect("open");
    let mut seen: BTreeMap<_, usize> = BTreeMap::new();
    let mut doomed = (0..ENTRIES).step_by(3);
    let mut listed = 0;
    while let Some(entry) = listing.read().expect("read") {
        *seen.entry(entry.name).or_default() += 1;
        listed += 1;
        if listed % 2 == 0
            && let Some(number) = doomed.next()
        {
            // From both ends, so that some are gone before the listing gets there.
            let number = if listed % 4 == 0 {
                number
            } else {
                ENTRIES / 3 * 3 - number
            };
            let _ = fs::remove_file(dir.join(format!("entry-{number:05}")));
            fs::write(dir.join(format!("new-{listed}")), "").expect("create");
        }
    }
    for number in (0..ENTRIES).filter(|number| number % 3 != 0) {
        let name = format!("entry-{number:05}");
        assert_eq!(seen.get(std::ffi::OsStr::new(&name)), Some(&1), "{name}");
    }
    assert!(seen.values().all(|&times| times == 1));

    fs::remove_dir_all(&dir).expect("remove all");
    assert!(!dir.exists());
}

#[test]
fn a_listing_can_go_back_and_forth() {
    let Some(gateway) = Gateway::start() else { return };
    let dir = gateway.path("dir");
    fs::create_dir(&dir).expect("mkdir");
    for number in 0..700 {
        fs::write(dir.join(format!("{number:03}")), "").expect("write");
    }
    let mut listing = Directory::open(&dir).expect("open");
    let entries = listing.rest().expect("list");
    assert_eq!(entries.len(), 702);
    for at in [700, 0, 350, 1, 699, 350] {
        listing.seek(entries[at].next);
        let rest = listing.rest().expect("list");
        let names = |entries: &[crate::support::syscalls::Entry]| -> Vec<_> {
            entries.iter().map(|entry| entry.name.clone()).collect()
        };
        assert_eq!(names(&rest), names(&entries[at + 1..]), "after entry {at}");
    }
    // A new entry shows after rewinding.
    fs::write(dir.join("zzz"), "").expect("write");
    listing.rewind();
    assert_eq!(listing.rest().expect("list").len(), 703);
}

#[test]
fn kinds_are_listed() {
    let Some(gateway) = Gateway::start() else { return };
    fs::create_dir(gateway.path("d")).expect("mkdir");
    fs::write(gateway.path("f"), "").expect("write");
    std::os::unix::fs::symlink("f", gateway.path("l")).expect("symlink");
    nix::unistd::mkfifo(&gateway.path("p"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    let kinds: BTreeMap<_, _> = Directory::open(&gateway.bucket)
        .expect("open")
        .rest()
        .expect("list")
        .into_iter()
        .map(|entry| (entry.name.into_string().expect("text"), (entry.ino, entry.kind)))
        .collect();
    for (name, kind) in [
        ("d", libc::DT_DIR),
        ("f", libc::DT_REG),
        ("l", libc::DT_LNK),
        ("p", libc::DT_FIFO),
    ] {
        let ino = fs::symlink_metadata(gateway.path(name)).expect("lstat").ino();
        assert_eq!(kinds.get(name), Some(&(ino, kind)), "{name}");
    }
}
