//! Whether a bucket policy makes something public.
//!
//! It does when a statement allows something to everybody and no condition ties that to fixed values of
//! a key that tells who or where the client is: an address, an account, a network. Wildcards and
//! variables are no fixed values, and a network so wide that it holds half the world is none either.
use super::{Document, Effect, Statement};

/// Prefix lengths of the widest networks that count as a fixed place.
pub(crate) const NARROW_V4: u8 = 8;
pub(crate) const NARROW_V6: u8 = 32;

/// Keys that tell who or where a client is.
const TELLING: [&str; 14] = [
    "aws:sourceip",
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:userid",
    "aws:username",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
];

impl Document {
    /// Whether it allows something to everybody.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(Statement::is_public)
    }
}

impl Statement {
    fn is_public(&self) -> bool {
        let everybody = self
            .principals
            .as_ref()
            .is_some_and(super::principal::Principals::everybody);
        let tied = self
            .conditions
            .iter()
            .any(|condition| TELLING.contains(&condition.key()) && condition.pins());
        self.effect == Effect::Allow && everybody && !tied
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Document, Kind};

    fn is_public(principal: Value, condition: Value) -> bool {
        let text = json!({"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::b/*", "Condition": condition,
        }});
        Document::parse(&text.to_string(), Kind::Bucket("b"))
            .unwrap()
            .is_public()
    }

    #[test]
    fn everybody_is_public_unless_tied_to_a_place() {
        let everybody = || json!("*");
        assert!(is_public(everybody(), json!({})));
        assert!(is_public(json!({"AWS": ["*"]}), json!({})));
        assert!(!is_public(json!({"AWS": "123456789012"}), json!({})));
        for (condition, public) in [
            (json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), false),
            (
                json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/0"]}}),
                true,
            ),
            (json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}), true),
            (json!({"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}), true),
            (json!({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), true),
            (
                json!({"StringEquals": {"aws:PrincipalAccount": "123456789012"}}),
                false,
            ),
            (json!({"StringLike": {"aws:PrincipalAccount": "1*"}}), true),
            (json!({"StringEquals": {"aws:Referer": "http://a"}}), true),
            (json!({"StringEquals": {"aws:SourceVpc": "vpc-1"}}), false),
            (json!({"StringEquals": {"aws:SourceVpc": "${aws:x}"}}), true),
        ] {
            assert_eq!(is_public(everybody(), condition.clone()), public, "{condition}");
        }
    }
}
