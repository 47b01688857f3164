//! Object Lock: versions that nobody removes or changes for a time.
//!
//! A bucket has Object Lock or has it not; once it has, it keeps it, and stays versioned. In such a
//! bucket a version may be *held*: by a retention until a moment, or by a legal hold until that is
//! taken off. What holds a version is kept with its inode (settings `retention` and `legal-hold`), and
//! what a bucket gives to new objects in its setting `object-lock`; no other way leads to these rows.
//!
//! **Enforced here, for all doors.** A held inode
//! - keeps its content: writes, truncation, punching and appending fail, through a mount, an export
//!   and S3 alike, where they come in and once more in the transaction that would store them;
//! - keeps its name until it becomes a version: a rename, a hard link and a removal that would not
//!   leave a version fail, as does moving a directory with names in it anywhere in the bucket, for
//!   below it may lie what is held;
//! - as a version, is removed by nobody, whether by its id, by the trash or by a worker;
//! - keeps what S3 shows of it: its attributes `user.s3.*` and its modification time.
//!
//! All of these are [`Error::Locked`]. Replacing or deleting a held object is no change of it: it
//! becomes a version. Tags, grants, permission bits and owners may change.
//!
//! **Who pays.** An inode of a bucket without Object Lock costs one look at one row of its bucket, and
//! only where it would be changed.
//!
//! **The clock.** Whether a retention has ended is decided in the transaction, by the gateway's clock.
//! A clock that is set back holds everything for longer and frees nothing. What is written under a
//! default retention meanwhile is held until the moment that the wrong clock gives, that much too
//! early; a clock that is set forward frees what it should not: keep it right.
//!
//! What a mount creates is not held until somebody holds it, since it is made before it is written. So
//! are keys that end in `/`: a directory has one state and no versions.
mod change;
mod held;
mod rules;

use std::fmt;

use meta::{Durability, Read, Transaction};
use serde::{Deserialize, Serialize};

pub(crate) use self::held::{refuse, refuse_file, refuse_move, waive, with_default};
use crate::schema::{self, BUCKET_SETTING, VERSIONING};
use crate::version::{self, Versioning};
use crate::{Error, InodeNo, ObjectMeta, Result, Timestamp, Vfs, bucket};

/// Name of a bucket's setting.
pub(crate) const OF_BUCKET: &str = "object-lock";
/// Names of an object's settings.
pub(crate) const RETENTION: &str = "retention";
pub(crate) const LEGAL_HOLD: &str = "legal-hold";

/// Longest default retention (AWS limit): 100 years.
pub const DAYS_MAX: u32 = 36_500;
const DAY: i64 = 86_400_000_000_000;
const DAYS_OF_YEAR: u32 = 365;

/// How strictly a retention binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RetentionMode {
    /// Who may bypass it can end it early.
    Governance,
    /// Nobody can end or shorten it.
    Compliance,
}

/// As S3 writes it.
impl fmt::Display for RetentionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        })
    }
}

/// Holds a version until a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How strictly.
    pub mode: RetentionMode,
    /// Until when, exclusively.
    pub until: Timestamp,
}

/// How long new objects are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// Days of 24 hours.
    Days(u32),
    /// Years of 365 days.
    Years(u32),
}

impl Period {
    fn days(self) -> u32 {
        match self {
            Self::Days(days) => days,
            Self::Years(years) => years.saturating_mul(DAYS_OF_YEAR),
        }
    }

    /// From one day to 100 years.
    pub fn is_possible(self) -> bool {
        (1..=DAYS_MAX).contains(&self.days())
    }
}

/// What a bucket gives to new objects that ask for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// How strictly.
    pub mode: RetentionMode,
    /// How long.
    #[serde(flatten)]
    pub period: Period,
}

