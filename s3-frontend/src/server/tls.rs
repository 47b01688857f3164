//! TLS in the process, with a certificate that can be replaced without a restart.
//!
//! The certificate chain and its key are two PEM files. They are looked at every [`WATCH_INTERVAL`], and
//! read again at once on SIGHUP or [`Certificate::reload`]. New files count from the next handshake on;
//! connections that are open keep what they have. Files that cannot be used (half written, a key that
//! does not fit, no PEM at all) change nothing: the certificate in use stays, and the reason is logged
//! and shown by `status` until good files are there. Tools replace the two files one after the other:
//! the moment between is such a case, and the next look finds both.
use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Largest certificate or key file, in bytes: a long chain has a tenth of it.
const FILE_MAX: u64 = 1 << 20;
/// Application protocols, best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the S3 door speaks TLS and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Address of a listener of its own; `None`: the door's one listener speaks TLS, and nothing else.
    pub listen: Option<SocketAddr>,
    /// PEM file: the certificate, then what leads from it to a root.
    pub certificate: PathBuf,
    /// PEM file with its private key; others than its owner and group must not be able to read it.
    pub key: PathBuf,
}

/// What the door shows about its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsStatus {
    /// SHA-256 of the certificate in use, in hex.
    pub fingerprint: String,
    /// Why the files that are there now are not in use; `None`: they are.
    pub error: Option<String>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read, is too large, or is open to everybody.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// The two files do not make a certificate.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(String),
}

/// What tells a file from the one that was there before it.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(metadata: &Metadata) -> Stamp {
    (
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        // Of content, owner and mode: a file that was refused for its mode is looked at again.
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

struct State {
    key: Arc<CertifiedKey>,
    status: TlsStatus,
    /// The files as they were when they were last read, used or not.
    seen: [Option<Stamp>; 2],
}

/// The certificate in use.
pub(crate) struct Certificate {
    files: [PathBuf; 2],
    state: Mutex<State>,
}

/// Shows paths, never the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads the files.
    pub(crate) fn open(config: &TlsConfig) -> Result<Self, TlsError> {
        let files = [config.certificate.clone(), config.key.clone()];
        let seen = look(&files);
        let (key, fingerprint) = load(&files)?;
        let status = TlsStatus {
            fingerprint,
            error: None,
        };
        Ok(Self {
            files,
            state: Mutex::new(State { key, status, seen }),
        })
    }

    /// What is in use.
    pub(crate) fn status(&self) -> TlsStatus {
        self.state.lock().status.clone()
    }

    /// Reads the files again. On failure the certificate in use stays.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let seen = look(&self.files);
        let loaded = load(&self.files);
        let mut state = self.state.lock();
        state.seen = seen;
        match loaded {
            Ok((key, fingerprint)) => {
                if fingerprint != state.status.fingerprint {
                    tracing::info!(fingerprint, "S3 door has a new certificate");
                }
                state.key = key;
                state.status = TlsStatus {
                    fingerprint,
                    error: None,
                };
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "the S3 door keeps its certificate: the new one cannot be used");
                state.status.error = Some(error.to_string());
                Err(error)
            }
        }
    }

    fn changed(&self) -> bool {
        look(&self.files) != self.state.lock().seen
    }

    /// Follows the files and SIGHUP; does not end.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => Some(hangups),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be listened to: certificate files are still watched");
                None
            }
        };
        loop {
            let asked = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            let asked = tokio::time::timeout(WATCH_INTERVAL, asked).await.is_ok();
            let this = Arc::clone(&self);
            let work = tokio::task::spawn_blocking(move || {
                if asked || this.changed() {
                    // What failed is in the log and in the status.
                    let _ = this.reload();
                }
            });
            if work.await.is_err() {
                return;
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.state.lock().key))
    }
}

