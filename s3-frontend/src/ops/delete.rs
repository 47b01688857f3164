//! DeleteObject and DeleteObjects.
use futures::StreamExt as _;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::{Deleted, Governance, Precondition, VersionId};

use super::object_lock::governance;
use super::version;
use crate::access::{Refused, denied};
use crate::condition;
use crate::door::Door;
use crate::error::{self, fail};
use crate::{limits, naming};

/// Deletions of one DeleteObjects that run at a time: they share the syncs of the metadata engine.
const PARALLEL: usize = 16;

impl Door {
    pub(crate) async fn delete(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        let version = version::asked(input.version_id.as_deref())?;
        let precondition = condition::of_deletion(
            condition::of_write(&req.headers).if_match,
            input.if_match_last_modified_time.as_ref(),
            input.if_match_size,
        )?;
        let key = input.key.as_bytes();
        let governance = governance(input.bypass_governance_retention);
        let deleted = self
            .delete_if(&input.bucket, key, version, precondition, governance)
            .await?;
        Ok(S3Response::with_status(
            DeleteObjectOutput {
                delete_marker: deleted.marker.then_some(true),
                version_id: version::shown(deleted.version),
                ..DeleteObjectOutput::default()
            },
            http::StatusCode::NO_CONTENT,
        ))
    }

    pub(crate) async fn delete_many(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput {
            bucket,
            delete,
            bypass_governance_retention,
            ..
        } = req.input;
        let governance = governance(bypass_governance_retention);
        let refused = req.extensions.get::<Refused>().cloned().unwrap_or_default().0;
        let asked = delete.objects.len() + refused.len();
        if !(1..=limits::MAX_DELETE).contains(&asked) {
            return Err(fail(
                S3ErrorCode::MalformedXML,
                "The XML must name between 1 and 1000 objects to delete.",
            ));
        }
        self.require_bucket(&bucket).await?;
        let quiet = delete.quiet.unwrap_or(false);
        let results: Vec<(ObjectIdentifier, S3Result<Deleted>)> = futures::stream::iter(delete.objects)
            .map(|object| async {
                let result = self.delete_one(&bucket, &object, governance).await;
                (object, result)
            })
            .buffered(PARALLEL)
            .collect()
            .await;
        let mut deleted = Vec::new();
        let mut errors: Vec<Error> = refused
            .iter()
            .map(|object| described(object, &denied()))
            .collect();
        for (object, result) in results {
            match result {
                Ok(_) if quiet => {}
                Ok(done) => deleted.push(DeletedObject {
                    delete_marker: done.marker.then_some(true),
                    delete_marker_version_id: version::shown(done.version).filter(|_| done.marker),
                    key: Some(object.key),
                    version_id: object.version_id,
                }),
                Err(error) => errors.push(described(&object, &error)),
            }
        }
        let deleted = (!deleted.is_empty()).then_some(deleted);
        let errors = (!errors.is_empty()).then_some(errors);
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted,
            errors,
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn delete_one(
        &self,
        bucket: &str,
        object: &ObjectIdentifier,
        governance: Governance,
    ) -> S3Result<Deleted> {
        let version = version::asked(object.version_id.as_deref())?;
        if object.key.len() > naming::MAX_KEY {
            return Err(fail(S3ErrorCode::KeyTooLongError, "Your key is too long."));
        }
        let tag = object.e_tag.as_ref();
        let precondition = condition::of_deletion(
            tag.map(|tag| vec![tag.value().to_owned()]),
            object.last_modified_time.as_ref(),
            object.size,
        )?;
        let key = object.key.as_bytes();
        self.delete_if(bucket, key, version, precondition, governance)
            .await
    }

    /// Deletes. What is not there meets every condition, and nothing is done then.
    async fn delete_if(
        &self,
        bucket: &str,
        key: &[u8],
        version: Option<VersionId>,
        precondition: Precondition,
        governance: Governance,
    ) -> S3Result<Deleted> {
        let conditional = precondition.wants_object();
        match self
            .vfs
            .delete_version_under(bucket, key, version, precondition, governance)
            .await
        {
            Err(vfs::Error::NotFound) if conditional => Ok(Deleted::default()),
            deleted => deleted.map_err(error::object),
        }
    }
}

fn described(object: &ObjectIdentifier, error: &S3Error) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(object.key.clone()),
        message: error.message().map(str::to_owned),
        version_id: object.version_id.clone(),
    }
}
