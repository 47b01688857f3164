//! `Oss`: gateways, and who may act for whom.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::context::Context;
use super::item::{Map, Reader};
use super::primitives::{AccountId32, BoundedVec, DispatchResult, Origin};

/// Index of this pallet.
pub const INDEX: u8 = 108;
/// Most operators an owner can authorise.
pub const AUTHOR_LIMIT: usize = 20;
/// Blocks that a signed authorisation outlives its `exp`.
pub const PAYLOAD_EXPIRED: u32 = 100;

/// A registered gateway.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct OssInfo {
    pub peer_id: [u8; 38],
    pub domain: BoundedVec<u8, 50>,
}

/// What an owner signs to authorise `oss` without paying a fee.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct ProxyAuthPayload {
    pub oss: AccountId32,
    pub exp: u32,
}

pub const AUTHORITY_LIST: Map<AccountId32, BoundedVec<AccountId32, AUTHOR_LIMIT>> =
    Map::defaulted("Oss", "AuthorityList");
pub const OSS: Map<AccountId32, OssInfo> = Map::optional("Oss", "Oss");

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Call {
    #[codec(index = 0)]
    authorize { operator: AccountId32 },
    #[codec(index = 1)]
    cancel_authorize { oss: AccountId32 },
    #[codec(index = 2)]
    register {
        endpoint: [u8; 38],
        domain: BoundedVec<u8, 50>,
    },
    #[codec(index = 3)]
    update {
        endpoint: [u8; 38],
        domain: BoundedVec<u8, 50>,
    },
    #[codec(index = 4)]
    destroy,
    #[codec(index = 5)]
    proxy_authorzie {
        auth_puk: [u8; 32],
        sig: BoundedVec<u8, 64>,
        payload: ProxyAuthPayload,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Event {
    Authorize {
        acc: AccountId32,
        operator: AccountId32,
    },
    CancelAuthorize {
        acc: AccountId32,
        oss: AccountId32,
    },
    OssRegister {
        acc: AccountId32,
        endpoint: [u8; 38],
    },
    OssUpdate {
        acc: AccountId32,
        new_endpoint: [u8; 38],
    },
    OssDestroy {
        acc: AccountId32,
    },
}

pallet_errors!(INDEX;
    NoAuthorization, Registered, UnRegister, OptionParseError, BoundedVecError, Existed,
    MalformedSignature, VerifySigFailed, Expired, ConvertError,
);

/// Whether `operator` may act for `owner`.
pub fn may_act(state: &impl Reader, operator: &AccountId32, owner: &AccountId32) -> bool {
    operator == owner || AUTHORITY_LIST.value(state, owner).0.contains(operator)
}

fn grant(context: &mut Context<'_>, owner: &AccountId32, operator: AccountId32) -> DispatchResult {
    let mut list = AUTHORITY_LIST.value(&context.state, owner);
    list.try_push(operator).map_err(|_| Error::BoundedVecError)?;
    AUTHORITY_LIST.put(&mut context.state, owner, &list);
    Ok(())
}

impl Call {
    pub(super) fn dispatch(self, context: &mut Context<'_>, origin: Origin) -> DispatchResult {
        let caller = origin.signed()?;
        match self {
            Self::authorize { operator } => {
                if !AUTHORITY_LIST
                    .value(&context.state, &caller)
                    .0
                    .contains(&operator)
                {
                    grant(context, &caller, operator)?;
                }
                context.deposit(Event::Authorize {
                    acc: caller,
                    operator,
                });
            }
            Self::cancel_authorize { oss } => {
                let mut list = AUTHORITY_LIST
                    .get(&context.state, &caller)
                    .ok_or(Error::NoAuthorization)?;
                list.0.retain(|operator| *operator != oss);
                AUTHORITY_LIST.put(&mut context.state, &caller, &list);
                context.deposit(Event::CancelAuthorize { acc: caller, oss });
            }
            Self::register { endpoint, domain } => {
                if OSS.contains(&context.state, &caller) {
                    return Err(Error::Registered.into());
                }
                OSS.put(
                    &mut context.state,
                    &caller,
                    &OssInfo {
                        peer_id: endpoint,
                        domain,
                    },
                );
                context.deposit(Event::OssRegister {
                    acc: caller,
                    endpoint,
                });
            }
            Self::update { endpoint, domain } => {
                if !OSS.contains(&context.state, &caller) {
                    return Err(Error::UnRegister.into());
                }
                OSS.put(
                    &mut context.state,
                    &caller,
                    &OssInfo {
                        peer_id: endpoint,
                        domain,
                    },
                );
                context.deposit(Event::OssUpdate {
                    acc: caller,
                    new_endpoint: endpoint,
                });
            }
            Self::destroy => {
                if !OSS.contains(&context.state, &caller) {
                    return Err(Error::UnRegister.into());
                }
                OSS.remove(&mut context.state, &caller);
                context.deposit(Event::OssDestroy { acc: caller });
            }
            Self::proxy_authorzie {
                auth_puk,
                sig,
                payload,
            } => {
                if payload.exp.saturating_add(PAYLOAD_EXPIRED) <= context.number {
                    return Err(Error::Expired.into());
                }
                let signature: [u8; 64] = sig
                    .0
                    .as_slice()
                    .try_into()
                    .map_err(|_| Error::MalformedSignature)?;
                let message = [b"<Bytes>".as_slice(), &payload.encode(), b"</Bytes>"].concat();
                if !super::extrinsic::sr25519_verify(&signature, &message, &auth_puk) {
                    return Err(Error::VerifySigFailed.into());
                }
                let owner = AccountId32(auth_puk);
                if AUTHORITY_LIST
                    .value(&context.state, &owner)
                    .0
                    .contains(&payload.oss)
                {
                    return Err(Error::Existed.into());
                }
                grant(context, &owner, payload.oss)?;
            }
        }
        Ok(())
    }
}
