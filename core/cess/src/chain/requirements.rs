//! Whether a runtime has what this client needs.
//!
//! Asked once per runtime version, before anything is signed: every call is encoded with sample
//! arguments, and every storage item is searched for the fields that are read from it.

use subxt::Metadata;
use subxt::ext::frame_decode::storage::{StorageHasher, StorageTypeInfo};

use super::calls;
use super::items::{self, Item};
use super::types::Declaration;
use crate::codec::{FRAGMENTS, SegmentHashes};
use crate::{AccountId, Error, Hash, Result};

/// Fields read from each storage item: paths of names, where sequences, options and wrappers of
/// one unnamed field are stepped through.
const FIELDS: &[(Item, usize, &[&str])] = &[
    (items::ACCOUNTS, 1, &["data.free"]),
    (items::UNIT_PRICE, 0, &[]),
    (
        items::TERRITORIES,
        2,
        &[
            "token",
            "total_space",
            "used_space",
            "locked_space",
            "remaining_space",
            "start",
            "deadline",
            "state",
        ],
    ),
    (items::AUTHORITIES, 1, &[]),
    (items::MINERS, 1, &["state", "idle_space", "service_space"]),
    (
        items::DEALS,
        1,
        &[
            "file_size",
            "segment_list.hash",
            "segment_list.fragment_list",
            "user.user",
            "complete_list.index",
            "complete_list.miner",
        ],
    ),
    (
        items::FILES,
        1,
        &[
            "segment_list.hash",
            "segment_list.fragment_list.hash",
            "segment_list.fragment_list.avail",
            "segment_list.fragment_list.tag",
            "segment_list.fragment_list.miner",
            "owner.user",
            "file_size",
            "completion",
        ],
    ),
    (items::HELD_FILES, 1, &["file_hash"]),
];

/// Checks everything; the error names the first thing that is missing.
pub fn check(metadata: &Metadata) -> Result<()> {
    check_calls(metadata)?;
    for (item, keys, fields) in FIELDS {
        let unsupported =
            |reason: String| Error::UnsupportedRuntime(format!("{}.{}: {reason}", item.pallet, item.name));
        let info = metadata
            .storage_info(item.pallet, item.name)
            .map_err(|error| unsupported(error.to_string()))?;
        if info.keys.len() != *keys {
            return Err(unsupported(format!(
                "{} key parts instead of {keys}",
                info.keys.len()
            )));
        }
        if info
            .keys
            .iter()
            .any(|key| key.hasher != StorageHasher::Blake2_128Concat)
        {
            return Err(unsupported(
                "keys are not hashed with blake2_128_concat".to_owned(),
            ));
        }
        for path in *fields {
            if !has_field(metadata, info.value_id, path) {
                return Err(unsupported(format!("no field {path}")));
            }
        }
    }
    Ok(())
}

fn check_calls(metadata: &Metadata) -> Result<()> {
    let account = AccountId([0; 32]);
    let hash = Hash::default();
    let file = Declaration {
        fid: hash,
        segments: vec![SegmentHashes {
            segment: hash,
            fragments: [hash; FRAGMENTS],
        }],
        owner: account,
        file_name: b"name".to_vec(),
        territory: b"name".to_vec(),
        file_size: 1,
    };
    calls::upload_declaration(metadata, &file)?;
    calls::delete_file(metadata, account, hash)?;
    calls::transfer_report(metadata, 1, hash)?;
    calls::mint_territory(metadata, b"name", 1, calls::MIN_LEASE_DAYS)?;
    calls::expand_territory(metadata, b"name", 1)?;
    calls::renew_territory(metadata, b"name", 1)?;
    calls::authorize(metadata, account)?;
    calls::cancel_authorize(metadata, account)?;
    calls::transfer(metadata, account, 1)?;
    Ok(())
}

/// Whether following the names of `path` from type `id` ends at a field.
fn has_field(metadata: &Metadata, id: u32, path: &str) -> bool {
    use scale_info::TypeDef;
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let Some(found) = metadata.types().resolve(id) else {
        return false;
    };
    match &found.type_def {
        TypeDef::Composite(composite) => match composite.fields.as_slice() {
            [wrapped] if wrapped.name.is_none() => has_field(metadata, wrapped.ty.id, path),
            fields => fields
                .iter()
                .find(|field| field.name.as_deref() == Some(name))
                .is_some_and(|field| rest.is_empty() || has_field(metadata, field.ty.id, rest)),
        },
        TypeDef::Sequence(sequence) => has_field(metadata, sequence.type_param.id, path),
        _ => false,
    }
}
