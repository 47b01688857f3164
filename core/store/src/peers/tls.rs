//! TLS 1.3 in which both sides show raw public keys, and nothing else vouches for them.
use std::sync::Arc;

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    ServerConfig, SignatureScheme,
};

use super::key::{Fingerprint, PeerKey, fingerprint};

/// Believes whoever has the key that it shows. Whose that is, is looked at afterwards by a server, which does not
/// know who comes, and here by a client, which does.
#[derive(Debug)]
struct RawKeys {
    provider: Arc<CryptoProvider>,
    expected: Option<Fingerprint>,
}

impl RawKeys {
    fn new(expected: Option<Fingerprint>) -> Arc<Self> {
        Arc::new(Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            expected,
        })
    }

    fn signed(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What is the same on both sides: signatures of TLS 1.3 by raw keys, and nothing else.
macro_rules! signed_by_raw_keys {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _key: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::PeerIncompatible(
                PeerIncompatible::Tls13RequiredForQuic,
            ))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            key: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.signed(message, key, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.schemes()
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for RawKeys {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.expected == Some(fingerprint(key)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    signed_by_raw_keys!();
}

impl ClientCertVerifier for RawKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    signed_by_raw_keys!();
}

/// As a client with `key`, of the server that has the key `expected`.
pub(super) fn client(key: &PeerKey, expected: Fingerprint) -> Result<ClientConfig, Error> {
    let keys = RawKeys::new(Some(expected));
    let builder = ClientConfig::builder_with_provider(keys.provider.clone());
    let builder = builder.with_protocol_versions(&[&TLS13])?;
    let own = Arc::new(AlwaysResolvesClientRawPublicKeys::new(key.certified.clone()));
    let builder = builder.dangerous().with_custom_certificate_verifier(keys);
    Ok(builder.with_client_cert_resolver(own))
}

/// As a server with `key`.
pub(super) fn server(key: &PeerKey) -> Result<ServerConfig, Error> {
    let keys = RawKeys::new(None);
    let builder = ServerConfig::builder_with_provider(keys.provider.clone());
    let builder = builder.with_protocol_versions(&[&TLS13])?;
    let own = Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.certified.clone()));
    Ok(builder.with_client_cert_verifier(keys).with_cert_resolver(own))
}
