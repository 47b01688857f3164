//! Documents against a naive evaluator that reads the JSON anew for each question.
use proptest::prelude::*;
use serde_json::{Value, json};

use super::samples::{account, anonymous, of_account, of_user};
use super::{Context, Document, Kind, Question};
use crate::caller::Caller;

fn list(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .any(|at| glob(&pattern[1..], &text[at..])),
        Some(c) => text
            .strip_prefix(c)
            .is_some_and(|rest| glob(&pattern[c.len_utf8()..], rest)),
    }
}

/// `Some(himself)` if the statement speaks about the question.
fn speaks(statement: &Value, question: Question<'_>) -> Option<bool> {
    let is_ann = |identity: &crate::caller::Identity| identity.user.as_ref().is_some_and(|u| u.name == "ann");
    let names = |principal: &Value| -> Option<bool> {
        if principal == "*" || list(&principal["AWS"]).contains(&"*") {
            return Some(true);
        }
        let identity = question.caller.identity()?;
        let number = account(1).id.number();
        list(&principal["AWS"])
            .into_iter()
            .filter_map(|name| {
                let ours = identity.account.id == account(1).id;
                if name == number && ours {
                    Some(identity.user.is_none())
                } else {
                    (name.ends_with(":user/ann") && ours && is_ann(identity)).then_some(true)
                }
            })
            .max()
    };
    let himself = match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(principal), _) => names(principal)?,
        (None, Some(principal)) if names(principal) != Some(true) => true,
        _ => return None,
    };
    let fits = |plain: &str, negated: &str, text: &str, fold: bool| {
        let any = |value: &Value| {
            list(value).into_iter().any(|pattern| {
                if fold {
                    glob(&pattern.to_lowercase(), &text.to_lowercase())
                } else {
                    glob(pattern, text)
                }
            })
        };
        match statement.get(plain) {
            Some(value) => any(value),
            None => !any(&statement[negated]),
        }
    };
    if !fits("Action", "NotAction", question.action, true)
        || !fits("Resource", "NotResource", question.resource, false)
    {
        return None;
    }
    for (operator, keys) in statement["Condition"].as_object()? {
        for (key, values) in keys.as_object()? {
            let given = question.context.get(key).map(|given| given[0].as_str());
            let some = |test: &dyn Fn(&str, &str) -> bool| {
                list(values)
                    .into_iter()
                    .any(|value| test(value, given.unwrap_or_default()))
            };
            let holds = match (operator.as_str(), given) {
                ("StringEquals" | "StringLike" | "NumericLessThan" | "ForAnyValue:StringLike", None) => false,
                ("StringNotEquals" | "StringLikeIfExists" | "ForAllValues:StringLike", None) => true,
                ("Null", _) => some(&|value, _| (value == "true") == given.is_none()),
                ("StringEquals", _) => some(&|value, given| value == given),
                ("StringNotEquals", _) => !some(&|value, given| value == given),
                ("NumericLessThan", _) => some(
                    &|value, given| matches!((given.parse::<f64>(), value.parse::<f64>()), (Ok(g), Ok(v)) if g < v),
                ),
                _ => some(&glob),
            };
            if !holds {
                return None;
            }
        }
    }
    Some(himself)
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(words).prop_map(Value::from),
        prop::collection::vec(prop::sample::select(words), 1..3).prop_map(Value::from),
    ]
}

fn statement() -> impl Strategy<Value = Value> {
    const ACTIONS: &[&str] = &["s3:GetObject", "s3:getobject*", "s3:Put*", "*", "s3:*Object"];
    const RESOURCES: &[&str] = &[
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/a*c",
        "arn:aws:s3:::b",
        "arn:aws:s3:::*",
    ];
    const TEXTS: &[&str] = &["a", "b", "a*", "*", ""];
    let number = account(1).id.number();
    let ann = format!("arn:aws:iam::{number}:user/ann");
    let principal = prop::sample::select(vec![
        json!("*"),
        json!({"AWS": "*"}),
        json!({"AWS": number}),
        json!({"AWS": ann}),
        json!({"AWS": [number, ann]}),
    ]);
    let condition = prop_oneof![
        3 => (
            prop::sample::select(vec![
                "StringEquals", "StringNotEquals", "StringLike", "StringLikeIfExists",
                "ForAllValues:StringLike", "ForAnyValue:StringLike",
            ]),
            some_of(TEXTS)
        ),
        1 => (Just("NumericLessThan"), some_of(&["1", "10"])),
        1 => (Just("Null"), some_of(&["true", "false"])),
    ];
    let conditions = prop::collection::vec(
        (prop::sample::select(vec!["s3:prefix", "aws:Referer"]), condition),
        0..3,
    );
    (
        any::<bool>(),
        (any::<bool>(), principal),
        (any::<bool>(), some_of(ACTIONS)),
        (any::<bool>(), some_of(RESOURCES)),
        conditions,
    )
        .prop_map(
            |(
                allow,
                (not_principal, principal),
                (not_action, action),
                (not_resource, resource),
                conditions,
            )| {
                let mut statement = json!({"Effect": if allow { "Allow" } else { "Deny" }, "Condition": {}});
                statement[if not_principal && !allow {
                    "NotPrincipal"
                } else {
                    "Principal"
                }] = principal;
                statement[if not_action { "NotAction" } else { "Action" }] = action;
                statement[if not_resource { "NotResource" } else { "Resource" }] = resource;
                for (key, (operator, values)) in conditions {
                    statement["Condition"][operator][key] = values;
                }
                statement
            },
        )
}

fn caller() -> impl Strategy<Value = Caller> {
    prop::sample::select(vec![
        anonymous(),
        of_account(1),
        of_account(2),
        of_user(1, "ann"),
        of_user(1, "bob"),
        of_user(2, "ann"),
    ])
}

proptest! {
    #[test]
    fn documents_say_what_the_naive_evaluator_says(
        statements in prop::collection::vec(statement(), 1..4),
        caller in caller(),
        action in prop::sample::select(vec!["s3:GetObject", "s3:PutObject", "s3:ListBucket"]),
        resource in prop::sample::select(vec!["arn:aws:s3:::b", "arn:aws:s3:::b/abc", "arn:aws:s3:::b/x"]),
        prefix in prop::option::of(prop::sample::select(vec!["a", "abc", "", "5"])),
        referer in prop::option::of(prop::sample::select(vec!["a", "b", "0"])),
    ) {
        let mut context = Context::default();
        if let Some(prefix) = prefix {
            context.set("s3:prefix", prefix);
        }
        if let Some(referer) = referer {
            context.set("aws:referer", referer);
        }
        let question = Question { caller: &caller, action, resource, context: &context };
        let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let document = Document::parse(&text, Kind::Bucket("b")).unwrap();
        let expected = |effect: &str| -> Vec<(usize, bool)> {
            statements
                .iter()
                .enumerate()
                .filter(|(_, statement)| statement["Effect"] == effect)
                .filter_map(|(at, statement)| Some((at + 1, speaks(statement, question)?)))
                .collect()
        };
        prop_assert_eq!(
            document.denies(question).map(|hit| hit.number),
            expected("Deny").first().map(|(number, _)| *number)
        );
        let allows = expected("Allow");
        prop_assert_eq!(
            document.allows(question).map(|hit| (hit.number, hit.himself)),
            allows.iter().find(|(_, himself)| *himself).or(allows.first()).copied()
        );
    }
}
