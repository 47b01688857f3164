//! Extrinsics of version 4: decoding, and the checks that the signed extensions stand for.
//!
//! Wire form: compact length, `0x84`, address, signature, era, compact nonce, compact tip, call.
//! Signed bytes: call ++ era ++ nonce ++ tip ++ spec version ++ transaction version ++ genesis
//! hash ++ era birth hash, hashed with BLAKE2b-256 where longer than 256 bytes.

use parity_scale_codec::{Compact, Decode, DecodeLimit, Encode};

use super::call::RuntimeCall;
use super::hashing::blake2_256;
use super::primitives::{AccountId32, H256, MultiAddress, MultiSignature};
use super::version::{SPEC_VERSION, TRANSACTION_VERSION};

/// Deepest nesting of calls inside calls.
const MAX_CALL_DEPTH: u32 = 32;
/// Longest extrinsic in bytes: the normal share of a block.
pub const MAX_LENGTH: usize = 3_932_160;

/// How long an extrinsic stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// For ever.
    Immortal,
    /// `period` blocks from the last block whose number is `phase` modulo `period`.
    Mortal {
        /// A power of two, 4…65536 blocks.
        period: u32,
        /// Offset in the period.
        phase: u32,
    },
}

impl Era {
    /// The block whose hash is signed, when seen from block `current`.
    pub fn birth(self, current: u32) -> u32 {
        match self {
            Self::Immortal => 0,
            Self::Mortal { period, phase } => (current.max(phase) - phase) / period * period + phase,
        }
    }

    /// The first block that must not contain the extrinsic any more.
    pub fn death(self, current: u32) -> u32 {
        match self {
            Self::Immortal => u32::MAX,
            Self::Mortal { period, .. } => self.birth(current).saturating_add(period),
        }
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        let first = u8::decode(input).ok()?;
        if first == 0 {
            return Some(Self::Immortal);
        }
        let code = u32::from(first) + (u32::from(u8::decode(input).ok()?) << 8);
        let period = 2_u32 << (code % 16);
        let phase = (code >> 4) * (period >> 12).max(1);
        (period >= 4 && phase < period).then_some(Self::Mortal { period, phase })
    }
}

/// A signed extrinsic, decoded; its signature is not checked yet.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Who signed.
    pub signer: AccountId32,
    /// The signature.
    pub signature: MultiSignature,
    /// How long it is valid.
    pub era: Era,
    /// Count of the signer's earlier extrinsics.
    pub nonce: u32,
    /// Planck for the author, for priority.
    pub tip: u128,
    /// What it does.
    pub call: RuntimeCall,
    /// Call ++ extensions, as signed.
    payload: Vec<u8>,
}

/// Why bytes are no extrinsic.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Not length-prefixed, truncated, or followed by more.
    #[error("malformed extrinsic")]
    Malformed,
    /// Not version 4.
    #[error("unsupported extrinsic version")]
    Version,
    /// Unsigned, or signed for an address kind that names no account.
    #[error("the extrinsic names no signer")]
    NoSigner,
    /// The call does not decode: unknown pallet or call, bound exceeded, bytes left over.
    #[error("the call does not decode: {0}")]
    Call(String),
}

/// Decodes a signed extrinsic from its bytes, length prefix included.
pub fn decode(bytes: &[u8]) -> Result<Signed, DecodeError> {
    let mut input = bytes;
    let Compact(length) = Compact::<u32>::decode(&mut input).map_err(|_| DecodeError::Malformed)?;
    if input.len() != length as usize {
        return Err(DecodeError::Malformed);
    }
    match u8::decode(&mut input).map_err(|_| DecodeError::Malformed)? {
        0x84 => {}
        0x04 => return Err(DecodeError::NoSigner),
        _ => return Err(DecodeError::Version),
    }
    let address = MultiAddress::decode(&mut input).map_err(|_| DecodeError::Malformed)?;
    let MultiAddress::Id(signer) = address else {
        return Err(DecodeError::NoSigner);
    };
    let signature = MultiSignature::decode(&mut input).map_err(|_| DecodeError::Malformed)?;
    let extensions = input;
    let era = Era::decode(&mut input).ok_or(DecodeError::Malformed)?;
    let Compact(nonce) = Compact::<u32>::decode(&mut input).map_err(|_| DecodeError::Malformed)?;
    let Compact(tip) = Compact::<u128>::decode(&mut input).map_err(|_| DecodeError::Malformed)?;
    let extensions = &extensions[..extensions.len() - input.len()];
    let payload = [input, extensions].concat();
    let call = RuntimeCall::decode_all_with_depth_limit(MAX_CALL_DEPTH, &mut input)
        .map_err(|error| DecodeError::Call(error.to_string()))?;
    Ok(Signed {
        signer,
        signature,
        era,
        nonce,
        tip,
        call,
        payload,
    })
}