/// Speaks TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, with `certificate`.
pub(crate) fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Unusable(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn look(files: &[PathBuf; 2]) -> [Option<Stamp>; 2] {
    files
        .each_ref()
        .map(|file| std::fs::metadata(file).ok().map(|metadata| stamp(&metadata)))
}

fn load([certificate, key]: &[PathBuf; 2]) -> Result<(Arc<CertifiedKey>, String), TlsError> {
    let chain = CertificateDer::pem_slice_iter(&read(certificate, false)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(certificate, error))?;
    let Some(leaf) = chain.first() else {
        return Err(refused(certificate, "no certificate in it"));
    };
    let fingerprint = hex::encode(Sha256::digest(leaf));
    let private = zeroize::Zeroizing::new(read(key, true)?);
    // The parser's own message could repeat bytes of the key.
    let private =
        PrivateKeyDer::from_pem_slice(&private).map_err(|_| refused(key, "no private key in it"))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(chain, private, &provider)
        .map_err(|error| TlsError::Unusable(error.to_string()))?;
    Ok((Arc::new(certified), fingerprint))
}

fn read(path: &Path, secret: bool) -> Result<Vec<u8>, TlsError> {
    let file = File::open(path).map_err(|error| refused(path, error))?;
    let metadata = file.metadata().map_err(|error| refused(path, error))?;
    if secret && metadata.mode() & 0o007 != 0 {
        return Err(refused(
            path,
            "everybody can read or change it; use mode 0600 or 0640",
        ));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refused(path, error))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(refused(path, "larger than 1 MiB"));
    }
    Ok(bytes)
}

fn refused(path: &Path, reason: impl fmt::Display) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let files = Self {
                dir: tempfile::tempdir().unwrap(),
            };
            files.renew();
            files
        }

        fn config(&self) -> TlsConfig {
            TlsConfig {
                listen: None,
                certificate: self.dir.path().join("cert.pem"),
                key: self.dir.path().join("key.pem"),
            }
        }

        fn renew(&self) {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            self.write(&made.cert.pem(), &made.signing_key.serialize_pem(), 0o600);
        }

        fn write(&self, certificate: &str, key: &str, mode: u32) {
            let config = self.config();
            std::fs::write(&config.certificate, certificate).unwrap();
            std::fs::write(&config.key, key).unwrap();
            std::fs::set_permissions(&config.key, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    #[test]
    fn new_files_are_taken_and_bad_ones_leave_the_old() {
        let files = Files::new();
        let certificate = Certificate::open(&files.config()).unwrap();
        assert!(!certificate.changed());
        let first = certificate.status();
        files.renew();
        assert!(certificate.changed());
        certificate.reload().unwrap();
        let second = certificate.status();
        assert_ne!(first, second);
        assert!(!certificate.changed());

        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let kept = std::fs::read_to_string(files.config().key).unwrap();
        // A key that does not fit, one that others can read, no PEM, nothing.
        for (pem, key, mode) in [
            (other.cert.pem(), kept.clone(), 0o600),
            (other.cert.pem(), other.signing_key.serialize_pem(), 0o604),
            ("rubbish".to_owned(), kept.clone(), 0o600),
            (other.cert.pem(), String::new(), 0o600),
        ] {
            files.write(&pem, &key, mode);
            certificate.reload().unwrap_err();
            let status = certificate.status();
            assert_eq!(status.fingerprint, second.fingerprint);
            assert!(status.error.is_some());
            // Read once, and not again until they change.
            assert!(!certificate.changed());
        }
        std::fs::remove_file(files.config().key).unwrap();
        certificate.reload().unwrap_err();
        files.write(&other.cert.pem(), &other.signing_key.serialize_pem(), 0o640);
        certificate.reload().unwrap();
        assert_eq!(certificate.status().error, None);
        assert_ne!(certificate.status().fingerprint, second.fingerprint);
    }

    #[test]
    fn neither_debug_nor_errors_show_a_key() {
        let files = Files::new();
        let key = std::fs::read_to_string(files.config().key).unwrap();
        let certificate = Certificate::open(&files.config()).unwrap();
        let secret: Vec<&str> = key.lines().filter(|line| !line.starts_with("---")).collect();
        let mut said = format!("{certificate:?}");
        files.write("rubbish", &key.replace("PRIVATE", "PRIVATES"), 0o600);
        said.push_str(&certificate.reload().unwrap_err().to_string());
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        files.write(&other.cert.pem(), &key, 0o600);
        said.push_str(&certificate.reload().unwrap_err().to_string());
        for line in secret {
            assert!(!said.contains(line));
        }
    }
}
