//! Directories whose names survive a power cut.
//!
//! A new file's or directory's name lies in the directory above it, and is safe only once *that* is
//! synced. Some file systems do it by themselves when the file is; POSIX does not ask them to.
use std::fs::File;
use std::io;
use std::path::Path;

/// Makes a directory and those above it that are missing; their names are durable when this returns.
pub fn make(path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut above = Some(path);
    while let Some(directory) = above {
        if directory.as_os_str().is_empty() || directory.try_exists()? {
            break;
        }
        missing.push(directory);
        above = directory.parent();
    }
    std::fs::create_dir_all(path)?;
    for directory in missing {
        sync_above(directory)?;
    }
    Ok(())
}

/// Makes every name below `path` durable, whoever made it, and that of `path` itself.
pub fn sync_tree(path: &Path) -> io::Result<()> {
    sync_below(path)?;
    sync_above(path)
}

fn sync_below(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_below(&entry.path())?;
        }
    }
    sync(path)
}

fn sync_above(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => sync(above),
        _ => sync(Path::new(".")),
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_directories_are_made_and_others_are_fine() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        for _ in 0..2 {
            make(&path).unwrap();
            assert!(path.is_dir());
        }
        std::fs::write(path.join("file"), b"x").unwrap();
        sync_tree(dir.path()).unwrap();
        assert!(make(&path.join("file/d")).is_err());
    }
}
