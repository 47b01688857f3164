//! The encryption of the reference SDK and its gateway, for reading what they stored.
//!
//! AES-256-CBC with the cipher text as key, the key's own first half as the one initialisation
//! vector of every segment, PKCS#7 padding: deterministic and without integrity. It exists here to
//! be compatible; nothing of this gateway is protected by it.
//!
//! A segment carries [`PLAINTEXT_SIZE`] bytes of plaintext: segment *k* starts at plaintext offset
//! *k* × [`PLAINTEXT_SIZE`], the last one is filled with zeros before it is encrypted, and the
//! file's declared length says where the filling begins.

use aws_lc_rs::cipher::{AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey};
use aws_lc_rs::cipher::{PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::SEGMENT_SIZE;
use crate::{Error, Result};

const KEY_SIZE: usize = 32;
const IV_SIZE: usize = 16;
/// What the key is filled up with: an ASCII zero.
const KEY_FILLER: u8 = b'0';

/// Plaintext bytes in an encrypted segment; the rest is padding.
pub const PLAINTEXT_SIZE: usize = SEGMENT_SIZE - IV_SIZE;

/// Encrypts `plaintext`; the answer is longer by 1 to 16 bytes of padding.
///
/// `cipher` has 1 to 32 bytes.
pub fn encrypt(cipher: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
    let (key, iv) = key_and_iv(cipher)?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).map_err(|_| refused())?;
    let mut buffer = plaintext.to_vec();
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(&mut buffer, context)
        .map_err(|_| refused())?;
    Ok(buffer)
}

/// Decrypts `ciphertext` and takes the padding off. Fails with [`Error::Corrupt`] if the padding is
/// not what the cipher says; success proves nothing about the content.
pub fn decrypt(cipher: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>> {
    let (key, iv) = key_and_iv(cipher)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(|_| refused())?;
    let mut buffer = ciphertext.to_vec();
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let length = key
        .decrypt(&mut buffer, context)
        .map_err(|_| Error::Corrupt("wrong cipher or damaged ciphertext".to_owned()))?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

fn key_and_iv(cipher: &[u8]) -> Result<(UnboundCipherKey, [u8; IV_SIZE])> {
    if cipher.is_empty() || cipher.len() > KEY_SIZE {
        return Err(Error::Invalid(format!(
            "a cipher has 1 to {KEY_SIZE} bytes, not {}",
            cipher.len()
        )));
    }
    let mut key = [KEY_FILLER; KEY_SIZE];
    key[..cipher.len()].copy_from_slice(cipher);
    let mut iv = [0; IV_SIZE];
    iv.copy_from_slice(&key[..IV_SIZE]);
    let key = UnboundCipherKey::new(&AES_256, &key).map_err(|_| refused())?;
    Ok((key, iv))
}

fn refused() -> Error {
    Error::Invalid("the cipher cannot be used".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_vectors() {
        let hello = encrypt(b"123456", b"hello").unwrap();
        assert_eq!(hex::encode(&hello), "89f8800e565b44a4aa69ae994951c83e");
        let zeros = encrypt(b"123456", &[0; 16]).unwrap();
        assert_eq!(
            hex::encode(&zeros),
            "3f5e9e4b0e9379499c2bc0dd658a8cb5ec39830a1cfe71e050ff31c2b697822c"
        );
        assert_eq!(decrypt(b"123456", &hello).unwrap(), b"hello");
        assert_eq!(decrypt(b"123456", &zeros).unwrap(), [0; 16]);
    }

    #[test]
    fn a_full_segment_of_plaintext_fills_a_segment() {
        assert_eq!(
            encrypt(b"x", &vec![7; PLAINTEXT_SIZE]).unwrap().len(),
            SEGMENT_SIZE
        );
    }

    #[test]
    fn bad_input_is_refused() {
        for cipher in [&b""[..], &[b'k'; 33]] {
            assert!(matches!(encrypt(cipher, b"x"), Err(Error::Invalid(_))));
            assert!(matches!(decrypt(cipher, &[0; 16]), Err(Error::Invalid(_))));
        }
        for length in [0, 1, 15, 17] {
            let answer = decrypt(b"123456", &vec![0; length]);
            assert!(
                matches!(answer, Err(Error::Corrupt(_))),
                "{length} bytes: {answer:?}"
            );
        }
        let mut damaged = encrypt(b"123456", b"hello").unwrap();
        damaged[15] ^= 1;
        assert!(matches!(decrypt(b"123456", &damaged), Err(Error::Corrupt(_))));
    }
}
