//! Names as a mount shows them, and back.
//!
//! A component of a key may be anything without `/`; a mount can show less. What it cannot show
//! appears under an escaped name that begins with `.cess~`, and every escaped name leads back to
//! exactly one component:
//!
//! | component | shown as |
//! |---|---|
//! | empty (a directory: `a//b`) | `.cess~empty` |
//! | `.` / `..` | `.cess~dot` / `.cess~dotdot` |
//! | has a NUL byte | `.cess~hex~` and the bytes in hexadecimal |
//! | begins with `.cess~` | `.cess~lit~` and the component |
//! | a file beside a directory of the same name | `.cess~file~` and what it would be shown as otherwise |
//! | shown in more than 255 bytes | `.cess~long~` and the SHA-256 of the component (with its `/` if a directory) |
//!
//! The same names can be used to create: `mkdir .cess~empty` makes the key prefix `/`. A name that
//! begins with `.cess~` and is none of these shows nothing and creates nothing.
use sha2::{Digest, Sha256};

use crate::{Error, Result};

const PREFIX: &[u8] = b".cess~";
const EMPTY: &[u8] = b"empty";
const DOT: &[u8] = b"dot";
const DOT_DOT: &[u8] = b"dotdot";
const HEX: &[u8] = b"hex~";
const LITERAL: &[u8] = b"lit~";
const FILE: &[u8] = b"file~";
const LONG: &[u8] = b"long~";
/// NAME_MAX of Linux.
pub(crate) const SHOWN_MAX: usize = 255;

/// What a shown name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The directory of this name if there is one, else the file.
    Plain(Vec<u8>),
    /// The file of this name, although there is a directory of it too.
    File(Vec<u8>),
    /// The name whose hash is this.
    Long([u8; 32]),
}

/// Hash under which a name too long to show is found. `suffix` is the name as in DENTRY.
pub(crate) fn long_hash(suffix: &[u8]) -> [u8; 32] {
    Sha256::digest(suffix).into()
}

/// A name as in DENTRY: directories end in `/`.
pub(crate) fn suffix(name: &[u8], is_dir: bool) -> Vec<u8> {
    let mut suffix = Vec::with_capacity(name.len() + 1);
    suffix.extend_from_slice(name);
    if is_dir {
        suffix.push(b'/');
    }
    suffix
}

/// The name without the `/` of a directory.
pub(crate) fn without_slash(suffix: &[u8]) -> &[u8] {
    suffix.strip_suffix(b"/").unwrap_or(suffix)
}

fn escape(name: &[u8]) -> Vec<u8> {
    let escaped = |kind: &[u8], rest: &[u8]| [PREFIX, kind, rest].concat();
    match name {
        b"" => escaped(EMPTY, b""),
        b"." => escaped(DOT, b""),
        b".." => escaped(DOT_DOT, b""),
        name if name.contains(&0) => escaped(HEX, hex::encode(name).as_bytes()),
        name if name.starts_with(PREFIX) => escaped(LITERAL, name),
        name => name.to_vec(),
    }
}

fn unescape(shown: &[u8]) -> Option<Vec<u8>> {
    let name = match shown.strip_prefix(PREFIX) {
        None => shown.to_vec(),
        Some(EMPTY) => Vec::new(),
        Some(DOT) => b".".to_vec(),
        Some(DOT_DOT) => b"..".to_vec(),
        Some(rest) => match (rest.strip_prefix(LITERAL), rest.strip_prefix(HEX)) {
            (Some(literal), _) => literal.to_vec(),
            (_, Some(digits)) => hex::decode(digits).ok()?,
            _ => return None,
        },
    };
    // Each component has one spelling only.
    (escape(&name) == shown && !name.contains(&b'/')).then_some(name)
}

/// How a mount shows the component `name`. `shadowed`: there is a directory of the same name.
pub(crate) fn show(name: &[u8], is_dir: bool, shadowed: bool) -> Vec<u8> {
    let mut shown = escape(name);
    if shadowed && !is_dir {
        shown = [PREFIX, FILE, &shown].concat();
    }
    if shown.len() > SHOWN_MAX {
        shown = show_hash(&long_hash(&suffix(name, is_dir)));
    }
    shown
}

/// How a mount shows a name that is too long.
pub(crate) fn show_hash(hash: &[u8; 32]) -> Vec<u8> {
    [PREFIX, LONG, hex::encode(hash).as_bytes()].concat()
}

