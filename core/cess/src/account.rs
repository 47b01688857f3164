//! 32-byte account ids and their SS58 text.
//!
//! SS58 is base58 of: a prefix naming the network (one byte up to 63, two bytes up to 16383), the
//! account id, and the first two bytes of BLAKE2b-512 of the text "SS58PRE" and all of that.

use std::fmt;

use base58::{FromBase58, ToBase58};
use blake2::{Blake2b512, Digest};

use crate::{Error, Result};

/// SS58 prefix of the CESS test and development networks.
pub const SS58_PREFIX: u16 = 11330;
/// SS58 prefix of the CESS main network.
pub const SS58_PREFIX_MAIN: u16 = 11331;
/// SS58 prefix of Substrate in general.
pub const SS58_PREFIX_GENERIC: u16 = 42;

/// Largest prefix that fits the two-byte form.
const MAX_PREFIX: u16 = 0x3FFF;
const CHECKSUM_SIZE: usize = 2;
/// Longest text that can be an account of two prefix bytes.
const MAX_TEXT: usize = 50;

/// An sr25519 public key as the chain names accounts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub [u8; 32]);

impl AccountId {
    /// SS58 text under `prefix` ([`SS58_PREFIX`] for CESS, 42 for generic Substrate). Of a prefix
    /// above 16383, which SS58 does not know, the low 14 bits are used.
    pub fn to_ss58(self, prefix: u16) -> String {
        let prefix = prefix & MAX_PREFIX;
        let mut bytes = Vec::with_capacity(2 + self.0.len() + CHECKSUM_SIZE);
        if prefix < 64 {
            bytes.push(prefix as u8);
        } else {
            // The two-byte form shuffles the bits so that the first byte is in 64..=127.
            bytes.push(((prefix & 0x00FC) >> 2) as u8 | 0x40);
            bytes.push((prefix >> 8) as u8 | ((prefix & 0x0003) << 6) as u8);
        }
        bytes.extend_from_slice(&self.0);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes.to_base58()
    }

    /// Parses SS58 text of any prefix; answers the account and the prefix.
    pub fn from_ss58(text: &str) -> Result<(Self, u16)> {
        let invalid = |reason: &str| Error::Invalid(format!("not an SS58 account ({reason})"));
        if text.len() > MAX_TEXT {
            return Err(invalid("too long"));
        }
        let bytes = text.from_base58().map_err(|_| invalid("not base58"))?;
        let (prefix, prefix_size) = match bytes[..] {
            [first @ 0..64, ..] => (u16::from(first), 1),
            [first @ 64..128, second, ..] => {
                let low = (first & 0x3F) << 2 | second >> 6;
                let high = second & 0x3F;
                (u16::from(high) << 8 | u16::from(low), 2)
            }
            _ => return Err(invalid("unknown prefix")),
        };
        let (body, given) = bytes.split_at(bytes.len().saturating_sub(CHECKSUM_SIZE));
        let account = body
            .get(prefix_size..)
            .and_then(|account| <[u8; 32]>::try_from(account).ok())
            .ok_or_else(|| invalid("wrong length"))?;
        if given != checksum(body) {
            return Err(invalid("wrong checksum"));
        }
        Ok((Self(account), prefix))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_ss58(SS58_PREFIX))
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for AccountId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::from_ss58(text).map(|(account, _)| account)
    }
}

impl From<&subxt_signer::sr25519::Keypair> for AccountId {
    fn from(key: &subxt_signer::sr25519::Keypair) -> Self {
        Self(key.public_key().0)
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_SIZE] {
    let digest = Blake2b512::new()
        .chain_update(b"SS58PRE")
        .chain_update(body)
        .finalize();
    [digest[0], digest[1]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alice() -> AccountId {
        AccountId::from(&subxt_signer::sr25519::dev::alice())
    }

    #[test]
    fn alice_on_every_network() {
        assert_eq!(
            hex::encode(alice().0),
            "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"
        );
        for (prefix, text) in [
            (SS58_PREFIX, "cXjmuHdBk4J3Zyt2oGodwGegNFaTFPcfC48PZ9NMmcUFzF6cc"),
            (
                SS58_PREFIX_MAIN,
                "ce8A7q7qYev25ydvVEswTSKhZcdc4uLxW8KqxX7X3FCKCFYce",
            ),
            (
                SS58_PREFIX_GENERIC,
                "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
            ),
        ] {
            assert_eq!(alice().to_ss58(prefix), text);
            assert_eq!(AccountId::from_ss58(text).unwrap(), (alice(), prefix));
        }
    }

    #[test]
    fn what_is_not_an_account_is_refused() {
        let good = alice().to_ss58(SS58_PREFIX);
        for bad in [
            String::new(),
            "c".to_owned(),
            "0OIl".to_owned(),
            "1".repeat(50),
            "z".repeat(1_000_000),
            good[1..].to_owned(),
            format!("{good}1"),
            good.replace('X', "Y"),
        ] {
            let answer = AccountId::from_ss58(&bad);
            assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_back(bytes: [u8; 32], prefix in 0..=MAX_PREFIX) {
            let account = AccountId(bytes);
            prop_assert_eq!(AccountId::from_ss58(&account.to_ss58(prefix)).unwrap(), (account, prefix));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,60}") {
            let _ = AccountId::from_ss58(&text);
        }
    }
}
