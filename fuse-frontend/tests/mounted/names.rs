//! Names are bytes.
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use crate::support::{Gateway, errno};

#[test]
fn every_byte_but_slash_and_zero_can_be_in_a_name() {
    let Some(gateway) = Gateway::start() else { return };
    let names: BTreeSet<OsString> = (1..=255_u8)
        .filter(|&byte| byte != b'/')
        .map(|byte| OsString::from_vec(vec![b'n', byte, b'm']))
        .chain(
            [
                "ünïcödé 文件",
                " leading and trailing ",
                "-rf",
                "a\\b",
                "...",
                "~",
                "%2F",
            ]
            .map(OsString::from),
        )
        .collect();
    for name in &names {
        fs::write(gateway.bucket.join(name), name.as_encoded_bytes()).expect("write");
    }
    let listed: BTreeSet<_> = fs::read_dir(&gateway.bucket)
        .expect("list")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    assert_eq!(listed, names);
    for name in &names {
        assert_eq!(
            fs::read(gateway.bucket.join(name)).expect("read"),
            name.as_encoded_bytes()
        );
    }
}

#[test]
fn names_are_case_sensitive_and_at_most_255_bytes() {
    let Some(gateway) = Gateway::start() else { return };
    fs::write(gateway.path("Name"), "upper").expect("write");
    fs::write(gateway.path("name"), "lower").expect("write");
    assert_eq!(fs::read(gateway.path("Name")).expect("read"), b"upper");
    let longest = "n".repeat(255);
    fs::write(gateway.path(&longest), "x").expect("write");
    assert_eq!(fs::read(gateway.path(&longest)).expect("read"), b"x");
    let longer = "n".repeat(256);
    assert_eq!(errno(fs::write(gateway.path(&longer), "x")), libc::ENAMETOOLONG);
    assert_eq!(errno(fs::metadata(gateway.path(&longer))), libc::ENAMETOOLONG);
    assert_eq!(errno(fs::create_dir(gateway.path(&longer))), libc::ENAMETOOLONG);
}
