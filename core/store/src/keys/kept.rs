//! Secrets that others than this crate keep in the metadata: sealed here, so that no key leaves it.
//!
//! A key derived from the root key seals them, another one makes secrets that need not be kept: all
//! gateways of a namespace, and who restores it, have both.
use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::derived;
use super::wrap::{self, KEY, Secret};

/// Seals, opens and makes secrets of one namespace.
pub(crate) struct KeptSecrets {
    cipher: LessSafeKey,
    maker: hmac::Key,
}

impl KeptSecrets {
    /// Of the namespace with this root key.
    pub(crate) fn of(root: &Secret) -> Self {
        let maker = derived(root, b"cess-gateway made secrets 1");
        Self {
            cipher: wrap::cipher(&derived(root, b"cess-gateway kept secrets 1")),
            maker: hmac::Key::new(hmac::HMAC_SHA256, maker.as_ref()),
        }
    }

    /// Seals `plain` for `context`. Adds 28 bytes.
    pub(crate) fn seal(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        wrap::seal(&self.cipher, context, plain)
    }

    /// Opens what was sealed for the same context; `None`: it was not, or not by this namespace.
    pub(crate) fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        wrap::open(&self.cipher, context, sealed)
    }

    /// The secret that belongs to `name`: always the same, and nobody else can tell it.
    pub(crate) fn made(&self, name: &[u8]) -> Secret {
        let tag = hmac::sign(&self.maker, name);
        let mut secret = Zeroizing::new([0; KEY]);
        secret.copy_from_slice(tag.as_ref());
        secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_open_in_their_namespace_and_context_alone() {
        let (root, other) = (wrap::fresh(), wrap::fresh());
        let (here, there) = (KeptSecrets::of(&root), KeptSecrets::of(&other));
        let sealed = here.seal(b"key A", b"secret");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let again = KeptSecrets::of(&root);
        assert_eq!(again.open(b"key A", &sealed).unwrap().as_slice(), b"secret");
        assert!(again.open(b"key B", &sealed).is_none());
        assert!(there.open(b"key A", &sealed).is_none());
        assert_eq!(here.made(b"name"), again.made(b"name"));
        assert_ne!(here.made(b"name"), here.made(b"another"));
        assert_ne!(here.made(b"name"), there.made(b"name"));
    }
}
