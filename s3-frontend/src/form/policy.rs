//! The policy of a form: until when, and with which fields, it may be sent.
//!
//! The document is JSON in Base64: `{"expiration": MOMENT, "conditions": [CONDITION…]}`, a condition being
//! `{FIELD: VALUE}`, `["eq", "$FIELD", VALUE]`, `["starts-with", "$FIELD", PREFIX]` or
//! `["content-length-range", LEAST, MOST]`. Every condition must hold, and every field must have one.
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use s3s::{S3Error, S3ErrorCode};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Fields;
use crate::error::fail;
use crate::limits;

/// Fields that need no condition: they carry the policy itself, or claims that can only make the upload
/// fail.
const UNCONDITIONAL: [&str; 4] = ["policy", "signature", "awsaccesskeyid", "x-amz-signature"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Eq(String, String),
    StartsWith(String, String),
    Length(RangeInclusive<u64>),
}

/// A policy that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    expiration: OffsetDateTime,
    conditions: Vec<Condition>,
}

impl Policy {
    /// Reads the field `policy`.
    pub(crate) fn parse(field: &str) -> Result<Self, S3Error> {
        // Browsers may wrap long values.
        let packed: String = field.split_ascii_whitespace().collect();
        let json = BASE64_STANDARD
            .decode(packed)
            .map_err(|_| invalid("Invalid Policy: Invalid Base64 encoding."))?;
        let document: Map<String, Value> =
            serde_json::from_slice(&json).map_err(|_| invalid("Invalid Policy: Invalid JSON."))?;
        let expiration = document
            .get("expiration")
            .and_then(Value::as_str)
            .ok_or_else(|| invalid("Invalid Policy: Policy missing expiration."))?;
        let expiration = Some(expiration)
            .filter(|moment| moment.as_bytes().get(10) == Some(&b'T'))
            .and_then(|moment| OffsetDateTime::parse(moment, &Rfc3339).ok())
            .ok_or_else(|| invalid("Invalid Policy: Invalid 'expiration' value."))?;
        let conditions = document
            .get("conditions")
            .and_then(Value::as_array)
            .ok_or_else(|| invalid("Invalid Policy: Policy missing conditions."))?;
        let conditions = conditions.iter().map(condition).collect::<Option<Vec<_>>>();
        Ok(Self {
            expiration,
            conditions: conditions.ok_or_else(|| invalid("Invalid Policy: Invalid Condition."))?,
        })
    }

    /// Holds a form against it; gives the sizes that the file may have.
    pub(crate) fn check(
        &self,
        fields: &Fields,
        bucket: &str,
        now: OffsetDateTime,
    ) -> Result<RangeInclusive<u64>, S3Error> {
        if now >= self.expiration {
            return Err(denied("Policy expired.".to_owned()));
        }
        let mut size = 0..=limits::MAX_SINGLE_PUT;
        for condition in &self.conditions {
            let (field, holds) = match condition {
                Condition::Eq(field, value) => (field, of(fields, bucket, field) == value),
                Condition::StartsWith(field, prefix) => {
                    (field, starts_with(field, of(fields, bucket, field), prefix))
                }
                Condition::Length(range) => {
                    size = *size.start().max(range.start())..=*size.end().min(range.end());
                    continue;
                }
            };
            if !holds {
                return Err(denied(format!(
                    "Policy Condition failed for \"${}\".",
                    field.escape_default()
                )));
            }
        }
        let covered = |name: &str| {
            self.conditions.iter().any(|condition| match condition {
                Condition::Eq(field, _) | Condition::StartsWith(field, _) => field == name,
                Condition::Length(_) => false,
            })
        };
        let names = fields.iter().map(|(name, _)| name).chain(["bucket"]);
        for name in names {
            let free = UNCONDITIONAL.contains(&name)
                || name.starts_with("x-ignore-")
                || name.starts_with("x-amz-checksum-");
            if !free && !covered(name) {
                return Err(denied(format!("Extra input fields: {}", name.escape_default())));
            }
        }
        Ok(size)
    }
}

