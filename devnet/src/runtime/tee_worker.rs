//! `TeeWorker`, as far as `FileBank` needs it: the master key that signs tags.
//!
//! On a devnet this key is [`MASTER_URI`], known to everybody.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::item::{Reader, Value};

/// Index of this pallet.
pub const INDEX: u8 = 103;
/// Secret of the devnet's master key.
pub const MASTER_URI: &str = "//TeeMaster";

/// The launched master key. `launched_at` is (block, time in ms).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct MasterKeyInfo {
    pub pubkey: [u8; 32],
    pub holder: [u8; 32],
    pub launched_at: (u32, u64),
}

/// Whether there is a master key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum LaunchStatus {
    #[default]
    NotLaunched,
    Launching([u8; 32]),
    Launched(MasterKeyInfo),
}

pub const MASTER_KEY_STATUS: Value<LaunchStatus> = Value::defaulted("TeeWorker", "MasterKeyStatus");

/// The public master key.
pub fn master_key(state: &impl Reader) -> Option<[u8; 32]> {
    match MASTER_KEY_STATUS.value(state) {
        LaunchStatus::Launched(info) => Some(info.pubkey),
        _ => None,
    }
}
