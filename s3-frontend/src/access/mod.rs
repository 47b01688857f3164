//! Who may do what: the one place where requests are authorised.
//!
//! s3s calls [`Authorizer::check`] for every request whose signature is right or absent, before it reads
//! a body. What happens there:
//! 1. who asks ([`Caller`]): the holder of the key, or nobody;
//! 2. what the operation needs ([`operations`]: actions, and on what);
//! 3. what the bucket says ([`bucket`]: owner, policy, ACL, public access block), and where it matters
//!    what the object says (its owner, its ACL, its tags);
//! 4. what the request says about itself ([`conditions`]);
//! 5. the decision ([`access::decision`]), for each action that the request needs.
//!
//! Where the body decides (the keys of DeleteObjects, the key of a form, the tags of PutObjectTagging)
//! the decision waits until it has been read. What was found out is handed to the operation with the
//! request ([`Asked`]), so that no operation looks a second time.
//!
//! A refusal tells nothing: `AccessDenied`. Whether an object is there is told to whom may list the
//! bucket; that a bucket is not there is told to everybody, since bucket names are not secret in S3.
mod bucket;
mod conditions;
mod documents;
#[cfg(test)]
pub(crate) mod fixed;
mod identities;
mod operations;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use access::decision::{Decision, Grounds, Named, decide};
use access::policy::{Context, Document, Question};
use access::{Account, Caller, CanonicalId};
use http::{Extensions, HeaderMap};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopySource, DeleteObjectsInput, ObjectIdentifier, PostObjectInput, PutObjectTaggingInput};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};
use vfs::{FoundVersion, ObjectInfo, Vfs};

pub use self::bucket::ObjectOwnership;
pub(crate) use self::bucket::{
    BucketAccess, Buckets, OWNERSHIP, OwnershipSetting, POLICY, PUBLIC_ACCESS_BLOCK, PublicAccessBlock,
};
use self::documents::Documents;
pub(crate) use self::identities::Identities;
use self::operations::{Rule, Target, rule_of};
use crate::acl::{self, Acl, Permission};
use crate::error::{self, fail};
use crate::layer::{Client, Proven};
use crate::ops::{rename, version};
use crate::tags::SETTING as TAGGING;

/// Canned ACLs that give nothing to anybody but the two owners.
const HARMLESS_ACLS: [&str; 3] = ["private", "bucket-owner-read", "bucket-owner-full-control"];

/// What was found out about a request: it rides in the request's extensions.
pub(crate) struct Asked {
    /// Who asks.
    pub(crate) caller: Caller,
    /// What the bucket says, where the request names one that is there.
    pub(crate) bucket: Option<Arc<BucketAccess>>,
    context: Context,
}

impl Asked {
    /// What was found out about a request.
    pub(crate) fn about(extensions: &Extensions) -> S3Result<&Arc<Self>> {
        extensions
            .get::<Arc<Self>>()
            .ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))
    }

    /// What the bucket says.
    pub(crate) fn bucket(&self) -> S3Result<&BucketAccess> {
        self.bucket.as_deref().ok_or_else(error::no_such_bucket)
    }
}

/// Keys of a DeleteObjects that may not be deleted: they ride in the request's extensions.
#[derive(Clone, Default)]
pub(crate) struct Refused(pub(crate) Vec<ObjectIdentifier>);

/// Authorises requests.
pub(crate) struct Authorizer {
    vfs: Vfs,
    identities: Arc<dyn Identities>,
    buckets: Buckets,
    documents: Documents,
}

/// An object that a request is about.
#[derive(Clone, Copy)]
struct Object<'a> {
    bucket: &'a str,
    key: &'a str,
    version: Option<&'a str>,
}

impl Object<'_> {
    fn arn(&self) -> String {
        format!("arn:aws:s3:::{}/{}", self.bucket, self.key)
    }
}

/// What a request that makes an object asks for besides.
#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    shares: bool,
    tags: bool,
    retains: bool,
    holds: bool,
}

impl Wishes {
    fn of_headers(headers: &HeaderMap) -> Self {
        let canned = headers.get("x-amz-acl").map(http::HeaderValue::as_bytes);
        let has = |name: &str| headers.get(name).is_some_and(|value| !value.is_empty());
        Self {
            shares: canned.is_some_and(shares) || acl::explicit_grants(headers),
            tags: has("x-amz-tagging"),
            retains: has("x-amz-object-lock-mode") || has("x-amz-object-lock-retain-until-date"),
            holds: has("x-amz-object-lock-legal-hold"),
        }
    }
}

