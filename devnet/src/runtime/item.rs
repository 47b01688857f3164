//! Typed storage items: one constant per item says its name, its types and its default, and
//! serves both the pallets (reading, writing) and the metadata (describing).

use std::marker::PhantomData;

use frame_metadata::v14::{StorageEntryMetadata, StorageEntryModifier, StorageEntryType, StorageHasher};
use parity_scale_codec::{Decode, Encode};
use scale_info::{TypeInfo, meta_type};

use super::hashing::{blake2_128, twox_64, twox_128};
use super::state::{Overlay, RawState};

/// What reads raw keys: the overlay of a block being built, or a finished state.
pub trait Reader {
    /// The bytes under `key`.
    fn read(&self, key: &[u8]) -> Option<&[u8]>;
}

impl Reader for Overlay<'_> {
    fn read(&self, key: &[u8]) -> Option<&[u8]> {
        self.get(key).map(AsRef::as_ref)
    }
}

impl Reader for RawState {
    fn read(&self, key: &[u8]) -> Option<&[u8]> {
        self.get(key).map(AsRef::as_ref)
    }
}

fn read<V: Decode>(state: &impl Reader, key: &[u8]) -> Option<V> {
    // Only this program writes the state, with the same types: bytes that do not decode mean
    // the item is absent for every purpose.
    state.read(key).and_then(|mut bytes| V::decode(&mut bytes).ok())
}

/// `twox128(pallet) ++ twox128(item)`.
pub fn prefix(pallet: &str, item: &str) -> Vec<u8> {
    [twox_128(pallet.as_bytes()), twox_128(item.as_bytes())].concat()
}

fn blake2_concat(key: &[u8]) -> Vec<u8> {
    [&blake2_128(key)[..], key].concat()
}

/// A single value.
pub struct Value<V> {
    pallet: &'static str,
    item: &'static str,
    default: bool,
    marker: PhantomData<fn() -> V>,
}

impl<V: Encode + Decode + TypeInfo + 'static> Value<V> {
    /// An item that may be absent.
    pub const fn optional(pallet: &'static str, item: &'static str) -> Self {
        Self {
            pallet,
            item,
            default: false,
            marker: PhantomData,
        }
    }

    /// An item that reads as its default where absent.
    pub const fn defaulted(pallet: &'static str, item: &'static str) -> Self {
        Self {
            pallet,
            item,
            default: true,
            marker: PhantomData,
        }
    }

    /// The storage key.
    pub fn key(&self) -> Vec<u8> {
        prefix(self.pallet, self.item)
    }

    /// The value.
    pub fn get(&self, state: &impl Reader) -> Option<V> {
        read(state, &self.key())
    }

    /// Sets the value.
    pub fn put(&self, state: &mut Overlay<'_>, value: &V) {
        state.set(self.key(), Some(value.encode()));
    }

    /// Removes the value.
    pub fn kill(&self, state: &mut Overlay<'_>) {
        state.set(self.key(), None);
    }

    /// The entry in the metadata. `fallback` is the SCALE default of a defaulted item.
    pub fn describe(&self, fallback: Option<V>) -> StorageEntryMetadata {
        entry(
            self.item,
            self.default,
            StorageEntryType::Plain(meta_type::<V>()),
            fallback.map_or_else(|| vec![0], |value| value.encode()),
        )
    }
}

impl<V: Encode + Decode + TypeInfo + Default + 'static> Value<V> {
    /// The value, or its default.
    pub fn value(&self, state: &impl Reader) -> V {
        self.get(state).unwrap_or_default()
    }

    /// Changes the value in place.
    pub fn mutate(&self, state: &mut Overlay<'_>, change: impl FnOnce(&mut V)) {
        let mut value = self.value(state);
        change(&mut value);
        self.put(state, &value);
    }
}

/// A map. Keys are hashed by `blake2_128_concat`, or by `twox_64_concat` where said.
pub struct Map<K, V> {
    pallet: &'static str,
    item: &'static str,
    default: bool,
    twox: bool,
    marker: PhantomData<fn(K) -> V>,
}

impl<K: Encode + Decode + TypeInfo + 'static, V: Encode + Decode + TypeInfo + 'static> Map<K, V> {
    /// Entries may be absent.
    pub const fn optional(pallet: &'static str, item: &'static str) -> Self {
        Self {
            pallet,
            item,
            default: false,
            twox: false,
            marker: PhantomData,
        }
    }

    /// Absent entries read as the default.
    pub const fn defaulted(pallet: &'static str, item: &'static str) -> Self {
        Self {
            pallet,
            item,
            default: true,
            twox: false,
            marker: PhantomData,
        }
    }

    /// The same map with `twox_64_concat` keys.
    pub const fn twox(self) -> Self {
        Self { twox: true, ..self }
    }

    /// The storage key of `key`.
    pub fn key(&self, key: &K) -> Vec<u8> {
        let mut out = prefix(self.pallet, self.item);
        let key = key.encode();
        if self.twox {
            out.extend_from_slice(&twox_64(&key));
            out.extend_from_slice(&key);
        } else {
            out.extend_from_slice(&blake2_concat(&key));
        }
        out
    }

    /// The entry of `key`.
    pub fn get(&self, state: &impl Reader, key: &K) -> Option<V> {
        read(state, &self.key(key))
    }

    /// Whether there is an entry for `key`.
    pub fn contains(&self, state: &impl Reader, key: &K) -> bool {
        state.read(&self.key(key)).is_some()
    }

