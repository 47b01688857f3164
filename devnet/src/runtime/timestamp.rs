//! `Timestamp`: the time of the block, set by its author as the first extrinsic.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::context::Context;
use super::item::Value;
use super::primitives::{DispatchError, DispatchResult, Origin};

/// Index of this pallet.
pub const INDEX: u8 = 3;
/// Half of the network's block time in milliseconds. Instant blocks do not wait for it.
pub const MINIMUM_PERIOD: u64 = 3000;

pub const NOW: Value<u64> = Value::defaulted("Timestamp", "Now");

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Call {
    #[codec(index = 0)]
    set {
        #[codec(compact)]
        now: u64,
    },
}

impl Call {
    pub(super) fn dispatch(self, context: &mut Context<'_>, origin: Origin) -> DispatchResult {
        let Self::set { now } = self;
        if origin != Origin::Inherent {
            return Err(DispatchError::BadOrigin);
        }
        NOW.put(&mut context.state, &now);
        Ok(())
    }
}
