//! The storage items this client reads: their keys, and what their values mean.
//!
//! Pure functions of the metadata. A key is `twox128(pallet) ++ twox128(item)` and, for each part of
//! a map key, `blake2_128(part) ++ part`.

use parity_scale_codec::Decode;
use subxt::Metadata;
use subxt::ext::frame_decode::storage::{
    IntoEncodableValues, decode_storage_value, encode_storage_key, encode_storage_key_prefix,
};
use subxt::ext::scale_decode::DecodeAsType;
use subxt::utils::AccountId32;

use super::shapes::{
    AccountInfo, DealInfo, HashText, HeldFile, MinerEndpoint, MinerSpace, StoredFile, TerritoryInfo,
};
use super::types::{Deal, FileInfo, Miner, Territory};
use crate::miner::endpoint;
use crate::{AccountId, Error, Hash, Result};

/// Bytes of `twox128(pallet) ++ twox128(item)`.
const PREFIX: usize = 32;
/// Bytes of `blake2_128`, which stands before each part of a map key.
const PART_HASH: usize = 16;
/// Bytes of an account id.
const ACCOUNT: usize = 32;

/// A storage item by its two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Name of the pallet.
    pub pallet: &'static str,
    /// Name of the item in it.
    pub name: &'static str,
}

/// Balances and nonces by account.
pub const ACCOUNTS: Item = Item {
    pallet: "System",
    name: "Account",
};
/// Events of a block.
pub const EVENTS: Item = Item {
    pallet: "System",
    name: "Events",
};
/// Price of one GiB for one day.
pub const UNIT_PRICE: Item = Item {
    pallet: "StorageHandler",
    name: "UnitPrice",
};
/// Territories by owner and name.
pub const TERRITORIES: Item = Item {
    pallet: "StorageHandler",
    name: "Territory",
};
/// Operators by owner.
pub const AUTHORITIES: Item = Item {
    pallet: "Oss",
    name: "AuthorityList",
};
/// Miners by account.
pub const MINERS: Item = Item {
    pallet: "Sminer",
    name: "MinerItems",
};
/// Open deals by FID.
pub const DEALS: Item = Item {
    pallet: "FileBank",
    name: "DealMap",
};
/// Completed files by FID.
pub const FILES: Item = Item {
    pallet: "FileBank",
    name: "File",
};
/// Completed files by owner.
pub const HELD_FILES: Item = Item {
    pallet: "FileBank",
    name: "UserHoldFileList",
};

impl Item {
    /// What all keys of the item begin with.
    pub fn prefix(self) -> [u8; PREFIX] {
        encode_storage_key_prefix(self.pallet, self.name)
    }

    fn key(self, metadata: &Metadata, parts: impl IntoEncodableValues) -> Result<Vec<u8>> {
        encode_storage_key(self.pallet, self.name, parts, metadata, metadata.types())
            .map_err(|error| self.unsupported(error))
    }

    fn decode<T: DecodeAsType>(self, metadata: &Metadata, bytes: &[u8]) -> Result<T> {
        let mut rest = bytes;
        let visitor = T::into_visitor();
        let value = decode_storage_value(
            self.pallet,
            self.name,
            &mut rest,
            metadata,
            metadata.types(),
            visitor,
        )
        .map_err(|error| self.unsupported(error))?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(self.unsupported("bytes left over"))
        }
    }

    fn unsupported(self, reason: impl std::fmt::Display) -> Error {
        Error::UnsupportedRuntime(format!("{}.{}: {reason}", self.pallet, self.name))
    }
}

/// Key of [`ACCOUNTS`].
pub fn account_key(metadata: &Metadata, account: AccountId) -> Result<Vec<u8>> {
    ACCOUNTS.key(metadata, (AccountId32::from(account),))
}

/// Free balance in planck of a value of [`ACCOUNTS`].
pub fn free_balance(metadata: &Metadata, bytes: &[u8]) -> Result<u128> {
    Ok(ACCOUNTS.decode::<AccountInfo>(metadata, bytes)?.data.free)
}

/// Planck of a value of [`UNIT_PRICE`].
pub fn unit_price(metadata: &Metadata, bytes: &[u8]) -> Result<u128> {
    UNIT_PRICE.decode(metadata, bytes)
}