    /// Sets the entry of `key`.
    pub fn put(&self, state: &mut Overlay<'_>, key: &K, value: &V) {
        state.set(self.key(key), Some(value.encode()));
    }

    /// Removes the entry of `key`.
    pub fn remove(&self, state: &mut Overlay<'_>, key: &K) {
        state.set(self.key(key), None);
    }

    /// All entries, in the order of their storage keys.
    pub fn entries(&self, state: &Overlay<'_>) -> Vec<(K, V)> {
        let prefix = prefix(self.pallet, self.item);
        let skip = prefix.len() + if self.twox { 8 } else { 16 };
        state
            .keys_with_prefix(&prefix)
            .into_iter()
            .filter_map(|raw| Some((K::decode(&mut raw.get(skip..)?).ok()?, read(state, &raw)?)))
            .collect()
    }

    /// The entry in the metadata.
    pub fn describe(&self, fallback: Option<V>) -> StorageEntryMetadata {
        let hasher = if self.twox {
            StorageHasher::Twox64Concat
        } else {
            StorageHasher::Blake2_128Concat
        };
        entry(
            self.item,
            self.default,
            StorageEntryType::Map {
                hashers: vec![hasher],
                key: meta_type::<K>(),
                value: meta_type::<V>(),
            },
            fallback.map_or_else(|| vec![0], |value| value.encode()),
        )
    }
}

impl<K: Encode + Decode + TypeInfo + 'static, V: Encode + Decode + TypeInfo + Default + 'static> Map<K, V> {
    /// The entry of `key`, or the default.
    pub fn value(&self, state: &impl Reader, key: &K) -> V {
        self.get(state, key).unwrap_or_default()
    }
}

/// A map with two keys, each hashed by `blake2_128_concat`.
pub struct DoubleMap<A, B, V> {
    pallet: &'static str,
    item: &'static str,
    marker: PhantomData<fn(A, B) -> V>,
}

impl<A, B, V> DoubleMap<A, B, V>
where
    A: Encode + Decode + TypeInfo + 'static,
    B: Encode + Decode + TypeInfo + 'static,
    V: Encode + Decode + TypeInfo + 'static,
{
    /// Entries may be absent.
    pub const fn optional(pallet: &'static str, item: &'static str) -> Self {
        Self {
            pallet,
            item,
            marker: PhantomData,
        }
    }

    fn prefix_of(&self, first: &A) -> Vec<u8> {
        let mut out = prefix(self.pallet, self.item);
        out.extend_from_slice(&blake2_concat(&first.encode()));
        out
    }

    /// The storage key of (`first`, `second`).
    pub fn key(&self, first: &A, second: &B) -> Vec<u8> {
        let mut out = self.prefix_of(first);
        out.extend_from_slice(&blake2_concat(&second.encode()));
        out
    }

    /// The entry of (`first`, `second`).
    pub fn get(&self, state: &impl Reader, first: &A, second: &B) -> Option<V> {
        read(state, &self.key(first, second))
    }

    /// Whether there is an entry for (`first`, `second`).
    pub fn contains(&self, state: &impl Reader, first: &A, second: &B) -> bool {
        state.read(&self.key(first, second)).is_some()
    }

    /// Sets the entry of (`first`, `second`).
    pub fn put(&self, state: &mut Overlay<'_>, first: &A, second: &B, value: &V) {
        state.set(self.key(first, second), Some(value.encode()));
    }

    /// Removes the entry of (`first`, `second`).
    pub fn remove(&self, state: &mut Overlay<'_>, first: &A, second: &B) {
        state.set(self.key(first, second), None);
    }

    /// All second keys under `first`.
    pub fn seconds(&self, state: &Overlay<'_>, first: &A) -> Vec<B> {
        let prefix = self.prefix_of(first);
        let skip = prefix.len() + 16;
        state
            .keys_with_prefix(&prefix)
            .into_iter()
            .filter_map(|raw| B::decode(&mut raw.get(skip..)?).ok())
            .collect()
    }

    /// The entry in the metadata.
    pub fn describe(&self) -> StorageEntryMetadata {
        entry(
            self.item,
            false,
            StorageEntryType::Map {
                hashers: vec![StorageHasher::Blake2_128Concat, StorageHasher::Blake2_128Concat],
                key: meta_type::<(A, B)>(),
                value: meta_type::<V>(),
            },
            vec![0],
        )
    }
}

fn entry(item: &'static str, default: bool, ty: StorageEntryType, fallback: Vec<u8>) -> StorageEntryMetadata {
    StorageEntryMetadata {
        name: item,
        modifier: if default {
            StorageEntryModifier::Default
        } else {
            StorageEntryModifier::Optional
        },
        ty,
        default: fallback,
        docs: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::primitives::{AccountId32, TerrName};

    #[test]
    fn a_double_map_key_matches_the_network() {
        let alice: [u8; 32] = subxt_signer::sr25519::dev::alice().public_key().0;
        let map: DoubleMap<AccountId32, TerrName, u8> = DoubleMap::optional("StorageHandler", "Territory");
        let key = hex::encode(map.key(&AccountId32(alice), &TerrName::default()));
        assert!(key.starts_with(
            "d594a5c1eaaed1896a72205f11d647003af49a9492056b7d0ff4b61962039138de1e86a9a8c739864cf3cc5ec2bea59f"
        ));
        let key = hex::encode(map.key(&AccountId32(alice), &BoundedVec(b"t-one".to_vec())));
        assert!(key.ends_with("5aa2e02f0cb9051bbfa73d1d526c7c9c14742d6f6e65"));
    }
    use crate::runtime::primitives::BoundedVec;
}
