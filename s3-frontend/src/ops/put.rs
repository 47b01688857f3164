//! PutObject, and browser forms (POST Object), which s3s turns into it.
use http::Method;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use vfs::object::Commit;

use crate::acl;
use crate::condition;
use crate::door::Door;
use crate::error::{self, not_implemented};
use crate::ingest::{self, Intake};
use crate::integrity::Demand;
use crate::integrity::algorithm::{checksum_fields, set_checksum};
use crate::integrity::record::{Checksum, Coverage, internal_headers};
use crate::layer::check_form_region;
use crate::metadata::{check_expected_owner, content_headers, object_meta, refuse_unsupported};
use crate::naming;
use crate::ops::version;

impl Door {
    pub(crate) async fn put(
        &self,
        mut req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        if req.method == Method::POST {
            check_form_region(req.region.as_ref().map(|region| region.as_str()), &self.region)?;
        }
        check_expected_owner(&req.headers)?;
        let vfs = self.on_terms(&req.headers)?;
        refuse_unsupported!(req.input)?;
        if req.input.write_offset_bytes.is_some() {
            return Err(not_implemented("Writing at an offset"));
        }
        let mut meta = object_meta(content_headers!(req.input), req.input.metadata.take())?;
        let acl = self.acl_of_new(
            &req.extensions,
            &req.headers,
            req.input.acl.as_ref().map(ObjectCannedACL::as_str),
        )?;
        meta.settings
            .extend(acl.map(|acl| (acl::SETTING.to_owned(), acl)));
        let given = checksum_fields!(req.input);
        let demand = Demand::from_request(req.input.content_md5.as_deref(), &given, &req.headers)?;
        let algorithm = demand.algorithm();
        let intake = Intake {
            body: req.input.body.take(),
            content_length: req.input.content_length,
            demand,
            trailers: req.trailing_headers.take(),
            faults: ingest::faults(&req.extensions),
        };
        intake.check_length()?;
        let PutObjectInput { bucket, key, .. } = req.input;
        let mut writer = vfs
            .object_writer(&bucket, key.as_bytes())
            .await
            .map_err(error::object)?;
        let digests = intake.run(&mut writer).await?;

        let etag = hex::encode(digests.md5);
        let checksum = Checksum {
            algorithm,
            coverage: Coverage::FullObject,
            value: digests.checksum,
        };
        meta.headers
            .extend(internal_headers(&etag, Some(&checksum), None));
        let precondition = condition::of_write(&req.headers);
        let commit = Commit {
            etag,
            meta,
            precondition: precondition.clone(),
            level: None,
        };
        let info = match writer.commit(commit).await {
            Ok(info) => info,
            Err(error) => {
                return Err(self
                    .write_error(error, &precondition, &bucket, key.as_bytes())
                    .await);
            }
        };

        let mut output = PutObjectOutput {
            e_tag: Some(naming::etag(&info.etag)),
            checksum_type: Some(checksum.coverage.to_dto()),
            server_side_encryption: Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256)),
            version_id: version::shown(info.version),
            ..PutObjectOutput::default()
        };
        set_checksum!(output, checksum.algorithm, checksum.value);
        self.say_level(&req.headers, info.ino, S3Response::new(output))
            .await
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
