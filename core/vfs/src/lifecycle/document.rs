//! The rules of a bucket, and what they say of something in it.
use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use super::{Tags, damaged};
use crate::{Error, Result, Timestamp};

/// The rules of a bucket. As a setting: this as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// In the order in which they were given.
    pub rules: Vec<LifecycleRule>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// Its name, unique in the bucket.
    pub id: String,
    /// It is followed.
    pub enabled: bool,
    /// How the filter was written.
    #[serde(default)]
    pub form: RuleForm,
    /// What it is about.
    #[serde(default)]
    pub filter: LifecycleFilter,
    /// What must hold as well: the conditions that were given together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub and: Option<LifecycleFilter>,
    /// When present objects, and delete markers with nothing behind them, go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Expiration>,
    /// When noncurrent versions go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent: Option<NoncurrentExpiration>,
    /// Days after which an upload that was begun is aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_uploads: Option<u32>,
}

/// How a filter was written, so that it is shown as it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleForm {
    /// A prefix beside the rule's other parts.
    Prefix,
    /// A filter.
    #[default]
    Filter,
}

/// What a rule is about; all of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleFilter {
    /// Keys begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Tags, in the order in which they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// Bytes that objects have more than.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
    /// Bytes that objects have less than.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smaller_than: Option<u64>,
}

/// When present objects go: one of the three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiration {
    /// Days after they were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// From this second (since 1970) on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<i64>,
    /// Delete markers go when there is nothing behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<bool>,
}

/// When noncurrent versions go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpiration {
    /// Days after they became noncurrent.
    pub days: u32,
    /// So many of the newest stay whatever their age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
}

/// An object as rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub key: &'a [u8],
    pub size: u64,
    pub tags: &'a Tags,
    /// When it was made, or became noncurrent.
    pub since: Timestamp,
}

impl Lifecycle {
    /// From a setting.
    pub(super) fn parse(document: &[u8]) -> Result<Self> {
        serde_json::from_slice(document).map_err(|error| damaged(&error))
    }

    /// As a setting.
    pub(super) fn to_document(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::Internal(error.to_string()))
    }

    /// When a present object goes by the calendar, and by which rule; `None` when no rule says so.
    pub fn expiry(
        &self,
        key: &[u8],
        size: u64,
        tags: &Tags,
        made: Timestamp,
    ) -> Option<(Timestamp, &LifecycleRule)> {
        let seen = Seen {
            key,
            size,
            tags,
            since: made,
        };
        self.followed()
            .filter(|rule| rule.covers(&seen))
            .filter_map(|rule| Some((rule.expiration?.moment(made, Calendar::REAL)?, rule)))
            .min_by_key(|(moment, _)| *moment)
    }

    /// Those that are enabled.
    pub(super) fn followed(&self) -> impl Iterator<Item = &LifecycleRule> {
        self.rules.iter().filter(|rule| rule.enabled)
    }

    /// Whether an object that is present is to go now.
    pub(super) fn ends_object(&self, seen: &Seen<'_>, now: Timestamp, calendar: Calendar) -> bool {
        self.followed().any(|rule| {
            rule.covers(seen)
                && rule
                    .expiration
                    .and_then(|expiration| expiration.moment(seen.since, calendar))
                    .is_some_and(|moment| moment <= now)
        })
    }

    /// Whether a delete marker with nothing behind it is to go now. It has no tags and no size.
    pub(super) fn ends_marker(
        &self,
        key: &[u8],
        made: Timestamp,
        now: Timestamp,
        calendar: Calendar,
    ) -> bool {
        self.followed().any(|rule| {
            rule.covers_key(key)
                && rule.filters().all(LifecycleFilter::asks_for_key_alone)
                && rule.expiration.is_some_and(|expiration| {
                    expiration.marker == Some(true)
                        || expiration
                            .moment(made, calendar)
                            .is_some_and(|moment| moment <= now)
                })
        })
    }

    /// Whether a noncurrent version is to go now, of which `newer` noncurrent ones are newer.
    pub(super) fn ends_version(
        &self,
        seen: &Seen<'_>,
        newer: u32,
        now: Timestamp,
        calendar: Calendar,
    ) -> bool {
        self.followed().any(|rule| {
            rule.covers(seen)
                && rule.noncurrent.is_some_and(|noncurrent| {
                    newer >= noncurrent.keep.unwrap_or(0)
                        && calendar.after(seen.since, noncurrent.days) <= now
                })
        })
    }

    /// Whether an upload is to be aborted now.
    pub(super) fn ends_upload(
        &self,
        key: &[u8],
        begun: Timestamp,
        now: Timestamp,
        calendar: Calendar,
    ) -> bool {
        self.followed().any(|rule| {
            rule.covers_key(key)
                && rule
                    .abort_uploads
                    .is_some_and(|days| calendar.after(begun, days) <= now)
        })
    }

    /// Whether a rule asks for tags: only then they are looked at.
    pub(super) fn asks_for_tags(&self) -> bool {
        self.followed()
            .any(|rule| rule.filters().any(|filter| !filter.tags.is_empty()))
    }

    /// The prefixes below which something may be to go, none within another, in order.
    pub(super) fn prefixes(&self, of: impl Fn(&LifecycleRule) -> bool) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = self
            .followed()
            .filter(|rule| of(rule))
            .map(|rule| rule.prefix().as_bytes().to_vec())
            .collect();
        all.sort();
        // In order, what begins with another prefix follows it.
        all.dedup_by(|next, kept| next.starts_with(kept));
        all
    }
}

