//! Encryption that a client asks for.
//!
//! Everything is sealed at rest whatever anybody asks for: that is what S3 calls `AES256`. What is here
//! is a layer above it, for keys that are not the gateway's to use as it likes:
//!
//! - **the client's key** (SSE-C), which comes with each request and is never kept: [`wish`] reads it, and
//!   of it an object keeps a random salt and a check value ([`kept`]), both useless without it;
//! - **keys that have names** (SSE-KMS), which a key service uses for the gateway ([`keys`]): who disables one
//!   there makes everything under it unreadable.
//!
//! The bytes of such an object are encrypted before the namespace sees them ([`cipher`]), by AES-256 in
//! counter mode under a key of the object's own: any range can be read without the rest, and sizes stay.
//! That the bytes are the ones that were written is the store's business, which authenticates every chunk.
//! Every object, and every part of an upload, has its own random start of the counter ([`nonces`]), so that
//! no two of them ever share a keystream, not even two attempts at the same part.
//!
//! The other doors see what is stored: the encrypted bytes. What they write there would read as noise
//! through this door; so an object that they changed is not read here at all until it is replaced.
//!
//! ETags of such objects are no MD5 of their bytes, as in S3: they would let anybody check a guess.
pub(crate) mod cipher;
pub(crate) mod customer;
pub(crate) mod kept;
pub(crate) mod keys;
pub(crate) mod nonces;
pub(crate) mod sealing;
pub(crate) mod wish;

pub(crate) use self::cipher::Keystream;
pub(crate) use self::customer::CustomerKey;
pub(crate) use self::sealing::Sealing;
pub(crate) use self::wish::Wish;
