//! The SCALE types that every pallet shares, shaped as runtime 137 shapes them.
//!
//! Field order is wire order. Bounds of [`BoundedVec`] are enforced while decoding, so a call
//! that breaks one does not decode at all, as on the real chain.

use parity_scale_codec::{Compact, Decode, Encode, Error as CodecError, Input};
use scale_info::{Path, Type, TypeInfo, build::Fields};

/// An sr25519 public key as the chain names accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo)]
pub struct AccountId32(pub [u8; 32]);

impl From<cess::AccountId> for AccountId32 {
    fn from(account: cess::AccountId) -> Self {
        Self(account.0)
    }
}

impl From<AccountId32> for cess::AccountId {
    fn from(account: AccountId32) -> Self {
        Self(account.0)
    }
}

/// A 32-byte hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo)]
pub struct H256(pub [u8; 32]);

impl H256 {
    /// BLAKE2b-256 of `data`: the hash of blocks and extrinsics.
    pub fn of(data: &[u8]) -> Self {
        Self(crate::runtime::hashing::blake2_256(data))
    }

    /// `0x` and 64 hex digits.
    pub fn to_text(self) -> String {
        format!("0x{}", hex::encode(self.0))
    }
}

/// A SHA-256 digest as CESS stores it: 64 ASCII bytes of lower-case hex. Not checked on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo)]
pub struct Hash(pub [u8; 64]);

impl From<cess::Hash> for Hash {
    fn from(hash: cess::Hash) -> Self {
        Self(hash.to_ascii())
    }
}

impl Hash {
    /// The text, for file names and messages. Bytes outside ASCII are escaped.
    pub fn text(&self) -> String {
        self.0.escape_ascii().to_string()
    }
}

/// A vector of at most `N` items.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode)]
pub struct BoundedVec<T, const N: usize>(pub Vec<T>);

impl<T, const N: usize> Default for BoundedVec<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const N: usize> BoundedVec<T, N> {
    /// Appends `item`, or gives it back where the vector is full.
    pub fn try_push(&mut self, item: T) -> Result<(), T> {
        if self.0.len() >= N {
            return Err(item);
        }
        self.0.push(item);
        Ok(())
    }
}

impl<T: Decode, const N: usize> Decode for BoundedVec<T, N> {
    fn decode<I: Input>(input: &mut I) -> Result<Self, CodecError> {
        // The length prefix is read first so that an absurd one costs nothing.
        let Compact(len) = Compact::<u32>::decode(input)?;
        if len as usize > N {
            return Err("BoundedVec exceeds its limit".into());
        }
        input.descend_ref()?;
        let mut items = Vec::with_capacity((len as usize).min(64));
        for _ in 0..len {
            items.push(T::decode(input)?);
        }
        input.ascend_ref();
        Ok(Self(items))
    }
}

impl<T: TypeInfo + 'static, const N: usize> TypeInfo for BoundedVec<T, N> {
    type Identity = Self;
    fn type_info() -> Type {
        Type::builder()
            .path(
                Path::from_segments(["bounded_collections", "bounded_vec", "BoundedVec"])
                    .expect("constant path"),
            )
            .composite(Fields::unnamed().field(|f| f.ty::<Vec<T>>()))
    }
}

/// A name of a territory: at most 63 bytes, any bytes.
pub type TerrName = BoundedVec<u8, 63>;
/// A name of a file: at most 63 bytes, any bytes.
pub type FileName = BoundedVec<u8, 63>;
/// An endpoint of a miner: at most 100 bytes, free-form.
pub type EndPoint = BoundedVec<u8, 100>;

/// Ways to name an account in an extrinsic. Only `Id` is accepted by this chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum MultiAddress {
    Id(AccountId32),
    Index(#[codec(compact)] u32),
    Raw(Vec<u8>),
    Address32([u8; 32]),
    Address20([u8; 20]),
}

/// A signature of one of three kinds. Only sr25519 is verified here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum MultiSignature {
    Ed25519([u8; 64]),
    Sr25519([u8; 64]),
    Ecdsa([u8; 65]),
}

