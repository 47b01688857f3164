//! Multipart uploads, one file per step of their life.
//!
//! The namespace keeps for each part a tag that is opaque to it: the MD5 and the checksum of the
//! part's bytes ([`crate::integrity::record::PartTag`]). What the client chose for the checksum of
//! the whole is kept in internal headers of the upload ([`choice`]).
mod choice;
mod complete;
mod listing;
mod part;
mod start;

use s3s::{S3ErrorCode, S3Result};
use vfs::UploadId;

use crate::error::{fail, no_such_upload};
use crate::limits::MAX_PARTS;

/// A part number within AWS's limits.
fn part_number(number: i32) -> S3Result<u32> {
    u32::try_from(number)
        .ok()
        .filter(|number| (1..=MAX_PARTS as u32).contains(number))
        .ok_or_else(|| {
            fail(
                S3ErrorCode::InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive",
            )
        })
}

/// An upload id as a client sent it.
fn upload_id(id: &str) -> S3Result<UploadId> {
    if id.is_empty() {
        Err(no_such_upload())
    } else {
        Ok(UploadId(id.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers_are_bounded() {
        assert_eq!(part_number(1).unwrap(), 1);
        assert_eq!(part_number(10_000).unwrap(), 10_000);
        for number in [0, -1, 10_001, i32::MIN, i32::MAX] {
            assert_eq!(
                part_number(number).unwrap_err().code(),
                &S3ErrorCode::InvalidArgument,
                "{number}"
            );
        }
    }
}
