//! Requests of the transmission phase.
use bytes::{Buf, BufMut, BytesMut};

use super::constants::REQUEST_MAGIC;
use super::{Decoded, Malformed};

/// What stands before a request's payload: 28 bytes. Only a write has a payload, of `len` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// [`super::constants::command_flag`] bits.
    pub flags: u16,
    /// [`super::constants::command`], or one we do not know.
    pub command: u16,
    /// Chosen by the client, repeated in the reply.
    pub cookie: u64,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
}

impl Request {
    /// Bytes on the wire.
    pub const SIZE: usize = 28;

    /// To the wire.
    pub fn encode(self, out: &mut BytesMut) {
        out.put_u32(REQUEST_MAGIC);
        out.put_u16(self.flags);
        out.put_u16(self.command);
        out.put_u64(self.cookie);
        out.put_u64(self.offset);
        out.put_u32(self.len);
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("request");
        if wire.try_get_u32() != Ok(REQUEST_MAGIC) {
            return Err(WHAT);
        }
        Ok(Self {
            flags: wire.try_get_u16().map_err(|_| WHAT)?,
            command: wire.try_get_u16().map_err(|_| WHAT)?,
            cookie: wire.try_get_u64().map_err(|_| WHAT)?,
            offset: wire.try_get_u64().map_err(|_| WHAT)?,
            len: wire.try_get_u32().map_err(|_| WHAT)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn requests_survive_the_wire(flags: u16, command: u16, cookie: u64, offset: u64, len: u32) {
            let request = Request { flags, command, cookie, offset, len };
            let mut wire = BytesMut::new();
            request.encode(&mut wire);
            prop_assert_eq!(wire.len(), Request::SIZE);
            prop_assert_eq!(Request::decode(&wire), Ok(request));
            for cut in 0..wire.len() {
                prop_assert!(Request::decode(&wire[..cut]).is_err());
            }
        }

        #[test]
        fn a_wrong_magic_is_refused(wire in proptest::collection::vec(any::<u8>(), 28)) {
            prop_assume!(wire[..4] != REQUEST_MAGIC.to_be_bytes());
            prop_assert!(Request::decode(&wire).is_err());
        }
    }
}
