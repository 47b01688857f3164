//! The calls this client makes, as bytes.
//!
//! Pure functions of the metadata: arguments are matched by name, pallets and calls by name, and
//! bounds that the metadata does not show, but that make an extrinsic undecodable when they are
//! broken, are checked here.

use subxt::Metadata;
use subxt::ext::frame_decode::extrinsics::encode_call_data;
use subxt::ext::scale_encode::{self, EncodeAsFields, EncodeAsType, FieldIter, TypeResolver};
use subxt::utils::{AccountId32, MultiAddress};

use super::shapes::{HashText, NewBrief, SegmentList};
use super::types::Declaration;
use crate::{AccountId, Error, Hash, Result};

/// Longest name of a file or a territory in bytes.
pub const MAX_NAME: usize = 63;
/// Shortest name of a file in bytes.
pub const MIN_FILE_NAME: usize = 3;
/// Most segments in a file.
pub const MAX_SEGMENTS: usize = 1000;
/// Shortest first lease of a territory in days.
pub const MIN_LEASE_DAYS: u32 = 30;

/// The bucket that a file is put into on runtimes where files have to name one.
const BUCKET: &[u8] = b"cess-gateway";

/// A call, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pallet: &'static str,
    name: &'static str,
    /// Pallet index, call index, arguments.
    bytes: Vec<u8>,
}

impl Call {
    /// `Pallet.call`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.pallet, self.name)
    }

    /// What the chain decodes: pallet index, call index, arguments.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl subxt::tx::Payload for Call {
    type CallData = Self;
    fn pallet_name(&self) -> &str {
        self.pallet
    }
    fn call_name(&self) -> &str {
        self.name
    }
    fn call_data(&self) -> &Self {
        self
    }
}

/// Arguments of an extrinsic: they are encoded already.
impl EncodeAsFields for Call {
    fn encode_as_fields_to<R: TypeResolver>(
        &self,
        _fields: &mut dyn FieldIter<'_, R::TypeId>,
        _types: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), scale_encode::Error> {
        out.extend_from_slice(self.bytes.get(2..).unwrap_or_default());
        Ok(())
    }
}

/// A call inside another: the same bytes, indices included.
impl EncodeAsType for Call {
    fn encode_as_type_to<R: TypeResolver>(
        &self,
        _type_id: R::TypeId,
        _types: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), scale_encode::Error> {
        out.extend_from_slice(&self.bytes);
        Ok(())
    }
}

/// Declares the arguments of a call as a struct whose fields carry the argument names.
macro_rules! arguments {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(scale_encode::EncodeAsType)]
        #[encode_as_type(crate_path = "scale_encode")]
        struct $name { $($field: $type),* }
    )*};
}

arguments! {
    UploadDeclaration {
        file_hash: HashText,
        deal_info: Vec<SegmentList>,
        user_brief: NewBrief,
        file_size: u128,
    }
    DeleteFile { owner: AccountId32, file_hash: HashText }
    TransferReport { index: u8, deal_hash: HashText }
    MintTerritory { gib_count: u32, territory_name: Vec<u8>, days: u32 }
    ExpandingTerritory { territory_name: Vec<u8>, gib_count: u32 }
    RenewalTerritory { territory_name: Vec<u8>, days: u32 }
    Authorize { operator: AccountId32 }
    CancelAuthorize { oss: AccountId32 }
    TransferKeepAlive { dest: MultiAddress<AccountId32, u32>, value: u128 }
    ForceBatch { calls: Vec<Call> }
}

fn encode(
    metadata: &Metadata,
    pallet: &'static str,
    name: &'static str,
    arguments: &impl EncodeAsFields,
) -> Result<Call> {
    let bytes = encode_call_data(pallet, name, arguments, metadata, metadata.types())
        .map_err(|error| Error::UnsupportedRuntime(format!("{pallet}.{name}: {error}")))?;
    Ok(Call { pallet, name, bytes })
}

