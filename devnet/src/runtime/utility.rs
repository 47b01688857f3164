//! `Utility`: several calls in one extrinsic.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::call::RuntimeCall;
use super::context::Context;
use super::primitives::{DispatchError, DispatchResult, Origin};

/// Index of this pallet.
pub const INDEX: u8 = 1;
/// Most calls in one batch.
pub const BATCHED_CALLS_LIMIT: u32 = 3640;

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Call {
    #[codec(index = 0)]
    batch { calls: Vec<RuntimeCall> },
    #[codec(index = 2)]
    batch_all { calls: Vec<RuntimeCall> },
    #[codec(index = 4)]
    force_batch { calls: Vec<RuntimeCall> },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub enum Event {
    BatchInterrupted { index: u32, error: DispatchError },
    BatchCompleted,
    BatchCompletedWithErrors,
    ItemCompleted,
    ItemFailed { error: DispatchError },
    DispatchedAs { result: Result<(), DispatchError> },
}

pallet_errors!(INDEX; TooManyCalls);

impl Call {
    /// The calls inside, whatever the kind of batch.
    pub fn calls(&self) -> &[RuntimeCall] {
        match self {
            Self::batch { calls } | Self::batch_all { calls } | Self::force_batch { calls } => calls,
        }
    }

    pub(super) fn dispatch(self, context: &mut Context<'_>, origin: Origin) -> DispatchResult {
        if self.calls().len() > BATCHED_CALLS_LIMIT as usize {
            return Err(Error::TooManyCalls.into());
        }
        match self {
            Self::batch { calls } => {
                for (index, call) in calls.into_iter().enumerate() {
                    if let Err(error) = context.attempt(|context| call.dispatch(context, origin)) {
                        context.deposit(Event::BatchInterrupted {
                            index: index as u32,
                            error,
                        });
                        return Ok(());
                    }
                    context.deposit(Event::ItemCompleted);
                }
                context.deposit(Event::BatchCompleted);
            }
            Self::batch_all { calls } => {
                for call in calls {
                    call.dispatch(context, origin)?;
                    context.deposit(Event::ItemCompleted);
                }
                context.deposit(Event::BatchCompleted);
            }
            Self::force_batch { calls } => {
                let mut failed = false;
                for call in calls {
                    match context.attempt(|context| call.dispatch(context, origin)) {
                        Ok(()) => context.deposit(Event::ItemCompleted),
                        Err(error) => {
                            failed = true;
                            context.deposit(Event::ItemFailed { error });
                        }
                    }
                }
                context.deposit(if failed {
                    Event::BatchCompletedWithErrors
                } else {
                    Event::BatchCompleted
                });
            }
        }
        Ok(())
    }
}
