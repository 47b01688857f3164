//! From the passphrase to the root key.
//!
//! Argon2id turns the passphrase and a random salt into a key that does nothing but wrap the root
//! key, which is random. So the passphrase can change without anything else being sealed anew, and
//! opening the wrap is the check that the passphrase is right.
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::keys::wrap::{self, KEY, Secret};
use crate::{Error, Result, random, tables};

const VERSION: u8 = 1;
const SALT: usize = 16;
/// Most memory in KiB that a root row may ask for: a damaged row must not take the machine down.
const MEMORY_MAX: u32 = 1 << 20;
/// Most passes and lanes of a root row.
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;

/// What guessing one passphrase costs, with Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassphraseCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl PassphraseCost {
    /// 64 MiB, three passes: about a tenth of a second.
    pub const NORMAL: Self = Self {
        memory_kib: 64 << 10,
        passes: 3,
        lanes: 1,
    };
    /// Hardly any protection against guessing; for tests and throw-away stores.
    pub const LIGHT: Self = Self {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };
}

/// The root row: postcard.
#[derive(Serialize, Deserialize)]
struct RootRow {
    version: u8,
    cost: PassphraseCost,
    salt: [u8; SALT],
    /// Root key wrapped by the key from the passphrase.
    wrapped: Vec<u8>,
}

/// Makes a root key and its row. Takes as long as `cost` says: call it on the blocking pool.
pub(crate) fn create(passphrase: &[u8], cost: PassphraseCost) -> Result<(Vec<u8>, Secret)> {
    let mut salt = [0; SALT];
    random::fill(&mut salt);
    let key = derive(passphrase, cost, &salt)?;
    let root = wrap::fresh();
    let wrapped = wrap::seal(&wrap::cipher(&key), &context(cost, &salt), root.as_ref());
    let row = RootRow {
        version: VERSION,
        cost,
        salt,
        wrapped,
    };
    let row = postcard::to_stdvec(&row).map_err(|error| tables::damaged(&error.to_string()))?;
    Ok((row, root))
}

/// Opens the root key of `row`. Takes as long as the row says: call it on the blocking pool.
pub(crate) fn open(passphrase: &[u8], row: &[u8]) -> Result<Secret> {
    let row: RootRow =
        postcard::from_bytes(row).map_err(|error| tables::damaged(&format!("root row: {error}")))?;
    if row.version != VERSION {
        return Err(Error::Key(format!(
            "the root key has format {}, known is {VERSION}",
            row.version
        )));
    }
    // A restore is given rows by miners.
    if row.cost.memory_kib > MEMORY_MAX || row.cost.passes > PASSES_MAX || row.cost.lanes > LANES_MAX {
        return Err(tables::damaged("the root row asks for too much work"));
    }
    let key = derive(passphrase, row.cost, &row.salt)?;
    wrap::open_key(&wrap::cipher(&key), &context(row.cost, &row.salt), &row.wrapped)
        .ok_or_else(|| Error::Key("the passphrase is not the one this store was made with".into()))
}

fn derive(passphrase: &[u8], cost: PassphraseCost, salt: &[u8; SALT]) -> Result<Secret> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY))
        .map_err(|error| Error::Key(format!("Argon2id parameters: {error}")))?;
    let mut key = Zeroizing::new([0; KEY]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut())
        .map_err(|error| Error::Key(format!("Argon2id: {error}")))?;
    Ok(key)
}

fn context(cost: PassphraseCost, salt: &[u8; SALT]) -> Vec<u8> {
    let mut context = b"cess-gateway root key 1".to_vec();
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        context.extend_from_slice(&number.to_le_bytes());
    }
    context.extend_from_slice(salt);
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_passphrase_opens_the_root_key() {
        let (row, root) = create(b"open sesame", PassphraseCost::LIGHT).unwrap();
        assert_eq!(open(b"open sesame", &row).unwrap(), root);
        let Err(Error::Key(text)) = open(b"open sesam", &row) else {
            panic!("opened")
        };
        assert!(text.contains("passphrase"), "{text}");
        let (other, another) = create(b"open sesame", PassphraseCost::LIGHT).unwrap();
        assert_ne!((&other, &another), (&row, &root), "salt and root key are fresh");
    }

    #[test]
    fn a_damaged_row_is_an_error() {
        let (row, root) = create(b"open sesame", PassphraseCost::LIGHT).unwrap();
        for at in 0..row.len() {
            let mut bad = row.clone();
            // Not the highest bit: what makes the cost absurd is tested below.
            bad[at] ^= 1;
            assert!(
                open(b"open sesame", &bad).map_or(true, |opened| opened != root),
                "byte {at}"
            );
        }
        for len in 0..row.len() {
            assert!(open(b"open sesame", &row[..len]).is_err());
        }
        let cost = PassphraseCost {
            memory_kib: u32::MAX,
            ..PassphraseCost::LIGHT
        };
        let greedy = RootRow {
            version: VERSION,
            cost,
            salt: [0; SALT],
            wrapped: Vec::new(),
        };
        assert!(open(b"", &postcard::to_stdvec(&greedy).unwrap()).is_err());
    }
}
