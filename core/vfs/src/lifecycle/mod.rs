//! Lifecycle: what a bucket's rules say is to go, goes.
//!
//! A bucket's rules ([`Lifecycle`]) are one setting of it, `lifecycle`. A worker of the same name goes
//! through the buckets that have rules, once a day after midnight (UTC) and whenever rules were changed,
//! and does what is due by then:
//!
//! - a present object that is old enough is deleted as by a DELETE: in a versioned bucket that leaves a
//!   delete marker, in one with a trash it goes there;
//! - a noncurrent version that has been one for long enough is removed, but for the newest ones that a rule
//!   keeps;
//! - a delete marker with nothing behind it is removed;
//! - an upload that was begun too long ago is aborted.
//!
//! **Ages are whole days**, rounded up to the next midnight: what is due is due for all at once, and one
//! pass a day is enough. For tests a day may be shorter ([`crate::Vfs::run_lifecycle`]); then nothing is
//! rounded and passes are eight to a day.
//!
//! **A pass** ([`pass`]) walks the versions of each prefix that a rule names, in pages; it keeps nothing but
//! where it is, and notes that in the setting `lifecycle-progress`, so that another gateway or the next
//! start goes on there. Each deletion looks again, in its own transaction, at what it deletes: an object
//! that was replaced since it was listed stays. The worker rests as long as it worked, so that it never
//! takes more than half of what doors could have. What cannot be deleted, because it is locked, attached or
//! in a snapshot, is counted and left.
//!
//! One gateway does this for all of them.
mod calendar;
mod document;
mod pass;
mod progress;
mod worker;

use std::collections::BTreeMap;

pub use self::document::{
    Expiration, Lifecycle, LifecycleFilter, LifecycleRule, NoncurrentExpiration, RuleForm,
};
use crate::{Error, InodeNo, Result, Vfs, xattrs};

/// The setting of a bucket that its rules are.
const SETTING: &str = "lifecycle";
/// The setting of an object that its tags are.
const TAGS: &str = "tagging";

/// Tags of an object, by key.
pub type Tags = BTreeMap<String, String>;

impl Vfs {
    /// The lifecycle rules of a bucket, if it has any.
    pub async fn lifecycle(&self, bucket: &str) -> Result<Option<Lifecycle>> {
        let document = self.bucket_setting(bucket, SETTING).await?;
        document.map(|document| Lifecycle::parse(&document)).transpose()
    }

    /// Sets the lifecycle rules of a bucket, or ends them; durable when it returns.
    pub async fn set_lifecycle(&self, bucket: &str, rules: Option<&Lifecycle>) -> Result<()> {
        let document = rules.map(Lifecycle::to_document).transpose()?;
        self.set_bucket_setting(bucket, SETTING, document).await
    }
}

/// Tags as the setting of an object has them: a JSON object. What is no such object has none.
pub fn parse_tags(setting: Option<&str>) -> Tags {
    setting
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// Tags of an inode.
fn tags_of(read: &(impl meta::Read + ?Sized), ino: InodeNo) -> Result<Tags> {
    let name = [xattrs::SETTING, TAGS.as_bytes()].concat();
    let setting = xattrs::get(read, ino, &name)?;
    Ok(parse_tags(
        setting.as_deref().and_then(|text| std::str::from_utf8(text).ok()),
    ))
}

fn damaged(error: &serde_json::Error) -> Error {
    Error::Internal(format!("lifecycle rules cannot be read: {error}"))
}
