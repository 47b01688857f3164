//! The CORS rules of a bucket: what is kept, what is accepted, what matches.
use serde::{Deserialize, Serialize};

/// Most rules of a bucket (AWS limit).
const RULES_MAX: usize = 100;
/// Longest name of a rule, in characters (AWS limit).
const ID_MAX: usize = 255;
/// Methods that a rule can name.
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// The rules of a bucket, in order: the first that matches counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Rule {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Origins, each with at most one `*`.
    pub(crate) origins: Vec<String>,
    /// Methods.
    pub(crate) methods: Vec<String>,
    /// Request headers that pages may set, each with at most one `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<String>,
    /// Answer headers that pages may see beyond those that browsers always show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) expose: Vec<String>,
    /// Seconds for which a browser may keep the answer to its question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_age: Option<u32>,
}

/// Why rules are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No XML of this kind: `MalformedXML`.
    Malformed,
    /// Something in it makes no sense: `InvalidRequest`.
    Invalid(String),
}

impl Rules {
    /// Checks rules that a client made.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        if self.rules.is_empty() {
            return Err(Refused::Malformed);
        }
        if self.rules.len() > RULES_MAX {
            return Err(invalid(format!(
                "The number of CORS rules should not exceed allowed limit of {RULES_MAX} rules."
            )));
        }
        self.rules.iter().try_for_each(Rule::check)
    }

    /// The first rule under which a page of `origin` may use `method` with `headers` (lower case).
    pub(crate) fn find(&self, origin: &str, method: &str, headers: &[String]) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.methods.iter().any(|allowed| allowed == method)
                && rule.origins.iter().any(|pattern| matches(pattern, origin))
                && headers.iter().all(|header| {
                    let mut patterns = rule.headers.iter();
                    patterns.any(|pattern| matches(&pattern.to_ascii_lowercase(), header))
                })
        })
    }
}

impl Rule {
    fn check(&self) -> Result<(), Refused> {
        if self.origins.is_empty() || self.methods.is_empty() {
            return Err(Refused::Malformed);
        }
        if self.id.as_ref().is_some_and(|id| id.chars().count() > ID_MAX) {
            return Err(invalid(format!(
                "The ID of a CORS rule must not exceed {ID_MAX} characters."
            )));
        }
        if let Some(method) = self
            .methods
            .iter()
            .find(|method| !METHODS.contains(&method.as_str()))
        {
            return Err(invalid(format!(
                "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            )));
        }
        for (what, patterns) in [("AllowedOrigin", &self.origins), ("AllowedHeader", &self.headers)] {
            if let Some(pattern) = patterns.iter().find(|pattern| pattern.matches('*').count() > 1) {
                return Err(invalid(format!(
                    "{what} \"{pattern}\" can not have more than one wildcard."
                )));
            }
        }
        if let Some(header) = self.expose.iter().find(|header| header.contains('*')) {
            return Err(invalid(format!(
                "ExposeHeader \"{header}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
            )));
        }
        // They are sent back in headers.
        let names = self.headers.iter().chain(&self.expose).chain(&self.origins);
        if let Some(name) = names.into_iter().find(|name| name.chars().any(char::is_control)) {
            return Err(invalid(format!(
                "\"{}\" cannot be sent in a header.",
                name.escape_default()
            )));
        }
        Ok(())
    }
}

fn invalid(message: String) -> Refused {
    Refused::Invalid(message)
}

/// Whether `text` fits `pattern`, in which one `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn rule(origins: &[&str], methods: &[&str]) -> Rule {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Rule {
            origins: owned(origins),
            methods: owned(methods),
            ..Rule::default()
        }
    }

    #[test]
    fn one_star_stands_for_anything() {
        for (pattern, text, fits) in [
            ("http://a.example", "http://a.example", true),
            ("http://a.example", "http://A.example", false),
            ("*", "", true),
            ("*.end", "x.end", true),
            ("*.end", ".end", true),
            ("*.end", "x.end.not", false),
            ("start*end", "startend", true),
            ("start*end", "star", false),
            ("aa*aa", "aaa", false),
            ("pre*", "pre", true),
            ("pre*", "apre", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = Rules {
            rules: vec![
                Rule {
                    max_age: Some(1),
                    headers: vec!["X-Amz-*".into()],
                    ..rule(&["https://one"], &["PUT"])
                },
                Rule {
                    max_age: Some(2),
                    ..rule(&["*"], &["PUT", "GET"])
                },
            ],
        };
        let age = |origin: &str, method: &str, headers: &[&str]| {
            let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
            rules.find(origin, method, &headers).and_then(|rule| rule.max_age)
        };
        assert_eq!(age("https://one", "PUT", &["x-amz-date", "x-amz-acl"]), Some(1));
        assert_eq!(age("https://two", "PUT", &[]), Some(2));
        assert_eq!(age("https://two", "PUT", &["x-amz-date"]), None);
        assert_eq!(age("https://one", "PUT", &["range"]), None);
        assert_eq!(age("https://one", "DELETE", &[]), None);
    }

    #[test]
    fn nonsense_is_refused() {
        let check = |rule: Rule| Rules { rules: vec![rule] }.check();
        check(rule(&["*"], &["GET"])).unwrap();
        assert_eq!(Rules::default().check(), Err(Refused::Malformed));
        assert_eq!(check(rule(&[], &["GET"])), Err(Refused::Malformed));
        assert_eq!(check(rule(&["*"], &[])), Err(Refused::Malformed));
        for bad in [
            rule(&["*"], &["OPTIONS"]),
            rule(&["*"], &["get"]),
            rule(&["*.*"], &["GET"]),
            rule(&["a\nb"], &["GET"]),
            Rule {
                headers: vec!["**".into()],
                ..rule(&["*"], &["GET"])
            },
            Rule {
                expose: vec!["x-*".into()],
                ..rule(&["*"], &["GET"])
            },
            Rule {
                id: Some("i".repeat(256)),
                ..rule(&["*"], &["GET"])
            },
        ] {
            assert!(matches!(check(bad), Err(Refused::Invalid(_))));
        }
        let many = Rules {
            rules: vec![rule(&["*"], &["GET"]); 101],
        };
        assert!(matches!(many.check(), Err(Refused::Invalid(_))));
    }

    proptest! {
        #[test]
        fn patterns_fit_what_they_are_made_of(start in "[a*]{0,3}", middle in ".{0,8}", end in "[a*]{0,3}") {
            let (start, end) = (start.replace('*', "b"), end.replace('*', "b"));
            let pattern = format!("{start}*{end}");
            let text = format!("{start}{middle}{end}");
            prop_assert!(matches(&pattern, &text));
            prop_assert_eq!(matches(&start, &end), start == end);
        }
    }
}
