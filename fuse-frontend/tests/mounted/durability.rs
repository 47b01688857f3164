//! What fsync promised is there after power is lost.
use std::fs::{self, File};
use std::io::Write;

use crate::support::{Gateway, bytes};

#[test]
fn fsynced_files_survive_a_crash() {
    let Some(gateway) = Gateway::start() else { return };
    let large = bytes(1, 2_500_000);
    fs::create_dir_all(gateway.path("a/b")).expect("mkdir");
    for (name, data) in [("a/b/large", &large[..]), ("a/small", b"small"), ("a/empty", b"")] {
        let mut file = File::create(gateway.path(name)).expect("create");
        file.write_all(data).expect("write");
        file.sync_all().expect("fsync");
    }
    let image = gateway.crash_image();
    // What happens later is not part of it.
    fs::write(gateway.path("a/small"), "changed").expect("write");

    let Some(after) = Gateway::start_in(image) else {
        return;
    };
    assert!(fs::read(after.path("a/b/large")).expect("read") == large);
    assert_eq!(fs::read(after.path("a/small")).expect("read"), b"small");
    assert_eq!(fs::read(after.path("a/empty")).expect("read"), b"");
    assert_eq!(fs::read(gateway.path("a/small")).expect("read"), b"changed");
}

#[test]
fn synced_directories_survive_a_crash() {
    let Some(gateway) = Gateway::start() else { return };
    fs::create_dir(gateway.path("from")).expect("mkdir");
    fs::create_dir(gateway.path("from/inner")).expect("mkdir");
    fs::write(gateway.path("gone"), "x").expect("write");
    std::os::unix::fs::symlink("target", gateway.path("link")).expect("symlink");
    fs::rename(gateway.path("from"), gateway.path("to")).expect("rename");
    fs::remove_file(gateway.path("gone")).expect("unlink");
    File::open(&gateway.bucket)
        .and_then(|dir| dir.sync_all())
        .expect("fsync of the directory");

    let Some(after) = Gateway::start_in(gateway.crash_image()) else {
        return;
    };
    assert!(after.path("to/inner").is_dir() && !after.path("from").exists());
    assert!(!after.path("gone").exists());
    assert_eq!(
        fs::read_link(after.path("link")).expect("readlink"),
        std::path::Path::new("target")
    );
}

#[test]
fn a_file_opened_for_synchronous_writes_needs_no_fsync() {
    use std::os::unix::fs::OpenOptionsExt;
    let Some(gateway) = Gateway::start() else { return };
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_DSYNC)
        .open(gateway.path("file"))
        .expect("open");
    file.write_all(b"durable at once").expect("write");
    let Some(after) = Gateway::start_in(gateway.crash_image()) else {
        return;
    };
    assert_eq!(fs::read(after.path("file")).expect("read"), b"durable at once");
}

#[test]
fn a_clean_end_keeps_what_nobody_synced() {
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    fs::write(gateway.path("file"), "never synced").expect("write");
    gateway.unmount();
    gateway
        .runtime
        .block_on(gateway.vfs.shutdown())
        .expect("shutdown");
    let Some(after) = Gateway::start_in(gateway.crash_image()) else {
        return;
    };
    assert_eq!(fs::read(after.path("file")).expect("read"), b"never synced");
}
