//! How a bucket is shown: what is kept, what is accepted, which rule counts.
use serde::{Deserialize, Serialize};

/// Most routing rules of a bucket (AWS limit).
const RULES_MAX: usize = 50;

/// A bucket's site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Site {
    /// What is shown of a directory: the last part of a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<String>,
    /// Key of the page that is shown for errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Everything is elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redirect_all: Option<RedirectAll>,
    /// Rules, in order: the first that fits counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<RoutingRule>,
}

/// The other host of a site that is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RedirectAll {
    pub(crate) host: String,
    /// `None`: as the request came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scheme: Option<Scheme>,
}

/// How a page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn of(secure: bool) -> Self {
        if secure { Self::Https } else { Self::Http }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// When to send a visitor elsewhere, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RoutingRule {
    pub(crate) condition: Condition,
    pub(crate) redirect: Redirect,
}

/// What must be so for a rule to count; nothing: it always counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Condition {
    /// How the key begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    /// The status that the object has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<u16>,
}

/// Where a rule leads; what it does not say stays as it is in the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Redirect {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scheme: Option<Scheme>,
    /// Status; `None`: 301.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<u16>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// What stands for the prefix of the condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
}

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// `MalformedXML`.
    Malformed,
    /// `InvalidArgument`.
    Argument(&'static str),
    /// `InvalidRequest`.
    Request(String),
}

impl Site {
    /// Checks a document that a client made.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        if let Some(all) = &self.redirect_all {
            if self.index.is_some() || self.error.is_some() || !self.rules.is_empty() {
                return Err(Refused::Argument(
                    "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
                ));
            }
            return host(Some(&all.host));
        }
        match &self.index {
            None => {
                return Err(Refused::Argument(
                    "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
                ));
            }
            Some(suffix) if suffix.is_empty() || suffix.contains('/') => {
                return Err(Refused::Argument("The IndexDocument Suffix is not well formed"));
            }
            Some(_) => {}
        }
        if self.error.as_ref().is_some_and(String::is_empty) {
            return Err(Refused::Argument("The ErrorDocument Key is not well formed"));
        }
        if self.rules.len() > RULES_MAX {
            return Err(Refused::Request(format!(
                "{} routing rules provided, the number of routing rules in a website configuration is limited to {RULES_MAX}.",
                self.rules.len()
            )));
        }
        self.rules.iter().try_for_each(RoutingRule::check)
    }

    /// Where a visitor is sent who asks for `key`, by a rule for the status that its object has; `None`:
    /// before it was looked at.
    pub(crate) fn route(&self, key: &str, status: Option<u16>) -> Option<&RoutingRule> {
        self.rules.iter().find(|rule| {
            rule.condition.error == status
                && rule
                    .condition
                    .prefix
                    .as_ref()
                    .is_none_or(|prefix| key.starts_with(prefix.as_str()))
        })
    }

    /// The key that shows `key`: its index document where it is a directory.
    pub(crate) fn shown(&self, key: &str) -> String {
        let index = self.index.as_deref().unwrap_or_default();
        if key.is_empty() || key.ends_with('/') {
            format!("{key}{index}")
        } else {
            key.to_owned()
        }
    }
}

impl RoutingRule {
    fn check(&self) -> Result<(), Refused> {
        let Redirect {
            host: to,
            scheme,
            code,
            key,
            prefix,
        } = &self.redirect;
        if key.is_some() && prefix.is_some() {
            return Err(Refused::Request(
                "You can only define ReplaceKeyPrefix or ReplaceKey but not both.".to_owned(),
            ));
        }
        if to.is_none() && scheme.is_none() && code.is_none() && key.is_none() && prefix.is_none() {
            return Err(Refused::Malformed);
        }
        host(to.as_ref())?;
        if let Some(code) = code.filter(|code| !(301..400).contains(code)) {
            return Err(Refused::Request(format!(
                "The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300."
            )));
        }
        if let Some(code) = self.condition.error.filter(|code| !(400..600).contains(code)) {
            return Err(Refused::Request(format!(
                "The provided HTTP error code ({code}) is not valid. Valid codes are 4XX or 5XX."
            )));
        }
        Ok(())
    }