fn shares(canned: &[u8]) -> bool {
    !HARMLESS_ACLS.iter().any(|harmless| harmless.as_bytes() == canned)
}

/// Headers and parameters that decide, and so must not come twice: whoever reads the other one would
/// do what was not decided.
fn unambiguous(headers: &HeaderMap, uri: &http::Uri) -> S3Result<()> {
    let twice = |name: &str| headers.get_all(name).iter().nth(1).is_some();
    let query = uri.query().unwrap_or_default();
    let versions = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "versionId")
        .count();
    if versions > 1
        || ["x-amz-copy-source", "x-amz-acl", "x-amz-tagging"]
            .into_iter()
            .any(twice)
    {
        return Err(fail(
            S3ErrorCode::InvalidArgument,
            "A header or parameter comes twice.",
        ));
    }
    Ok(())
}

/// The refusal that tells nothing.
pub(crate) fn denied() -> S3Error {
    fail(S3ErrorCode::AccessDenied, "Access Denied")
}

impl Authorizer {
    /// Over the buckets of `vfs`.
    pub(crate) fn new(vfs: Vfs, identities: Arc<dyn Identities>) -> Self {
        Self {
            buckets: Buckets::new(vfs.clone(), Arc::clone(&identities)),
            vfs,
            identities,
            documents: Documents::new(),
        }
    }

    /// Decides one action on one resource. `bucket` is `None` for what is about no bucket that is there.
    fn decide(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        context: &Context,
        bucket: Option<&BucketAccess>,
        owner: &CanonicalId,
        acl: bool,
    ) -> Decision {
        let identity = caller.identity();
        // What lies in a snapshot or in the trash is under the policies of what it was taken from.
        if let Some(of) = bucket
            && let Some((arn, key)) = resource.split_once('/')
        {
            let at_home = identity.is_some_and(|identity| identity.account.id == of.owner.id);
            if key.starts_with(".trash/") && !at_home {
                return Decision::NothingAllows;
            }
            for live in live_keys(key) {
                let resource = format!("{arn}/{live}");
                let decision = self.decide(caller, action, &resource, context, bucket, owner, acl);
                if !decision.is_allowed() {
                    return decision;
                }
            }
        }
        let of_owner = identity.is_some_and(|identity| {
            identity.is_account() && bucket.is_some_and(|bucket| bucket.owner.id == identity.account.id)
        });
        if bucket.is_some_and(|bucket| bucket.policy_is_damaged) && !of_owner {
            return Decision::NothingAllows;
        }
        let mut own: Vec<(&str, Arc<Document>)> = Vec::new();
        for policy in identity.map_or(&[][..], |identity| identity.policies()) {
            match self.documents.of(policy) {
                Some(document) => own.push((policy.name.as_str(), document)),
                None => return Decision::NothingAllows,
            }
        }
        let session = identity.and_then(|identity| identity.session.as_ref());
        let session = match session.and_then(|session| Some((session, session.policy.as_ref()?))) {
            None => None,
            Some((session, policy)) => match self.documents.of(policy) {
                Some(document) => Some((session.name.as_str(), document)),
                None => return Decision::NothingAllows,
            },
        };
        let own: Vec<Named<'_>> = own
            .iter()
            .map(|(name, document)| Named { name, document })
            .collect();
        let decision = decide(
            Question {
                caller,
                action,
                resource,
                context,
            },
            &Grounds {
                own: &own,
                session: session.as_ref().map(|(name, document)| Named { name, document }),
                owner,
                bucket_owner: bucket.map_or(owner, |bucket| &bucket.owner.id),
                bucket: bucket.and_then(|bucket| bucket.policy.as_ref()),
                restricted: bucket
                    .is_some_and(|bucket| bucket.policy_is_public && bucket.block().restrict_public_buckets),
                acl,
            },
        );
        tracing::debug!(%caller, action, resource, %decision, "authorised");
        decision
    }

    /// Decides what the whole bucket, or an entry of it, needs.
    fn on_bucket(
        &self,
        caller: &Caller,
        actions: &[&str],
        resource: &str,
        context: &Context,
        bucket: &BucketAccess,
        granted_by: Option<Permission>,
    ) -> S3Result<()> {
        let acl = bucket.has_acls()
            && granted_by.is_some_and(|permission| {
                bucket
                    .acl
                    .grants(caller, permission, !bucket.block().ignore_public_acls)
            });
        let allowed = actions.iter().all(|action| {
            self.decide(
                caller,
                action,
                resource,
                context,
                Some(bucket),
                &bucket.owner.id,
                acl,
            )
            .is_allowed()
        });
        if allowed { Ok(()) } else { Err(denied()) }
    }

