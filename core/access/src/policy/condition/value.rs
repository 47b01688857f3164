//! The values that conditions compare with, compiled.
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ipnetwork::IpNetwork;
use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime, Time};

use super::super::context::Context;
use super::super::pattern::{Dialect, Pattern};
use super::super::{Malformed, Version, malformed};

/// Pieces of a resource name: `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.
const ARN_PIECES: usize = 6;

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Text { fold: bool },
    Like,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

/// How the request's value must stand to the policy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, given: T, expected: T) -> bool {
        match self {
            Self::Equal => given == expected,
            Self::Less => given < expected,
            Self::LessOrEqual => given <= expected,
            Self::Greater => given > expected,
            Self::GreaterOrEqual => given >= expected,
        }
    }
}

/// A value of a policy, compiled for its operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expected {
    Text(Pattern),
    Number(Order, f64),
    /// Nanoseconds since 1970.
    Date(Order, i128),
    Bool(bool),
    Binary(Vec<u8>),
    Ip(IpNetwork),
    /// One pattern per piece: no wildcard reaches over a colon.
    Arn(Vec<Pattern>),
}

impl Expected {
    pub(super) fn parse(comparison: Comparison, text: &str, version: Version) -> Result<Self, Malformed> {
        let nonsense = |what: &str| malformed(format!("{text} is not {what}"));
        let pattern = |text: &str, wildcards, fold| {
            let variables = version == Version::V2012;
            Pattern::parse(
                text,
                Dialect {
                    wildcards,
                    variables,
                    fold,
                },
            )
        };
        Ok(match comparison {
            Comparison::Text { fold } => Self::Text(pattern(text, false, fold)?),
            Comparison::Like => Self::Text(pattern(text, true, false)?),
            Comparison::Number(order) => {
                Self::Number(order, number(text).ok_or_else(|| nonsense("a number"))?)
            }
            Comparison::Date(order) => Self::Date(order, date(text).ok_or_else(|| nonsense("a date"))?),
            Comparison::Bool | Comparison::Null => {
                Self::Bool(truth(text).ok_or_else(|| nonsense("true or false"))?)
            }
            Comparison::Binary => Self::Binary(BASE64_STANDARD.decode(text).map_err(|_| nonsense("base64"))?),
            Comparison::Ip => Self::Ip(text.parse().map_err(|_| nonsense("an address or a network"))?),
            Comparison::Arn => {
                let pieces: Vec<&str> = text.splitn(ARN_PIECES, ':').collect();
                if pieces.len() != ARN_PIECES && text != "*" {
                    return Err(nonsense("a resource name"));
                }
                Self::Arn(
                    pieces
                        .into_iter()
                        .map(|piece| pattern(piece, true, false))
                        .collect::<Result<_, _>>()?,
                )
            }
        })
    }

    /// Whether a value of a request fits. One that makes no sense for the operator does not.
    pub(super) fn fits(&self, given: &str, context: &Context) -> bool {
        match self {
            Self::Text(pattern) => pattern.fits(given, context),
            Self::Number(order, expected) => number(given).is_some_and(|given| order.holds(given, *expected)),
            Self::Date(order, expected) => date(given).is_some_and(|given| order.holds(given, *expected)),
            Self::Bool(expected) => truth(given) == Some(*expected),
            Self::Binary(expected) => BASE64_STANDARD
                .decode(given)
                .is_ok_and(|given| given == *expected),
            Self::Ip(network) => given
                .parse::<IpAddr>()
                .is_ok_and(|given| network.contains(given.to_canonical())),
            Self::Arn(patterns) => {
                let pieces: Vec<&str> = given.splitn(ARN_PIECES, ':').collect();
                match patterns.as_slice() {
                    [any] => any.fits(given, context),
                    patterns => {
                        pieces.len() == patterns.len()
                            && patterns
                                .iter()
                                .zip(pieces)
                                .all(|(pattern, piece)| pattern.fits(piece, context))
                    }
                }
            }
        }
    }

    /// The condition keys that its variables read.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let patterns = match self {
            Self::Text(pattern) => std::slice::from_ref(pattern),
            Self::Arn(patterns) => patterns,
            _ => &[],
        };
        patterns.iter().flat_map(Pattern::keys)
    }

    /// Whether it stands for fixed values: no wildcard, no variable, no network of the whole world.
    pub(super) fn is_fixed(&self) -> bool {
        match self {
            Self::Text(pattern) => !pattern.is_open(),
            Self::Arn(patterns) => patterns.iter().all(|pattern| !pattern.is_open()),
            Self::Ip(network) => match network {
                IpNetwork::V4(network) => network.prefix() >= super::super::public::NARROW_V4,
                IpNetwork::V6(network) => network.prefix() >= super::super::public::NARROW_V6,
            },
            // Much fits an order, a truth or an absence: no fixed value.
            _ => false,
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())
}

fn truth(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// ISO 8601 (with or without a time of day), or seconds since 1970.
fn date(text: &str) -> Option<i128> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(i128::from(seconds) * 1_000_000_000);
    }
    OffsetDateTime::parse(text, &Iso8601::DEFAULT)
        .ok()
        .or_else(|| {
            let date = Date::parse(text, &Iso8601::DEFAULT).ok()?;
            Some(date.with_time(Time::MIDNIGHT).assume_utc())
        })
        .map(OffsetDateTime::unix_timestamp_nanos)
}
