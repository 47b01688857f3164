//! Getting territory back from packs in which little lives.
//!
//! A pack costs 96 MiB of territory per segment, whatever lives in it. [`tally`] counts what lives,
//! in the transactions that change it.
pub(crate) mod tally;
