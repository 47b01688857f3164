//! Sessions: credentials for a limited time.
//!
//! The token is a sealed description of the session, the secret is made from the access key: both by
//! keys of the namespace's, so that every gateway knows a session that another one began, and nothing
//! has to be kept. Whom a session stands for is looked up whenever it is used: policies count as they
//! are then, and a session ends with its user or role.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use vfs::Vfs;
use zeroize::Zeroizing;

use super::known::{Known, Refusal};
use super::names;
use crate::caller::{CanonicalId, Identity, Policy, Session};

/// What tokens are sealed for.
const TOKEN: &[u8] = b"cess-gateway session token 1";
/// Names the policy of a session in explanations.
const SESSION_POLICY: &str = "session policy";

/// What a session is to be.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The account of whom it stands for.
    pub account: CanonicalId,
    /// The user of it; with neither user nor role: the account itself.
    pub user: Option<String>,
    /// The role that is taken.
    pub role: Option<String>,
    /// Its name.
    pub name: String,
    /// Policy document that narrows it.
    pub policy: Option<String>,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
    /// Condition keys and their values.
    pub context: BTreeMap<String, Vec<String>>,
}

/// The credentials of a session.
#[derive(Clone)]
pub struct Issued {
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Zeroizing<String>,
    /// Token that every request must show.
    pub token: String,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

/// Shows the access key, neither secret nor token.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("access_key", &self.access_key)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// What a token says, in JSON.
#[derive(Serialize, Deserialize)]
struct Token {
    key: String,
    account: CanonicalId,
    /// Unique id of the user or the role: another of the same name is somebody else.
    id: Option<String>,
    user: Option<String>,
    role: Option<String>,
    name: String,
    policy: Option<String>,
    expires: i64,
    #[serde(default)]
    context: BTreeMap<String, Vec<String>>,
}

/// Begins a session. `None` when whom it should stand for is not known.
pub(crate) fn issue(vfs: &Vfs, known: &Known, grant: Grant) -> Option<Issued> {
    let access_key = names::session_key();
    let id = match (&grant.role, &grant.user) {
        (Some(role), _) => Some(known.role(&grant.account, role)?.0.id),
        (None, Some(user)) => Some(known.identity(&grant.account, Some(user))?.user?.id),
        (None, None) => {
            known.account(&grant.account)?;
            None
        }
    };
    let token = Token {
        key: access_key.clone(),
        account: grant.account,
        id,
        user: grant.user.filter(|_| grant.role.is_none()),
        role: grant.role,
        name: grant.name,
        policy: grant.policy,
        expires: grant.expires,
        context: grant.context,
    };
    let json = serde_json::to_vec(&token).ok()?;
    Some(Issued {
        secret_key: secret(vfs, &access_key),
        access_key,
        token: BASE64_STANDARD.encode(vfs.seal_secret(TOKEN, &json)),
        expires: token.expires,
    })
}

/// The secret that belongs to a session's access key.
pub(crate) fn secret(vfs: &Vfs, access_key: &str) -> Zeroizing<String> {
    let name = [b"secret of session ", access_key.as_bytes()].concat();
    Zeroizing::new(BASE64_STANDARD_NO_PAD.encode(vfs.made_secret(&name).as_slice()))
}

/// Who asks in the session of a token.
pub(crate) fn caller(
    vfs: &Vfs,
    known: &Known,
    access_key: &str,
    token: &str,
    now: i64,
) -> Result<Identity, Refusal> {
    let sealed = BASE64_STANDARD.decode(token).map_err(|_| Refusal::InvalidToken)?;
    let json = vfs.open_secret(TOKEN, &sealed).ok_or(Refusal::InvalidToken)?;
    let token: Token = serde_json::from_slice(&json).map_err(|_| Refusal::InvalidToken)?;
    if token.key != access_key {
        return Err(Refusal::InvalidToken);
    }
    if token.expires <= now {
        return Err(Refusal::ExpiredToken);
    }
    let mut identity = known
        .identity(&token.account, token.user.as_deref())
        .ok_or(Refusal::InvalidToken)?;
    let role = match &token.role {
        None => None,
        Some(name) => Some(known.role(&token.account, name).ok_or(Refusal::InvalidToken)?.0),
    };
    let id = role
        .as_ref()
        .map(|role| &role.id)
        .or(identity.user.as_ref().map(|user| &user.id));
    if id != token.id.as_ref() {
        return Err(Refusal::InvalidToken);
    }
    identity.session = Some(Session {
        name: token.name,
        role,
        policy: token.policy.map(|text| {
            Arc::new(Policy {
                name: SESSION_POLICY.to_owned(),
                text,
            })
        }),
        expires: token.expires,
        context: token.context,
    });
    Ok(identity)
}