    /// The key to which a visitor of `key` is sent.
    pub(crate) fn target(&self, key: &str) -> String {
        if let Some(key) = &self.redirect.key {
            return key.clone();
        }
        match &self.redirect.prefix {
            None => key.to_owned(),
            Some(prefix) => {
                let from = self.condition.prefix.as_deref().unwrap_or_default();
                format!("{prefix}{}", key.strip_prefix(from).unwrap_or(key))
            }
        }
    }
}

/// A host goes into a header as it is.
fn host(host: Option<&String>) -> Result<(), Refused> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-._:[]/%~".contains(c);
    if host.is_none_or(|host| !host.is_empty() && host.chars().all(good)) {
        Ok(())
    } else {
        Err(Refused::Argument("The HostName is not well formed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site {
            index: Some("index.html".into()),
            ..Site::default()
        }
    }

    fn rule(condition: Condition, redirect: Redirect) -> Site {
        Site {
            rules: vec![RoutingRule { condition, redirect }],
            ..site()
        }
    }

    #[test]
    fn nonsense_is_refused() {
        site().check().unwrap();
        let elsewhere = Site {
            redirect_all: Some(RedirectAll {
                host: "example.com".into(),
                scheme: None,
            }),
            ..Site::default()
        };
        elsewhere.check().unwrap();
        let to = |redirect: Redirect| rule(Condition::default(), redirect);
        to(Redirect {
            code: Some(302),
            ..Redirect::default()
        })
        .check()
        .unwrap();
        for bad in [
            Site::default(),
            Site {
                index: Some("a/b".into()),
                ..Site::default()
            },
            Site {
                error: Some(String::new()),
                ..site()
            },
            Site {
                index: Some("i".into()),
                ..elsewhere
            },
            to(Redirect::default()),
            to(Redirect {
                code: Some(300),
                ..Redirect::default()
            }),
            to(Redirect {
                host: Some("a b".into()),
                ..Redirect::default()
            }),
            to(Redirect {
                key: Some("k".into()),
                prefix: Some("p".into()),
                ..Redirect::default()
            }),
            rule(
                Condition {
                    error: Some(200),
                    prefix: None,
                },
                Redirect {
                    code: Some(301),
                    ..Redirect::default()
                },
            ),
            Site {
                rules: vec![
                    RoutingRule {
                        redirect: Redirect {
                            code: Some(301),
                            ..Redirect::default()
                        },
                        ..RoutingRule::default()
                    };
                    RULES_MAX + 1
                ],
                ..site()
            },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rules_lead_where_they_say() {
        let site = Site {
            rules: vec![
                RoutingRule {
                    condition: Condition {
                        prefix: Some("docs/".into()),
                        error: None,
                    },
                    redirect: Redirect {
                        prefix: Some("documents/".into()),
                        ..Redirect::default()
                    },
                },
                RoutingRule {
                    condition: Condition {
                        prefix: None,
                        error: Some(404),
                    },
                    redirect: Redirect {
                        key: Some("lost.html".into()),
                        ..Redirect::default()
                    },
                },
            ],
            ..site()
        };
        let leads = |key: &str, status| site.route(key, status).map(|rule| rule.target(key));
        assert_eq!(leads("docs/a", None).as_deref(), Some("documents/a"));
        assert_eq!(leads("other", None), None);
        assert_eq!(leads("other", Some(404)).as_deref(), Some("lost.html"));
        assert_eq!(leads("other", Some(403)), None);
        assert_eq!(site.shown(""), "index.html");
        assert_eq!(site.shown("a/"), "a/index.html");
        assert_eq!(site.shown("a"), "a");
    }
}