impl DefaultRetention {
    /// For what is made now.
    pub(crate) fn from(self, now: Timestamp) -> Retention {
        Retention {
            mode: self.mode,
            until: Timestamp(
                now.0
                    .saturating_add(DAY.saturating_mul(i64::from(self.period.days()))),
            ),
        }
    }
}

/// The Object Lock of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketLock {
    /// What new objects get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultRetention>,
}

/// Whether a retention in governance mode binds the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Governance {
    /// As everybody.
    #[default]
    Binds,
    /// The caller may end it, and wants to.
    Bypassed,
}

/// What is said about one version; what holds it is told by [`Self::holds`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectLock {
    /// The last retention, ended or not.
    pub retention: Option<Retention>,
    /// The legal hold; `None`: nobody ever said.
    pub legal_hold: Option<bool>,
}

impl ObjectLock {
    /// That of an object.
    pub fn of(meta: &ObjectMeta) -> Self {
        let setting = |name| meta.settings.get(name).map(String::as_str);
        Self::parse(setting(RETENTION), setting(LEGAL_HOLD))
    }

    /// Gives it to an object that is to be.
    pub fn keep(&self, meta: &mut ObjectMeta) {
        for (name, value) in self.settings() {
            match value {
                Some(value) => meta.settings.insert(name.to_owned(), value),
                None => meta.settings.remove(name),
            };
        }
    }

    /// Whether it says anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the version is held at this moment.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.legal_hold == Some(true) || self.retention.is_some_and(|retention| now < retention.until)
    }

    fn settings(&self) -> [(&'static str, Option<String>); 2] {
        let retention = |Retention { mode, until }| format!("{mode} {}", until.0);
        let hold = |on| if on { "ON" } else { "OFF" }.to_owned();
        [
            (RETENTION, self.retention.map(retention)),
            (LEGAL_HOLD, self.legal_hold.map(hold)),
        ]
    }

    /// A row that nobody can read holds for good: it says that there is a lock, and not which.
    fn parse(retention: Option<&str>, legal_hold: Option<&str>) -> Self {
        let unreadable = Retention {
            mode: RetentionMode::Compliance,
            until: Timestamp(i64::MAX),
        };
        let read = |text: &str| {
            let (mode, until) = text.split_once(' ')?;
            let mode = match mode {
                "GOVERNANCE" => RetentionMode::Governance,
                "COMPLIANCE" => RetentionMode::Compliance,
                _ => return None,
            };
            let until = Timestamp(until.parse().ok()?);
            Some(Retention { mode, until })
        };
        Self {
            retention: retention.map(|text| read(text).unwrap_or(unreadable)),
            legal_hold: legal_hold.map(|text| text != "OFF"),
        }
    }
}

impl Vfs {
    /// The Object Lock of a bucket; `None`: it has none.
    pub async fn object_lock(&self, bucket: &str) -> Result<Option<BucketLock>> {
        let snapshot = self.core.snapshot()?;
        let bucket = bucket::find(&*snapshot, bucket)?;
        of_bucket(&*snapshot, bucket)
    }

    /// Gives a bucket Object Lock, or changes what new objects get; durable when it returns. It cannot
    /// be taken back. [`Error::Invalid`] unless versioning is enabled and the period is possible.
    pub async fn set_object_lock(&self, bucket: &str, lock: BucketLock) -> Result<()> {
        if lock.default.is_some_and(|default| !default.period.is_possible()) {
            return Err(Error::Invalid("a default retention is one day to 100 years"));
        }
        let (name, value) = (bucket.to_owned(), encode(&lock)?);
        self.core
            .write(Durability::Synced, move |tx| {
                let bucket = bucket::find(&*tx, &name)?;
                if version::row::state(&*tx, bucket)? != Some(Versioning::Enabled) {
                    return Err(Error::Invalid("Object Lock needs versioning to be enabled"));
                }
                Ok(tx.put(&row(bucket), &value)?)
            })
            .await
    }
}

