//! Rows about chunks in staging. Values are postcard.
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Owner, Result, tables};

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In a row of its own in the metadata.
    Inline,
    /// In a staging file.
    File {
        /// Number of the file.
        file: u64,
        /// Where the record begins.
        offset: u64,
    },
    /// In a row of its own, put there by another member than the first.
    InlineOf(u16),
}

/// Bits of a file's number below those of its member.
const FILE_BITS: u32 = 48;

/// The lowest number of a staging file of `member`.
pub(crate) const fn first_file(member: u16) -> u64 {
    (member as u64) << FILE_BITS
}

/// Whose a staging file is.
pub(crate) const fn member_of_file(number: u64) -> u16 {
    (number >> FILE_BITS) as u16
}

impl Place {
    /// In a row, put there by `member`.
    pub(crate) const fn inline(member: u16) -> Self {
        if member == 0 {
            Self::Inline
        } else {
            Self::InlineOf(member)
        }
    }

    /// Whether it is in a row.
    pub(crate) const fn is_inline(self) -> bool {
        matches!(self, Self::Inline | Self::InlineOf(_))
    }

    /// Whose staging it counts to, and who packs it.
    pub(crate) const fn member(self) -> u16 {
        match self {
            Self::Inline => 0,
            Self::InlineOf(member) => member,
            Self::File { file, .. } => member_of_file(file),
        }
    }
}

/// A chunk in staging: the STAGED row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedRow {
    /// Bytes of plaintext.
    pub plain_len: u32,
    /// Bytes of the frame.
    pub frame_len: u32,
    /// Who asked for the chunk.
    pub owner: Owner,
    /// Where the frame lies.
    pub place: Place,
}

/// Space that staging still has to give back: the FREED row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FreedRow {
    /// Bytes of the frame.
    pub frame_len: u32,
    /// Where it lay.
    pub place: Place,
}

/// A row's value.
pub(crate) fn encode<T: Serialize>(row: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(row).map_err(|error| tables::damaged(&error.to_string()))
}

/// Reads a row's value.
pub(crate) fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T> {
    postcard::from_bytes(value).map_err(|error| tables::damaged(&format!("staging row: {error}")))
}
