//! ACLs of buckets and objects, and the ACL that a new object gets.
use http::{Extensions, HeaderMap};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::access::{Asked, Authorizer, BucketAccess, ObjectOwnership as Ownership, denied};
use crate::acl::{Acl, SETTING, Wish, owner_dto};
use crate::door::Door;
use crate::error::{self, fail};
use crate::ops::version;

/// ACLs are off, and the request wants one that gives something away.
fn acls_off() -> S3Error {
    fail(
        S3ErrorCode::AccessControlListNotSupported,
        "The bucket does not allow ACLs",
    )
}

/// Refuses an ACL that grants to strangers where the bucket blocks that.
fn refuse_public(acl: &Acl, bucket: &BucketAccess) -> S3Result<()> {
    if acl.is_public() && bucket.block().block_public_acls {
        return Err(denied());
    }
    Ok(())
}

impl Door {
    /// The ACL that a request asks for by name, by headers or by a document; one of the three.
    fn wished(
        &self,
        canned: Option<&str>,
        headers: &HeaderMap,
        document: Option<&AccessControlPolicy>,
    ) -> S3Result<Wish> {
        let wish = Wish::of_request(canned, headers, &*self.identities)?;
        match (wish, document) {
            (Some(wish), None) => Ok(wish),
            (None, Some(document)) => Wish::of_document(document, &*self.identities),
            (Some(_), Some(_)) => Err(fail(
                S3ErrorCode::UnexpectedContent,
                "This request does not support content",
            )),
            (None, None) => Err(fail(
                S3ErrorCode::MissingSecurityHeader,
                "Your request was missing a required header: x-amz-acl",
            )),
        }
    }

    /// The setting `acl` of a new object; `None` where it is the bucket owner's alone.
    pub(crate) fn acl_of_new(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
        canned: Option<&str>,
    ) -> S3Result<Option<String>> {
        let asked = Asked::about(extensions)?;
        let bucket = asked.bucket()?;
        let wish = Wish::of_request(canned, headers, &*self.identities)?;
        let handed_over = wish
            .as_ref()
            .is_some_and(|wish| wish.hands_over(&bucket.owner.id));
        // What nobody signed is nobody's, and so the bucket's.
        let writer = asked
            .caller
            .identity()
            .map_or(&bucket.owner, |identity| &identity.account);
        let owner = match bucket.ownership() {
            Ownership::BucketOwnerEnforced => {
                return match wish {
                    Some(wish) if !wish.shares_nothing(&bucket.owner.id) => Err(acls_off()),
                    _ => Ok(None),
                };
            }
            Ownership::BucketOwnerPreferred if handed_over => &bucket.owner,
            Ownership::BucketOwnerPreferred | Ownership::ObjectWriter => writer,
        };
        let acl = match wish {
            None => Acl::private(owner.clone()),
            Some(wish) => wish.resolve(owner.clone(), &bucket.owner),
        };
        refuse_public(&acl, bucket)?;
        let is_default = acl == Acl::private(bucket.owner.clone());
        Ok((!is_default).then(|| acl.write()))
    }

    pub(crate) async fn bucket_acl(
        &self,
        req: S3Request<GetBucketAclInput>,
    ) -> S3Result<S3Response<GetBucketAclOutput>> {
        let bucket = Asked::about(&req.extensions)?.bucket()?;
        let off = Acl::private(bucket.owner.clone());
        let acl = if bucket.has_acls() { &bucket.acl } else { &off };
        Ok(S3Response::new(GetBucketAclOutput {
            grants: Some(acl.to_dto()),
            owner: Some(owner_dto(&acl.owner)),
        }))
    }

    pub(crate) async fn set_bucket_acl(
        &self,
        req: S3Request<PutBucketAclInput>,
    ) -> S3Result<S3Response<PutBucketAclOutput>> {
        let bucket = Asked::about(&req.extensions)?.bucket()?;
        let input = req.input;
        let document = input.access_control_policy.as_ref();
        let canned = input.acl.as_ref().map(BucketCannedACL::as_str);
        let wish = self.wished(canned, &req.headers, document)?;
        if !bucket.has_acls() {
            return if wish.shares_nothing(&bucket.owner.id) {
                Ok(S3Response::new(PutBucketAclOutput::default()))
            } else {
                Err(acls_off())
            };
        }
        // An ACL changes what is granted, not whose it is.
        if names_another(document, &bucket.owner) {
            return Err(denied());
        }
        let acl = wish.resolve(bucket.owner.clone(), &bucket.owner);
        refuse_public(&acl, bucket)?;
        self.vfs
            .set_bucket_setting(&input.bucket, SETTING, Some(acl.write().into_bytes()))
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::new(PutBucketAclOutput::default()))
    }

    pub(crate) async fn object_acl(
        &self,
        req: S3Request<GetObjectAclInput>,
    ) -> S3Result<S3Response<GetObjectAclOutput>> {
        let bucket = Asked::about(&req.extensions)?.bucket()?;
        let input = &req.input;
        let version = version::asked(input.version_id.as_deref())?;
        let object = self.open(&input.bucket, &input.key, version).await?;
        let acl = if bucket.has_acls() {
            Authorizer::acl_of(object.info(), bucket)
        } else {
            Acl::private(bucket.owner.clone())
        };
        Ok(S3Response::new(GetObjectAclOutput {
            grants: Some(acl.to_dto()),
            owner: Some(owner_dto(&acl.owner)),
            ..GetObjectAclOutput::default()
        }))
    }

    pub(crate) async fn set_object_acl(
        &self,
        req: S3Request<PutObjectAclInput>,
    ) -> S3Result<S3Response<PutObjectAclOutput>> {
        let asked = Asked::about(&req.extensions)?;
        let bucket = asked.bucket()?;
        let input = req.input;
        let canned = input.acl.as_ref().map(ObjectCannedACL::as_str);
        let document = input.access_control_policy.as_ref();
        let wish = self.wished(canned, &req.headers, document)?;
        let version = version::asked(input.version_id.as_deref())?;
        // Whoever asks for what is not there is told so, whatever he asks for.
        let object = self.open(&input.bucket, &input.key, version).await?;
        if !bucket.has_acls() {
            return if wish.shares_nothing(&bucket.owner.id) {
                Ok(S3Response::new(PutObjectAclOutput::default()))
            } else {
                Err(acls_off())
            };
        }
        let before = Authorizer::acl_of(object.info(), bucket);
        if names_another(document, &before.owner) {
            return Err(denied());
        }
        let preferred = bucket.ownership() == Ownership::BucketOwnerPreferred;
        let owner = if preferred && wish.hands_over(&bucket.owner.id) {
            bucket.owner.clone()
        } else {
            before.owner
        };
        let acl = wish.resolve(owner, &bucket.owner);
        refuse_public(&acl, bucket)?;
        let (ino, written) = (object.info().ino, acl.write());
        self.vfs
            .change_object_settings(&input.bucket, input.key.as_bytes(), version, move |info| {
                // Another object has come in its place: its ACL was not looked at.
                if info.ino != ino {
                    return Err(vfs::Error::Busy("it was replaced at the same moment"));
                }
                Ok([(SETTING.to_owned(), Some(written.clone()))].into())
            })
            .await
            .map_err(error::object)?;
        Ok(S3Response::new(PutObjectAclOutput::default()))
    }
}

/// Whether a document names another owner.
fn names_another(document: Option<&AccessControlPolicy>, owner: &access::Account) -> bool {
    document
        .and_then(|document| document.owner.as_ref()?.id.as_deref())
        .is_some_and(|id| id != owner.id.as_str())
}
