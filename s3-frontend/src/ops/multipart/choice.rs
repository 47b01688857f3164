//! What a client chose for the checksum of a multipart object, kept with the upload.
use s3s::dto::{ChecksumAlgorithm, ChecksumType};
use s3s::{S3ErrorCode, S3Result};
use vfs::ObjectMeta;

use crate::error::fail;
use crate::integrity::Algorithm;
use crate::integrity::multipart::{default_coverage, is_possible};
use crate::integrity::record::Coverage;

/// Internal header of an upload (and of the object it becomes): `ALGORITHM TYPE`.
const HEADER: &str = "x-cess-upload-checksum";

/// The kind of checksum the object shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) algorithm: Algorithm,
    pub(super) coverage: Coverage,
}

impl Choice {
    /// From CreateMultipartUpload. `None` when the client chose nothing.
    pub(super) fn from_request(
        algorithm: Option<&ChecksumAlgorithm>,
        coverage: Option<&ChecksumType>,
    ) -> S3Result<Option<Self>> {
        let Some(algorithm) = algorithm else {
            return match coverage {
                None => Ok(None),
                Some(_) => Err(fail(
                    S3ErrorCode::InvalidRequest,
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
                )),
            };
        };
        let algorithm = Algorithm::from_name(algorithm.as_str()).ok_or_else(|| {
            fail(
                S3ErrorCode::InvalidRequest,
                "Checksum algorithm provided is unsupported.",
            )
        })?;
        let coverage = match coverage {
            None => default_coverage(algorithm),
            Some(coverage) => Coverage::from_name(coverage.as_str()).ok_or_else(|| {
                fail(
                    S3ErrorCode::InvalidRequest,
                    "Value for x-amz-checksum-type header is invalid.",
                )
            })?,
        };
        if !is_possible(algorithm, coverage) {
            return Err(fail(
                S3ErrorCode::InvalidRequest,
                format!(
                    "The {} checksum type cannot be used with the {} checksum algorithm.",
                    coverage.name(),
                    algorithm.name()
                ),
            ));
        }
        Ok(Some(Self { algorithm, coverage }))
    }

    /// Keeps the choice with an upload.
    pub(super) fn keep(self, meta: &mut ObjectMeta) {
        let text = format!("{} {}", self.algorithm.name(), self.coverage.name());
        meta.headers.insert(HEADER.to_owned(), text);
    }

    /// The choice kept with an upload.
    pub(super) fn of(meta: &ObjectMeta) -> Option<Self> {
        let (algorithm, coverage) = meta.headers.get(HEADER)?.split_once(' ')?;
        Some(Self {
            algorithm: Algorithm::from_name(algorithm)?,
            coverage: Coverage::from_name(coverage)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(
        algorithm: Option<&'static str>,
        coverage: Option<&'static str>,
    ) -> Result<Option<Choice>, String> {
        Choice::from_request(
            algorithm.map(ChecksumAlgorithm::from_static).as_ref(),
            coverage.map(ChecksumType::from_static).as_ref(),
        )
        .map_err(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn defaults_and_impossible_combinations() {
        assert_eq!(choose(None, None), Ok(None));
        let coverage = |algorithm| choose(Some(algorithm), None).unwrap().unwrap().coverage;
        assert_eq!(coverage("CRC64NVME"), Coverage::FullObject);
        assert_eq!(coverage("CRC32"), Coverage::Composite);
        assert_eq!(coverage("SHA256"), Coverage::Composite);
        for (algorithm, coverage) in [
            (None, Some("COMPOSITE")),
            (Some("CRC64NVME"), Some("COMPOSITE")),
            (Some("SHA1"), Some("FULL_OBJECT")),
            (Some("CRC32"), Some("HALF")),
            (Some("MD4"), None),
        ] {
            assert_eq!(
                choose(algorithm, coverage),
                Err("InvalidRequest".into()),
                "{algorithm:?} {coverage:?}"
            );
        }
    }

    #[test]
    fn the_choice_is_kept() {
        let choice = choose(Some("CRC32C"), Some("FULL_OBJECT")).unwrap().unwrap();
        let mut meta = ObjectMeta::default();
        choice.keep(&mut meta);
        assert_eq!(Choice::of(&meta), Some(choice));
        assert_eq!(Choice::of(&ObjectMeta::default()), None);
    }
}