/// Key of [`TERRITORIES`].
pub fn territory_key(metadata: &Metadata, owner: AccountId, name: &[u8]) -> Result<Vec<u8>> {
    TERRITORIES.key(metadata, (AccountId32::from(owner), name.to_vec()))
}

/// What the keys of all territories of `owner` begin with.
pub fn territories_of(metadata: &Metadata, owner: AccountId) -> Result<Vec<u8>> {
    TERRITORIES.key(metadata, (AccountId32::from(owner),))
}

/// The name in a key of [`TERRITORIES`].
pub fn territory_name(key: &[u8]) -> Result<Vec<u8>> {
    let mut part = key
        .get(PREFIX + PART_HASH + ACCOUNT + PART_HASH..)
        .unwrap_or_default();
    Vec::<u8>::decode(&mut part).map_err(|_| Error::Corrupt("a territory key without a name".to_owned()))
}

/// A value of [`TERRITORIES`].
pub fn territory(metadata: &Metadata, name: Vec<u8>, bytes: &[u8]) -> Result<Territory> {
    Ok(TERRITORIES.decode::<TerritoryInfo>(metadata, bytes)?.named(name))
}

/// Key of [`AUTHORITIES`].
pub fn authorities_key(metadata: &Metadata, owner: AccountId) -> Result<Vec<u8>> {
    AUTHORITIES.key(metadata, (AccountId32::from(owner),))
}

/// A value of [`AUTHORITIES`].
pub fn authorities(metadata: &Metadata, bytes: &[u8]) -> Result<Vec<AccountId>> {
    let accounts: Vec<AccountId32> = AUTHORITIES.decode(metadata, bytes)?;
    Ok(accounts.into_iter().map(Into::into).collect())
}

/// Key of [`MINERS`].
pub fn miner_key(metadata: &Metadata, account: AccountId) -> Result<Vec<u8>> {
    MINERS.key(metadata, (AccountId32::from(account),))
}

/// The account in a key of [`MINERS`].
pub fn miner_account(key: &[u8]) -> Result<AccountId> {
    key.get(PREFIX + PART_HASH..)
        .and_then(|part| part.try_into().ok())
        .map(AccountId)
        .ok_or_else(|| Error::Corrupt("a miner key without an account".to_owned()))
}

/// A value of [`MINERS`]. Runtimes whose miners have no endpoint leave it `None`.
pub fn miner(metadata: &Metadata, account: AccountId, bytes: &[u8]) -> Result<Miner> {
    let space: MinerSpace = MINERS.decode(metadata, bytes)?;
    let endpoint = MINERS
        .decode::<MinerEndpoint>(metadata, bytes)
        .ok()
        .and_then(|with_endpoint| endpoint::normalise(&with_endpoint.endpoint));
    Ok(Miner {
        account,
        endpoint,
        state: String::from_utf8_lossy(&space.state).into_owned(),
        idle_space: space.idle_space,
        service_space: space.service_space,
    })
}

/// Key of [`DEALS`].
pub fn deal_key(metadata: &Metadata, fid: Hash) -> Result<Vec<u8>> {
    DEALS.key(metadata, (HashText::from(fid),))
}

/// A value of [`DEALS`].
pub fn deal(metadata: &Metadata, bytes: &[u8]) -> Result<Deal> {
    DEALS.decode::<DealInfo>(metadata, bytes)?.try_into()
}

/// Key of [`FILES`].
pub fn file_key(metadata: &Metadata, fid: Hash) -> Result<Vec<u8>> {
    FILES.key(metadata, (HashText::from(fid),))
}

/// A value of [`FILES`].
pub fn file(metadata: &Metadata, bytes: &[u8]) -> Result<FileInfo> {
    FILES.decode::<StoredFile>(metadata, bytes)?.try_into()
}

/// Key of [`HELD_FILES`].
pub fn held_files_key(metadata: &Metadata, owner: AccountId) -> Result<Vec<u8>> {
    HELD_FILES.key(metadata, (AccountId32::from(owner),))
}

/// A value of [`HELD_FILES`]. Entries that are no digests are left out: anybody can declare such.
pub fn held_files(metadata: &Metadata, bytes: &[u8]) -> Result<Vec<Hash>> {
    let held: Vec<HeldFile> = HELD_FILES.decode(metadata, bytes)?;
    Ok(held
        .into_iter()
        .filter_map(|file| file.file_hash.try_into().ok())
        .collect())
}
