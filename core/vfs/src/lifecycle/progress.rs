//! How far a pass over a bucket has come.
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result, VersionId, Vfs};

/// The setting of a bucket that this is.
const SETTING: &str = "lifecycle-progress";

/// The last pass over a bucket. As a setting: this as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Number of the pass: counts days.
    pub pass: i64,
    /// First half of the SHA-256 of the rules that it follows, in hex.
    pub rules: String,
    /// Where it goes on; `None`: it came to its end.
    pub next: Option<Position>,
}

/// A place in a bucket: all versions up to this one have been looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The key in hex: keys may be no UTF-8.
    pub key: String,
    /// The version of it; none: all of them.
    pub version: Option<VersionId>,
}

/// Tells rules apart.
pub(super) fn digest(document: &[u8]) -> String {
    hex::encode(Sha256::digest(document).get(..16).unwrap_or_default())
}

impl Progress {
    /// What was noted of a bucket. What cannot be read counts as nothing: the pass begins anew.
    pub(super) async fn load(vfs: &Vfs, bucket: &str) -> Result<Option<Self>> {
        let noted = vfs.bucket_setting(bucket, SETTING).await?;
        Ok(noted.and_then(|noted| serde_json::from_slice(&noted).ok()))
    }

    /// Notes it.
    pub(super) async fn save(&self, vfs: &Vfs, bucket: &str) -> Result<()> {
        let noted = serde_json::to_vec(self).map_err(|error| Error::Internal(error.to_string()))?;
        vfs.set_bucket_setting(bucket, SETTING, Some(noted)).await
    }
}
