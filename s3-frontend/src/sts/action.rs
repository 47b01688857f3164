//! The actions of who signs: GetCallerIdentity, GetSessionToken, AssumeRole.
use std::collections::BTreeMap;

use access::decision::{Grounds, Named, decide};
use access::identity::{Grant, Issued, Registry};
use access::policy::{Context, Document, Kind, Question};
use access::{Account, Caller, Identity, Policy, Role};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::answer::{Done, Refusal, element};
use super::form::Form;

/// Length of a role's session that asks for none, in seconds.
pub(super) const ROLE_SESSION: i64 = 3600;
/// Longest session of a role that was taken from within a role's session, in seconds (AWS limit).
const CHAINED_SESSION_MAX: i64 = 3600;
/// Length of a session without a role, in seconds, and the longest: 12 and 36 hours (AWS limits).
const PLAIN_SESSION: i64 = 43_200;
const PLAIN_SESSION_MAX: i64 = 129_600;
/// Longest session of an account itself, in seconds (AWS limit).
const ACCOUNT_SESSION_MAX: i64 = 3600;
/// Largest session policy, in characters (AWS limit).
const SESSION_POLICY_MAX: usize = 2048;

/// Carries out what the form asks for.
pub(super) fn carry_out(registry: &Registry, caller: &Caller, form: &Form) -> Result<Done, Refusal> {
    let action = form.action()?;
    let identity = caller.identity().ok_or_else(|| {
        Refusal::forbidden(
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        )
    });
    match action {
        "GetCallerIdentity" => Ok(caller_identity(identity?)),
        "GetSessionToken" => session_token(registry, identity?, form),
        "AssumeRole" => assume_role(registry, caller, identity?, form),
        other => Err(Refusal::new(
            "InvalidAction",
            format!("Could not find operation {other} for version 2011-06-15"),
        )),
    }
}

fn caller_identity(identity: &Identity) -> Done {
    let result = [
        element("Arn", &identity.arn()),
        element("UserId", &identity.user_id()),
        element("Account", &identity.account.id.number()),
    ];
    Done {
        action: "GetCallerIdentity",
        result: result.concat(),
    }
}

fn session_token(registry: &Registry, identity: &Identity, form: &Form) -> Result<Done, Refusal> {
    if identity.session.is_some() {
        return Err(Refusal::denied(
            "Cannot call GetSessionToken with session credentials",
        ));
    }
    let most = if identity.is_account() {
        ACCOUNT_SESSION_MAX
    } else {
        PLAIN_SESSION_MAX
    };
    let seconds = form.seconds("DurationSeconds", PLAIN_SESSION, most)?;
    let user = identity.user.as_ref().map(|user| user.name.clone());
    let issued = registry.issue(Grant {
        account: identity.account.id.clone(),
        name: user.clone().unwrap_or_else(|| identity.account.name.clone()),
        user,
        role: None,
        policy: None,
        expires: access::now().saturating_add(seconds),
        context: BTreeMap::new(),
    });
    let issued = issued.ok_or_else(gone)?;
    Ok(Done {
        action: "GetSessionToken",
        result: credentials(&issued),
    })
}

fn assume_role(
    registry: &Registry,
    caller: &Caller,
    identity: &Identity,
    form: &Form,
) -> Result<Done, Refusal> {
    let arn = form.need("RoleArn")?;
    let name = session_name(form)?;
    let policy = session_policy(form)?;
    let known = registry.known();
    let refused = || {
        Refusal::denied(format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
            identity.arn()
        ))
    };
    // A role that is not there is refused as one that may not be taken.
    let (account, role_name) =
        role_of(arn).ok_or_else(|| Refusal::validation(format!("{arn} is invalid.")))?;
    let account = known.account_numbered(account).ok_or_else(refused)?;
    let (role, trust, max_session) = known.role(&account.id, role_name).ok_or_else(refused)?;

    let mut context = Context::default();
    if let Some(id) = form.get("ExternalId") {
        context.set("sts:ExternalId", id);
    }
    context.set("sts:RoleSessionName", name);
    if let Some(user) = &identity.user {
        context.set("aws:username", user.name.as_str());
    }
    context.set("aws:userid", identity.user_id());
    context.set("aws:PrincipalArn", identity.arn());
    context.set("aws:PrincipalAccount", identity.account.id.number());
    // Policies are asked about the role that is taken, however the request spells it.
    let resource = format!("arn:aws:iam::{}:role/{}", account.id.number(), role.name);
    let question = Question {
        caller,
        action: "sts:AssumeRole",
        resource: &resource,
        context: &context,
    };
    let trust = Document::parse(trust, Kind::Trust).map_err(|error| {
        tracing::error!(role = role.name, %error, "a trust policy cannot be read");
        refused()
    })?;
    let own = documents(identity.policies().iter().map(|policy| &**policy)).ok_or_else(refused)?;
    let session = identity
        .session
        .as_ref()
        .and_then(|session| session.policy.as_deref());
    let session = documents(session.into_iter()).ok_or_else(refused)?;
    let own: Vec<Named<'_>> = own.iter().map(named).collect();
    // The role's account trusts nobody by being the same one: the trust policy must speak.
    let decision = decide(
        question,
        &Grounds {
            own: &own,
            session: session.first().map(named),
            owner: &account.id,
            bucket_owner: &account.id,
            bucket: Some(&trust),
            restricted: false,
            acl: false,
        },
    );
    if trust.allows(question).is_none() || !decision.is_allowed() {
        tracing::debug!(%caller, arn, %decision, "a role is not given");
        return Err(refused());
    }
    let most = if identity.role().is_some() {
        i64::from(max_session).min(CHAINED_SESSION_MAX)
    } else {
        i64::from(max_session)
    };
    let seconds = form.seconds("DurationSeconds", ROLE_SESSION, most)?;
    let user = assumed(&account, &role, name);
    let issued = registry.issue(Grant {
        account: account.id,
        user: None,
        role: Some(role.name),
        name: name.to_owned(),
        policy,
        expires: access::now().saturating_add(seconds),
        context: BTreeMap::new(),
    });
    let issued = issued.ok_or_else(gone)?;
    Ok(Done {
        action: "AssumeRole",
        result: credentials(&issued) + &user,
    })
}

