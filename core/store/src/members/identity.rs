//! Who this gateway is: sixteen random bytes in a file of its data directory.
//!
//! Format of `member`: 32 hex digits and a newline. A copy of the directory is the same member: of two that run at
//! the same time the one that started last ends the other.
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use crate::{Error, Result, random};

/// Name of the file.
const FILE: &str = "member";

/// The identity that `directory` keeps; made at the first call.
pub(super) fn of(directory: &Path) -> Result<[u8; 16]> {
    let path = directory.join(FILE);
    let failed = |error: io::Error| Error::Disk(format!("{}: {error}", path.display()));
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let mut identity = [0; 16];
            hex::decode_to_slice(text.trim_end(), &mut identity)
                .map_err(|_| Error::Disk(format!("{} does not say who this gateway is", path.display())))?;
            Ok(identity)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            meta::directory::make(directory).map_err(failed)?;
            let mut identity = [0; 16];
            random::fill(&mut identity);
            let part = path.with_extension("part");
            let write = || {
                let mut file = File::create(&part)?;
                writeln!(file, "{}", hex::encode(identity))?;
                file.sync_all()?;
                std::fs::rename(&part, &path)?;
                File::open(directory)?.sync_all()
            };
            write().map_err(failed)?;
            Ok(identity)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays_and_is_not_made_up() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let first = of(&one).unwrap();
        assert_eq!(of(&one).unwrap(), first);
        assert_ne!(of(&two).unwrap(), first);
        std::fs::write(one.join(FILE), "x\n").unwrap();
        assert!(matches!(of(&one), Err(Error::Disk(_))));
    }
}
