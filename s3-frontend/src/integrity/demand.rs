//! What a request says its body must hash to.
//!
//! `Content-MD5` and at most one `x-amz-checksum-*` may be given; the latter in a header or, for
//! aws-chunked bodies, announced by `x-amz-trailer` and sent after the last byte. A request without
//! any checksum gets CRC64NVME, as AWS does: it costs next to nothing and lets readers verify.
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use s3s::{S3ErrorCode, S3Result, TrailingHeaders};

use super::Algorithm;
use super::digester::Digests;
use crate::error::fail;

/// Where the checksum to compare with comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// From a header of the request.
    Given(String),
    /// Comes after the body.
    Trailer,
    /// Nobody says: computed to be stored.
    Nowhere,
}

/// The hashes a body must have.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    md5: Option<[u8; 16]>,
    algorithm: Algorithm,
    source: Source,
}

impl Demand {
    /// Reads the demand out of a request. `given` are the typed `x-amz-checksum-*` headers (or form
    /// fields), `content_md5` likewise.
    pub(crate) fn from_request(
        content_md5: Option<&str>,
        given: &[(Algorithm, String)],
        headers: &HeaderMap,
    ) -> S3Result<Self> {
        let md5 = content_md5
            .map(|text| {
                BASE64_STANDARD
                    .decode(text.trim())
                    .ok()
                    .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
                    .ok_or_else(|| {
                        fail(
                            S3ErrorCode::InvalidDigest,
                            "The Content-MD5 you specified is not valid.",
                        )
                    })
            })
            .transpose()?;
        let announced: Vec<Algorithm> = headers
            .get_all("x-amz-trailer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| Algorithm::from_header(name.trim()))
            .collect();
        if given.len() + announced.len() > 1 {
            return Err(fail(
                S3ErrorCode::InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.",
            ));
        }
        let (algorithm, source) = match (given.first(), announced.first()) {
            (Some((algorithm, value)), _) => {
                let valid = BASE64_STANDARD
                    .decode(value.trim())
                    .is_ok_and(|bytes| bytes.len() == algorithm.digest_len());
                if !valid {
                    // No body has it.
                    return Err(fail(
                        S3ErrorCode::BadDigest,
                        format!("Value for {} header is invalid.", algorithm.header()),
                    ));
                }
                (*algorithm, Source::Given(value.trim().to_owned()))
            }
            (None, Some(algorithm)) => (*algorithm, Source::Trailer),
            (None, None) => (Self::chosen_algorithm(headers)?, Source::Nowhere),
        };
        Ok(Self {
            md5,
            algorithm,
            source,
        })
    }

    /// The algorithm a request chose without sending a value.
    fn chosen_algorithm(headers: &HeaderMap) -> S3Result<Algorithm> {
        let chosen = headers
            .get("x-amz-sdk-checksum-algorithm")
            .or_else(|| headers.get("x-amz-checksum-algorithm"))
            .and_then(|value| value.to_str().ok());
        match chosen {
            None => Ok(Algorithm::Crc64Nvme),
            Some(name) => Algorithm::from_name(name).ok_or_else(|| {
                fail(
                    S3ErrorCode::InvalidRequest,
                    "Checksum algorithm provided is unsupported.",
                )
            }),
        }
    }

    /// The checksum to compute.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Compares what came with what was said. Call after the whole body.
    pub(crate) fn verify(&self, digests: &Digests, trailers: Option<&TrailingHeaders>) -> S3Result<()> {
        if self.md5.is_some_and(|md5| md5 != digests.md5) {
            return Err(fail(
                S3ErrorCode::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ));
        }
        let wanted = match &self.source {
            Source::Nowhere => return Ok(()),
            Source::Given(value) => value.clone(),
            Source::Trailer => trailers
                .and_then(|trailers| {
                    trailers.read(|headers| {
                        headers
                            .get(self.algorithm.header())
                            .and_then(|value| value.to_str().ok())
                            .map(|value| value.trim().to_owned())
                    })
                })
                .flatten()
                .ok_or_else(|| {
                    fail(
                        S3ErrorCode::IncompleteBody,
                        "The request announced a checksum trailer but its body ended without one.",
                    )
                })?,
        };
        if wanted == digests.checksum {
            Ok(())
        } else {
            Err(fail(
                S3ErrorCode::BadDigest,
                format!(
                    "The {} you specified did not match what we received.",
                    self.algorithm.name()
                ),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn code(result: S3Result<Demand>) -> String {
        result.unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn nothing_said_means_crc64nvme() {
        let demand = Demand::from_request(None, &[], &HeaderMap::new()).unwrap();
        assert_eq!(
            (demand.algorithm, demand.source),
            (Algorithm::Crc64Nvme, Source::Nowhere)
        );
    }

    #[test]
    fn a_trailer_is_expected_when_announced() {
        let headers = headers(&[("x-amz-trailer", "X-Amz-Checksum-CRC32")]);
        let demand = Demand::from_request(None, &[], &headers).unwrap();
        assert_eq!(
            (demand.algorithm, &demand.source),
            (Algorithm::Crc32, &Source::Trailer)
        );
        let digests = Digests {
            md5: [0; 16],
            checksum: "AAAAAA==".into(),
        };
        let missing = demand.verify(&digests, None).unwrap_err();
        assert_eq!(missing.code(), &S3ErrorCode::IncompleteBody);
    }

    #[test]
    fn wrong_values_are_told_apart() {
        let none = HeaderMap::new();
        for md5 in ["", "abc", "not base64!", "AAAA"] {
            assert_eq!(
                code(Demand::from_request(Some(md5), &[], &none)),
                "InvalidDigest",
                "{md5}"
            );
        }
        let short = [(Algorithm::Sha256, "AAAA".to_owned())];
        assert_eq!(code(Demand::from_request(None, &short, &none)), "BadDigest");
        let two = [
            (Algorithm::Crc32, "AAAAAA==".to_owned()),
            (Algorithm::Crc32c, "AAAAAA==".to_owned()),
        ];
        assert_eq!(code(Demand::from_request(None, &two, &none)), "InvalidRequest");
        let unknown = headers(&[("x-amz-sdk-checksum-algorithm", "CRC17")]);
        assert_eq!(code(Demand::from_request(None, &[], &unknown)), "InvalidRequest");
    }

    #[test]
    fn given_values_are_compared() {
        let given = [(Algorithm::Crc32, "AAAAAA==".to_owned())];
        let demand = Demand::from_request(None, &given, &HeaderMap::new()).unwrap();
        let digests = |checksum: &str| Digests {
            md5: [0; 16],
            checksum: checksum.into(),
        };
        assert!(demand.verify(&digests("AAAAAA=="), None).is_ok());
        let error = demand.verify(&digests("AAAAAQ=="), None).unwrap_err();
        assert_eq!(error.code(), &S3ErrorCode::BadDigest);
    }
}