    /// Decides what an object itself needs.
    async fn on_object(
        &self,
        caller: &Caller,
        rule: &Rule,
        object: Object<'_>,
        context: &Context,
        bucket: &BucketAccess,
    ) -> S3Result<()> {
        let actions = match (object.version, rule.of_version) {
            (Some(_), Some(actions)) => actions,
            _ => rule.actions,
        };
        let arn = object.arn();
        let decide = |context: &Context, owner: &CanonicalId, acl: bool| {
            actions
                .iter()
                .map(|action| self.decide(caller, action, &arn, context, Some(bucket), owner, acl))
                .find(|decision| !decision.is_allowed())
        };
        // The owner's account needs no look at the object where all objects are its own.
        let his = caller
            .identity()
            .is_some_and(|identity| identity.is_account() && identity.account.id == bucket.owner.id);
        let tags_count = bucket
            .policy
            .as_ref()
            .is_some_and(|policy| policy.reads("s3:existingobjecttag/"));
        if his && !bucket.has_acls() && !tags_count {
            return decide(context, &bucket.owner.id, false).map_or(Ok(()), |_| Err(denied()));
        }
        if let Some(info) = self.look(object).await? {
            let mut context = context.clone();
            if let Some(tags) = info.meta.settings.get(TAGGING)
                && let Ok(tags) = serde_json::from_str::<BTreeMap<String, String>>(tags)
            {
                conditions::existing_tags(&mut context, tags.iter());
            }
            if !bucket.has_acls() {
                return decide(&context, &bucket.owner.id, false).map_or(Ok(()), |_| Err(denied()));
            }
            let acl = Self::acl_of(&info, bucket);
            let granted = rule
                .granted_by
                .is_some_and(|permission| acl.grants(caller, permission, !bucket.block().ignore_public_acls));
            return decide(&context, &acl.owner.id, granted).map_or(Ok(()), |_| Err(denied()));
        }
        // That it is not there is for those to know who may list the bucket.
        let mut listing = context.clone();
        listing.set("s3:prefix", object.key);
        let resource = format!("arn:aws:s3:::{}", object.bucket);
        self.on_bucket(
            caller,
            &["s3:ListBucket"],
            &resource,
            &listing,
            bucket,
            Some(Permission::Read),
        )?;
        match decide(context, &bucket.owner.id, false) {
            None => Ok(()),
            Some(Decision::Denied(_)) => Err(denied()),
            Some(_) => Err(error::no_such_key()),
        }
    }

    /// The ACL of an object: without one it is the bucket owner's.
    pub(crate) fn acl_of(info: &ObjectInfo, bucket: &BucketAccess) -> Acl {
        let private = || Acl::private(bucket.owner.clone());
        match info.meta.settings.get(acl::SETTING) {
            None => private(),
            Some(text) => Acl::read(text.as_bytes()).unwrap_or_else(private),
        }
    }

    /// The object, if there is one.
    async fn look(&self, object: Object<'_>) -> S3Result<Option<ObjectInfo>> {
        let Object { bucket, key, version } = object;
        let key = key.as_bytes();
        let found = match version::asked(version)? {
            None => self.vfs.head_object(bucket, key).await,
            Some(id) => match self.vfs.get_version(bucket, key, id).await {
                Ok(FoundVersion::Object(reader)) => Ok(reader.info().clone()),
                Ok(FoundVersion::Marker(_)) => return Ok(None),
                Err(error) => Err(error),
            },
        };
        match found {
            Ok(info) => Ok(Some(info)),
            // What cannot be an object is told by the operation, to whom may know.
            Err(
                vfs::Error::NotFound
                | vfs::Error::NotDirectory
                | vfs::Error::IsDirectory
                | vfs::Error::InvalidName(_)
                | vfs::Error::NameTooLong,
            ) => Ok(None),
            Err(error) => Err(error::object(error)),
        }
    }

