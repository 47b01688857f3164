//! `Sudo`: the key that may call as root. On a devnet it is `//Alice`.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::call::RuntimeCall;
use super::context::Context;
use super::item::Value;
use super::primitives::{AccountId32, DispatchError, DispatchResult, Origin};

/// Index of this pallet.
pub const INDEX: u8 = 22;

pub const KEY: Value<AccountId32> = Value::optional("Sudo", "Key");

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Call {
    #[codec(index = 0)]
    sudo { call: Box<RuntimeCall> },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Event {
    Sudid { sudo_result: Result<(), DispatchError> },
}

pallet_errors!(INDEX; RequireSudo);

impl Call {
    pub(super) fn dispatch(self, context: &mut Context<'_>, origin: Origin) -> DispatchResult {
        let Self::sudo { call } = self;
        if KEY.get(&context.state) != Some(origin.signed()?) {
            return Err(Error::RequireSudo.into());
        }
        let sudo_result = context.attempt(|context| call.dispatch(context, Origin::Root));
        context.deposit(Event::Sudid { sudo_result });
        Ok(())
    }
}
