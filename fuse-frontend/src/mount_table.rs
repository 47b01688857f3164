//! The kernel's table of mounts, `/proc/self/mountinfo`.
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountEntry {
    /// `MAJOR:MINOR` of the file system.
    pub(crate) device: String,
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    /// Type with subtype, e.g. `fuse.cess`.
    pub(crate) kind: String,
}

/// What is mounted exactly at `path` (absolute, without symlinks): the topmost if several are.
pub(crate) fn mounted_at(path: &Path) -> io::Result<Option<MountEntry>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(parse(&table).into_iter().rfind(|entry| entry.path == path))
}

/// Lines that do not have the documented form are skipped.
fn parse(table: &[u8]) -> Vec<MountEntry> {
    table
        .split(|&byte| byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

/// `36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw`, see proc(5).
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = fields.nth(2)?;
    let path = fields.nth(1)?;
    // Optional fields follow, up to a lone hyphen.
    fields.find(|field| *field == b"-")?;
    let kind = fields.next()?;
    Some(MountEntry {
        device: String::from_utf8(device.to_vec()).ok()?,
        path: PathBuf::from(OsString::from_vec(unescape(path))),
        kind: String::from_utf8(kind.to_vec()).ok()?,
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = (byte == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| {
                let digits = std::str::from_utf8(digits).ok()?;
                u8::from_str_radix(digits, 8).ok()
            });
        match code {
            Some(code) => {
                out.push(code);
                rest = &tail[3..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

/// Symlinks followed before a mountpoint's path counts as a loop (the kernel's own limit).
const MAX_SYMLINKS: usize = 40;

/// `path` made absolute and free of symlinks, without asking the file system at `path` anything: it
/// may be a dead mount that answers nothing. The parent directory must exist.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..MAX_SYMLINKS {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a mountpoint must have a parent directory and a name",
            ));
        };
        let parent = parent.canonicalize()?;
        path = parent.join(name);
        // Reads the parent's entry; a mount on top of it is no symlink.
        match std::fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_their_escapes_and_optional_fields() {
        let table = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            90 22 0:55 / /mnt/with\\040space\\134and rw,nosuid,nodev - fuse.cess cess rw,user_id=0\n\
            91 22 0:56 / /mnt/x rw shared:5 master:2 propagate_from:2 - tmpfs tmpfs rw\n\
            broken line\n";
        let entries = parse(table);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[1].path, Path::new("/mnt/with space\\and"));
        assert_eq!(entries[1].kind, "fuse.cess");
        assert_eq!(entries[1].device, "0:55");
        assert_eq!(entries[2].kind, "tmpfs");
    }

    #[test]
    fn a_backslash_without_digits_stays() {
        assert_eq!(unescape(b"a\\"), b"a\\");
        assert_eq!(unescape(b"a\\9zz"), b"a\\9zz");
        assert_eq!(unescape(b"\\011x"), b"\tx");
    }

    #[test]
    fn the_running_table_has_a_root() {
        assert!(mounted_at(Path::new("/")).expect("read").is_some());
        assert!(mounted_at(Path::new("/no/such/mount")).expect("read").is_none());
    }

    #[test]
    fn a_mountpoint_is_resolved_up_to_its_last_component() {
        let dir = tempfile::tempdir().expect("dir");
        let real = dir.path().canonicalize().expect("canonical");
        std::fs::create_dir(real.join("a")).expect("mkdir");
        std::os::unix::fs::symlink(real.join("a"), real.join("link")).expect("symlink");
        assert_eq!(resolve(&real.join("link/m")).expect("resolve"), real.join("a/m"));
        assert_eq!(resolve(&real.join("link")).expect("resolve"), real.join("a"));
        std::os::unix::fs::symlink("loop", real.join("loop")).expect("symlink");
        assert!(resolve(&real.join("loop")).is_err());
        assert!(resolve(Path::new("/")).is_err());
        assert!(resolve(Path::new("/tmp/..")).is_err());
    }
}
