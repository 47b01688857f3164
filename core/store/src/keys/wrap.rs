//! A key sealed by another key.
//!
//! Format: 12 bytes random nonce, ciphertext, 16 bytes tag. AES-256-GCM; the associated data is a
//! text that says what the key is for, and the numbers it belongs to, so that a wrapped key cannot
//! be passed off as another.
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::random;

/// Bytes of every key.
pub(crate) const KEY: usize = 32;

/// Bytes that are wiped when dropped.
pub(crate) type Secret = Zeroizing<[u8; KEY]>;

/// A fresh key.
pub(crate) fn fresh() -> Secret {
    let mut key = Zeroizing::new([0; KEY]);
    random::fill(key.as_mut());
    key
}

/// The cipher under `key`. It wipes its own copy when dropped.
pub(crate) fn cipher(key: &[u8; KEY]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes"))
}

/// Seals `plain` under `key` with a random nonce.
pub(crate) fn seal(key: &LessSafeKey, context: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    random::fill(&mut nonce);
    let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context),
            &mut sealed[NONCE_LEN..],
        )
        .expect("AES-GCM seals anything shorter than 64 GiB");
    sealed.extend_from_slice(tag.as_ref());
    sealed
}

/// Opens what [`seal`] made; `None` when key, context or bytes are not the same.
pub(crate) fn open(key: &LessSafeKey, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let len = key
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(context),
            &mut buffer,
        )
        .ok()?
        .len();
    buffer.truncate(len);
    Some(buffer)
}

/// Opens a wrapped key.
pub(crate) fn open_key(key: &LessSafeKey, context: &[u8], sealed: &[u8]) -> Option<Secret> {
    let bytes = open(key, context, sealed)?;
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_the_same_key_context_and_bytes() {
        let (key, other) = (cipher(&fresh()), cipher(&fresh()));
        let secret = fresh();
        let sealed = seal(&key, b"domain 7", secret.as_ref());
        assert_eq!(open_key(&key, b"domain 7", &sealed).unwrap(), secret);
        assert!(open_key(&other, b"domain 7", &sealed).is_none());
        assert!(open_key(&key, b"domain 8", &sealed).is_none());
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key, b"domain 7", &bad).is_none(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(open(&key, b"domain 7", &sealed[..len]).is_none());
        }
        assert_ne!(
            seal(&key, b"domain 7", secret.as_ref()),
            sealed,
            "every nonce is fresh"
        );
    }
}
