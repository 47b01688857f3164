//! Takes a request's body into the namespace, verified.
//!
//! Nothing is visible before the caller commits, and every error here leads to the writer being
//! dropped: a body that is short, long, corrupt or interrupted stores nothing.
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::Extensions;
use s3s::dto::StreamingBlob;
use s3s::stream::ByteStream as _;
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders};
use vfs::object::ObjectWriter;

use crate::encryption::Keystream;
use crate::encryption::sealing::Stretch;
use crate::error::{fail, fail_custom};
use crate::integrity::digester::Digests;
use crate::integrity::{Algorithm, Demand, Digester};
use crate::layer::BodyFaults;
use crate::limits;

/// What a request says about its body.
pub(crate) struct Intake {
    /// The bytes.
    pub(crate) body: Option<StreamingBlob>,
    /// Length after the transfer coding is taken off.
    pub(crate) content_length: Option<i64>,
    /// Hashes to compute and compare.
    pub(crate) demand: Demand,
    /// Trailers of an aws-chunked body.
    pub(crate) trailers: Option<TrailingHeaders>,
    /// Where the connection tells why a body broke off.
    pub(crate) faults: Option<Arc<BodyFaults>>,
    /// What encrypts the bytes before they are stored; they are hashed as they came.
    pub(crate) keystream: Option<Keystream>,
}

/// The fault recorder that the strict layer put into a request.
pub(crate) fn faults(extensions: &Extensions) -> Option<Arc<BodyFaults>> {
    extensions.get::<Arc<BodyFaults>>().cloned()
}

impl Intake {
    /// The length, checked before a byte is taken; `None`: the body says itself where it ends.
    pub(crate) fn check_length(&self) -> S3Result<Option<u64>> {
        let exact = || {
            self.body
                .as_ref()
                .map_or(Some(0), |body| body.remaining_length().exact())
        };
        let length = match self.content_length {
            Some(length) => u64::try_from(length)
                .map_err(|_| fail(S3ErrorCode::InvalidArgument, "Content-Length is negative."))?,
            None => match exact() {
                Some(length) => length as u64,
                None if self.faults.as_ref().is_some_and(|faults| faults.is_open_ended()) => return Ok(None),
                None => {
                    return Err(fail(
                        S3ErrorCode::MissingContentLength,
                        "You must provide the Content-Length HTTP header.",
                    ));
                }
            },
        };
        if length > limits::MAX_SINGLE_PUT {
            return Err(too_large());
        }
        Ok(Some(length))
    }

    /// Moves the body into `writer` and verifies it.
    pub(crate) async fn run(mut self, writer: &mut ObjectWriter) -> S3Result<Digests> {
        let length = self.check_length()?;
        let mut digester = Digester::new(self.demand.algorithm());
        let mut taken = 0u64;
        if let Some(mut body) = self.body {
            while let Some(piece) = body.next().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(error) => return Err(body_error(self.faults.as_deref(), &*error)),
                };
                taken += piece.len() as u64;
                if taken > limits::MAX_SINGLE_PUT {
                    return Err(too_large());
                }
                if length.is_some_and(|length| taken > length) {
                    return Err(incomplete("The request body is longer than its declared length."));
                }
                if piece.is_empty() {
                    continue;
                }
                digester.update(piece.clone()).await?;
                let piece = match &mut self.keystream {
                    Some(keystream) => keystream.apply(&piece)?,
                    None => piece,
                };
                writer.write(piece).await.map_err(crate::error::object)?;
            }
        }
        if length.is_some_and(|length| taken < length) {
            return Err(incomplete(
                "You did not provide the number of bytes specified by the Content-Length HTTP header.",
            ));
        }
        let digests = digester.finish().await?;
        self.demand.verify(&digests, self.trailers.as_ref())?;
        Ok(digests)
    }
}

/// Moves bytes that are stored already into `writer`, encrypted as `stretch` says.
pub(crate) async fn recode(
    mut bytes: BoxStream<'static, vfs::Result<Bytes>>,
    stretch: Option<Stretch>,
    algorithm: Algorithm,
    writer: &mut ObjectWriter,
) -> S3Result<Digests> {
    let mut digester = Digester::new(algorithm);
    let mut keystream = stretch.map(|stretch| stretch.keystream);
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(crate::error::object)?;
        digester.update(piece.clone()).await?;
        let piece = match &mut keystream {
            Some(keystream) => keystream.apply(&piece)?,
            None => piece,
        };
        writer.write(piece).await.map_err(crate::error::object)?;
    }
    digester.finish().await
}

fn too_large() -> S3Error {
    fail(
        S3ErrorCode::EntityTooLarge,
        "Your proposed upload exceeds the maximum allowed object size.",
    )
}

fn incomplete(message: &'static str) -> S3Error {
    fail(S3ErrorCode::IncompleteBody, message)
}

/// Why a body broke off. Faults of the connection are recorded by the strict layer; those of s3s's
/// decoders have private types and are told apart by what they say.
fn body_error(faults: Option<&BodyFaults>, error: &(dyn std::error::Error + 'static)) -> S3Error {
    if let Some(fault) = faults.and_then(BodyFaults::get) {
        return fault.to_s3();
    }
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        fail_custom(
            "XAmzContentSHA256Mismatch",
            http::StatusCode::BAD_REQUEST,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    } else if text.contains("SignatureMismatch") {
        fail(
            S3ErrorCode::SignatureDoesNotMatch,
            "The signature of a body chunk does not match. Check your key and signing method.",
        )
    } else if text.contains("LengthMismatch") || text.contains("Incomplete") {
        incomplete("The request body does not have its declared length.")
    } else {
        fail(S3ErrorCode::InvalidRequest, "The request body is malformed.")
    }
}
