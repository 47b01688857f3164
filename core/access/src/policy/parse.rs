//! Reading a document: every element checked, nothing left out in silence.
use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::condition::Condition;
use super::pattern::{Dialect, Pattern};
use super::principal::Principals;
use super::unambiguous::Unambiguous;
use super::{Document, Effect, Kind, Malformed, Matcher, Statement, Version, known, malformed};

/// What the name of every resource of S3 begins with.
const S3_RESOURCE: &str = "arn:aws:s3:::";

pub(super) fn document(text: &str, kind: Kind<'_>) -> Result<Document, Malformed> {
    if matches!(kind, Kind::Bucket(_)) && text.len() > super::MAX_BUCKET_POLICY {
        return Err(malformed(
            "Policy exceeds the maximum allowed document size".to_owned(),
        ));
    }
    if !text.starts_with('{') {
        return Err(malformed(
            "Policies must be valid JSON and the first byte must be '{'".to_owned(),
        ));
    }
    let Ok(Unambiguous(Value::Object(root))) = serde_json::from_str(text) else {
        return Err(malformed("This policy contains invalid Json".to_owned()));
    };
    known_fields(&root, &["Version", "Id", "Statement"])?;
    let version = match root.get("Version").map(Value::as_str) {
        None | Some(Some("2008-10-17")) => Version::V2008,
        Some(Some("2012-10-17")) => Version::V2012,
        Some(_) => {
            return Err(malformed(
                "The policy must contain a valid version string".to_owned(),
            ));
        }
    };
    if root.get("Id").is_some_and(|id| !id.is_string()) {
        return Err(malformed("Id must be a string".to_owned()));
    }
    let statements = match root.get("Statement") {
        None => return Err(missing("Statement")),
        Some(Value::Array(list)) if list.is_empty() => {
            return Err(malformed(
                "Could not parse the policy: Statement is empty!".to_owned(),
            ));
        }
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let statements = statements
        .iter()
        .map(|value| statement(value, version, kind))
        .collect::<Result<Vec<_>, _>>()?;
    let mut sids = HashSet::new();
    if let Some(twice) = statements
        .iter()
        .filter_map(|statement| statement.sid.as_deref())
        .find(|sid| !sids.insert(*sid))
    {
        return Err(malformed(format!(
            "Statement IDs (SID) in a single policy must be unique: {twice}"
        )));
    }
    let keys = keys(&statements);
    Ok(Document { statements, keys })
}

fn statement(value: &Value, version: Version, kind: Kind<'_>) -> Result<Statement, Malformed> {
    let Value::Object(fields) = value else {
        return Err(malformed("Statement must be an object".to_owned()));
    };
    known_fields(
        fields,
        &[
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ],
    )?;
    let sid = match fields.get("Sid") {
        None => None,
        Some(Value::String(sid)) if sid.is_empty() => None,
        Some(Value::String(sid)) => Some(sid.clone()),
        Some(_) => return Err(malformed("Sid must be a string".to_owned())),
    };
    let effect = match fields.get("Effect") {
        None => return Err(missing("Effect")),
        Some(Value::String(effect)) if effect == "Allow" => Effect::Allow,
        Some(Value::String(effect)) if effect == "Deny" => Effect::Deny,
        Some(other) => return Err(malformed(format!("Invalid effect: {other}"))),
    };
    Ok(Statement {
        sid,
        effect,
        principals: principals(fields, effect, kind)?,
        actions: actions(fields, version, kind)?,
        resources: resources(fields, version, kind)?,
        conditions: match fields.get("Condition") {
            None => Vec::new(),
            Some(block) => {
                let conditions = Condition::parse_block(block, version)?;
                if let Some(condition) = conditions
                    .iter()
                    .find(|condition| !known::is_key(condition.key(), kind))
                {
                    return Err(malformed(format!(
                        "Policy has an invalid condition key - {}",
                        condition.key()
                    )));
                }
                conditions
            }
        },
    })
}

fn principals(
    fields: &Map<String, Value>,
    effect: Effect,
    kind: Kind<'_>,
) -> Result<Option<Principals>, Malformed> {
    let found = one_of(fields, "Principal", "NotPrincipal")?;
    match (kind, found) {
        (Kind::Identity, None) => Ok(None),
        (Kind::Identity, Some(_)) => Err(malformed(
            "Policy document should not specify a principal.".to_owned(),
        )),
        (Kind::Bucket(_) | Kind::Trust, None) => Err(missing("Principal")),
        (Kind::Bucket(_) | Kind::Trust, Some((value, except))) => {
            let principals = Principals::parse(value, except)?;
            // Allowing all but some allows strangers: never what is meant.
            if principals.is_except() && effect == Effect::Allow {
                return Err(malformed("Allow with NotPrincipal is not allowed".to_owned()));
            }
            Ok(Some(principals))
        }
    }
}

fn actions(fields: &Map<String, Value>, version: Version, kind: Kind<'_>) -> Result<Matcher, Malformed> {
    let (value, except) = one_of(fields, "Action", "NotAction")?.ok_or_else(|| missing("Action"))?;
    let invalid = || malformed("Policy has invalid action".to_owned());
    let mut patterns = Vec::new();
    for action in strings(value).ok_or_else(invalid)? {
        let vendor = action
            .split_once(':')
            .map(|(vendor, _)| vendor.to_ascii_lowercase());
        let right = match (vendor.as_deref(), kind) {
            (None, _) => action == "*",
            (Some("s3"), _) => known::is_action(action),
            (Some(_), Kind::Bucket(_)) => false,
            (Some(vendor), Kind::Identity | Kind::Trust) => !vendor.is_empty(),
        };
        if !right {
            return Err(invalid());
        }
        patterns.push(Pattern::parse(
            action,
            Dialect {
                wildcards: true,
                variables: version == Version::V2012,
                fold: true,
            },
        )?);
    }
    Ok(Matcher { patterns, except })
}

fn resources(
    fields: &Map<String, Value>,
    version: Version,
    kind: Kind<'_>,
) -> Result<Option<Matcher>, Malformed> {
    let found = one_of(fields, "Resource", "NotResource")?;
    if kind == Kind::Trust {
        return match found {
            None => Ok(None),
            Some(_) => Err(malformed("Has prohibited field Resource".to_owned())),
        };
    }
    let (value, except) = found.ok_or_else(|| missing("Resource"))?;
    let invalid = || malformed("Policy has invalid resource".to_owned());
    let mut patterns = Vec::new();
    for resource in strings(value).ok_or_else(invalid)? {
        if resource != "*" && !resource.starts_with("arn:") {
            return Err(invalid());
        }
        let pattern = Pattern::parse(
            resource,
            Dialect {
                wildcards: true,
                variables: version == Version::V2012,
                fold: false,
            },
        )?;
        // A policy of a bucket speaks about that bucket.
        if let Kind::Bucket(bucket) = kind
            && !pattern.may_begin(&format!("{S3_RESOURCE}{bucket}"))
        {
            return Err(invalid());
        }
        patterns.push(pattern);
    }
    Ok(Some(Matcher { patterns, except }))
}

fn keys(statements: &[Statement]) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for statement in statements {
        let conditions = statement.conditions.iter().flat_map(Condition::keys);
        let patterns = statement
            .resources
            .iter()
            .chain([&statement.actions])
            .flat_map(|matcher| &matcher.patterns)
            .flat_map(Pattern::keys);
        keys.extend(conditions.chain(patterns).map(str::to_owned));
    }
    keys
}