fn named((name, document): &(String, Document)) -> Named<'_> {
    Named { name, document }
}

/// What policies say; `None` when one cannot be read: then its holder may do nothing.
fn documents<'a>(policies: impl Iterator<Item = &'a Policy>) -> Option<Vec<(String, Document)>> {
    policies
        .map(|policy| {
            Document::parse(&policy.text, Kind::Identity)
                .inspect_err(|error| tracing::error!(policy = policy.name, %error, "a policy cannot be read"))
                .ok()
                .map(|document| (policy.name.clone(), document))
        })
        .collect()
}

/// The element that names a role in its session.
pub(super) fn assumed(account: &Account, role: &Role, session: &str) -> String {
    let number = account.id.number();
    let elements = [
        element(
            "Arn",
            &format!("arn:aws:sts::{number}:assumed-role/{}/{session}", role.name),
        ),
        element("AssumedRoleId", &format!("{}:{session}", role.id)),
    ];
    format!("<AssumedRoleUser>{}</AssumedRoleUser>", elements.concat())
}

/// Number of the account and name in the resource name of a role.
pub(super) fn role_of(arn: &str) -> Option<(&str, &str)> {
    let (account, resource) = arn.strip_prefix("arn:aws:iam::")?.split_once(':')?;
    let name = resource.strip_prefix("role/")?.rsplit('/').next()?;
    (!name.is_empty()).then_some((account, name))
}

pub(super) fn session_name(form: &Form) -> Result<&str, Refusal> {
    let name = form.need("RoleSessionName")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if (2..=64).contains(&name.len()) && name.chars().all(fits) {
        Ok(name)
    } else {
        Err(Refusal::validation(
            "RoleSessionName must have 2 to 64 letters, digits and _ + = , . @ -".into(),
        ))
    }
}

pub(super) fn session_policy(form: &Form) -> Result<Option<String>, Refusal> {
    if form.get("PolicyArns.member.1.arn").is_some() {
        return Err(Refusal::validation(
            "PolicyArns is not supported: pass Policy.".into(),
        ));
    }
    let Some(policy) = form.get("Policy") else {
        return Ok(None);
    };
    if policy.chars().count() > SESSION_POLICY_MAX {
        return Err(Refusal::new(
            "PackedPolicyTooLarge",
            format!("A session policy has at most {SESSION_POLICY_MAX} characters."),
        ));
    }
    Document::parse(policy, Kind::Identity)
        .map_err(|error| Refusal::new("MalformedPolicyDocument", error.to_string()))?;
    Ok(Some(policy.to_owned()))
}

pub(super) fn credentials(issued: &Issued) -> String {
    let expires = OffsetDateTime::from_unix_timestamp(issued.expires)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default();
    let elements = [
        element("AccessKeyId", &issued.access_key),
        element("SecretAccessKey", &issued.secret_key),
        element("SessionToken", &issued.token),
        element("Expiration", &expires),
    ];
    format!("<Credentials>{}</Credentials>", elements.concat())
}

/// Whom the session should stand for was deleted at this moment.
pub(super) fn gone() -> Refusal {
    Refusal::denied("Access Denied")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_found_in_their_resource_names() {
        assert_eq!(
            role_of("arn:aws:iam::123456789012:role/r"),
            Some(("123456789012", "r"))
        );
        assert_eq!(role_of("arn:aws:iam::1:role/path/to/r"), Some(("1", "r")));
        for bad in [
            "",
            "r",
            "arn:aws:iam::1:user/r",
            "arn:aws:iam::1:role/",
            "arn:aws:s3:::b",
        ] {
            assert_eq!(role_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_and_policies_of_sessions_are_checked() {
        let form = |text: &str| Form::parse(text.as_bytes()).unwrap();
        assert_eq!(session_name(&form("RoleSessionName=ab")).unwrap(), "ab");
        for bad in ["", "RoleSessionName=a", "RoleSessionName=a%2Fb"] {
            assert!(session_name(&form(bad)).is_err(), "{bad}");
        }
        assert!(session_policy(&form("")).unwrap().is_none());
        assert!(session_policy(&form("Policy=nonsense")).is_err());
        assert!(session_policy(&form("PolicyArns.member.1.arn=x")).is_err());
    }
}
