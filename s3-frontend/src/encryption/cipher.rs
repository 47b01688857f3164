//! AES-256 in counter mode, at any offset.
use std::fmt;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use bytes::Bytes;
use s3s::{S3ErrorCode, S3Result};
use zeroize::Zeroizing;

use crate::error::fail;
use crate::random;

/// Bytes of a key.
pub(crate) const KEY: usize = 32;
/// Bytes of a cipher block.
const BLOCK: u64 = 16;

/// Start of a counter: the upper half of its 16 bytes. The lower half numbers the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonce(pub(crate) [u8; 8]);

impl Nonce {
    /// A random one.
    pub(crate) fn fresh() -> Self {
        Self(random::bytes())
    }
}

/// The key of an object's content.
#[derive(Clone)]
pub(crate) struct ContentKey(Zeroizing<[u8; KEY]>);

/// Never the key.
impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey")
    }
}

impl ContentKey {
    /// Derived from a secret and a salt.
    pub(crate) fn derived(secret: &[u8], salt: &[u8]) -> Self {
        Self(derive(secret, salt, b"cess-gateway object content 1"))
    }

    /// The encrypted bytes that begin at a nonce.
    pub(crate) fn keystream(&self, nonce: Nonce) -> S3Result<Keystream> {
        let key = UnboundCipherKey::new(&AES_256, self.0.as_ref()).and_then(EncryptingKey::ctr);
        Ok(Keystream {
            key: key.map_err(broken)?,
            nonce,
            at: 0,
        })
    }

    /// An ETag that tells contents apart and says nothing about them: 16 bytes in hex.
    pub(crate) fn tag(&self, md5: &[u8; 16]) -> String {
        let key = derive(self.0.as_ref(), &[], b"cess-gateway object tags 1");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), md5);
        hex::encode(tag.as_ref().get(..16).unwrap_or_default())
    }
}

/// HKDF-SHA-256.
pub(crate) fn derive(secret: &[u8], salt: &[u8], purpose: &[u8]) -> Zeroizing<[u8; KEY]> {
    let mut key = Zeroizing::new([0; KEY]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[purpose], HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut()))
        .expect("HKDF-SHA-256 gives 32 bytes");
    key
}

fn broken(_: aws_lc_rs::error::Unspecified) -> s3s::S3Error {
    fail(
        S3ErrorCode::InternalError,
        "The cipher of this object cannot be used.",
    )
}

/// Encrypts bytes in order, or decrypts them: both are the same.
pub(crate) struct Keystream {
    key: EncryptingKey,
    nonce: Nonce,
    at: u64,
}

impl Keystream {
    /// Goes on at this offset.
    pub(crate) fn seek(&mut self, at: u64) {
        self.at = at;
    }

    /// The next bytes, turned.
    pub(crate) fn apply(&mut self, bytes: &Bytes) -> S3Result<Bytes> {
        // The counter begins with a block: what lies before in it is turned along and cut off.
        let lead = (self.at % BLOCK) as usize;
        let mut buffer = vec![0; lead + bytes.len()];
        buffer[lead..].copy_from_slice(bytes);
        let mut counter = [0; 16];
        let (upper, lower) = counter.split_at_mut(8);
        upper.copy_from_slice(&self.nonce.0);
        lower.copy_from_slice(&(self.at / BLOCK).to_be_bytes());
        self.key
            .less_safe_encrypt(&mut buffer, EncryptionContext::Iv128(counter.into()))
            .map_err(broken)?;
        self.at += bytes.len() as u64;
        Ok(Bytes::from(buffer).slice(lead..))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(secret: &[u8]) -> ContentKey {
        ContentKey::derived(secret, b"salt")
    }

    /// NIST SP 800-38A, F.5.5 (CTR-AES256.Encrypt), all four blocks.
    #[test]
    fn published_vector() {
        let bytes = |text: &str| hex::decode(text).unwrap();
        let mut secret = [0; KEY];
        secret.copy_from_slice(&bytes(
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        ));
        let key = ContentKey(Zeroizing::new(secret));
        let stream = key.keystream(Nonce([0; 8])).unwrap();
        // The vector's counter begins at a block that no offset reaches.
        let mut plain = bytes(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
             30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        );
        let counter: [u8; 16] = bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").try_into().unwrap();
        stream
            .key
            .less_safe_encrypt(&mut plain, EncryptionContext::Iv128(counter.into()))
            .unwrap();
        assert_eq!(
            hex::encode(plain),
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5\
             2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
        );
    }

    #[test]
    fn keys_salts_and_nonces_matter() {
        let plain = Bytes::from_static(&[0; 64]);
        let turned = |secret: &[u8], salt: &[u8], nonce| {
            let mut stream = ContentKey::derived(secret, salt).keystream(Nonce(nonce)).unwrap();
            stream.apply(&plain).unwrap()
        };
        let one = turned(b"a", b"s", [1; 8]);
        assert_eq!(one, turned(b"a", b"s", [1; 8]));
        assert_ne!(one, turned(b"b", b"s", [1; 8]));
        assert_ne!(one, turned(b"a", b"t", [1; 8]));
        assert_ne!(one, turned(b"a", b"s", [2; 8]));
        assert_ne!(key(b"a").tag(&[0; 16]), key(b"b").tag(&[0; 16]));
        assert_ne!(key(b"a").tag(&[0; 16]), key(b"a").tag(&[1; 16]));
        assert_eq!(format!("{:?}", key(b"secret")), "ContentKey");
    }

    proptest! {
        /// However the bytes are cut, and from wherever they are read.
        #[test]
        fn cutting_and_seeking_do_not_matter(
            plain in proptest::collection::vec(any::<u8>(), 0..500),
            cuts in proptest::collection::vec(0usize..500, 0..5),
            from in 0usize..500,
        ) {
            let whole = key(b"k").keystream(Nonce([7; 8])).unwrap().apply(&Bytes::from(plain.clone())).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(plain.len())).collect();
            cuts.extend([0, plain.len()]);
            cuts.sort_unstable();
            let mut stream = key(b"k").keystream(Nonce([7; 8])).unwrap();
            let mut pieces = Vec::new();
            for ends in cuts.windows(2) {
                let piece = Bytes::copy_from_slice(&plain[ends[0]..ends[1]]);
                pieces.extend_from_slice(&stream.apply(&piece).unwrap());
            }
            prop_assert_eq!(&pieces[..], &whole[..]);
            let from = from.min(plain.len());
            let mut back = key(b"k").keystream(Nonce([7; 8])).unwrap();
            back.seek(from as u64);
            prop_assert_eq!(&back.apply(&whole.slice(from..)).unwrap()[..], &plain[from..]);
        }
    }
}