    /// What a copy reads from.
    async fn on_copy_source(&self, caller: &Caller, headers: &HeaderMap, context: &Context) -> S3Result<()> {
        let Some(header) = headers.get("x-amz-copy-source") else {
            return Ok(());
        };
        // What is no copy source, and what is none here, is refused by the operation.
        let Some(Ok(CopySource::Bucket {
            bucket,
            key,
            version_id,
        })) = header.to_str().ok().map(CopySource::parse)
        else {
            return Ok(());
        };
        let access = self.buckets.of(&bucket).await?;
        expected_owner(headers, "x-amz-source-expected-bucket-owner", Some(&access))?;
        let rule = rule_of("GetObject").ok_or_else(denied)?;
        let object = Object {
            bucket: &bucket,
            key: &key,
            version: version_id.as_deref(),
        };
        self.on_object(caller, &rule, object, context, &access).await
    }

    /// What a rename takes away: every key that its source may stand for.
    async fn on_rename(
        &self,
        caller: &Caller,
        headers: &HeaderMap,
        context: &Context,
        bucket: &str,
        access: &BucketAccess,
    ) -> S3Result<()> {
        let (reading, deleting) = (rule_of("GetObject"), rule_of("DeleteObject"));
        let (reading, deleting) = reading.zip(deleting).ok_or_else(denied)?;
        for key in rename::sources(bucket, headers)? {
            let object = Object {
                bucket,
                key: &key,
                version: None,
            };
            self.on_object(caller, &reading, object, context, access).await?;
            self.on_entry(caller, &deleting, None, false, &object.arn(), context, access)?;
        }
        Ok(())
    }

    /// What else a request that makes an object asks for: an ACL, tags, a lock.
    fn on_wishes(
        &self,
        caller: &Caller,
        wishes: Wishes,
        arn: &str,
        context: &Context,
        bucket: &BucketAccess,
    ) -> S3Result<()> {
        // Whoever will own the object may do so by owning it.
        let owner = match caller.identity() {
            Some(identity) if bucket.has_acls() => &identity.account.id,
            _ => &bucket.owner.id,
        };
        for (wished, action) in [
            (wishes.shares, "s3:PutObjectAcl"),
            (wishes.tags, "s3:PutObjectTagging"),
            (wishes.retains, "s3:PutObjectRetention"),
            (wishes.holds, "s3:PutObjectLegalHold"),
        ] {
            if wished
                && !self
                    .decide(caller, action, arn, context, Some(bucket), owner, false)
                    .is_allowed()
            {
                return Err(denied());
            }
        }
        Ok(())
    }
}

/// The keys that a key in a snapshot stands for: `d/.snapshots/N/x` is `d/x` of then, and
/// `d/.snapshots/F@N` or `d/.snapshots/F@N/x` what `d/F` was (a deleted one, with `:` for each `/`).
fn live_keys(key: &str) -> Vec<String> {
    const SNAPSHOTS: &str = ".snapshots/";
    let inner = || key.find("/.snapshots/").map(|at| at + 1);
    let begin = if key.starts_with(SNAPSHOTS) {
        Some(0)
    } else {
        inner()
    };
    let Some(begin) = begin else {
        return Vec::new();
    };
    let (directory, rest) = (&key[..begin], &key[begin + SNAPSHOTS.len()..]);
    let (name, below) = match rest.split_once('/') {
        Some((name, below)) => (name, format!("/{below}")),
        None => (rest, String::new()),
    };
    match name.rsplit_once('@') {
        None => vec![format!("{directory}{}", below.trim_start_matches('/'))],
        Some((file, _)) => vec![
            format!("{directory}{file}{below}"),
            format!("{directory}{}{below}", file.replace(':', "/")),
        ],
    }
}

/// Refuses a request that expects the bucket to be another account's. The account is named by its id or by
/// its number.
fn expected_owner(headers: &HeaderMap, name: &str, bucket: Option<&BucketAccess>) -> S3Result<()> {
    let Some(bucket) = bucket else {
        return Ok(());
    };
    let (id, number) = (bucket.owner.id.as_str(), bucket.owner.id.number());
    let fits = |value: &http::HeaderValue| value == id || value == number.as_str();
    if headers.get_all(name).iter().all(fits) {
        Ok(())
    } else {
        Err(denied())
    }
}

