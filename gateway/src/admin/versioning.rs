//! Whether a bucket keeps what is replaced and deleted, as `/v1/buckets` shows and sets it.
use std::fmt;

use serde::{Deserialize, Serialize};
use vfs::Versioning;

/// What a bucket does with what is replaced or deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BucketVersioning {
    /// Nothing: it was never versioned, or has no versions any more.
    #[default]
    Off,
    /// It becomes a version.
    On,
    /// What is new has the version `null`, which replaces itself; older versions stay.
    Suspended,
}

impl BucketVersioning {
    /// As the namespace has it.
    pub fn setting(self) -> Option<Versioning> {
        match self {
            Self::Off => None,
            Self::On => Some(Versioning::Enabled),
            Self::Suspended => Some(Versioning::Suspended),
        }
    }
}

impl From<Option<Versioning>> for BucketVersioning {
    fn from(setting: Option<Versioning>) -> Self {
        match setting {
            None => Self::Off,
            Some(Versioning::Enabled) => Self::On,
            Some(Versioning::Suspended) => Self::Suspended,
        }
    }
}

impl fmt::Display for BucketVersioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Suspended => "suspended",
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn a_setting_is_written_and_read_by_one_name() {
        for versioning in BucketVersioning::value_variants() {
            assert_eq!(BucketVersioning::from(versioning.setting()), *versioning);
            let name = versioning.to_string();
            assert_eq!(BucketVersioning::from_str(&name, false), Ok(*versioning));
            assert_eq!(serde_json::to_string(versioning).unwrap(), format!("{name:?}"));
        }
    }
}