/// `FileBank.upload_declaration`.
pub fn upload_declaration(metadata: &Metadata, file: &Declaration) -> Result<Call> {
    if !(MIN_FILE_NAME..=MAX_NAME).contains(&file.file_name.len()) {
        return Err(Error::Invalid(format!(
            "a file name has {MIN_FILE_NAME} to {MAX_NAME} bytes, not {}",
            file.file_name.len()
        )));
    }
    if file.segments.is_empty() || file.segments.len() > MAX_SEGMENTS {
        return Err(Error::Invalid(format!(
            "a file has 1 to {MAX_SEGMENTS} segments, not {}",
            file.segments.len()
        )));
    }
    let arguments = UploadDeclaration {
        file_hash: file.fid.into(),
        deal_info: file.segments.iter().map(Into::into).collect(),
        user_brief: NewBrief {
            user: file.owner.into(),
            file_name: file.file_name.clone(),
            territory_name: territory_name(&file.territory)?,
            bucket_name: BUCKET.to_vec(),
        },
        file_size: file.file_size,
    };
    encode(metadata, "FileBank", "upload_declaration", &arguments)
}

/// `FileBank.delete_file`.
pub fn delete_file(metadata: &Metadata, owner: AccountId, fid: Hash) -> Result<Call> {
    let arguments = DeleteFile {
        owner: owner.into(),
        file_hash: fid.into(),
    };
    encode(metadata, "FileBank", "delete_file", &arguments)
}

/// `FileBank.transfer_report`. `index` counts from 1.
pub fn transfer_report(metadata: &Metadata, index: u8, fid: Hash) -> Result<Call> {
    let arguments = TransferReport {
        index,
        deal_hash: fid.into(),
    };
    encode(metadata, "FileBank", "transfer_report", &arguments)
}

/// `StorageHandler.mint_territory`.
pub fn mint_territory(metadata: &Metadata, name: &[u8], gib: u32, days: u32) -> Result<Call> {
    if days < MIN_LEASE_DAYS {
        return Err(Error::Invalid(format!(
            "a territory is leased for {MIN_LEASE_DAYS} days or more"
        )));
    }
    if gib == 0 {
        return Err(Error::Invalid("a territory has 1 GiB or more".to_owned()));
    }
    let arguments = MintTerritory {
        gib_count: gib,
        territory_name: territory_name(name)?,
        days,
    };
    encode(metadata, "StorageHandler", "mint_territory", &arguments)
}

/// `StorageHandler.expanding_territory`.
pub fn expand_territory(metadata: &Metadata, name: &[u8], gib: u32) -> Result<Call> {
    let arguments = ExpandingTerritory {
        territory_name: territory_name(name)?,
        gib_count: gib,
    };
    encode(metadata, "StorageHandler", "expanding_territory", &arguments)
}

/// `StorageHandler.renewal_territory`.
pub fn renew_territory(metadata: &Metadata, name: &[u8], days: u32) -> Result<Call> {
    let arguments = RenewalTerritory {
        territory_name: territory_name(name)?,
        days,
    };
    encode(metadata, "StorageHandler", "renewal_territory", &arguments)
}

/// `Oss.authorize`.
pub fn authorize(metadata: &Metadata, operator: AccountId) -> Result<Call> {
    encode(
        metadata,
        "Oss",
        "authorize",
        &Authorize {
            operator: operator.into(),
        },
    )
}

/// `Oss.cancel_authorize`.
pub fn cancel_authorize(metadata: &Metadata, operator: AccountId) -> Result<Call> {
    encode(
        metadata,
        "Oss",
        "cancel_authorize",
        &CancelAuthorize { oss: operator.into() },
    )
}

/// `Balances.transfer_keep_alive`.
pub fn transfer(metadata: &Metadata, to: AccountId, planck: u128) -> Result<Call> {
    let arguments = TransferKeepAlive {
        dest: MultiAddress::Id(to.into()),
        value: planck,
    };
    encode(metadata, "Balances", "transfer_keep_alive", &arguments)
}

/// `Utility.force_batch`: all calls are tried, whatever becomes of the others.
pub fn force_batch(metadata: &Metadata, calls: Vec<Call>) -> Result<Call> {
    encode(metadata, "Utility", "force_batch", &ForceBatch { calls })
}

fn territory_name(name: &[u8]) -> Result<Vec<u8>> {
    if name.len() > MAX_NAME {
        return Err(Error::Invalid(format!(
            "a territory name has up to {MAX_NAME} bytes, not {}",
            name.len()
        )));
    }
    Ok(name.to_vec())
}
