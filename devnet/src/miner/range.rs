//! The miners' own kind of range: `bytes=S-E/T`, `E` exclusive, `/T` mandatory and ignored.

use std::ops::Range;

use super::FRAGMENT_SIZE;

/// The bytes asked for, or `None` where the text is not of this kind or out of bounds.
pub fn parse(text: &str) -> Option<Range<usize>> {
    let rest = text
        .strip_prefix("bytes=")
        .or_else(|| text.strip_prefix("bytes "))?;
    let (range, total) = rest.split_once('/')?;
    total.trim().parse::<u64>().ok()?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
    (start <= end && end <= FRAGMENT_SIZE).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_miners_kind_is_understood() {
        assert_eq!(parse("bytes=0-100/8388608"), Some(0..100));
        assert_eq!(parse("bytes 5-5/1"), Some(5..5));
        assert_eq!(parse("bytes=0-8388608/8388608"), Some(0..FRAGMENT_SIZE));
        for text in [
            "bytes=0-99",
            "bytes=0-8388609/8388608",
            "bytes=5-4/9",
            "bytes=-5/9",
            "bytes=5-/9",
            "x",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
