//! What every request that makes an object may wish for it: PutObject, CopyObject, CreateMultipartUpload.
use http::{Extensions, HeaderMap};
use s3s::S3Result;
use vfs::{ObjectLock, ObjectMeta};

use crate::acl;
use crate::door::Door;

/// A lock and a canned ACL.
pub(crate) struct Wished<'a> {
    pub(crate) lock: ObjectLock,
    pub(crate) acl: Option<&'a str>,
}

/// Reads both from one of s3s's inputs.
macro_rules! wished {
    ($input:expr) => {
        $crate::ops::new_object::Wished {
            lock: $crate::lock::wanted_lock!($input)?,
            acl: $input.acl.as_ref().map(s3s::dto::ObjectCannedACL::as_str),
        }
    };
}

pub(crate) use wished;

impl Door {
    /// Keeps the wishes of a request in the settings of its object to be. `headers` may grant, too.
    pub(crate) async fn keep_wishes(
        &self,
        bucket: &str,
        wished: Wished<'_>,
        extensions: &Extensions,
        headers: &HeaderMap,
        meta: &mut ObjectMeta,
    ) -> S3Result<()> {
        if !wished.lock.is_empty() {
            self.require_lock(bucket).await?;
            wished.lock.keep(meta);
        }
        let acl = self.acl_of_new(extensions, headers, wished.acl)?;
        meta.settings
            .extend(acl.map(|acl| (acl::SETTING.to_owned(), acl)));
        Ok(())
    }
}