impl Signed {
    /// Whether the signature is the signer's, over this chain (`genesis`) and era (`birth`).
    pub fn is_authentic(&self, genesis: H256, birth: H256) -> bool {
        let MultiSignature::Sr25519(signature) = &self.signature else {
            return false;
        };
        let mut payload = self.payload.clone();
        payload.extend((SPEC_VERSION, TRANSACTION_VERSION, genesis, birth).encode());
        if payload.len() > 256 {
            sr25519_verify(signature, &blake2_256(&payload), &self.signer.0)
        } else {
            sr25519_verify(signature, &payload, &self.signer.0)
        }
    }
}

/// An immortal extrinsic around `call`, signed by `key`, without tip.
pub fn sign(key: &subxt_signer::sr25519::Keypair, nonce: u32, call: RuntimeCall, genesis: H256) -> Vec<u8> {
    let call = call.encode();
    let extensions = (0_u8, Compact(nonce), Compact(0_u128)).encode();
    let mut payload = [&call[..], &extensions].concat();
    payload.extend((SPEC_VERSION, TRANSACTION_VERSION, genesis, genesis).encode());
    let signature = if payload.len() > 256 {
        key.sign(&blake2_256(&payload))
    } else {
        key.sign(&payload)
    };
    let mut body = vec![0x84];
    MultiAddress::Id(AccountId32(key.public_key().0)).encode_to(&mut body);
    MultiSignature::Sr25519(signature.0).encode_to(&mut body);
    body.extend(extensions);
    body.extend(call);
    body.encode()
}

/// Whether `signature` is `key`'s over `message` in the `substrate` context.
pub fn sr25519_verify(signature: &[u8; 64], message: &[u8], key: &[u8; 32]) -> bool {
    use subxt_signer::sr25519::{PublicKey, Signature, verify};
    verify(&Signature(*signature), message, &PublicKey(*key))
}

/// An unsigned extrinsic around `call`, as the author of a block puts in.
pub fn bare(call: &RuntimeCall) -> Vec<u8> {
    let mut body = vec![4];
    call.encode_to(&mut body);
    body.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_follow_the_network() {
        // Period 64, phase 42: the example of the Substrate documentation.
        let mut bytes: &[u8] = &[0xa5, 0x02];
        let era = Era::decode(&mut bytes).unwrap();
        assert_eq!(
            era,
            Era::Mortal {
                period: 64,
                phase: 42
            }
        );
        assert_eq!(era.birth(42), 42);
        assert_eq!(era.birth(105), 42);
        assert_eq!(era.birth(106), 106);
        assert_eq!(era.death(50), 106);
        assert_eq!(Era::decode(&mut &[0][..]), Some(Era::Immortal));
        assert_eq!(Era::decode(&mut &[1][..]), None);
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [&b""[..], b"\0", b"\x04", b"\x04\x84", &[0xff; 100], &[0xfc; 64]] {
            assert!(decode(bytes).is_err());
        }
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let mut call = vec![0_u8, 0, 0];
        for _ in 0..1000 {
            call = [&[1, 0, 4][..], &call].concat();
        }
        assert!(RuntimeCall::decode_all_with_depth_limit(MAX_CALL_DEPTH, &mut &call[..]).is_err());
    }
}