impl LifecycleRule {
    fn filters(&self) -> impl Iterator<Item = &LifecycleFilter> {
        std::iter::once(&self.filter).chain(&self.and)
    }

    fn covers(&self, seen: &Seen<'_>) -> bool {
        self.filters().all(|filter| filter.covers(seen))
    }

    fn covers_key(&self, key: &[u8]) -> bool {
        self.filters().all(|filter| filter.covers_key(key))
    }

    /// What all keys that it is about begin with.
    fn prefix(&self) -> &str {
        self.filters()
            .filter_map(|filter| filter.prefix.as_deref())
            .max_by_key(|prefix| prefix.len())
            .unwrap_or_default()
    }
}

impl LifecycleFilter {
    fn covers_key(&self, key: &[u8]) -> bool {
        self.prefix
            .as_ref()
            .is_none_or(|prefix| key.starts_with(prefix.as_bytes()))
    }

    fn asks_for_key_alone(&self) -> bool {
        self.tags.is_empty() && self.larger_than.is_none() && self.smaller_than.is_none()
    }

    fn covers(&self, seen: &Seen<'_>) -> bool {
        self.covers_key(seen.key)
            && self.larger_than.is_none_or(|bytes| seen.size > bytes)
            && self.smaller_than.is_none_or(|bytes| seen.size < bytes)
            && self
                .tags
                .iter()
                .all(|(name, value)| seen.tags.get(name) == Some(value))
    }
}

