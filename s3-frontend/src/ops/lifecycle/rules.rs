//! Lifecycle rules: S3's document ⇄ [`vfs::lifecycle::Lifecycle`].
//!
//! Everything that S3 refuses is refused with its code, but for one thing: several conditions of a filter
//! outside `And`, which other implementations take, must all hold. Transitions are refused: there is one
//! storage class.
use std::collections::BTreeSet;

use s3s::dto::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, Date, ExpirationStatus,
    LifecycleExpiration, LifecycleRule as S3Rule, LifecycleRuleAndOperator, LifecycleRuleFilter,
    NoncurrentVersionExpiration, Tag,
};
use s3s::{S3Error, S3ErrorCode, S3Result};
use time::OffsetDateTime;
use vfs::lifecycle::{Expiration, Lifecycle, LifecycleFilter, LifecycleRule, NoncurrentExpiration, RuleForm};

use crate::error::{fail, not_implemented};

/// Most rules of a bucket (S3's limit).
const RULES_MAX: usize = 1_000;
/// Longest id of a rule in characters (S3's limit).
const ID_MAX: usize = 255;
/// Most noncurrent versions that a rule keeps (S3's limit).
const KEPT_MAX: i32 = 100;
/// Longest key and value of a tag in characters (S3's limits).
const TAG_MAX: (usize, usize) = (128, 256);

fn malformed() -> S3Error {
    fail(
        S3ErrorCode::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

fn wrong(message: &'static str) -> S3Error {
    fail(S3ErrorCode::InvalidArgument, message)
}

fn pointless(message: &'static str) -> S3Error {
    fail(S3ErrorCode::InvalidRequest, message)
}

/// Checks a configuration.
pub(super) fn read(document: Option<BucketLifecycleConfiguration>) -> S3Result<Lifecycle> {
    let given = document.ok_or_else(malformed)?.rules;
    if given.is_empty() || given.len() > RULES_MAX {
        return Err(malformed());
    }
    let mut ids: BTreeSet<String> = BTreeSet::new();
    for id in given.iter().filter_map(|rule| rule.id.as_deref()) {
        if id.chars().count() > ID_MAX {
            return Err(wrong("ID length should not exceed allowed limit of 255"));
        }
        if !id.is_empty() && !ids.insert(id.to_owned()) {
            return Err(wrong(
                "Rule ID must be unique. Found same ID for more than one rule",
            ));
        }
    }
    let mut rules = Vec::with_capacity(given.len());
    for rule in given {
        let id = rule.id.clone().filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| fresh_id(&mut ids));
        rules.push(read_rule(id, rule)?);
    }
    Ok(Lifecycle { rules })
}

/// An id that no rule has.
fn fresh_id(ids: &mut BTreeSet<String>) -> String {
    let mut number = ids.len() + 1;
    loop {
        let id = format!("rule-{number}");
        if ids.insert(id.clone()) {
            return id;
        }
        number += 1;
    }
}

fn read_rule(id: String, rule: S3Rule) -> S3Result<LifecycleRule> {
    let enabled = match rule.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(malformed()),
    };
    let (form, filter, and) = match (rule.prefix, rule.filter) {
        (Some(prefix), None) => {
            let filter = LifecycleFilter {
                prefix: Some(prefix),
                ..LifecycleFilter::default()
            };
            (RuleForm::Prefix, filter, None)
        }
        (None, Some(filter)) => {
            let (filter, and) = read_filter(filter)?;
            (RuleForm::Filter, filter, and)
        }
        (Some(_), Some(_)) | (None, None) => return Err(malformed()),
    };
    let expiration = rule.expiration.map(|given| read_expiration(&given)).transpose()?;
    for transition in rule.transitions.iter().flatten() {
        if let Some(date) = &transition.date {
            midnight(date)?;
        }
        if transition.days.is_some_and(|days| days < 0) {
            return Err(wrong("'Days' for Transition action must be nonnegative"));
        }
    }
    if rule.transitions.is_some_and(|list| !list.is_empty())
        || rule
            .noncurrent_version_transitions
            .is_some_and(|list| !list.is_empty())
    {
        return Err(not_implemented("A transition to another storage class"));
    }
    let noncurrent = rule
        .noncurrent_version_expiration
        .map(|given| read_noncurrent(&given))
        .transpose()?;
    let abort_uploads = match rule.abort_incomplete_multipart_upload {
        None => None,
        Some(given) => Some(positive(
            given.days_after_initiation,
            "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
        )?),
    };
    if expiration.is_none() && noncurrent.is_none() && abort_uploads.is_none() {
        return Err(pointless("At least one action needs to be specified in a rule"));
    }
    let filters = || std::iter::once(&filter).chain(&and);
    if filters().any(|filter| !filter.tags.is_empty()) {
        if abort_uploads.is_some() {
            return Err(pointless(
                "AbortIncompleteMultipartUpload cannot be specified with Tags",
            ));
        }
        if expiration.is_some_and(|expiration| expiration.marker.is_some()) {
            return Err(pointless(
                "ExpiredObjectDeleteMarker cannot be specified with Tags",
            ));
        }
    }
    if abort_uploads.is_some()
        && filters().any(|filter| filter.larger_than.is_some() || filter.smaller_than.is_some())
    {
        return Err(pointless(
            "AbortIncompleteMultipartUpload cannot be specified with Object Size",
        ));
    }
    Ok(LifecycleRule {
        id,
        enabled,
        form,
        filter,
        and,
        expiration,
        noncurrent,
        abort_uploads,
    })
}