/// A field's value. The bucket is the one that the form is sent to, whatever a field says; a field that is
/// not there is empty.
fn of<'a>(fields: &'a Fields, bucket: &'a str, field: &str) -> &'a str {
    match field {
        "bucket" => bucket,
        field => fields.get(field).unwrap_or_default(),
    }
}

/// Content types may be lists, of which each must fit.
fn starts_with(field: &str, value: &str, prefix: &str) -> bool {
    if field == "content-type" && value.contains(',') {
        value.split(',').all(|item| item.trim().starts_with(prefix))
    } else {
        value.starts_with(prefix)
    }
}

fn condition(value: &Value) -> Option<Condition> {
    if let Some(object) = value.as_object() {
        let mut entries = object.iter();
        let (Some((field, value)), None) = (entries.next(), entries.next()) else {
            return None;
        };
        return Some(Condition::Eq(field.to_ascii_lowercase(), text(value)?));
    }
    let [operator, first, second] = value.as_array()?.as_slice() else {
        return None;
    };
    let operator = operator.as_str()?.to_ascii_lowercase();
    if operator == "content-length-range" {
        return Some(Condition::Length(number(first)?..=number(second)?));
    }
    let field = first.as_str()?.strip_prefix('$')?.to_ascii_lowercase();
    match operator.as_str() {
        "eq" => Some(Condition::Eq(field, text(second)?)),
        "starts-with" => Some(Condition::StartsWith(field, text(second)?)),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn invalid(message: &'static str) -> S3Error {
    fail(S3ErrorCode::InvalidPolicyDocument, message)
}

fn denied(why: String) -> S3Error {
    fail(
        S3ErrorCode::AccessDenied,
        format!("Invalid according to Policy: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

    fn parse(json: &str) -> Result<Policy, String> {
        Policy::parse(&BASE64_STANDARD.encode(json)).map_err(|error| error.code().as_str().to_owned())
    }

    fn check(
        conditions: &str,
        fields: &[(&'static str, &'static str)],
    ) -> Result<RangeInclusive<u64>, String> {
        let json = format!("{{\"expiration\": \"2026-06-01T12:00:01Z\", \"conditions\": [{conditions}]}}");
        let fields: Fields = fields.iter().copied().collect();
        let checked = parse(&json)?.check(&fields, "b", NOW);
        checked.map_err(|error| error.code().as_str().to_owned())
    }

    fn denied() -> Result<RangeInclusive<u64>, String> {
        Err("AccessDenied".to_owned())
    }

    #[test]
    fn every_condition_must_hold_and_every_field_have_one() {
        let all = 0..=limits::MAX_SINGLE_PUT;
        let bucket = r#"{"bucket": "b"}"#;
        let key = r#"["starts-with", "$key", "user/"]"#;
        let both = format!("{bucket}, {key}");
        assert_eq!(check(&both, &[("key", "user/a")]), Ok(all.clone()));
        assert_eq!(check(&both, &[("key", "other/a")]), denied());
        assert_eq!(check(key, &[("key", "user/a")]), denied());
        assert_eq!(
            check(r#"{"bucket": "c"}, ["eq", "$key", "k"]"#, &[("key", "k")]),
            denied()
        );
        assert_eq!(check(&both, &[("key", "user/a"), ("acl", "private")]), denied());
        assert_eq!(
            check(
                &both,
                &[
                    ("key", "user/a"),
                    ("x-ignore-me", "1"),
                    ("x-amz-checksum-crc32", "x"),
                    ("signature", "s")
                ]
            ),
            Ok(all.clone())
        );
        // A field that is not there is empty.
        let meta = |value: &str| format!("{both}, [\"starts-with\", \"$x-amz-meta-a\", \"{value}\"]");
        assert_eq!(check(&meta(""), &[("key", "user/a")]), Ok(all.clone()));
        assert_eq!(check(&meta("v"), &[("key", "user/a")]), denied());
        // The bucket of the form is not asked.
        let lie = format!("{both}, [\"eq\", \"$bucket\", \"b\"]");
        assert_eq!(check(&lie, &[("key", "user/a"), ("bucket", "c")]), Ok(all));
        // Case does not count in names and operators.
        let loud = r#"{"bUcKeT": "b"}, ["StArTs-WiTh", "$KeY", "user/"]"#;
        assert!(check(loud, &[("key", "user/a")]).is_ok());
        let image = format!("{both}, [\"starts-with\", \"$Content-Type\", \"image/\"]");
        let types = |types: &'static str| check(&image, &[("key", "user/a"), ("content-type", types)]);
        assert!(types("image/png, image/gif").is_ok());
        assert_eq!(types("image/png, text/html"), denied());
    }

    #[test]
    fn sizes_are_given_back() {
        let size = |range: &str| {
            check(
                &format!("{{\"bucket\": \"b\"}}, [\"content-length-range\", {range}]"),
                &[],
            )
        };
        assert_eq!(size("1, 10"), Ok(1..=10));
        assert_eq!(size("\"1\", \"10\""), Ok(1..=10));
        assert_eq!(size("0, 99999999999999"), Ok(0..=limits::MAX_SINGLE_PUT));
        for bad in ["-1, 0", "0", "1.5, 2", "0, 1, 2", "\"x\", 1"] {
            assert_eq!(size(bad), Err("InvalidPolicyDocument".to_owned()), "{bad}");
        }
    }

    #[test]
    fn a_policy_has_an_end() {
        let at = |moment: &str| {
            let json = format!("{{\"expiration\": \"{moment}\", \"conditions\": [{{\"bucket\": \"b\"}}]}}");
            let policy = parse(&json)?;
            let checked = policy.check(&Fields::default(), "b", NOW);
            checked
                .map(|_| ())
                .map_err(|error| error.code().as_str().to_owned())
        };
        assert_eq!(at("2026-06-01T12:00:00.001Z"), Ok(()));
        assert_eq!(at("2026-06-01T12:00:00Z"), Err("AccessDenied".to_owned()));
        assert_eq!(at("2026-06-01T14:00:01+02:00"), Ok(()));
        assert_eq!(
            at("2026-06-01 12:00:01+00:00"),
            Err("InvalidPolicyDocument".to_owned())
        );
        assert_eq!(at("2026-06-01 12:00:00"), Err("InvalidPolicyDocument".to_owned()));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for json in [
            "",
            "[]",
            "{\"conditions\": []}",
            "{\"Expiration\": \"2026-06-01T12:00:01Z\", \"conditions\": []}",
            "{\"expiration\": \"2026-06-01T12:00:01Z\"}",
            "{\"expiration\": \"2026-06-01T12:00:01Z\", \"Conditions\": []}",
            "{\"expiration\": \"2026-06-01T12:00:01Z\", \"conditions\": [{}]}",
            "{\"expiration\": \"2026-06-01T12:00:01Z\", \"conditions\": [{\"a\": \"1\", \"b\": \"2\"}]}",
            "{\"expiration\": \"2026-06-01T12:00:01Z\", \"conditions\": [[\"like\", \"$a\", \"1\"]]}",
            "{\"expiration\": \"2026-06-01T12:00:01Z\", \"conditions\": [[\"eq\", \"a\", \"1\"]]}",
        ] {
            assert_eq!(parse(json), Err("InvalidPolicyDocument".to_owned()), "{json}");
        }
        assert!(Policy::parse("no base64!").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(field in ".{0,200}", json in "[\\[\\]{}\",:$a-z0-9-]{0,120}") {
            let _ = Policy::parse(&field);
            let _ = parse(&json);
            let _ = check(&json, &[("key", "k")]);
        }
    }
}
