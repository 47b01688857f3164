//! AssumeRoleWithWebIdentity: a role for whoever shows a token of an identity provider that it trusts.
use access::Caller;
use access::identity::{Grant, Registry};
use access::oidc::{Providers, Rejected, WebIdentity};
use access::policy::{Context, Document, Kind, Question};

use super::action::{ROLE_SESSION, assumed, credentials, gone, role_of, session_name, session_policy};
use super::answer::{Done, Refusal, element};
use super::form::Form;

/// Condition key, and what a trust policy's `Federated` principals are compared with.
const PROVIDER: &str = "aws:FederatedProvider";

/// Carries it out. The request needs no signature: the token says who asks.
pub(super) async fn assume(registry: &Registry, providers: &Providers, form: &Form) -> Result<Done, Refusal> {
    let arn = form.need("RoleArn")?;
    let name = session_name(form)?;
    let policy = session_policy(form)?;
    let token = form.need("WebIdentityToken")?;
    if form.get("ProviderId").is_some() {
        return Err(Refusal::validation(
            "ProviderId is for providers without OpenID Connect, which are not supported.".into(),
        ));
    }
    let web = providers.check(token, access::now()).await.map_err(|rejected| {
        let code = match rejected {
            Rejected::Invalid(_) => "InvalidIdentityToken",
            Rejected::Expired => "ExpiredTokenException",
            Rejected::Unreachable => "IDPCommunicationError",
        };
        Refusal::new(code, rejected.to_string())
    })?;
    let known = registry.known();
    let refused = || Refusal::denied("Not authorized to perform sts:AssumeRoleWithWebIdentity");
    let (account, role_name) =
        role_of(arn).ok_or_else(|| Refusal::validation(format!("{arn} is invalid.")))?;
    let account = known.account_numbered(account).ok_or_else(refused)?;
    let (role, trust, max_session) = known.role(&account.id, role_name).ok_or_else(refused)?;
    let trust = Document::parse(trust, Kind::Trust).map_err(|error| {
        tracing::error!(role = role.name, %error, "a trust policy cannot be read");
        refused()
    })?;

    let claims = conditions(&web, &account.id.number());
    let mut context = Context::default();
    for (key, values) in &claims {
        context.set_all(key, values.clone());
    }
    context.set("sts:RoleSessionName", name);
    let question = Question {
        caller: &Caller::Anonymous,
        action: "sts:AssumeRoleWithWebIdentity",
        resource: arn,
        context: &context,
    };
    if trust.denies(question).is_some() || trust.allows(question).is_none() {
        return Err(refused());
    }
    let seconds = form.seconds("DurationSeconds", ROLE_SESSION, i64::from(max_session))?;
    let user = assumed(&account, &role, name);
    let issued = registry.issue(Grant {
        account: account.id,
        user: None,
        role: Some(role.name),
        name: name.to_owned(),
        policy,
        expires: access::now().saturating_add(seconds),
        context: claims,
    });
    let result = [
        credentials(&issued.ok_or_else(gone)?),
        user,
        element("SubjectFromWebIdentityToken", &web.subject),
        element("Audience", &web.audience),
        element("Provider", web.provider()),
    ];
    Ok(Done {
        action: "AssumeRoleWithWebIdentity",
        result: result.concat(),
    })
}

/// Condition keys of the token, and its provider under the names that a trust policy may use.
fn conditions(web: &WebIdentity, number: &str) -> std::collections::BTreeMap<String, Vec<String>> {
    let mut all = web.context.clone();
    let provider = web.provider();
    let names = vec![
        web.issuer.clone(),
        provider.to_owned(),
        format!("arn:aws:iam::{number}:oidc-provider/{provider}"),
    ];
    all.insert(PROVIDER.to_owned(), names);
    all
}