fn read_filter(filter: LifecycleRuleFilter) -> S3Result<(LifecycleFilter, Option<LifecycleFilter>)> {
    let and = filter
        .and
        .map(|and| {
            let tags = and.tags.unwrap_or_default();
            conditions(
                and.prefix,
                tags,
                and.object_size_greater_than,
                and.object_size_less_than,
            )
        })
        .transpose()?;
    let tags = filter.tag.into_iter().collect();
    let alone = conditions(
        filter.prefix,
        tags,
        filter.object_size_greater_than,
        filter.object_size_less_than,
    )?;
    Ok((alone, and))
}

fn conditions(
    prefix: Option<String>,
    tags: Vec<Tag>,
    greater: Option<i64>,
    less: Option<i64>,
) -> S3Result<LifecycleFilter> {
    let mut known = BTreeSet::new();
    let mut list = Vec::with_capacity(tags.len());
    for tag in tags {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        let (key_len, value_len) = (key.chars().count(), value.chars().count());
        if key.is_empty() || key_len > TAG_MAX.0 {
            return Err(fail(
                S3ErrorCode::InvalidTag,
                "The TagKey you have provided is invalid",
            ));
        }
        if value_len > TAG_MAX.1 {
            return Err(fail(
                S3ErrorCode::InvalidTag,
                "The TagValue you have provided is invalid",
            ));
        }
        if !known.insert(key.clone()) {
            return Err(pointless("Duplicate Tag Keys are not allowed."));
        }
        list.push((key, value));
    }
    let size = |bytes: Option<i64>| {
        bytes
            .map(|bytes| {
                u64::try_from(bytes).map_err(|_| {
                    wrong("'ObjectSizeGreaterThan' and 'ObjectSizeLessThan' must not be negative")
                })
            })
            .transpose()
    };
    let (larger_than, smaller_than) = (size(greater)?, size(less)?);
    if larger_than
        .zip(smaller_than)
        .is_some_and(|(larger, smaller)| larger >= smaller)
    {
        return Err(pointless(
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
        ));
    }
    Ok(LifecycleFilter {
        prefix,
        tags: list,
        larger_than,
        smaller_than,
    })
}

