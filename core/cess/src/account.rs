//! 32-byte account ids and their SS58 text.

/// SS58 prefix of the CESS test and development networks.
pub const SS58_PREFIX: u16 = 11330;

/// An sr25519 public key as the chain names accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub [u8; 32]);

impl AccountId {
    /// SS58 text under `prefix` ([`SS58_PREFIX`] for CESS, 42 for generic Substrate).
    pub fn to_ss58(self, prefix: u16) -> String {
        let _ = prefix;
        todo!()
    }
    /// Parses SS58 text of any prefix; answers the account and the prefix.
    pub fn from_ss58(text: &str) -> crate::Result<(Self, u16)> {
        let _ = text;
        todo!()
    }
}
