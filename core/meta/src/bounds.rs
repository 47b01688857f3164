//! What every engine asks of keys, values and bounds.
use std::ops::Bound;

use crate::{Error, KEY_MAX, Result, VALUE_MAX};

/// Refuses a key that is empty or too long.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(Error::Engine(format!(
            "key of {} bytes, must be 1..={KEY_MAX}",
            key.len()
        )));
    }
    Ok(())
}

/// Refuses a value that is too long.
pub(crate) fn check_value(value: &[u8]) -> Result<()> {
    if value.len() > VALUE_MAX {
        return Err(Error::Engine(format!(
            "value of {} bytes, at most {VALUE_MAX}",
            value.len()
        )));
    }
    Ok(())
}

/// Whether no key can lie between the bounds.
pub(crate) fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
    }
}

/// The same keys as a half-open range: the first key of it, and the first one behind it if there is one.
pub(crate) fn half_open(from: Bound<&[u8]>, to: Bound<&[u8]>) -> (Vec<u8>, Option<Vec<u8>>) {
    let first = match from {
        Bound::Unbounded => Vec::new(),
        Bound::Included(key) => key.to_vec(),
        Bound::Excluded(key) => successor(key),
    };
    let behind = match to {
        Bound::Unbounded => None,
        Bound::Included(key) => Some(successor(key)),
        Bound::Excluded(key) => Some(key.to_vec()),
    };
    (first, behind)
}

/// The least key that is greater.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_open_ranges_hold_the_same_keys() {
        let keys: [&[u8]; 6] = [b"", b"a", b"a\0", b"a\0\0", b"b", b"\xff"];
        let mut bounds = vec![Bound::Unbounded];
        for key in &keys {
            bounds.extend([Bound::Included(*key), Bound::Excluded(*key)]);
        }
        for from in &bounds {
            for to in &bounds {
                let (first, behind) = half_open(*from, *to);
                for key in &keys {
                    let after = match from {
                        Bound::Unbounded => true,
                        Bound::Included(from) => key >= from,
                        Bound::Excluded(from) => key > from,
                    };
                    let before = match to {
                        Bound::Unbounded => true,
                        Bound::Included(to) => key <= to,
                        Bound::Excluded(to) => key < to,
                    };
                    let inside = *key >= &first[..] && behind.as_deref().is_none_or(|behind| *key < behind);
                    assert_eq!(inside, after && before, "{key:?} in {from:?}..{to:?}");
                    assert!(!(inside && is_empty_range(*from, *to)));
                }
            }
        }
    }
}
