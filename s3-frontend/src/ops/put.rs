//! PutObject, and browser forms (POST Object), which are sent here as such ([`crate::form`]).
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::object::Commit;

use crate::condition;
use crate::door::Door;
use crate::encryption::Sealing;
use crate::encryption::kept::{Kept, show_encryption};
use crate::encryption::wish::wish;
use crate::error::{self, fail, fail_custom, not_implemented};
use crate::ingest::{self, Intake};
use crate::integrity::Demand;
use crate::integrity::algorithm::{checksum_fields, set_checksum};
use crate::integrity::record::{Checksum, Coverage, internal_headers};
use crate::metadata::{content_headers, object_meta, refuse_unsupported};
use crate::naming;
use crate::ops::new_object::wished;
use crate::ops::{rename, version};
use crate::tags::Tags;

/// Where the bytes of an append go.
fn write_offset(offset: Option<i64>) -> S3Result<Option<u64>> {
    offset
        .map(|offset| u64::try_from(offset).map_err(|_| invalid_offset()))
        .transpose()
}

fn invalid_offset() -> s3s::S3Error {
    fail_custom(
        "InvalidWriteOffset",
        StatusCode::BAD_REQUEST,
        "The write offset value that you specified does not match the current object size.",
    )
}

impl Door {
    pub(crate) async fn put(
        &self,
        mut req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let vfs = self.on_terms(&req.headers)?;
        refuse_unsupported!(req.input)?;
        if rename::is_asked(&req.uri) {
            let (bucket, key) = (&req.input.bucket, &req.input.key);
            return self.rename(bucket, key, &req.headers).await;
        }
        let offset = write_offset(req.input.write_offset_bytes)?;
        let wish = wish!(req.input)?;
        let sealing = self.sealing(&req.input.bucket, &wish, &req.extensions).await?;
        let stretch = sealing.as_ref().map(Sealing::stretch).transpose()?;
        let nonce = stretch.as_ref().map(|stretch| stretch.nonce);
        let mut meta = object_meta(content_headers!(req.input), req.input.metadata.take())?;
        if let Some(tags) = &req.input.tagging {
            Tags::from_header(tags)?.keep(&mut meta);
        }
        let (bucket, wished) = (&req.input.bucket, wished!(req.input));
        self.keep_wishes(bucket, wished, &req.extensions, &req.headers, &mut meta)
            .await?;
        let given = checksum_fields!(req.input);
        let demand = Demand::from_request(req.input.content_md5.as_deref(), &given, &req.headers)?;
        let algorithm = demand.algorithm();
        let intake = Intake {
            body: req.input.body.take(),
            content_length: req.input.content_length,
            demand,
            trailers: req.trailing_headers.take(),
            faults: ingest::faults(&req.extensions),
            keystream: stretch.map(|stretch| stretch.keystream),
        };
        intake.check_length()?;
        let PutObjectInput { bucket, key, .. } = req.input;
        let wanted = condition::of_write(&req.headers);
        let precondition = match offset {
            None => wanted.clone(),
            Some(_) if sealing.is_some() => return Err(not_implemented("Appending with an encryption key")),
            Some(_) => self.to_append(&bucket, key.as_bytes(), &wanted).await?,
        };
        let mut writer = vfs
            .object_writer(&bucket, key.as_bytes())
            .await
            .map_err(error::object)?;
        let digests = intake.run(&mut writer).await?;

        let etag = Sealing::etag(sealing.as_ref(), &digests.md5);
        let checksum = Checksum {
            algorithm,
            coverage: Coverage::FullObject,
            value: digests.checksum,
        };
        meta.headers
            .extend(internal_headers(&etag, Some(&checksum), None));
        if let Some((sealing, nonce)) = sealing.as_ref().zip(nonce) {
            sealing.keep_object(&etag, nonce, &mut meta)?;
        }
        let commit = Commit {
            etag,
            meta,
            precondition,
            level: None,
        };
        let size = writer.len();
        let made = match offset {
            None => writer.commit(commit).await,
            Some(offset) => writer.append(offset, commit).await,
        };
        let info = match made {
            Ok(info) => info,
            Err(vfs::Error::OutOfRange) if offset.is_some() => return Err(invalid_offset()),
            // Replaced since it was looked at, and the client made no condition of its own.
            Err(vfs::Error::PreconditionFailed)
                if offset.is_some() && wanted == vfs::Precondition::default() =>
            {
                return Err(invalid_offset());
            }
            Err(vfs::Error::Invalid(why)) if offset.is_some() => {
                return Err(fail(
                    S3ErrorCode::InvalidRequest,
                    format!("Cannot append: {why}."),
                ));
            }
            Err(error) => {
                return Err(self.write_error(error, &wanted, &bucket, key.as_bytes()).await);
            }
        };

        let mut output = PutObjectOutput {
            e_tag: Some(naming::etag(&info.etag)),
            size: offset.map(|_| info.size as i64),
            expiration: self.expiration(&bucket, &info).await,
            version_id: version::shown(info.version),
            ..PutObjectOutput::default()
        };
        show_encryption!(output, Sealing::shown(sealing.as_ref(), wish.customer()));
        // Of an object that was there, it says something of its last bytes alone.
        if info.size == size {
            output.checksum_type = Some(checksum.coverage.to_dto());
            set_checksum!(output, checksum.algorithm, checksum.value);
        }
        self.say_level(&req.headers, info.ino, S3Response::new(output))
            .await
    }

    /// The condition of an append. Bytes that a key of their own encrypts cannot be gone on with; so that
    /// none come in between, it holds for the object that was looked at.
    async fn to_append(
        &self,
        bucket: &str,
        key: &[u8],
        wanted: &vfs::Precondition,
    ) -> S3Result<vfs::Precondition> {
        let mut precondition = wanted.clone();
        match self.vfs.head_object(bucket, key).await {
            Ok(info) if Kept::of(&info.meta)?.is_some() => {
                return Err(not_implemented("Appending to an object that a key encrypts"));
            }
            Ok(info) => {
                precondition.if_match.get_or_insert_with(|| vec![info.etag]);
            }
            Err(vfs::Error::NotFound) => {}
            Err(error) => return Err(error::object(error)),
        }
        Ok(precondition)
    }

    /// Maps the error of a conditional write. `If-Match` on a key that is not there is 404, as AWS
    /// answers it; every other failed condition is 412.
    pub(crate) async fn write_error(
        &self,
        error: vfs::Error,
        precondition: &vfs::Precondition,
        bucket: &str,
        key: &[u8],
    ) -> s3s::S3Error {
        if matches!(error, vfs::Error::PreconditionFailed)
            && precondition.if_match.is_some()
            && matches!(self.vfs.head_object(bucket, key).await, Err(vfs::Error::NotFound))
        {
            return error::no_such_key();
        }
        error::object(error)
    }
}
