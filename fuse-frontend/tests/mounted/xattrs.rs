//! Extended attributes.
use std::fs;

use crate::support::syscalls::{getxattr, getxattr_into, listxattr, removexattr, setxattr};
use crate::support::{Gateway, bytes, errno};

#[test]
fn attributes_are_set_read_listed_and_removed() {
    let Some(gateway) = Gateway::start() else { return };
    fs::create_dir(gateway.path("dir")).expect("mkdir");
    fs::write(gateway.path("file"), "x").expect("write");
    for path in [gateway.path("file"), gateway.path("dir")] {
        setxattr(&path, "user.a", b"one", 0).expect("set");
        setxattr(&path, "user.empty", b"", 0).expect("set");
        setxattr(&path, "trusted.t", &[0, 255, 1], 0).expect("set");
        assert_eq!(getxattr(&path, "user.a").expect("get"), b"one");
        assert_eq!(getxattr(&path, "user.empty").expect("get"), b"");
        assert_eq!(getxattr(&path, "trusted.t").expect("get"), [0, 255, 1]);
        let names = listxattr(&path).expect("list");
        for name in ["user.a", "user.empty", "trusted.t"] {
            assert!(names.iter().any(|have| have == name), "{name} in {names:?}");
        }
        setxattr(&path, "user.a", b"two and more", 0).expect("replace");
        assert_eq!(getxattr(&path, "user.a").expect("get"), b"two and more");
        removexattr(&path, "user.a").expect("remove");
        assert_eq!(errno(getxattr(&path, "user.a")), libc::ENODATA);
        assert_eq!(errno(removexattr(&path, "user.a")), libc::ENODATA);
        assert!(
            !listxattr(&path)
                .expect("list")
                .iter()
                .any(|name| name == "user.a")
        );
    }
}

#[test]
fn flags_and_sizes_follow_the_manual() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    fs::write(&path, "x").expect("write");
    assert_eq!(
        errno(setxattr(&path, "user.a", b"1", libc::XATTR_REPLACE)),
        libc::ENODATA
    );
    setxattr(&path, "user.a", b"12345", libc::XATTR_CREATE).expect("create");
    assert_eq!(
        errno(setxattr(&path, "user.a", b"2", libc::XATTR_CREATE)),
        libc::EEXIST
    );
    assert_eq!(getxattr_into(&path, "user.a", 0).expect("size").0, 5);
    assert_eq!(errno(getxattr_into(&path, "user.a", 4)), libc::ERANGE);
    assert_eq!(getxattr_into(&path, "user.a", 5).expect("value").1, b"12345");
    // The kernel's own limits.
    let large = bytes(1, 64 << 10);
    setxattr(&path, "user.large", &large, 0).expect("64 KiB");
    assert!(getxattr(&path, "user.large").expect("get") == large);
    assert_eq!(
        errno(setxattr(&path, "user.large", &bytes(2, (64 << 10) + 1), 0)),
        libc::E2BIG
    );
    let name = format!("user.{}", "n".repeat(250));
    setxattr(&path, &name, b"x", 0).expect("255 bytes of name");
    assert_eq!(getxattr(&path, &name).expect("get"), b"x");
    assert_eq!(errno(setxattr(&path, &format!("{name}n"), b"x", 0)), libc::ERANGE);
}

#[test]
fn what_would_have_no_effect_is_refused() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    fs::write(&path, "x").expect("write");
    assert_eq!(
        errno(getxattr(&path, "system.posix_acl_access")),
        libc::EOPNOTSUPP
    );
    assert_eq!(errno(getxattr(&path, "security.capability")), libc::ENODATA);
    // A well-formed capability set, so that the kernel itself lets it through.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        errno(setxattr(&path, "security.capability", &capability, 0)),
        libc::EOPNOTSUPP
    );
}

#[test]
fn computed_attributes_are_read_only() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("file");
    fs::write(&path, "x").expect("write");
    let state = getxattr(&path, "user.cess.state").expect("state");
    assert_eq!(state, b"buffered");
    fs::File::open(&path)
        .and_then(|file| file.sync_all())
        .expect("fsync");
    assert_eq!(getxattr(&path, "user.cess.state").expect("state"), b"staged");
    assert_eq!(
        errno(setxattr(&path, "user.cess.state", b"verified", 0)),
        libc::EPERM
    );
    // They are not listed, since copying them would fail.
    assert_eq!(listxattr(&path).expect("list"), [""; 0]);
    let etag = getxattr(&path, "user.cess.etag").expect("etag");
    fs::write(&path, "y").expect("write");
    assert_ne!(getxattr(&path, "user.cess.etag").expect("etag"), etag);
}
