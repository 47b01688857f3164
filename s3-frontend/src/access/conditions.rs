//! What a request says about itself, as the condition keys of policies.
use access::Caller;
use access::policy::Context;
use http::{HeaderMap, Uri};
use time::format_description::well_known::Rfc3339;

use crate::clock;
use crate::layer::Client;

/// Headers that are condition keys of their own name (`s3:NAME`).
const HEADERS: [&str; 20] = [
    "if-match",
    "if-none-match",
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-copy-source",
];

/// Parameters of the query that are condition keys of their own name.
const PARAMETERS: [&str; 3] = ["prefix", "delimiter", "max-keys"];

/// The parameter of a query, decoded.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    form_urlencoded::parse(uri.query()?.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// All that a request says about itself before its body is read.
pub(super) fn of_request(caller: &Caller, headers: &HeaderMap, uri: &Uri, client: Option<Client>) -> Context {
    let mut context = Context::default();
    of_caller(&mut context, caller);
    if let Some(client) = client {
        context.set("aws:SourceIp", client.address.to_canonical().to_string());
        context.set("aws:SecureTransport", client.secure.to_string());
    }
    let now = clock::now();
    if let Ok(text) = now.format(&Rfc3339) {
        context.set("aws:CurrentTime", text);
    }
    context.set("aws:EpochTime", now.unix_timestamp().to_string());

    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    for (name, key) in [("referer", "aws:Referer"), ("user-agent", "aws:UserAgent")] {
        if let Some(value) = header(name) {
            context.set(key, value);
        }
    }
    for name in HEADERS {
        let Some(value) = header(name) else { continue };
        match name {
            "x-amz-copy-source" => {
                let value = form_urlencoded::parse(format!("s={}", value.replace('+', "%2B")).as_bytes())
                    .next()
                    .map(|(_, value)| value.trim_start_matches('/').to_owned());
                context.set("s3:x-amz-copy-source", value.unwrap_or_default());
            }
            // Those of Object Lock go without the prefix.
            name => context.set(
                &format!(
                    "s3:{}",
                    name.strip_prefix("x-amz-object-lock-")
                        .map_or_else(|| name.to_owned(), |rest| format!("object-lock-{rest}"),)
                ),
                value,
            ),
        }
    }
    if let Some(tags) = header("x-amz-tagging") {
        let tags = form_urlencoded::parse(tags.as_bytes()).into_owned();
        requested_tags(&mut context, tags);
    }
    for name in PARAMETERS {
        if let Some(value) = parameter(uri, name) {
            context.set(&format!("s3:{name}"), value);
        }
    }
    if let Some(version) = parameter(uri, "versionId") {
        context.set("s3:VersionId", version);
    }
    if caller.identity().is_some() {
        let presigned = parameter(uri, "X-Amz-Signature").is_some();
        let kind = match (presigned, headers.contains_key(http::header::AUTHORIZATION)) {
            (true, _) => "REST-QUERY-STRING",
            (false, true) => "REST-HEADER",
            (false, false) => "POST",
        };
        context.set("s3:authType", kind);
        context.set("s3:signatureversion", "AWS4-HMAC-SHA256");
    }
    context
}

fn of_caller(context: &mut Context, caller: &Caller) {
    let Some(identity) = caller.identity() else {
        context.set("aws:PrincipalType", "Anonymous");
        return;
    };
    // First what the session says, so that it cannot speak for what follows.
    if let Some(session) = &identity.session {
        for (key, values) in &session.context {
            context.set_all(key, values.clone());
        }
    }
    let kind = match (identity.role(), &identity.user) {
        (Some(_), _) => "AssumedRole",
        (None, Some(_)) => "User",
        (None, None) => "Account",
    };
    context.set("aws:PrincipalType", kind);
    context.set("aws:PrincipalArn", identity.arn());
    context.set("aws:PrincipalAccount", identity.account.id.number());
    context.set("aws:userid", identity.user_id());
    if let (None, Some(user)) = (identity.role(), &identity.user) {
        context.set("aws:username", user.name.clone());
    }
}

/// The tags that a request wants to set.
pub(super) fn requested_tags(context: &mut Context, tags: impl Iterator<Item = (String, String)>) {
    let mut keys = Vec::new();
    for (key, value) in tags {
        context.set(&format!("s3:RequestObjectTag/{key}"), value);
        keys.push(key);
    }
    context.set_all("s3:RequestObjectTagKeys", keys);
}

/// The tags that an object has.
pub(super) fn existing_tags<'a>(context: &mut Context, tags: impl Iterator<Item = (&'a String, &'a String)>) {
    for (key, value) in tags {
        context.set(&format!("s3:ExistingObjectTag/{key}"), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::Identities as _;
    use super::super::fixed::Fixed;
    use super::*;

    #[test]
    fn a_request_is_told_by_its_keys() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("referer", "http://a/"),
            ("x-amz-acl", "private"),
            ("x-amz-copy-source", "/from/a%20b+c"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-tagging", "a=1&b=x%20y"),
            ("authorization", "…"),
        ] {
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let client = Some(Client {
            address: "::ffff:10.0.0.1".parse().unwrap(),
            crowded: false,
            secure: false,
            visitor: false,
        });
        let uri: Uri = "/b?prefix=a%2Fb&max-keys=7&versionId=null".parse().unwrap();
        let caller = Caller::Known(Fixed::sample().caller("KEY2", None).unwrap());
        let context = of_request(&caller, &headers, &uri, client);
        let number = Fixed::account(2).id.number();
        for (key, expected) in [
            ("aws:SourceIp", "10.0.0.1"),
            ("aws:SecureTransport", "false"),
            ("aws:Referer", "http://a/"),
            ("aws:PrincipalType", "Account"),
            ("aws:PrincipalAccount", number.as_str()),
            ("s3:x-amz-acl", "private"),
            ("s3:x-amz-copy-source", "from/a b+c"),
            ("s3:object-lock-mode", "GOVERNANCE"),
            ("s3:RequestObjectTag/b", "x y"),
            ("s3:prefix", "a/b"),
            ("s3:max-keys", "7"),
            ("s3:VersionId", "null"),
            ("s3:authType", "REST-HEADER"),
        ] {
            assert_eq!(context.get(key), Some(&[expected.to_owned()][..]), "{key}");
        }
        assert_eq!(context.get("s3:RequestObjectTagKeys").unwrap().len(), 2);
        assert_eq!(context.get("aws:username"), None);
        let nobody = of_request(&Caller::Anonymous, &HeaderMap::new(), &"/".parse().unwrap(), None);
        assert_eq!(nobody.get("s3:authType"), None);
        assert_eq!(nobody.get("aws:PrincipalArn"), None);
    }
}
