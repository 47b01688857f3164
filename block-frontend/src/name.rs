//! Export names.
//!
//! An export is named `bucket/key`. Keys are any bytes, export names are short UTF-8 text, so the
//! name on the wire is percent-encoded: `%`, control characters and everything that is not ASCII.
//! A `%` that two hexadecimal digits do not follow stands for itself. (In an `nbd://` URI the client
//! decodes once more before it sends the name, so a literal `%` of a key is `%2525` there.)
use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};

const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// The name on the wire of `bucket/key`.
pub fn encode(path: &[u8]) -> String {
    percent_encode(path, ENCODED).to_string()
}

/// The `bucket/key` of a name on the wire.
pub fn decode(name: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(name).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_path_survives(path in proptest::collection::vec(any::<u8>(), 0..80)) {
            let name = encode(&path);
            prop_assert!(name.bytes().all(|byte| (b' '..0x7f).contains(&byte)));
            prop_assert_eq!(&decode(name.as_bytes())[..], &path[..]);
        }
    }

    #[test]
    fn plain_names_stay_plain() {
        assert_eq!(encode(b"vm/disks/root.img"), "vm/disks/root.img");
        assert_eq!(encode(b"vm/100%"), "vm/100%25");
        assert_eq!(&decode(b"vm/100%")[..], b"vm/100%");
    }
}
