//! The gateway's directory: what lies where, who may use it, and how commands find the gateway
//! that runs on it.
//!
//! ```text
//! DIR/gateway.lock   held while a gateway runs
//! DIR/gateway.json   admin URL and token of the running gateway (mode 0600)
//! DIR/meta/          the metadata engine
//! DIR/store/         staging files and the disk cache (ciphertext)
//! DIR/secrets/       passphrase, keys and S3 credentials that `dev` made (mode 0700)
//! DIR/env.sh         S3 credentials of `dev` for a shell (mode 0600)
//! DIR/devnet/        chain and miners of `dev`
//! DIR/mnt/           mount point of `dev`
//! ```
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// How to reach a running gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdminAddress {
    /// `http://host:port` of its admin API.
    pub url: String,
    /// Bearer token.
    pub token: String,
}

/// A gateway's directory, locked for this process.
pub struct DataDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl DataDir {
    /// Makes the directory if it is missing and locks it against a second gateway.
    pub fn lock(path: &Path) -> Result<Self> {
        meta::directory::make(path).with_context(|| format!("cannot make {}", path.display()))?;
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
            .with_context(|| format!("cannot restrict {}", path.display()))?;
        // Absolute, so that the paths printed for people work from any directory.
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot find {}", path.display()))?;
        let lock_path = path.join("gateway.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .with_context(|| format!("cannot open {}", lock_path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err((_, _)) => bail!("a gateway already runs on {}; stop it first", path.display()),
        }
    }

    /// A path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Tells other commands where this gateway's admin API is.
    pub fn announce(&self, address: &AdminAddress) -> Result<()> {
        write_private(&self.join("gateway.json"), &serde_json::to_vec(address)?)
    }

    /// Takes that back when the gateway stops.
    pub fn withdraw(&self) {
        // Best effort: a stale file only makes the next command say that nothing answers.
        let _ = std::fs::remove_file(self.join("gateway.json"));
    }
}

/// Finds the gateway that runs on `path`.
pub fn find_gateway(path: &Path) -> Result<AdminAddress> {
    let file = path.join("gateway.json");
    let text = std::fs::read(&file).with_context(|| {
        format!(
            "no gateway runs on {} (start one, or pass --data or --admin)",
            path.display()
        )
    })?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let written = (|| {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        std::io::Result::Ok(())
    })();
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a secret from a file that nobody but its owner may read. A line break at the end does not count.
pub fn read_private(path: &Path) -> Result<zeroize::Zeroizing<String>> {
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        bail!("{} can be read by others: chmod 600 it", path.display());
    }
    let text = zeroize::Zeroizing::new(
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
    );
    Ok(zeroize::Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

/// Reads a secret, or makes it with `make` on the first run.
pub fn read_or_make_private(
    path: &Path,
    make: impl FnOnce() -> Result<String>,
) -> Result<zeroize::Zeroizing<String>> {
    if !path.exists() {
        if let Some(parent) = path.parent() {
            meta::directory::make(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            std::fs::set_permissions(parent, Permissions::from_mode(0o700))
                .with_context(|| format!("cannot restrict {}", parent.display()))?;
        }
        let secret = zeroize::Zeroizing::new(make()?);
        write_private(path, secret.as_bytes())?;
    }
    read_private(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_gateway_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::lock(dir.path()).unwrap();
        assert!(DataDir::lock(dir.path()).is_err());
        drop(first);
        DataDir::lock(dir.path()).unwrap();
    }

    #[test]
    fn secrets_that_others_can_read_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_private(&path, b"s3cret\n").unwrap();
        assert_eq!(read_private(&path).unwrap().as_str(), "s3cret");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(read_private(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_made_secret_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets/one");
        let first = read_or_make_private(&path, || Ok("first".to_owned())).unwrap();
        let second = read_or_make_private(&path, || Ok("second".to_owned())).unwrap();
        assert_eq!(first, second);
    }
}
