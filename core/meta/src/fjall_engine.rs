//! The default engine: fjall's optimistic transactions.