/// An element or its negation; both at once are refused.
fn one_of<'a>(
    fields: &'a Map<String, Value>,
    plain: &str,
    negated: &str,
) -> Result<Option<(&'a Value, bool)>, Malformed> {
    match (fields.get(plain), fields.get(negated)) {
        (Some(_), Some(_)) => Err(malformed(format!(
            "Statement cannot contain both {plain} and {negated}"
        ))),
        (Some(value), None) => Ok(Some((value, false))),
        (None, Some(value)) => Ok(Some((value, true))),
        (None, None) => Ok(None),
    }
}

/// One string, or a list of at least one.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) if !list.is_empty() => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn known_fields(fields: &Map<String, Value>, known: &[&str]) -> Result<(), Malformed> {
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        None => Ok(()),
        Some(field) => Err(malformed(format!("Unknown field {field}"))),
    }
}

fn missing(field: &str) -> Malformed {
    malformed(format!("Missing required field {field}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(value: &Value, kind: Kind<'_>) -> Result<Document, Malformed> {
        document(&value.to_string(), kind)
    }

    fn statement_of_a_bucket() -> Value {
        json!({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"})
    }

    #[test]
    fn what_is_missing_or_unknown_is_said() {
        let kind = Kind::Bucket("b");
        for field in ["Effect", "Principal", "Action", "Resource"] {
            let mut statement = statement_of_a_bucket();
            statement.as_object_mut().unwrap().remove(field);
            let error = parse(&json!({"Statement": statement}), kind).unwrap_err();
            assert_eq!(error.0, format!("Missing required field {field}"));
        }
        for (field, value, message) in [
            ("Effect", json!("allow"), "Invalid effect"),
            ("Principals", json!("*"), "Unknown field Principals"),
            ("Principal", json!("you"), "Invalid principal"),
            ("NotPrincipal", json!("*"), "cannot contain both"),
            ("Action", json!([]), "invalid action"),
            ("Action", json!("s3:GetObjects"), "invalid action"),
            ("Action", json!("GetObject"), "invalid action"),
            ("Action", json!("ec2:*"), "invalid action"),
            ("Action", json!(["s3:GetObject", 1]), "invalid action"),
            ("NotAction", json!("s3:*"), "cannot contain both"),
            ("Resource", json!("arn:aws:s3:::c/*"), "invalid resource"),
            ("Resource", json!("b/*"), "invalid resource"),
            ("Resource", json!([]), "invalid resource"),
            ("Sid", json!(1), "Sid must be"),
            ("Condition", json!([]), "Condition must be"),
            (
                "Condition",
                json!({"StringEquals": {"s3:nothing": "x"}}),
                "invalid condition key - s3:nothing",
            ),
            (
                "Condition",
                json!({"StringEquals": {"prefix": "x"}}),
                "invalid condition key - prefix",
            ),
        ] {
            let mut statement = statement_of_a_bucket();
            statement[field] = value.clone();
            let error = parse(&json!({"Statement": [statement]}), kind).unwrap_err();
            assert!(error.0.contains(message), "{field} {value}: {error}");
        }
        for (text, message) in [
            ("", "first byte"),
            (" {}", "first byte"),
            ("[]", "first byte"),
            ("{", "invalid Json"),
            ("{} x", "invalid Json"),
            ("{}", "Missing required field Statement"),
            (r#"{"Statement": []}"#, "empty"),
            (r#"{"Statement": ["x"]}"#, "must be an object"),
            (r#"{"Version": "2020", "Statement": []}"#, "valid version"),
            (r#"{"Version": 2012, "Statement": []}"#, "valid version"),
            (r#"{"Id": 1, "Statement": []}"#, "Id must be"),
            (r#"{"statement": []}"#, "Unknown field statement"),
        ] {
            let error = document(text, kind).unwrap_err();
            assert!(error.0.contains(message), "{text}: {error}");
        }
        let twice = json!({"Statement": [
            {"Sid": "a", "Effect": "Allow", "Action": "s3:*", "Resource": "*"},
            {"Sid": "a", "Effect": "Deny", "Action": "s3:*", "Resource": "*"},
        ]});
        assert!(parse(&twice, Kind::Identity).unwrap_err().0.contains("unique"));
    }

    #[test]
    fn each_kind_has_its_elements() {
        let with = |fields: Value| json!({"Version": "2012-10-17", "Statement": fields});
        let of_bucket = with(statement_of_a_bucket());
        assert!(parse(&of_bucket, Kind::Bucket("b")).is_ok());
        assert!(parse(&of_bucket, Kind::Identity).is_err());
        assert!(parse(&of_bucket, Kind::Trust).is_err());
        let of_user = with(json!({"Effect": "Allow", "Action": ["s3:*", "iam:GetUser"], "Resource": "*"}));
        assert!(parse(&of_user, Kind::Identity).is_ok());
        assert!(parse(&of_user, Kind::Bucket("b")).is_err());
        let trust = with(json!({
            "Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"issuer.example:sub": "x"}},
        }));
        assert!(parse(&trust, Kind::Trust).is_ok());
        assert!(parse(&trust, Kind::Identity).is_err());
        for resource in [
            "*",
            "arn:aws:s3:::*",
            "arn:aws:s3:::b*",
            "arn:aws:s3:::b",
            "arn:aws:s3:::?/x",
        ] {
            let mut statement = statement_of_a_bucket();
            statement["Resource"] = json!(resource);
            assert!(parse(&with(statement), Kind::Bucket("b")).is_ok(), "{resource}");
        }
    }

    #[test]
    fn nobody_is_allowed_by_not_being_named() {
        let not = |effect: &str| {
            json!({"Statement": {"Effect": effect, "NotPrincipal": {"AWS": "123456789012"},
                "Action": "s3:*", "Resource": "arn:aws:s3:::b"}})
        };
        assert!(parse(&not("Deny"), Kind::Bucket("b")).is_ok());
        assert!(parse(&not("Allow"), Kind::Bucket("b")).is_err());
    }

    #[test]
    fn a_document_on_a_bucket_is_bounded() {
        let mut policy = json!({"Statement": statement_of_a_bucket()});
        policy["Id"] = json!("x".repeat(super::super::MAX_BUCKET_POLICY));
        let error = parse(&policy, Kind::Bucket("b")).unwrap_err();
        assert!(error.0.contains("maximum"), "{error}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec![
            "Version",
            "2012-10-17",
            "Statement",
            "Effect",
            "Allow",
            "Deny",
            "Principal",
            "AWS",
            "*",
            "Action",
            "s3:GetObject",
            "s3:*",
            "Resource",
            "arn:aws:s3:::b/*",
            "Condition",
            "StringLike",
            "ForAnyValue:StringEquals",
            "NumericLessThan",
            "IpAddress",
            "aws:SourceIp",
            "10.0.0.0/8",
            "${aws:username}",
            "${",
            "NotAction",
            "NotResource",
            "NotPrincipal",
            "Sid",
        ]);
        let word = word.prop_map(str::to_owned);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(word.clone(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_document_brings_the_reader_down(value in any_json(), text in any::<String>()) {
            for kind in [Kind::Identity, Kind::Bucket("b"), Kind::Trust] {
                let _ = document(&text, kind);
                let _ = parse(&value, kind);
                let _ = parse(&json!({"Statement": value.clone()}), kind);
            }
        }
    }
}
