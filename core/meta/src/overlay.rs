//! Rows below with the writes of a transaction on top.
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

use crate::bounds::{half_open, is_empty_range};
use crate::{KeyValue, Result};

/// What a transaction has written: values, and `None` for keys that it deleted.
pub(crate) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The rows of a range: those below, which come in the same order and between the same bounds, with `writes` on top.
pub(crate) fn merge<'a>(
    below: impl Iterator<Item = Result<KeyValue>> + 'a,
    writes: &'a Writes,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    reverse: bool,
) -> Box<dyn Iterator<Item = Result<KeyValue>> + 'a> {
    if is_empty_range(from, to) {
        return Box::new(std::iter::empty());
    }
    let (first, behind) = half_open(from, to);
    let behind = behind.map_or(Bound::Unbounded, Bound::Excluded);
    // A half-open range may still be empty: between a key and its successor lies none.
    if matches!(&behind, Bound::Excluded(behind) if *behind <= first) {
        return Box::new(std::iter::empty());
    }
    let written = writes.range((Bound::Included(first), behind));
    if reverse {
        Box::new(merge_sorted(below, written.rev(), true))
    } else {
        Box::new(merge_sorted(below, written, false))
    }
}

/// Rows below with others on top (`None`: not there), both in the same order.
pub(crate) fn merge_sorted<'w, B, W>(below: B, written: W, reverse: bool) -> Merged<B, W>
where
    B: Iterator<Item = Result<KeyValue>>,
    W: Iterator<Item = (&'w Vec<u8>, &'w Option<Vec<u8>>)>,
{
    Merged {
        below: below.peekable(),
        written: written.peekable(),
        reverse,
    }
}

/// See [`merge_sorted`].
pub(crate) struct Merged<B: Iterator, W: Iterator> {
    below: Peekable<B>,
    written: Peekable<W>,
    reverse: bool,
}

impl<'w, B, W> Iterator for Merged<B, W>
where
    B: Iterator<Item = Result<KeyValue>>,
    W: Iterator<Item = (&'w Vec<u8>, &'w Option<Vec<u8>>)>,
{
    type Item = Result<KeyValue>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let takes_written = match (self.below.peek(), self.written.peek()) {
                (_, None) | (Some(Err(_)), _) => false,
                (None, Some(_)) => true,
                (Some(Ok((below, _))), Some((written, _))) => {
                    if below == *written {
                        // Replaced or deleted.
                        self.below.next();
                        continue;
                    }
                    (below > *written) != self.reverse
                }
            };
            if !takes_written {
                return self.below.next();
            }
            if let Some((key, Some(value))) = self.written.next() {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replace_hide_and_add_in_both_directions() {
        let row = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        let below = [row("a", "1"), row("b", "1"), row("d", "1"), row("f", "1")];
        let mut writes = Writes::new();
        for (key, value) in [
            ("Z", Some("2")),
            ("b", Some("2")),
            ("c", Some("2")),
            ("d", None),
            ("e", None),
            ("g", Some("2")),
        ] {
            writes.insert(
                key.as_bytes().to_vec(),
                value.map(|value| value.as_bytes().to_vec()),
            );
        }
        let merged = |from: Bound<&[u8]>, to: Bound<&[u8]>, reverse: bool| -> Vec<KeyValue> {
            let inside = |key: &[u8]| {
                let (first, behind) = half_open(from, to);
                key >= &first[..] && behind.is_none_or(|behind| key < &behind[..])
            };
            let mut rows: Vec<_> = below.iter().filter(|row| inside(&row.0)).cloned().collect();
            if reverse {
                rows.reverse();
            }
            merge(rows.into_iter().map(Ok), &writes, from, to, reverse)
                .map(Result::unwrap)
                .collect()
        };
        let mut all = vec![
            row("Z", "2"),
            row("a", "1"),
            row("b", "2"),
            row("c", "2"),
            row("f", "1"),
            row("g", "2"),
        ];
        assert_eq!(merged(Bound::Unbounded, Bound::Unbounded, false), all);
        all.reverse();
        assert_eq!(merged(Bound::Unbounded, Bound::Unbounded, true), all);
        let some = merged(Bound::Excluded(b"a"), Bound::Included(b"c"), false);
        assert_eq!(some, [row("b", "2"), row("c", "2")]);
        assert!(merged(Bound::Excluded(b"b"), Bound::Included(b"b"), true).is_empty());
        assert!(merged(Bound::Included(b"g"), Bound::Included(b"a"), true).is_empty());
        assert_eq!(
            merged(Bound::Included(b"g"), Bound::Included(b"g"), true),
            [row("g", "2")]
        );
    }
}
