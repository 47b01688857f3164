//! Conditions: when a statement holds.
//!
//! A condition block maps operators to keys to values. All operators and all keys must hold; of the
//! values of one key one is enough (for negated operators: none may fit). What stands in the policy is
//! compiled when the policy is read, so that a value that makes no sense is refused there.
mod operator;
mod value;

use serde_json::Value;

use self::operator::{Operator, Quantifier};
use self::value::{Comparison, Expected};
use super::context::Context;
use super::{Malformed, Version, malformed};

/// One key under one operator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    operator: Operator,
    key: String,
    expected: Vec<Expected>,
}

impl Condition {
    /// Reads a condition block.
    pub(crate) fn parse_block(block: &Value, version: Version) -> Result<Vec<Self>, Malformed> {
        let Value::Object(operators) = block else {
            return Err(malformed("Condition must be an object".to_owned()));
        };
        let mut conditions = Vec::new();
        for (name, keys) in operators {
            let operator =
                Operator::parse(name).ok_or_else(|| malformed(format!("Invalid Condition type : {name}")))?;
            let Value::Object(keys) = keys else {
                return Err(malformed(format!("Condition {name} must be an object")));
            };
            for (key, values) in keys {
                let values = match values {
                    Value::Array(list) => list.as_slice(),
                    one => std::slice::from_ref(one),
                };
                let expected = values
                    .iter()
                    .map(|value| {
                        let text = text_of(value)
                            .ok_or_else(|| malformed(format!("Invalid value of condition key {key}")))?;
                        Expected::parse(operator.comparison, &text, version).map_err(|why| {
                            malformed(format!("Invalid value of condition key {key}: {}", why.0))
                        })
                    })
                    .collect::<Result<_, _>>()?;
                conditions.push(Self {
                    operator,
                    key: key.to_ascii_lowercase(),
                    expected,
                });
            }
        }
        Ok(conditions)
    }

    /// The key that it looks at, in lower case.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// All condition keys that it reads, those of variables too.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.key.as_str()).chain(self.expected.iter().flat_map(Expected::keys))
    }

    /// Whether it holds for what a request says.
    pub(crate) fn holds(&self, context: &Context) -> bool {
        let values = context.get(&self.key);
        if self.operator.comparison == Comparison::Null {
            // All values say the same, or none can hold.
            return self
                .expected
                .iter()
                .any(|expected| *expected == Expected::Bool(values.is_none()));
        }
        let Some(values) = values else {
            return match (self.operator.if_exists, self.operator.quantifier) {
                (true, _) | (_, Some(Quantifier::All)) => true,
                (false, Some(Quantifier::Any)) => false,
                (false, None) => self.operator.negated,
            };
        };
        // Whether one value of the request passes: it fits one value of the policy, or none if negated.
        let passes = |value: &String| {
            let fits = self.expected.iter().any(|expected| expected.fits(value, context));
            fits != self.operator.negated
        };
        match self.operator.quantifier {
            Some(Quantifier::All) => values.iter().all(passes),
            Some(Quantifier::Any) => values.iter().any(passes),
            // A key with several values: one that fits is enough, and one that must not fit is too many.
            None if self.operator.negated => values.iter().all(passes),
            None => values.iter().any(passes),
        }
    }

    /// Whether it ties the statement to fixed values of its key: such a statement is not public.
    pub(crate) fn pins(&self) -> bool {
        !self.operator.negated
            && !self.operator.if_exists
            && self.operator.quantifier != Some(Quantifier::All)
            && !self.expected.is_empty()
            && self.expected.iter().all(Expected::is_fixed)
    }
}

