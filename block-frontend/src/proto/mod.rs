//! The NBD wire format, both directions.
//!
//! Every message has an encoder and a decoder here, so that the server, the small client
//! ([`crate::client`]) and the tests share one description of the bytes. Decoders take a slice that
//! has already been read in full, check every length against it and never panic; whatever they
//! reject is [`Malformed`]. All integers are big-endian. Nothing in this module does I/O.
//!
//! | phase | file |
//! |---|---|
//! | numbers of both phases | [`constants`] |
//! | greeting, options and their replies | [`option`] |
//! | requests of the transmission phase | [`request`] |
//! | replies of the transmission phase | [`reply`] |
pub mod constants;
pub mod option;
pub mod reply;
pub mod request;

/// Bytes that are not what the protocol says they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// The result of decoding.
pub type Decoded<T> = Result<T, Malformed>;
