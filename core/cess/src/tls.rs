//! The cryptography behind `wss://` and `https://`.

/// Makes sure that TLS has a provider, unless the program has chosen one already.
pub(crate) fn install_provider() {
    // An error means that there is one, and that is all that is asked for.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
