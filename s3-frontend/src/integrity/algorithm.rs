//! The S3 checksum algorithms.
use s3s::dto::ChecksumAlgorithm;

/// One of the algorithms a client may choose. Values travel as base64 of the big-endian digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// The name S3 uses in XML and in `x-amz-checksum-algorithm`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header (or trailer) that carries its value.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// By its S3 name, in any case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// By its header name, in any case.
    pub(crate) fn from_header(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }

    /// As s3s's type.
    pub(crate) fn to_dto(self) -> ChecksumAlgorithm {
        ChecksumAlgorithm::from_static(self.name())
    }

    /// Bytes of a digest.
    pub(crate) fn digest_len(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// Puts a checksum value into the field of its algorithm: s3s's types have one field per algorithm.
macro_rules! set_checksum {
    ($target:expr, $algorithm:expr, $value:expr) => {{
        let value: String = $value;
        match $algorithm {
            $crate::integrity::Algorithm::Crc32 => $target.checksum_crc32 = Some(value),
            $crate::integrity::Algorithm::Crc32c => $target.checksum_crc32c = Some(value),
            $crate::integrity::Algorithm::Crc64Nvme => $target.checksum_crc64nvme = Some(value),
            $crate::integrity::Algorithm::Sha1 => $target.checksum_sha1 = Some(value),
            $crate::integrity::Algorithm::Sha256 => $target.checksum_sha256 = Some(value),
        }
    }};
}

/// The checksums that a request's or a hasher's fields carry, as `(algorithm, value)`.
macro_rules! checksum_fields {
    ($source:expr) => {
        [
            (
                $crate::integrity::Algorithm::Crc32,
                $source.checksum_crc32.clone(),
            ),
            (
                $crate::integrity::Algorithm::Crc32c,
                $source.checksum_crc32c.clone(),
            ),
            (
                $crate::integrity::Algorithm::Crc64Nvme,
                $source.checksum_crc64nvme.clone(),
            ),
            ($crate::integrity::Algorithm::Sha1, $source.checksum_sha1.clone()),
            (
                $crate::integrity::Algorithm::Sha256,
                $source.checksum_sha256.clone(),
            ),
        ]
        .into_iter()
        .filter_map(|(algorithm, value)| value.map(|value| (algorithm, value)))
        .collect::<Vec<_>>()
    };
}

pub(crate) use {checksum_fields, set_checksum};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_headers_round_trip() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            assert_eq!(
                Algorithm::from_name(&algorithm.name().to_lowercase()),
                Some(algorithm)
            );
            assert_eq!(Algorithm::from_header(algorithm.header()), Some(algorithm));
        }
        assert_eq!(Algorithm::from_name("MD5"), None);
        assert_eq!(Algorithm::from_header("x-amz-checksum-type"), None);
    }
}