#[async_trait::async_trait]
impl S3Access for Authorizer {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        unambiguous(cx.headers(), cx.uri())?;
        let operation = cx.s3_op().name().to_owned();
        let Some(rule) = rule_of(&operation) else {
            tracing::error!(operation, "an operation has no rule");
            return Err(denied());
        };
        let token = conditions::parameter(cx.uri(), "X-Amz-Security-Token").or_else(|| {
            let header = cx.headers().get("x-amz-security-token")?;
            header.to_str().ok().map(str::to_owned)
        });
        if cx.credentials().is_some()
            && let Some(proven) = cx.extensions_mut().get::<Proven>()
        {
            proven.set();
        }
        let caller = match cx.credentials() {
            None => Caller::Anonymous,
            Some(credentials) => Caller::Known(
                self.identities
                    .caller(&credentials.access_key, token.as_deref())?,
            ),
        };
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket.to_string()), None),
            S3Path::Object { bucket, key } => (Some(bucket.to_string()), Some(key.to_string())),
        };
        let client = cx.extensions_mut().get::<Client>().copied();
        let access = match (rule.target, &bucket) {
            (Target::Bucket | Target::Entry | Target::Object, Some(name)) => {
                Some(self.buckets.of(name).await?)
            }
            _ => None,
        };
        expected_owner(cx.headers(), "x-amz-expected-bucket-owner", access.as_deref())?;
        // Only policies look at what a request says about itself.
        let policies = access.as_ref().is_some_and(|access| access.policy.is_some())
            || cx.headers().contains_key("x-amz-copy-source")
            || caller.identity().is_some_and(|identity| {
                let session = identity.session.as_ref();
                !identity.policies().is_empty() || session.is_some_and(|session| session.policy.is_some())
            });
        let context = if policies {
            conditions::of_request(&caller, cx.headers(), cx.uri(), client)
        } else {
            Context::default()
        };
        let asked = Asked {
            caller,
            bucket: access,
            context,
        };
        if !rule.deferred {
            let name = bucket.as_deref().unwrap_or_default();
            self.on_request(&rule, &asked, cx.headers(), cx.uri(), name, key.as_deref())
                .await?;
        }
        cx.extensions_mut().insert(Arc::new(asked));
        Ok(())
    }

    async fn delete_objects(&self, req: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let asked = Arc::clone(Asked::about(&req.extensions)?);
        let rule = rule_of("DeleteObjects").ok_or_else(denied)?;
        let bucket = asked.bucket()?;
        let bypasses = bypasses_governance(&req.headers);
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        for object in std::mem::take(&mut req.input.delete.objects) {
            // A thousand keys against a large policy take long.
            tokio::task::yield_now().await;
            let arn = format!("arn:aws:s3:::{}/{}", req.input.bucket, object.key);
            let mut context = asked.context.clone();
            if let Some(version) = &object.version_id {
                context.set("s3:VersionId", version.clone());
            }
            let version = object.version_id.as_deref();
            match self.on_entry(&asked.caller, &rule, version, bypasses, &arn, &context, bucket) {
                Ok(()) => kept.push(object),
                Err(_) => refused.push(object),
            }
        }
        req.input.delete.objects = kept;
        req.extensions.insert(Refused(refused));
        Ok(())
    }

    async fn post_object(&self, req: &mut S3Request<PostObjectInput>) -> S3Result<()> {
        let asked = Arc::clone(Asked::about(&req.extensions)?);
        let rule = rule_of("PostObject").ok_or_else(denied)?;
        let input = &req.input;
        let mut context = asked.context.clone();
        if let Some(canned) = &input.acl {
            context.set("s3:x-amz-acl", canned.as_str());
        }
        if let Some(tags) = &input.tagging {
            let tags = form_urlencoded::parse(tags.as_bytes()).into_owned();
            conditions::requested_tags(&mut context, tags);
        }
        let arn = format!("arn:aws:s3:::{}/{}", input.bucket, input.key);
        let bucket = asked.bucket()?;
        self.on_entry(&asked.caller, &rule, None, false, &arn, &context, bucket)?;
        let wishes = Wishes {
            shares: input
                .acl
                .as_ref()
                .is_some_and(|canned| shares(canned.as_str().as_bytes())),
            tags: input.tagging.as_ref().is_some_and(|tags| !tags.is_empty()),
            retains: input.object_lock_mode.is_some() || input.object_lock_retain_until_date.is_some(),
            holds: input.object_lock_legal_hold_status.is_some(),
        };
        self.on_wishes(&asked.caller, wishes, &arn, &context, bucket)
    }

    async fn put_object_tagging(&self, req: &mut S3Request<PutObjectTaggingInput>) -> S3Result<()> {
        let asked = Arc::clone(Asked::about(&req.extensions)?);
        let rule = rule_of("PutObjectTagging").ok_or_else(denied)?;
        let mut context = asked.context.clone();
        let tags = req.input.tagging.tag_set.iter();
        let tags = tags.filter_map(|tag| Some((tag.key.clone()?, tag.value.clone()?)));
        conditions::requested_tags(&mut context, tags);
        let object = Object {
            bucket: &req.input.bucket,
            key: &req.input.key,
            version: req.input.version_id.as_deref(),
        };
        self.on_object(&asked.caller, &rule, object, &context, asked.bucket()?)
            .await
    }
}

