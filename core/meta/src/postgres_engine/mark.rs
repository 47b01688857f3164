//! What this gateway remembers of the database that it worked with: one line in a file of its own.
//!
//! A database is replaced behind a gateway's back more easily than a directory: by another one under the same
//! name, by a backup of yesterday, by a standby that lagged. The gateway's staging would then hold
//! chunks that no row names, and its answers would have been lies. So it notes the name of the namespace
//! and, every few seconds, its own last commit; at the next start the database must have both.
//!
//! Format: `cess-gateway-postgres 1 NAMESPACE GATEWAY NUMBER` and a newline; replaced as a whole.
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::{Error, Result};

const FORMAT: &str = "cess-gateway-postgres 1";

/// The file.
pub(super) struct Mark {
    path: PathBuf,
}

/// Keeps other processes from using the file, until it is dropped.
pub(super) type Lock = Flock<File>;

/// What is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) namespace: String,
    pub(super) gateway: i64,
    pub(super) number: i64,
}

impl Mark {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Takes it for this process.
    pub(super) fn lock(&self) -> Result<Lock> {
        // The file itself is replaced by others.
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path.with_extension("lock"))
            .map_err(|error| self.failed(&error))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => Error::InUse,
            other => self.failed(&other.into()),
        })
    }

    /// What was noted; `None` before the first time.
    pub(super) fn read(&self) -> Result<Option<Noted>> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(&error)),
        };
        match parse(&text) {
            Some(noted) => Ok(Some(noted)),
            None => Err(Error::Damaged(format!(
                "{} is unreadable; remove it to open the database without its check",
                self.path.display()
            ))),
        }
    }

    pub(super) fn write(&self, noted: &Noted) -> Result<()> {
        let write = || {
            let part = self.path.with_extension("part");
            let mut file = File::create(&part)?;
            writeln!(
                file,
                "{FORMAT} {} {} {}",
                noted.namespace, noted.gateway, noted.number
            )?;
            file.sync_all()?;
            std::fs::rename(part, &self.path)?;
            File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| self.failed(&error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::Engine(format!("{}: {error}", self.path.display()))
    }
}

fn parse(text: &str) -> Option<Noted> {
    let rest = text.strip_suffix('\n')?.strip_prefix(FORMAT)?.strip_prefix(' ')?;
    let mut words = rest.split(' ');
    let noted = Noted {
        namespace: words.next().filter(|word| !word.is_empty())?.to_owned(),
        gateway: words.next()?.parse().ok()?,
        number: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(noted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_and_what_is_broken_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark::at(dir.path().join("postgres"));
        assert_eq!(mark.read().unwrap(), None);
        let lock = mark.lock().unwrap();
        assert!(matches!(mark.lock(), Err(Error::InUse)));
        drop(lock);
        mark.lock().unwrap();
        for number in [0, 7] {
            let noted = Noted {
                namespace: "3f-a".into(),
                gateway: 12,
                number,
            };
            mark.write(&noted).unwrap();
            assert_eq!(mark.read().unwrap(), Some(noted));
        }
        for broken in [
            "",
            "cess-gateway-postgres 1 a 1 2",
            "cess-gateway-postgres 1 a 1\n",
            "x a 1 2\n",
        ] {
            std::fs::write(mark.path(), broken).unwrap();
            assert!(matches!(mark.read(), Err(Error::Damaged(_))), "{broken:?}");
        }
    }
}