/// A value as text: numbers and truth values may stand without quotes.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(block: &Value, values: &[(&str, &[&str])]) -> bool {
        let mut context = Context::default();
        for (key, values) in values {
            context.set_all(key, values.iter().map(|value| (*value).to_owned()).collect());
        }
        Condition::parse_block(block, Version::V2012)
            .unwrap()
            .iter()
            .all(|condition| condition.holds(&context))
    }

    #[test]
    fn every_operator_compares() {
        for (operator, expected, fits, fails) in [
            ("StringEquals", json!("a"), "a", "A"),
            ("StringEquals", json!(["a", "b"]), "b", "c"),
            ("StringEquals", json!("a*"), "a*", "ab"),
            ("StringNotEquals", json!(["a", "b"]), "c", "b"),
            ("StringEqualsIgnoreCase", json!("Ab"), "aB", "b"),
            ("StringNotEqualsIgnoreCase", json!("Ab"), "b", "aB"),
            ("StringLike", json!("a*z"), "abcz", "abc"),
            ("StringNotLike", json!("a*z"), "abc", "abcz"),
            ("NumericEquals", json!("10"), "10.0", "11"),
            ("NumericEquals", json!(10), "10", "x"),
            ("NumericNotEquals", json!(10), "11", "10"),
            ("NumericLessThan", json!(10), "9.5", "10"),
            ("NumericLessThanEquals", json!(10), "10", "10.1"),
            ("NumericGreaterThan", json!(10), "11", "10"),
            ("NumericGreaterThanEquals", json!(10), "10", "9"),
            (
                "DateEquals",
                json!("2026-01-01T00:00:00Z"),
                "2026-01-01T01:00:00+01:00",
                "2026-01-02",
            ),
            (
                "DateNotEquals",
                json!("2026-01-01"),
                "2026-01-02",
                "2026-01-01T00:00:00Z",
            ),
            (
                "DateLessThan",
                json!("2026-01-01T00:00:00Z"),
                "2025-12-31T23:59:59.9Z",
                "2026-01-01",
            ),
            (
                "DateLessThanEquals",
                json!("2026-01-01"),
                "2026-01-01",
                "2026-01-02",
            ),
            (
                "DateGreaterThan",
                json!("1767225600"),
                "2026-01-01T00:00:01Z",
                "2026-01-01",
            ),
            (
                "DateGreaterThanEquals",
                json!("2026-01-01"),
                "2026-01-01",
                "2025-12-31",
            ),
            ("Bool", json!(true), "true", "false"),
            ("Bool", json!("TRUE"), "True", "false"),
            ("BinaryEquals", json!("YQ=="), "YQ==", "Yg=="),
            ("IpAddress", json!("10.0.0.0/8"), "10.1.2.3", "11.0.0.1"),
            ("IpAddress", json!("10.0.0.1"), "::ffff:10.0.0.1", "10.0.0.2"),
            ("IpAddress", json!("2001:db8::/32"), "2001:db8::1", "10.0.0.1"),
            (
                "NotIpAddress",
                json!(["10.0.0.0/8", "11.0.0.0/8"]),
                "12.0.0.1",
                "11.0.0.1",
            ),
            (
                "ArnEquals",
                json!("arn:aws:s3:::b*"),
                "arn:aws:s3:::bucket",
                "arn:aws:s3:::c",
            ),
            (
                "ArnLike",
                json!("arn:*:s3:::b"),
                "arn:aws:s3:::b",
                "arn:aws:x:s3:::b",
            ),
            (
                "ArnNotEquals",
                json!("arn:aws:s3:::b"),
                "arn:aws:s3:::c",
                "arn:aws:s3:::b",
            ),
            (
                "ArnNotLike",
                json!("arn:aws:s3:::b*"),
                "arn:aws:s3:::c",
                "arn:aws:s3:::bc",
            ),
        ] {
            let block = json!({ operator: {"k": expected} });
            assert!(holds(&block, &[("K", &[fits])]), "{block} {fits}");
            assert!(!holds(&block, &[("k", &[fails])]), "{block} {fails}");
            // Without the key only negated operators hold.
            assert_eq!(holds(&block, &[]), operator.contains("Not"), "{block}");
            let block = json!({ format!("{operator}IfExists"): {"k": expected} });
            assert!(holds(&block, &[]), "{block}");
            assert!(!holds(&block, &[("k", &[fails])]), "{block} {fails}");
        }
    }

    #[test]
    fn null_asks_whether_the_key_is_there() {
        assert!(holds(&json!({"Null": {"k": "true"}}), &[]));
        assert!(!holds(&json!({"Null": {"k": "true"}}), &[("k", &["x"])]));
        assert!(holds(&json!({"Null": {"k": false}}), &[("k", &["x"])]));
        assert!(!holds(&json!({"Null": {"k": false}}), &[]));
    }

    #[test]
    fn all_or_any_of_several_values() {
        let tags = |block: Value, values: &[&str]| holds(&block, &[("tags", values)]);
        let all = json!({"ForAllValues:StringEquals": {"tags": ["a", "b"]}});
        assert!(tags(all.clone(), &["a", "b"]) && tags(all.clone(), &["a"]) && tags(all.clone(), &[]));
        assert!(!tags(all, &["a", "c"]));
        let any = json!({"ForAnyValue:StringLike": {"tags": ["a*", "b"]}});
        assert!(tags(any.clone(), &["x", "az"]));
        assert!(!tags(any.clone(), &["x"]) && !tags(any, &[]));
        let any_other = json!({"ForAnyValue:StringNotEquals": {"tags": ["a"]}});
        assert!(
            tags(any_other.clone(), &["a", "x"]) && !tags(any_other.clone(), &["a"]) && !tags(any_other, &[])
        );
        let none = json!({"ForAllValues:StringNotEquals": {"tags": ["a"]}});
        assert!(tags(none.clone(), &["x"]) && !tags(none, &["a", "x"]));
        // Without a word about it: one that fits is enough, one that must not fit is too many.
        assert!(tags(json!({"StringEquals": {"tags": "a"}}), &["x", "a"]));
        assert!(!tags(json!({"StringNotEquals": {"tags": "a"}}), &["x", "a"]));
    }

    #[test]
    fn all_keys_and_operators_must_hold() {
        let block = json!({"StringEquals": {"a": "1", "b": "2"}, "Bool": {"c": "true"}});
        assert!(holds(&block, &[("a", &["1"]), ("b", &["2"]), ("c", &["true"])]));
        assert!(!holds(&block, &[("a", &["1"]), ("b", &["x"]), ("c", &["true"])]));
        assert!(!holds(&block, &[("a", &["1"]), ("b", &["2"]), ("c", &["false"])]));
        assert!(!holds(&json!({"StringEquals": {"a": []}}), &[("a", &["1"])]));
    }

    #[test]
    fn nonsense_is_refused_when_read() {
        for bad in [
            json!("x"),
            json!({"StringIs": {"k": "v"}}),
            json!({"ForSomeValues:StringEquals": {"k": "v"}}),
            json!({"NullIfExists": {"k": "true"}}),
            json!({"StringEquals": "v"}),
            json!({"StringEquals": {"k": {"x": 1}}}),
            json!({"StringEquals": {"k": null}}),
            json!({"NumericEquals": {"k": "ten"}}),
            json!({"NumericEquals": {"k": "NaN"}}),
            json!({"DateEquals": {"k": "yesterday"}}),
            json!({"Bool": {"k": "maybe"}}),
            json!({"Null": {"k": "maybe"}}),
            json!({"BinaryEquals": {"k": "%%%"}}),
            json!({"IpAddress": {"k": "10.0.0.0/33"}}),
            json!({"ArnEquals": {"k": "bucket"}}),
            json!({"StringLike": {"k": "${open"}}),
        ] {
            assert!(Condition::parse_block(&bad, Version::V2012).is_err(), "{bad}");
        }
    }
}
