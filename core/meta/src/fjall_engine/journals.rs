//! Making journals durable that a failed sync may have left half written.
//!
//! When a sync fails, the kernel marks the pages clean all the same: they can still be read, and no
//! later sync writes them. So what recovery reads after a failure may not be on the disk. New
//! commits would be appended behind such a gap, synced and acknowledged, and a power cut would take
//! them, for recovery ends at the gap. Writing the same bytes again makes the pages dirty, and the
//! sync after it proves what it should. Journals are short (64 MB each), and this happens at open.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes that are read and written at a time.
const PART: usize = 1 << 20;

/// Writes every journal in `directory` again, byte by byte the same, and syncs it.
pub(super) fn write_again(directory: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let file = File::options().read(true).write(true).open(&path)?;
            write_over_itself(&file)?;
            file.sync_all()?;
        }
    }
    Ok(())
}

fn write_over_itself(file: &File) -> io::Result<()> {
    let len = file.metadata()?.len();
    let mut part = vec![0; PART];
    let mut at = 0;
    while at < len {
        let bytes = &mut part[..PART.min((len - at) as usize)];
        file.read_exact_at(bytes, at)?;
        // What fjall has not reached yet is a hole, and may stay one.
        if bytes.iter().any(|byte| *byte != 0) {
            file.write_all_at(bytes, at)?;
        }
        at += bytes.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes: Vec<u8> = (0..3 * PART + 77).map(|at| (at / 1000) as u8).collect();
        bytes[PART..2 * PART].fill(0);
        for name in ["0.jnl", "other"] {
            std::fs::write(dir.path().join(name), &bytes).unwrap();
        }
        write_again(dir.path()).unwrap();
        for name in ["0.jnl", "other"] {
            assert_eq!(std::fs::read(dir.path().join(name)).unwrap(), bytes);
        }
        write_again(&dir.path().join("not-there")).unwrap();
    }
}
