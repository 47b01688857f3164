//! Extended attributes: which names there are, and the kernel's protocol of sizes.
//!
//! The kernel checks who may use which name space, and holds names to 255 bytes and values to
//! 64 KiB. `user.s3.*` are S3 metadata and `user.cess.*` are computed; the vfs knows both. Two kinds
//! of name are refused here, because keeping a value that nothing enforces would be a lie:
//! * `system.*`: POSIX ACLs;
//! * `security.capability`: file capabilities, without effect on a `nosuid` mount. The kernel asks
//!   for it before *every write*, so saying no without a task or a lookup also makes writes quicker.
use fuser::{Errno, ReplyXattr};
use vfs::XattrSet;

use crate::errno::Failure;

/// Most bytes in the list of names (the kernel's `XATTR_LIST_MAX`).
const LIST_MAX: usize = 64 << 10;

/// Attributes that the vfs computes.
const COMPUTED: &[u8] = b"user.cess.";

/// Whether names like this one are never kept.
pub(crate) fn is_refused(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"system.")
}

/// What to answer when such a name is read: "not supported" for ACLs, as file systems without them
/// do, and "not there" for capabilities.
pub(crate) fn refused_read(name: &[u8]) -> Errno {
    if name.starts_with(b"system.") {
        Errno::EOPNOTSUPP
    } else {
        Errno::ENODATA
    }
}

/// An attribute that is not there is `ENODATA`, not `ENOENT`; one that is too large `E2BIG`, not
/// `EFBIG`.
pub(crate) fn failure(error: vfs::Error) -> Failure {
    match error {
        vfs::Error::NotFound => Errno::ENODATA.into(),
        vfs::Error::TooLarge => Errno::E2BIG.into(),
        other => other.into(),
    }
}

/// The flags of setxattr(2).
pub(crate) fn how(flags: i32) -> Result<XattrSet, Errno> {
    match flags {
        0 => Ok(XattrSet::Any),
        libc::XATTR_CREATE => Ok(XattrSet::Create),
        libc::XATTR_REPLACE => Ok(XattrSet::Replace),
        _ => Err(Errno::EINVAL),
    }
}

/// Names as listxattr(2) wants them: each followed by a zero byte. Computed ones are left out: who
/// lists attributes means to copy them, and these cannot be set.
pub(crate) fn list(names: &[Vec<u8>]) -> Result<Vec<u8>, Errno> {
    let mut list = Vec::new();
    for name in names.iter().filter(|name| !name.starts_with(COMPUTED)) {
        list.extend_from_slice(name);
        list.push(0);
    }
    if list.len() > LIST_MAX {
        Err(Errno::E2BIG)
    } else {
        Ok(list)
    }
}

/// What a reader with room for `room` bytes is told about a value of `len` bytes; room for none
/// means that only the size is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Size,
    Value,
    TooSmall,
}

fn told(len: usize, room: u32) -> Told {
    match room as usize {
        0 => Told::Size,
        room if len <= room => Told::Value,
        _ => Told::TooSmall,
    }
}

/// Answers with a value or its size.
pub(crate) fn answer(reply: ReplyXattr, value: &[u8], room: u32) {
    match told(value.len(), room) {
        Told::Size => reply.size(value.len() as u32),
        Told::Value => reply.data(value),
        Told::TooSmall => reply.error(Errno::ERANGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_protocol() {
        assert_eq!(told(10, 0), Told::Size);
        assert_eq!(told(10, 9), Told::TooSmall);
        assert_eq!(told(10, 10), Told::Value);
        assert_eq!(told(0, 0), Told::Size);
        assert_eq!(told(0, 1), Told::Value);
    }

    #[test]
    fn lists_are_zero_terminated_and_bounded() {
        assert_eq!(
            list(&[b"user.a".to_vec(), b"user.b".to_vec()]).expect("short"),
            b"user.a\0user.b\0"
        );
        assert_eq!(list(&[]).expect("empty"), b"");
        assert_eq!(
            list(&[b"user.cess.state".to_vec(), b"user.b".to_vec()]).expect("one"),
            b"user.b\0"
        );
        let many = vec![vec![b'x'; 255]; 256];
        assert_eq!(list(&many).expect("64 KiB").len(), LIST_MAX);
        let more = vec![vec![b'x'; 255]; 257];
        assert_eq!(list(&more), Err(Errno::E2BIG));
    }

    #[test]
    fn flags_are_one_or_none() {
        assert_eq!(how(0), Ok(XattrSet::Any));
        assert_eq!(how(libc::XATTR_CREATE), Ok(XattrSet::Create));
        assert_eq!(how(libc::XATTR_REPLACE), Ok(XattrSet::Replace));
        assert_eq!(how(libc::XATTR_CREATE | libc::XATTR_REPLACE), Err(Errno::EINVAL));
    }

    #[test]
    fn only_what_would_lie_is_refused() {
        assert!(is_refused(b"system.posix_acl_access") && is_refused(b"security.capability"));
        assert!(
            !is_refused(b"user.system.x") && !is_refused(b"security.selinux") && !is_refused(b"trusted.x")
        );
        assert_eq!(refused_read(b"system.posix_acl_default"), Errno::EOPNOTSUPP);
        assert_eq!(refused_read(b"security.capability"), Errno::ENODATA);
    }
}
