//! What an fsync stands for. There is no network behind the mount: nothing rises above staged, and an
//! fsync that would stand for more fails as one that is late.
use std::fs::{self, File};
use std::io::Write;

use crate::support::syscalls::{getxattr, removexattr, setxattr};
use crate::support::{Gateway, errno};

const ACK: &str = "user.cess.ack";

#[test]
fn an_fsync_stands_for_the_level_of_file_bucket_and_mount() {
    let Some(mut gateway) = Gateway::start() else {
        return;
    };
    let path = gateway.path("file");
    let fsync = |text: &str| -> std::io::Result<()> {
        let mut file = File::options().create(true).append(true).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    fsync("one").expect("staged is the default");
    for asked in [path.clone(), gateway.bucket.clone()] {
        setxattr(&asked, ACK, b"placed", 0).expect("set");
        assert_eq!(getxattr(&asked, ACK).expect("get"), b"placed");
        assert_eq!(errno(fsync("two")), libc::ETIMEDOUT);
        // What is late is not lost, and says how far it has come.
        assert_eq!(getxattr(&path, "user.cess.state").expect("state"), b"staged");
        removexattr(&asked, ACK).expect("remove");
        fsync("three").expect("staged again");
    }
    assert_eq!(errno(setxattr(&path, ACK, b"soon", 0)), libc::EINVAL);
    fs::create_dir(gateway.path("dir")).expect("mkdir");
    assert_eq!(
        errno(setxattr(&gateway.path("dir"), ACK, b"placed", 0)),
        libc::EINVAL
    );
    gateway.unmount();
    gateway.vfs = gateway.vfs.demanding(Some(vfs::Level::Verified), None);
    gateway.remount(false);
    assert_eq!(errno(fsync("four")), libc::ETIMEDOUT);
    assert_eq!(
        fs::read_to_string(&path).expect("read"),
        "onetwothreetwothreefour"
    );
}
