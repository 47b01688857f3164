//! The key by which other gateways know this one.
//!
//! An Ed25519 key in PKCS #8 in a file of mode 0600 beside the identity, made at the first start. TLS takes it as a raw public key
//! (RFC 7250): there is no certificate, hence nothing in one to be believed or to expire; the SHA-256 of the key
//! (DER of its `SubjectPublicKeyInfo`) stands in the row of the member.
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::{Error, Result};

/// Name of the file.
const FILE: &str = "member.key";

/// SHA-256 of a public key.
pub(crate) type Fingerprint = [u8; 32];

/// The fingerprint of a key as TLS shows it.
pub(super) fn fingerprint(public: &[u8]) -> Fingerprint {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, public).as_ref());
    fingerprint
}

/// The key of a gateway.
#[derive(Clone)]
pub(crate) struct PeerKey {
    pub(super) certified: Arc<CertifiedKey>,
    pub(crate) fingerprint: Fingerprint,
}

impl PeerKey {
    /// That of the gateway whose data are in `directory`; made if there is none.
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        let failed = |error: io::Error| Error::Disk(format!("{}: {error}", path.display()));
        let unusable = || Error::Disk(format!("{} holds no usable key", path.display()));
        let pkcs8 = match std::fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                meta::directory::make(directory).map_err(failed)?;
                let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| unusable())?;
                let made = Zeroizing::new(made.as_ref().to_vec());
                let part = path.with_extension("key.part");
                let write = || {
                    let mut file = OpenOptions::new()
                        .create(true)
                        .truncate(true)
                        .write(true)
                        .mode(0o600)
                        .open(&part)?;
                    file.write_all(&made)?;
                    file.sync_all()?;
                    std::fs::rename(&part, &path)?;
                    std::fs::File::open(directory)?.sync_all()
                };
                write().map_err(failed)?;
                made
            }
            Err(error) => return Err(failed(error)),
        };
        let der = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
        let signing = rustls::crypto::aws_lc_rs::sign::any_eddsa_type(&der).map_err(|_| unusable())?;
        let public = signing.public_key().ok_or_else(unusable)?.as_ref().to_vec();
        Ok(Self {
            fingerprint: fingerprint(&public),
            certified: Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], signing)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_stays_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = PeerKey::of(dir.path()).unwrap().fingerprint;
        assert_eq!(PeerKey::of(dir.path()).unwrap().fingerprint, first);
        let file = dir.path().join(FILE);
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::write(&file, b"no key").unwrap();
        assert!(matches!(PeerKey::of(dir.path()), Err(Error::Disk(_))));
    }
}
