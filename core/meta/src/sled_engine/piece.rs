//! Rows and pieces of long values as sled holds them, in its one tree.
//!
//! `00` ‖ key → `00` ‖ value, or `01` ‖ number u64 BE ‖ pieces u32 BE for a value longer than
//! [`PIECE_BYTES`]. `01` ‖ number ‖ index u32 BE → piece. Numbers are not used again while the value is there.
use super::from_sled;
use crate::{Error, Result};

/// Longest value, and piece of one, that sled is given.
const PIECE_BYTES: usize = 8 << 10;
const ROWS: u8 = 0;
const PIECES: u8 = 1;
const WHOLE: u8 = 0;
const CUT: u8 = 1;

/// The key of a row.
pub(super) fn row_key(key: &[u8]) -> Vec<u8> {
    [&[ROWS], key].concat()
}

/// Behind all rows.
pub(super) fn rows_end() -> Vec<u8> {
    vec![PIECES]
}

/// The key that [`row_key`] was given.
pub(super) fn key_of(row_key: &[u8]) -> Result<Vec<u8>> {
    match row_key {
        [ROWS, key @ ..] => Ok(key.to_vec()),
        _ => Err(strange()),
    }
}

fn piece_key(number: u64, index: u32) -> Vec<u8> {
    [&[PIECES], &number.to_be_bytes()[..], &index.to_be_bytes()].concat()
}

fn strange() -> Error {
    Error::Damaged("sled: a row is not understood".into())
}

/// Number and pieces of a value that is cut.
fn cut(row: &[u8]) -> Result<Option<(u64, u32)>> {
    match row {
        [WHOLE, ..] => Ok(None),
        [CUT, rest @ ..] => {
            let (number, rest) = rest.split_first_chunk().ok_or_else(strange)?;
            let pieces = rest.try_into().map_err(|_| strange())?;
            Ok(Some((u64::from_be_bytes(*number), u32::from_be_bytes(pieces))))
        }
        _ => Err(strange()),
    }
}

/// The value of a row.
pub(super) fn read(tree: &sled::Tree, row: &[u8]) -> Result<Vec<u8>> {
    let Some((number, pieces)) = cut(row)? else {
        return Ok(row[1..].to_vec());
    };
    let mut value = Vec::with_capacity(pieces as usize * PIECE_BYTES);
    for index in 0..pieces {
        let piece = tree.get(piece_key(number, index)).map_err(from_sled)?;
        value.extend_from_slice(&piece.ok_or_else(strange)?);
    }
    Ok(value)
}

/// Removes the pieces of a row that is replaced.
pub(super) fn remove(row: &[u8], batch: &mut sled::Batch) -> Result<()> {
    if let Some((number, pieces)) = cut(row)? {
        for index in 0..pieces {
            batch.remove(piece_key(number, index));
        }
    }
    Ok(())
}

/// Writes a row.
pub(super) fn write(key: &[u8], value: &[u8], next_value: &mut u64, batch: &mut sled::Batch) {
    if value.len() <= PIECE_BYTES {
        batch.insert(row_key(key), [&[WHOLE], value].concat());
        return;
    }
    let number = *next_value;
    *next_value += 1;
    let mut pieces = 0u32;
    for piece in value.chunks(PIECE_BYTES) {
        batch.insert(piece_key(number, pieces), piece);
        pieces += 1;
    }
    let row = [&[CUT], &number.to_be_bytes()[..], &pieces.to_be_bytes()].concat();
    batch.insert(row_key(key), row);
}

/// A number that no value has.
pub(super) fn next_value(tree: &sled::Tree) -> Result<u64> {
    let Some((key, _)) = tree.last().map_err(from_sled)? else {
        return Ok(0);
    };
    match &key[..] {
        [PIECES, rest @ ..] => {
            let (number, _) = rest.split_first_chunk().ok_or_else(strange)?;
            Ok(u64::from_be_bytes(*number) + 1)
        }
        _ => Ok(0),
    }
}