/// Two-dimensional weight: picoseconds of reference time, bytes of proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct Weight {
    #[codec(compact)]
    pub ref_time: u64,
    #[codec(compact)]
    pub proof_size: u64,
}

/// Something per class of dispatch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct PerDispatchClass<T> {
    pub normal: T,
    pub operational: T,
    pub mandatory: T,
}

/// Class of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum DispatchClass {
    Normal,
    Operational,
    Mandatory,
}

/// Whether a dispatch pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Pays {
    Yes,
    No,
}

/// What `ExtrinsicSuccess` and `ExtrinsicFailed` tell about the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct DispatchEventInfo {
    pub weight: Weight,
    pub class: DispatchClass,
    pub pays_fee: Pays,
}

/// An error of a pallet: its index, and the SCALE bytes of the variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct ModuleError {
    pub index: u8,
    pub error: [u8; 4],
}

/// `sp_runtime::TokenError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum TokenError {
    FundsUnavailable,
    OnlyProvider,
    BelowMinimum,
    CannotCreate,
    UnknownAsset,
    Frozen,
    Unsupported,
    CannotCreateHold,
    NotExpendable,
    Blocked,
}

/// `sp_arithmetic::ArithmeticError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum ArithmeticError {
    Underflow,
    Overflow,
    DivisionByZero,
}

/// `sp_runtime::TransactionalError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum TransactionalError {
    LimitReached,
    NoLayer,
}

/// `sp_runtime::proving_trie::TrieError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum TrieError {
    InvalidStateRoot,
    IncompleteDatabase,
    ValueAtIncompleteKey,
    DecoderError,
    InvalidHash,
    DuplicateKey,
    ExtraneousNode,
    ExtraneousValue,
    ExtraneousHashReference,
    InvalidChildReference,
    ValueMismatch,
    IncompleteProof,
    RootMismatch,
    DecodeError,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum DispatchError {
    Other,
    CannotLookup,
    BadOrigin,
    Module(ModuleError),
    ConsumerRemaining,
    NoProviders,
    TooManyConsumers,
    Token(TokenError),
    Arithmetic(ArithmeticError),
    Transactional(TransactionalError),
    Exhausted,
    Corruption,
    Unavailable,
    RootNotAllowed,
    Trie(TrieError),
}

/// Where in a block an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Phase {
    ApplyExtrinsic(u32),
    Finalization,
    Initialization,
}

/// One item of a header's digest.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum DigestItem {
    #[codec(index = 0)]
    Other(Vec<u8>),
    #[codec(index = 4)]
    Consensus([u8; 4], Vec<u8>),
    #[codec(index = 5)]
    Seal([u8; 4], Vec<u8>),
    #[codec(index = 6)]
    PreRuntime([u8; 4], Vec<u8>),
    #[codec(index = 8)]
    RuntimeEnvironmentUpdated,
}

/// A header's digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct Digest {
    pub logs: Vec<DigestItem>,
}

/// A fixed-point number with 18 decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct FixedU128(pub u128);

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An account that signed the extrinsic.
    Signed(AccountId32),
    /// Governance, or an operator of the devnet.
    Root,
    /// The block author (inherents).
    Inherent,
}

impl Origin {
    /// The signer, or `BadOrigin`.
    pub fn signed(self) -> Result<AccountId32, DispatchError> {
        match self {
            Self::Signed(account) => Ok(account),
            _ => Err(DispatchError::BadOrigin),
        }
    }

    /// `BadOrigin` unless root.
    pub fn root(self) -> Result<(), DispatchError> {
        if self == Self::Root {
            Ok(())
        } else {
            Err(DispatchError::BadOrigin)
        }
    }
}

/// The result of every call.
pub type DispatchResult<T = ()> = Result<T, DispatchError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_enforced_while_decoding() {
        let long = vec![7_u8; 64].encode();
        assert!(TerrName::decode(&mut &long[..]).is_err());
        let fits = vec![7_u8; 63].encode();
        assert_eq!(TerrName::decode(&mut &fits[..]).unwrap().0, vec![7_u8; 63]);
    }
}