/// Whether a request wants to go over a retention in governance mode.
fn bypasses_governance(headers: &HeaderMap) -> bool {
    headers
        .get("x-amz-bypass-governance-retention")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

impl Authorizer {
    /// Decides a request that needs no body to be decided.
    async fn on_request(
        &self,
        rule: &Rule,
        asked: &Asked,
        headers: &HeaderMap,
        uri: &http::Uri,
        bucket: &str,
        key: Option<&str>,
    ) -> S3Result<()> {
        let Asked { caller, context, .. } = asked;
        let arn = format!("arn:aws:s3:::{bucket}");
        match rule.target {
            // Nobody has no buckets, and may be told so.
            Target::Service if caller.identity().is_none() => Ok(()),
            Target::Service => self.on_own(caller, rule.actions, "arn:aws:s3:::*", context),
            Target::NewBucket => {
                self.on_own(caller, rule.actions, &arn, context)?;
                for (header, action) in [
                    ("x-amz-acl", "s3:PutBucketAcl"),
                    ("x-amz-object-ownership", "s3:PutBucketOwnershipControls"),
                    (
                        "x-amz-bucket-object-lock-enabled",
                        "s3:PutBucketObjectLockConfiguration",
                    ),
                ] {
                    if headers.contains_key(header) {
                        self.on_own(caller, &[action], &arn, context)?;
                    }
                }
                if acl::explicit_grants(headers) {
                    self.on_own(caller, &["s3:PutBucketAcl"], &arn, context)?;
                }
                Ok(())
            }
            Target::Bucket => {
                let access = asked.bucket()?;
                self.on_bucket(caller, rule.actions, &arn, context, access, rule.granted_by)
            }
            Target::Entry => {
                let access = asked.bucket()?;
                let arn = format!("{arn}/{}", key.unwrap_or_default());
                let version = conditions::parameter(uri, "versionId");
                let bypasses = bypasses_governance(headers);
                self.on_entry(caller, rule, version.as_deref(), bypasses, &arn, context, access)?;
                self.on_wishes(caller, Wishes::of_headers(headers), &arn, context, access)?;
                if rename::is_asked(uri) {
                    self.on_rename(caller, headers, context, bucket, access).await?;
                }
                self.on_copy_source(caller, headers, context).await
            }
            Target::Object => {
                let access = asked.bucket()?;
                let version = conditions::parameter(uri, "versionId");
                let object = Object {
                    bucket,
                    key: key.unwrap_or_default(),
                    version: version.as_deref(),
                };
                self.on_object(caller, rule, object, context, access).await?;
                if bypasses_governance(headers) {
                    let action = &["s3:BypassGovernanceRetention"];
                    self.on_bucket(caller, action, &object.arn(), context, access, None)?;
                }
                Ok(())
            }
        }
    }

    /// Decides what is about the caller's own account.
    fn on_own(&self, caller: &Caller, actions: &[&str], resource: &str, context: &Context) -> S3Result<()> {
        let account: &Account = &caller.identity().ok_or_else(denied)?.account;
        let allowed = actions.iter().all(|action| {
            self.decide(caller, action, resource, context, None, &account.id, false)
                .is_allowed()
        });
        if allowed { Ok(()) } else { Err(denied()) }
    }

    /// Decides what an entry of a bucket needs. No ACL lets a version be destroyed.
    fn on_entry(
        &self,
        caller: &Caller,
        rule: &Rule,
        version: Option<&str>,
        bypasses: bool,
        arn: &str,
        context: &Context,
        bucket: &BucketAccess,
    ) -> S3Result<()> {
        match (version, rule.of_version) {
            (Some(_), Some(actions)) => self.on_bucket(caller, actions, arn, context, bucket, None)?,
            _ => self.on_bucket(caller, rule.actions, arn, context, bucket, rule.granted_by)?,
        }
        if bypasses {
            let action = &["s3:BypassGovernanceRetention"];
            self.on_bucket(caller, action, arn, context, bucket, None)?;
        }
        Ok(())
    }
}
