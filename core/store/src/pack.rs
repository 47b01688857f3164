//! Packs: immutable batches of sealed chunks, laid out as whole segments. A pack becomes exactly
//! one CESS file.
//!
//! - [`layout`] decides which frame lies where, from the frames' lengths alone. It runs inside
//!   the transaction that freezes a pack.
//! - [`segment`] turns a layout and the frames into the 32 MiB that go to the network, the same
//!   bytes every time: the frames stay in staging, so no third copy is kept on disk.
//! - [`index`] is the sealed table in each segment that lets a pack explain itself without the
//!   metadata, given the root key.
//! - [`record`] keeps the rows of the pack table: one record per pack, rewritten at each step,
//!   and beside it the parts that never change or are only needed for a while.
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod record;
pub(crate) mod segment;