/// Whether the component may ever have to be shown by its hash, and so needs a row to lead back.
pub(crate) fn may_be_long(name: &[u8], is_dir: bool) -> bool {
    let marker = if is_dir { 0 } else { PREFIX.len() + FILE.len() };
    escape(name).len() + marker > SHOWN_MAX
}

/// What a shown name asks for.
pub(crate) fn parse(shown: &[u8]) -> Result<Shown> {
    const BAD: Error = Error::InvalidName("not the escaped form of any name");
    if shown.len() > SHOWN_MAX {
        return Err(Error::NameTooLong);
    }
    if shown.is_empty() || shown == b"." || shown == b".." {
        return Err(Error::InvalidName("empty or a dot"));
    }
    if shown.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return Err(Error::InvalidName("slash or NUL in a name"));
    }
    let Some(rest) = shown.strip_prefix(PREFIX) else {
        return Ok(Shown::Plain(shown.to_vec()));
    };
    if let Some(digits) = rest.strip_prefix(LONG) {
        let hash: [u8; 32] = hex::decode(digits)
            .ok()
            .and_then(|hash| hash.try_into().ok())
            .ok_or(BAD)?;
        return if hex::encode(hash).as_bytes() == digits {
            Ok(Shown::Long(hash))
        } else {
            Err(BAD)
        };
    }
    if let Some(inner) = rest.strip_prefix(FILE) {
        return match unescape(inner) {
            Some(name) if !name.is_empty() => Ok(Shown::File(name)),
            _ => Err(BAD),
        };
    }
    unescape(shown).map(Shown::Plain).ok_or(BAD)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn component() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b".cess~".to_vec()),
            Just(b"file~".to_vec()),
            Just(b"lit~".to_vec()),
            Just(b"hex~".to_vec()),
            Just(b"empty".to_vec()),
            Just(b".".to_vec()),
            Just(vec![0]),
            Just(vec![b'x'; 120]),
            prop::collection::vec(any::<u8>().prop_filter("slash", |byte| *byte != b'/'), 0..6),
        ];
        prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn shown_names_lead_back(name in component(), is_dir: bool, shadowed: bool) {
            prop_assume!(is_dir || !name.is_empty());
            let shown = show(&name, is_dir, shadowed);
            prop_assert!(!shown.is_empty() && shown.len() <= SHOWN_MAX);
            prop_assert!(shown != b"." && shown != b"..");
            prop_assert!(!shown.contains(&0) && !shown.contains(&b'/'));
            let back = parse(&shown).unwrap();
            match back {
                Shown::Plain(back) => {
                    prop_assert!(is_dir || !shadowed);
                    prop_assert_eq!(back, name);
                }
                Shown::File(back) => {
                    prop_assert!(!is_dir && shadowed);
                    prop_assert_eq!(back, name);
                }
                Shown::Long(hash) => {
                    prop_assert!(may_be_long(&name, is_dir));
                    prop_assert_eq!(hash, long_hash(&suffix(&name, is_dir)));
                }
            }
        }

        #[test]
        fn names_of_a_mount_come_back_as_typed(typed in component()) {
            if let Ok(Shown::Plain(name)) = parse(&typed) {
                prop_assert_eq!(show(&name, true, false), typed.clone());
                if !name.is_empty() {
                    prop_assert_eq!(show(&name, false, false), typed);
                }
            }
        }

        #[test]
        fn different_things_look_different(a in component(), b in component(), dirs: (bool, bool)) {
            // `a` as a file beside a directory `a` is the only case in which the names agree.
            let shadowed = a == b && dirs.0 != dirs.1;
            if (&a, dirs.0) != (&b, dirs.1) {
                prop_assert_ne!(show(&a, dirs.0, shadowed), show(&b, dirs.1, shadowed));
            }
        }
    }

    #[test]
    fn escapes_that_mean_nothing_are_refused() {
        for bad in [
            &b".cess~"[..],
            b".cess~what",
            b".cess~lit~plain",
            b".cess~hex~6100FF",
            b".cess~hex~61",
            b".cess~hex~002f",
            b".cess~file~",
            b".cess~file~.cess~empty",
            b".cess~long~12",
            b"a/b",
            b"",
            b".",
            b"..",
            b"a\0",
        ] {
            assert!(matches!(parse(bad), Err(Error::InvalidName(_))), "{bad:?}");
        }
        assert!(matches!(parse(&[b'x'; 256]), Err(Error::NameTooLong)));
        assert_eq!(show(b"x", false, true), b".cess~file~x");
        assert_eq!(show(b".", false, true), b".cess~file~.cess~dot");
    }
}