fn read_expiration(given: &LifecycleExpiration) -> S3Result<Expiration> {
    let days = match given.days {
        None => None,
        days => Some(positive(
            days,
            "'Days' for Expiration action must be a positive integer",
        )?),
    };
    let date = given.date.as_ref().map(midnight).transpose()?;
    let marker = given.expired_object_delete_marker;
    if usize::from(days.is_some()) + usize::from(date.is_some()) + usize::from(marker.is_some()) != 1 {
        return Err(malformed());
    }
    Ok(Expiration { days, date, marker })
}

fn read_noncurrent(given: &NoncurrentVersionExpiration) -> S3Result<NoncurrentExpiration> {
    let days = positive(
        given.noncurrent_days,
        "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
    )?;
    let keep = match given.newer_noncurrent_versions {
        None => None,
        Some(kept) => Some(
            u32::try_from(kept)
                .ok()
                .filter(|_| (1..=KEPT_MAX).contains(&kept))
                .ok_or_else(|| wrong("'NewerNoncurrentVersions' must be an integer from 1 to 100"))?,
        ),
    };
    Ok(NoncurrentExpiration { days, keep })
}

fn positive(days: Option<i32>, message: &'static str) -> S3Result<u32> {
    let days = days.ok_or_else(malformed)?;
    u32::try_from(days)
        .ok()
        .filter(|days| *days > 0)
        .ok_or_else(|| wrong(message))
}

/// Seconds since 1970 of a date, which must be a midnight (UTC).
fn midnight(date: &Date) -> S3Result<i64> {
    let date = OffsetDateTime::from(date.clone());
    if date.unix_timestamp_nanos() % (86_400 * 1_000_000_000) != 0 {
        return Err(wrong("'Date' must be at midnight GMT"));
    }
    Ok(date.unix_timestamp())
}

/// A rule as S3 shows it.
pub(super) fn show(rule: &LifecycleRule) -> S3Rule {
    let mut shown = S3Rule {
        abort_incomplete_multipart_upload: rule.abort_uploads.map(|days| AbortIncompleteMultipartUpload {
            days_after_initiation: Some(number(days)),
        }),
        expiration: rule.expiration.map(|expiration| LifecycleExpiration {
            date: expiration
                .date
                .and_then(|date| OffsetDateTime::from_unix_timestamp(date).ok())
                .map(Date::from),
            days: expiration.days.map(number),
            expired_object_delete_marker: expiration.marker,
        }),
        filter: None,
        id: Some(rule.id.clone()),
        noncurrent_version_expiration: rule.noncurrent.map(|noncurrent| NoncurrentVersionExpiration {
            newer_noncurrent_versions: noncurrent.keep.map(number),
            noncurrent_days: Some(number(noncurrent.days)),
        }),
        noncurrent_version_transitions: None,
        prefix: None,
        status: ExpirationStatus::from_static(if rule.enabled {
            ExpirationStatus::ENABLED
        } else {
            ExpirationStatus::DISABLED
        }),
        transitions: None,
    };
    match rule.form {
        RuleForm::Prefix => shown.prefix.clone_from(&rule.filter.prefix),
        RuleForm::Filter => {
            shown.filter = Some(LifecycleRuleFilter {
                and: rule.and.as_ref().map(|and| LifecycleRuleAndOperator {
                    object_size_greater_than: and.larger_than.map(bytes),
                    object_size_less_than: and.smaller_than.map(bytes),
                    prefix: and.prefix.clone(),
                    tags: (!and.tags.is_empty()).then(|| tags(and)),
                }),
                object_size_greater_than: rule.filter.larger_than.map(bytes),
                object_size_less_than: rule.filter.smaller_than.map(bytes),
                prefix: rule.filter.prefix.clone(),
                tag: tags(&rule.filter).into_iter().next(),
            });
        }
    }
    shown
}

fn tags(filter: &LifecycleFilter) -> Vec<Tag> {
    let shown = filter.tags.iter().map(|(key, value)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    });
    shown.collect()
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
