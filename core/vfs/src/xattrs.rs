//! Extended attributes, and the metadata of objects that live in them.
//!
//! `user.s3.meta.NAME` is `x-amz-meta-NAME`, `user.s3.header.NAME` is a content header; both are
//! ordinary attributes to a mount. `user.s3.setting.NAME` is a setting of the object, which a mount
//! neither sees nor changes. `user.cess.ack` is the level that a file or bucket asks
//! for (`ack`); the other `user.cess.*` are computed and cannot be set.
use meta::{Read, Transaction};

use crate::schema::{self, InodeRecord, XATTR};
use crate::{InodeNo, ObjectMeta, Result, Timestamp};

pub(crate) const S3: &[u8] = b"user.s3.";
pub(crate) const USER: &[u8] = b"user.s3.meta.";
pub(crate) const HEADER: &[u8] = b"user.s3.header.";
/// Not for mounts.
pub(crate) const SETTING: &[u8] = b"user.s3.setting.";
pub(crate) const COMPUTED: &[u8] = b"user.cess.";
/// User metadata in which rclone keeps the modification time: seconds since 1970 with a fraction.
const MTIME: &str = "mtime";

/// One attribute.
pub(crate) fn get(read: &(impl Read + ?Sized), ino: InodeNo, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let row = read.get(&schema::child_key(XATTR, ino, name))?;
    row.map(|row| schema::decode_raw(&row).map(<[u8]>::to_vec))
        .transpose()
}

/// Sets one.
pub(crate) fn set(tx: &mut dyn Transaction, ino: InodeNo, name: &[u8], value: &[u8]) -> Result<()> {
    Ok(tx.put(&schema::child_key(XATTR, ino, name), &schema::encode_raw(value))?)
}

/// Removes one.
pub(crate) fn remove(tx: &mut dyn Transaction, ino: InodeNo, name: &[u8]) -> Result<()> {
    Ok(tx.delete(&schema::child_key(XATTR, ino, name))?)
}

/// Names and values of the attributes whose name begins with `prefix`.
pub(crate) fn with_prefix(
    read: &(impl Read + ?Sized),
    ino: InodeNo,
    prefix: &[u8],
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    for row in schema::scan(read, &schema::child_key(XATTR, ino, prefix))? {
        let (key, value) = row?;
        let name = key
            .get(9..)
            .ok_or_else(|| schema::damaged("short attribute key"))?;
        found.push((name.to_vec(), schema::decode_raw(&value)?.to_vec()));
    }
    Ok(found)
}

/// Replaces the metadata of an object.
pub(crate) fn put_object_meta(tx: &mut dyn Transaction, ino: InodeNo, meta: &ObjectMeta) -> Result<()> {
    for (name, _) in with_prefix(&*tx, ino, S3)? {
        remove(tx, ino, &name)?;
    }
    for (name, value) in &meta.headers {
        set(tx, ino, &[HEADER, name.as_bytes()].concat(), value.as_bytes())?;
    }
    for (name, value) in &meta.user {
        set(tx, ino, &[USER, name.as_bytes()].concat(), value.as_bytes())?;
    }
    for (name, value) in &meta.settings {
        set(tx, ino, &[SETTING, name.as_bytes()].concat(), value.as_bytes())?;
    }
    Ok(())
}

/// The metadata of an object. An mtime that POSIX set since shows as rclone writes it.
pub(crate) fn object_meta(
    read: &(impl Read + ?Sized),
    ino: InodeNo,
    record: &InodeRecord,
) -> Result<ObjectMeta> {
    let mut meta = ObjectMeta::default();
    for (name, value) in with_prefix(read, ino, S3)? {
        let value = String::from_utf8_lossy(&value).into_owned();
        if let Some(name) = name.strip_prefix(USER) {
            meta.user
                .insert(String::from_utf8_lossy(name).into_owned(), value);
        } else if let Some(name) = name.strip_prefix(HEADER) {
            meta.headers
                .insert(String::from_utf8_lossy(name).into_owned(), value);
        } else if let Some(name) = name.strip_prefix(SETTING) {
            meta.settings
                .insert(String::from_utf8_lossy(name).into_owned(), value);
        }
    }
    if record.mtime_is_posix {
        meta.user.insert(MTIME.to_owned(), format_mtime(record.mtime));
    }
    Ok(meta)
}

/// The moment that user metadata say the object was modified.
pub(crate) fn mtime_of(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.user.get(MTIME).and_then(|text| parse_mtime(text))
}

/// Whether the attribute is the one that carries the modification time.
pub(crate) fn is_mtime(name: &[u8]) -> bool {
    name.strip_prefix(USER) == Some(MTIME.as_bytes())
}

fn format_mtime(moment: Timestamp) -> String {
    let (sign, ns) = (if moment.0 < 0 { "-" } else { "" }, moment.0.unsigned_abs());
    format!("{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// `seconds[.fraction]`; `None` for anything else.
pub(crate) fn parse_mtime(text: &str) -> Option<Timestamp> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) {
        return None;
    }
    let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let ns = seconds
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(nanos.parse().ok()?)?;
    Some(Timestamp(if negative { -ns } else { ns }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn mtimes_survive(ns in -i64::MAX..i64::MAX) {
            prop_assert_eq!(parse_mtime(&format_mtime(Timestamp(ns))), Some(Timestamp(ns)));
        }
    }

    #[test]
    fn mtimes_as_clients_write_them() {
        assert_eq!(
            parse_mtime("1710000000"),
            Some(Timestamp(1_710_000_000_000_000_000))
        );
        assert_eq!(parse_mtime("1.5"), Some(Timestamp(1_500_000_000)));
        assert_eq!(parse_mtime("1.1234567891"), Some(Timestamp(1_123_456_789)));
        for bad in [
            "",
            "x",
            "1.",
            ".5",
            "1.x",
            "99999999999999999999",
            "9223372036854775807",
        ] {
            assert_eq!(parse_mtime(bad), None, "{bad}");
        }
    }
}
