//! A clean block for foyer to begin with.
//!
//! foyer 0.22 makes room for the next block when it takes a clean one. When it opens files of which
//! none is clean, as a crash can leave them, it waits for one for ever: nothing is cached any more,
//! and closing never ends. So before it opens them, the block that was written longest ago is
//! cleaned if no other is. A block is clean when its first page is zeroes: foyer finds no index in it.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes at the front of a block that say whether it holds anything.
const PAGE: usize = 4096;

/// Leaves at least one clean block among the files of `home`, of which there are to be `blocks`.
pub(crate) fn ensure(home: &Path, blocks: u64) -> io::Result<()> {
    let mut files = 0;
    let mut oldest = None;
    for entry in std::fs::read_dir(home)? {
        let path = entry?.path();
        let file = File::options().read(true).write(true).open(&path)?;
        if is_clean(&file)? {
            return Ok(());
        }
        files += 1;
        let modified = file.metadata()?.modified()?;
        if oldest.as_ref().is_none_or(|(before, _)| modified < *before) {
            oldest = Some((modified, file));
        }
    }
    match oldest {
        // Those that are missing are made, and clean.
        Some((_, file)) if files >= blocks => file.write_all_at(&[0; PAGE], 0),
        _ => Ok(()),
    }
}

fn is_clean(file: &File) -> io::Result<bool> {
    let mut page = [0; PAGE];
    match file.read_exact_at(&mut page, 0) {
        Ok(()) => Ok(page.iter().all(|byte| *byte == 0)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_them_is_clean_and_no_more_than_that_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let clean = || {
            let files = std::fs::read_dir(dir.path()).unwrap();
            files
                .filter(|entry| is_clean(&File::open(entry.as_ref().unwrap().path()).unwrap()).unwrap())
                .count()
        };
        for number in 0..4 {
            std::fs::write(dir.path().join(number.to_string()), vec![7; 2 * PAGE]).unwrap();
        }
        ensure(dir.path(), 5).unwrap();
        assert_eq!(clean(), 0, "the fifth will be");
        for _ in 0..2 {
            ensure(dir.path(), 4).unwrap();
            assert_eq!(clean(), 1);
        }
    }
}
