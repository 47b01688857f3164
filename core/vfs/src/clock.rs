//! The gateway's clock as this crate counts time. Reads go through [`store::clock`].
use crate::Timestamp;

/// Wall clock now.
pub(crate) fn now() -> Timestamp {
    Timestamp(i64::try_from(store::clock::wall().as_nanos()).unwrap_or(i64::MAX))
}
