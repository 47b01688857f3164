//! Whose the objects of a bucket are: ownership controls, and what a new bucket is given.
use access::{Account, Caller};
use http::{Extensions, HeaderMap, StatusCode};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::access::{Asked, OWNERSHIP, ObjectOwnership as Ownership, OwnershipSetting};
use crate::acl::{self, Acl, Wish};
use crate::door::Door;
use crate::error::{self, fail};

/// What a request that makes a bucket says about who may do what with it.
pub(crate) struct BucketWishes {
    /// Settings of the new bucket, by name.
    pub(crate) settings: vfs::BucketSettings,
    /// Whether the request says anything of it.
    pub(crate) said: bool,
}

impl BucketWishes {
    /// Out of the request; `door` knows what a bucket has that asks for nothing.
    pub(crate) fn of_request(
        door: &Door,
        extensions: &Extensions,
        headers: &HeaderMap,
        canned: Option<&str>,
        ownership: Option<&str>,
    ) -> S3Result<Self> {
        let owner = match &Asked::about(extensions)?.caller {
            Caller::Known(identity) => identity.account.clone(),
            Caller::Anonymous => door.identities.gateway(),
        };
        let controls = match ownership {
            Some(name) => Some(parse(name)?),
            // The writer owns it: what buckets had before there were ownership controls.
            None if door.object_ownership == Ownership::ObjectWriter => None,
            None => Some(door.object_ownership),
        };
        let mut settings = vfs::BucketSettings::new();
        if controls != Some(Ownership::BucketOwnerEnforced) {
            settings.insert(OWNERSHIP.to_owned(), written(controls)?);
        }
        let wish = Wish::of_request(canned, headers, &*door.identities)?;
        let said = ownership.is_some() || wish.is_some();
        if let Some(wish) = wish {
            let shares_nothing = wish.shares_nothing(&owner.id);
            if controls != Some(Ownership::BucketOwnerEnforced) {
                let acl = wish.resolve(owner.clone(), &owner);
                if acl != Acl::private(owner) {
                    settings.insert(acl::SETTING.to_owned(), acl.write().into_bytes());
                }
            } else if !shares_nothing {
                return Err(acl_in_the_way());
            }
        }
        Ok(Self { settings, said })
    }
}

fn written(controls: Option<Ownership>) -> S3Result<Vec<u8>> {
    serde_json::to_vec(&OwnershipSetting {
        object_ownership: controls,
    })
    .map_err(|_| fail(S3ErrorCode::InternalError, "The setting cannot be written."))
}

fn parse(name: &str) -> S3Result<Ownership> {
    match name {
        ObjectOwnership::BUCKET_OWNER_ENFORCED => Ok(Ownership::BucketOwnerEnforced),
        ObjectOwnership::BUCKET_OWNER_PREFERRED => Ok(Ownership::BucketOwnerPreferred),
        ObjectOwnership::OBJECT_WRITER => Ok(Ownership::ObjectWriter),
        _ => Err(fail(
            S3ErrorCode::InvalidArgument,
            "Invalid x-amz-object-ownership header: there is no such object ownership.",
        )),
    }
}

fn shown(ownership: Ownership) -> ObjectOwnership {
    ObjectOwnership::from_static(match ownership {
        Ownership::BucketOwnerEnforced => ObjectOwnership::BUCKET_OWNER_ENFORCED,
        Ownership::BucketOwnerPreferred => ObjectOwnership::BUCKET_OWNER_PREFERRED,
        Ownership::ObjectWriter => ObjectOwnership::OBJECT_WRITER,
    })
}

fn acl_in_the_way() -> S3Error {
    fail(
        S3ErrorCode::InvalidBucketAclWithObjectOwnership,
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    )
}

impl Door {
    pub(crate) async fn ownership(
        &self,
        req: S3Request<GetBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
        let controls = Asked::about(&req.extensions)?.bucket()?.controls.ok_or_else(|| {
            fail(
                S3ErrorCode::OwnershipControlsNotFoundError,
                "The bucket ownership controls were not found",
            )
        })?;
        Ok(S3Response::new(GetBucketOwnershipControlsOutput {
            ownership_controls: Some(OwnershipControls {
                rules: vec![OwnershipControlsRule {
                    object_ownership: shown(controls),
                }],
            }),
        }))
    }

    pub(crate) async fn set_ownership(
        &self,
        req: S3Request<PutBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
        let bucket = Asked::about(&req.extensions)?.bucket()?;
        let [rule] = req.input.ownership_controls.rules.as_slice() else {
            return Err(fail(
                S3ErrorCode::MalformedXML,
                "The XML must have exactly one rule.",
            ));
        };
        let ownership = parse(rule.object_ownership.as_str())
            .map_err(|_| fail(S3ErrorCode::MalformedXML, "There is no such object ownership."))?;
        let owner: &Account = &bucket.owner;
        if ownership == Ownership::BucketOwnerEnforced
            && bucket.has_acls()
            && !bucket.acl.is_private_to(&owner.id)
        {
            return Err(acl_in_the_way());
        }
        self.vfs
            .set_bucket_setting(&req.input.bucket, OWNERSHIP, Some(written(Some(ownership))?))
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
    }

    /// Without controls objects are their writers'.
    pub(crate) async fn delete_ownership(
        &self,
        req: S3Request<DeleteBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
        self.vfs
            .set_bucket_setting(&req.input.bucket, OWNERSHIP, Some(written(None)?))
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::with_status(
            DeleteBucketOwnershipControlsOutput::default(),
            StatusCode::NO_CONTENT,
        ))
    }
}
