//! The key service of the gateway itself.
//!
//! A named key is 32 random bytes, kept sealed by the namespace's own keys as the setting `kms/NAME` of the
//! gateway: all gateways of the namespace have it, and who restores it. Wrapping is AES-256-GCM: 12 bytes
//! random nonce, ciphertext, 16 bytes tag; the purpose is the associated data.
use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use vfs::Vfs;
use zeroize::Zeroizing;

use super::{DataKey, KeyError, KeyService};
use crate::encryption::cipher::KEY;
use crate::random;

/// What the names of settings that are keys begin with.
const PREFIX: &str = "kms/";
/// Longest name in characters (that of AWS).
const NAME_MAX: usize = 256;

/// A key as it is kept: JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    /// Sealed, in hex.
    key: String,
    enabled: bool,
}

/// A named key, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalKeyInfo {
    /// Its name.
    pub name: String,
    /// Whether it may be used.
    pub enabled: bool,
}

/// The keys that this namespace keeps itself. Cheap to clone.
#[derive(Clone)]
pub struct LocalKeys {
    vfs: Vfs,
}

/// Says nothing.
impl fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKeys")
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/_-.:".contains(&byte))
}

fn setting(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// What a key is sealed for.
fn context(name: &str) -> Vec<u8> {
    [b"cess-gateway named key 1 ", name.as_bytes()].concat()
}

fn unavailable(error: impl fmt::Display) -> KeyError {
    KeyError::Unavailable(error.to_string())
}

impl LocalKeys {
    /// Of a namespace.
    pub fn new(vfs: Vfs) -> Self {
        Self { vfs }
    }

    /// All keys by name.
    pub async fn list(&self) -> vfs::Result<Vec<LocalKeyInfo>> {
        let all = self.vfs.gateway_settings(PREFIX).await?;
        Ok(all
            .into_iter()
            .filter_map(|(name, row)| {
                let kept: Kept = serde_json::from_slice(&row).ok()?;
                Some(LocalKeyInfo {
                    name: name.strip_prefix(PREFIX)?.to_owned(),
                    enabled: kept.enabled,
                })
            })
            .collect())
    }

    /// Makes a key; durable when it returns. `Exists` if there, `InvalidName` for what cannot be one.
    pub async fn create(&self, name: &str) -> vfs::Result<()> {
        if !is_name(name) {
            return Err(vfs::Error::InvalidName(
                "a key's name has 1 to 256 letters, digits and any of /_-.:",
            ));
        }
        let key = Zeroizing::new(random::bytes::<KEY>());
        let kept = Kept {
            key: hex::encode(self.vfs.seal_secret(&context(name), key.as_ref())),
            enabled: true,
        };
        let row = serde_json::to_vec(&kept).map_err(|error| vfs::Error::Internal(error.to_string()))?;
        let setting = setting(name);
        self.vfs
            .change_gateway_settings(PREFIX, move |all| {
                if all.contains_key(&setting) {
                    return Err(vfs::Error::Exists);
                }
                Ok(((), BTreeMap::from([(setting.clone(), Some(row.clone()))])))
            })
            .await?
    }

    /// Lets a key be used, or keeps it from being used; durable when it returns. `NotFound` if there is
    /// none.
    pub async fn enable(&self, name: &str, enabled: bool) -> vfs::Result<()> {
        let setting = setting(name);
        self.vfs
            .change_gateway_settings(PREFIX, move |all| {
                let row = all.get(&setting).ok_or(vfs::Error::NotFound)?;
                let kept = serde_json::from_slice::<Kept>(row)
                    .and_then(|kept| serde_json::to_vec(&Kept { enabled, ..kept }));
                let row = kept.map_err(|error| vfs::Error::Internal(error.to_string()))?;
                Ok(((), BTreeMap::from([(setting.clone(), Some(row))])))
            })
            .await?
    }

    async fn cipher(&self, name: &str) -> Result<LessSafeKey, KeyError> {
        let setting = setting(name);
        let mut found = self.vfs.gateway_settings(&setting).await.map_err(unavailable)?;
        let row = found.remove(&setting).ok_or(KeyError::NotFound)?;
        let kept: Kept = serde_json::from_slice(&row).map_err(unavailable)?;
        if !kept.enabled {
            return Err(KeyError::Disabled);
        }
        let sealed = hex::decode(&kept.key).map_err(unavailable)?;
        let key = self
            .vfs
            .open_secret(&context(name), &sealed)
            .ok_or(KeyError::Invalid)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| KeyError::Invalid)?;
        Ok(LessSafeKey::new(key))
    }
}

#[async_trait::async_trait]
impl KeyService for LocalKeys {
    async fn wrap(&self, name: &str, purpose: &[u8], key: &DataKey) -> Result<Vec<u8>, KeyError> {
        let cipher = self.cipher(name).await?;
        let nonce = random::bytes::<NONCE_LEN>();
        let mut sealed = key.to_vec();
        let tag = cipher
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose),
                &mut sealed,
            )
            .map_err(unavailable)?;
        Ok([&nonce[..], &sealed, tag.as_ref()].concat())
    }

    async fn unwrap(&self, name: &str, purpose: &[u8], wrapped: &[u8]) -> Result<DataKey, KeyError> {
        let cipher = self.cipher(name).await?;
        let (nonce, sealed) = wrapped
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(KeyError::Invalid)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let opened = cipher
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(purpose),
                &mut buffer,
            )
            .map_err(|_| KeyError::Invalid)?;
        let mut key = Zeroizing::new([0; KEY]);
        if opened.len() != KEY {
            return Err(KeyError::Invalid);
        }
        key.copy_from_slice(opened);
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["alias/photos", "testkey-1", "arn:aws:kms:us-east-1:1:key/a_b.c"] {
            assert!(is_name(good), "{good}");
        }
        let long = "x".repeat(257);
        for bad in ["", "a b", "é", "a\n", long.as_str()] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