/// A new bucket gets Object Lock, and versioning with it.
pub(crate) fn begin(tx: &mut dyn Transaction, bucket: InodeNo) -> Result<()> {
    let versioning = schema::encode(&Versioning::Enabled)?;
    tx.put(&schema::inode_key(VERSIONING, bucket), &versioning)?;
    Ok(tx.put(&row(bucket), &encode(&BucketLock::default())?)?)
}

/// The row of a bucket's setting.
pub(crate) fn row(bucket: InodeNo) -> Vec<u8> {
    schema::child_key(BUCKET_SETTING, bucket, OF_BUCKET.as_bytes())
}

/// The value of that row.
pub(crate) fn encode(lock: &BucketLock) -> Result<Vec<u8>> {
    let json =
        serde_json::to_vec(lock).map_err(|error| Error::Internal(format!("a bucket's lock: {error}")))?;
    Ok(schema::encode_raw(&json))
}

/// The Object Lock of a bucket.
pub(crate) fn of_bucket(read: &(impl Read + ?Sized), bucket: InodeNo) -> Result<Option<BucketLock>> {
    let Some(value) = read.get(&row(bucket))? else {
        return Ok(None);
    };
    serde_json::from_slice(schema::decode_raw(&value)?)
        .map(Some)
        .map_err(|_| schema::damaged("the Object Lock of a bucket"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_lock() -> impl Strategy<Value = ObjectLock> {
        let mode = prop_oneof![Just(RetentionMode::Governance), Just(RetentionMode::Compliance)];
        let retention = (mode, any::<i64>()).prop_map(|(mode, until)| Retention {
            mode,
            until: Timestamp(until),
        });
        (prop::option::of(retention), any::<Option<bool>>()).prop_map(|(retention, legal_hold)| ObjectLock {
            retention,
            legal_hold,
        })
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(lock in any_lock(), before in any_lock()) {
            let mut meta = ObjectMeta::default();
            before.keep(&mut meta);
            lock.keep(&mut meta);
            prop_assert_eq!(ObjectLock::of(&meta), lock);
            prop_assert_eq!(meta.settings.is_empty(), lock.is_empty());
        }

        #[test]
        fn what_nobody_can_read_holds(text in "[^ ]*") {
            prop_assert!(ObjectLock::parse(Some(&text), None).holds(Timestamp(i64::MAX - 1)));
        }
    }

    #[test]
    fn a_retention_ends_at_its_moment_and_a_hold_never() {
        let until = |until| ObjectLock {
            retention: Some(Retention {
                mode: RetentionMode::Governance,
                until: Timestamp(until),
            }),
            legal_hold: None,
        };
        assert!(until(10).holds(Timestamp(9)) && !until(10).holds(Timestamp(10)));
        let held = ObjectLock {
            legal_hold: Some(true),
            ..until(10)
        };
        assert!(held.holds(Timestamp(i64::MAX)));
        assert!(!ObjectLock::default().holds(Timestamp(0)));
    }

    #[test]
    fn settings_of_buckets_are_read_as_they_are_written() {
        let lock = |default| BucketLock { default };
        let years = DefaultRetention {
            mode: RetentionMode::Compliance,
            period: Period::Years(2),
        };
        for (lock, text) in [
            (lock(None), "{}"),
            (
                lock(Some(years)),
                r#"{"default":{"mode":"COMPLIANCE","years":2}}"#,
            ),
        ] {
            let value = encode(&lock).unwrap();
            assert_eq!(schema::decode_raw(&value).unwrap(), text.as_bytes());
            assert_eq!(serde_json::from_str::<BucketLock>(text).unwrap(), lock);
        }
        assert_eq!(years.from(Timestamp(1)).until, Timestamp(1 + 730 * DAY));
        assert!(Period::Years(100).is_possible() && !Period::Years(101).is_possible());
        assert!(!Period::Days(0).is_possible() && !Period::Days(36_501).is_possible());
    }
}