impl Expiration {
    /// When something that was made then goes; `None`: by this it never does.
    fn moment(&self, made: Timestamp, calendar: Calendar) -> Option<Timestamp> {
        let by_days = self.days.map(|days| calendar.after(made, days));
        let by_date = self
            .date
            .map(|date| Timestamp(date.saturating_mul(1_000_000_000)));
        by_days.or(by_date)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn rule(id: &str, prefix: &str) -> LifecycleRule {
        LifecycleRule {
            id: id.into(),
            enabled: true,
            filter: LifecycleFilter {
                prefix: Some(prefix.into()),
                ..LifecycleFilter::default()
            },
            ..LifecycleRule::default()
        }
    }

    fn after_days(id: &str, prefix: &str, days: u32) -> LifecycleRule {
        LifecycleRule {
            expiration: Some(Expiration {
                days: Some(days),
                ..Expiration::default()
            }),
            ..rule(id, prefix)
        }
    }

    #[test]
    fn documents_come_back() {
        let full = LifecycleRule {
            form: RuleForm::Filter,
            and: Some(LifecycleFilter {
                prefix: Some("a/".into()),
                tags: vec![("k".into(), "v".into())],
                larger_than: Some(1),
                smaller_than: Some(9),
            }),
            noncurrent: Some(NoncurrentExpiration {
                days: 3,
                keep: Some(2),
            }),
            abort_uploads: Some(4),
            ..after_days("r", "a/", 1)
        };
        let rules = Lifecycle {
            rules: vec![full, rule("s", "")],
        };
        let document = rules.to_document().unwrap();
        assert_eq!(Lifecycle::parse(&document).unwrap(), rules);
        // What a later build adds does not stop this one.
        let later = br#"{"rules":[{"id":"r","enabled":true,"colour":"red"}]}"#;
        assert_eq!(Lifecycle::parse(later).unwrap().rules[0].id, "r");
        assert!(Lifecycle::parse(b"{").is_err());
    }

    #[test]
    fn the_earliest_rule_says_when() {
        let mut rules = Lifecycle {
            rules: vec![after_days("late", "", 5), after_days("early", "a/", 1)],
        };
        let (tags, made) = (Tags::new(), Timestamp(0));
        let of = |rules: &Lifecycle, key: &[u8]| {
            rules
                .expiry(key, 0, &tags, made)
                .map(|(moment, rule)| (moment.0 / SECOND / 86_400, rule.id.clone()))
        };
        assert_eq!(of(&rules, b"a/b"), Some((1, "early".into())));
        assert_eq!(of(&rules, b"b"), Some((5, "late".into())));
        rules.rules[0].enabled = false;
        assert_eq!(of(&rules, b"b"), None);
    }

    #[test]
    fn filters_need_all_they_name() {
        let filter = LifecycleFilter {
            prefix: Some("a".into()),
            tags: vec![("x".into(), "1".into()), ("y".into(), "2".into())],
            larger_than: Some(10),
            smaller_than: Some(20),
        };
        let both: Tags = [("x", "1"), ("y", "2"), ("z", "3")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let one: Tags = [("x".to_owned(), "1".to_owned())].into();
        let seen = |key, size, tags| Seen {
            key,
            size,
            tags,
            since: Timestamp(0),
        };
        assert!(filter.covers(&seen(b"ab", 11, &both)));
        for (key, size, tags) in [
            (&b"b"[..], 11, &both),
            (b"ab", 10, &both),
            (b"ab", 20, &both),
            (b"ab", 11, &one),
        ] {
            assert!(!filter.covers(&seen(key, size, tags)), "{key:?} {size}");
        }
    }

    #[test]
    fn the_newest_noncurrent_versions_stay() {
        let mut keeping = rule("r", "");
        keeping.noncurrent = Some(NoncurrentExpiration {
            days: 1,
            keep: Some(2),
        });
        let rules = Lifecycle { rules: vec![keeping] };
        let calendar = Calendar::new(Duration::from_secs(1));
        let tags = Tags::new();
        let seen = Seen {
            key: b"k",
            size: 0,
            tags: &tags,
            since: Timestamp(0),
        };
        let now = Timestamp(SECOND);
        assert!(!rules.ends_version(&seen, 1, now, calendar));
        assert!(rules.ends_version(&seen, 2, now, calendar));
        assert!(!rules.ends_version(&seen, 2, Timestamp(SECOND - 1), calendar));
        assert!(!rules.ends_object(&seen, now, calendar));
    }

    #[test]
    fn markers_go_by_their_own_rule_and_by_age() {
        let calendar = Calendar::new(Duration::from_secs(1));
        let ends = |rule: LifecycleRule| {
            let rules = Lifecycle { rules: vec![rule] };
            rules.ends_marker(b"k", Timestamp(0), Timestamp(SECOND), calendar)
        };
        let mut marker = rule("r", "");
        marker.expiration = Some(Expiration {
            marker: Some(true),
            ..Expiration::default()
        });
        assert!(ends(marker.clone()));
        marker.filter.larger_than = Some(1);
        assert!(!ends(marker));
        assert!(ends(after_days("r", "", 1)));
        assert!(!ends(after_days("r", "", 2)));
        assert!(!ends(after_days("r", "x", 1)));
    }

    #[test]
    fn prefixes_cover_each_other() {
        let rules = Lifecycle {
            rules: ["b/c", "a", "b/", "a/x", "bb"]
                .map(|prefix| after_days(prefix, prefix, 1))
                .into(),
        };
        let all = rules.prefixes(|_| true);
        assert_eq!(all, [b"a".to_vec(), b"b/".to_vec(), b"bb".to_vec()]);
        assert!(rules.prefixes(|rule| rule.noncurrent.is_some()).is_empty());
    }
}
