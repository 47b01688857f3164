//! How documents and ACLs come together to one decision.
//!
//! 1. A statement that denies, in any document that is about the caller or the bucket, decides. The
//!    account that owns the bucket can always read, replace and remove the bucket's policy: else a slip
//!    would lock it out for ever.
//! 2. Somebody of the account that owns the resource needs one word that allows: of his own policies, or
//!    of the bucket's policy that names him. The account itself needs none. A bucket's policy that names
//!    only his account leaves it to the account's own policies.
//! 3. Somebody of another account needs two: of the bucket's policy or an ACL, and of his own policies
//!    (his account itself needs only the first).
//! 4. Nobody (a request that is not signed) needs the bucket's policy or an ACL.
//! 5. What the policy of a session does not allow is not allowed.
use std::fmt;

use crate::caller::{Caller, CanonicalId};
use crate::policy::{Document, Hit, Question};

/// Actions that a bucket's policy cannot take from the account that owns the bucket.
const NEVER_LOST: [&str; 3] = [
    "s3:DeleteBucketPolicy",
    "s3:GetBucketPolicy",
    "s3:PutBucketPolicy",
];

/// A document of the caller and its name.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its name, for explanations.
    pub name: &'a str,
    /// What it says.
    pub document: &'a Document,
}

/// All that bears on a question.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    /// The caller's own policies.
    pub own: &'a [Named<'a>],
    /// The policy of the caller's session.
    pub session: Option<Named<'a>>,
    /// The account that owns the resource: the bucket's, or that of an object which is not the
    /// bucket's.
    pub owner: &'a CanonicalId,
    /// The account that owns the bucket.
    pub bucket_owner: &'a CanonicalId,
    /// The bucket's policy. What it allows counts for what the bucket's owner owns.
    pub bucket: Option<&'a Document>,
    /// Whether what the bucket's policy allows counts for its own account alone.
    pub restricted: bool,
    /// Whether an ACL grants it to the caller.
    pub acl: bool,
}

/// Where the word that decided stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A policy of the caller.
    Own(String),
    /// The policy of his session.
    Session(String),
    /// The bucket's policy.
    Bucket,
}

/// The statement that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The document.
    pub source: Source,
    /// The statement's place in it, counted from 1.
    pub number: usize,
    /// The statement's name, if it has one.
    pub sid: Option<String>,
}

impl Word {
    fn new(source: Source, hit: Hit<'_>) -> Self {
        Self {
            source,
            number: hit.number,
            sid: hit.sid.map(str::to_owned),
        }
    }
}

/// The outcome and what decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed: the account does with its own as it likes.
    Owner,
    /// Allowed by a statement.
    Allowed(Word),
    /// Allowed by an ACL.
    Granted,
    /// Denied by a statement.
    Denied(Word),
    /// Denied: nothing about the resource allows it to this caller.
    NothingAllows,
    /// Denied: the resource would allow it, but the caller's own policies do not.
    OwnPoliciesSilent,
    /// Denied: the policy of the session does not allow it.
    SessionSilent(String),
    /// Denied: the bucket's policy allows it to everybody, and the public access block keeps that from
    /// whoever is not of the bucket's account.
    Restricted(Word),
}

impl Decision {
    /// Whether the caller may.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Owner | Self::Allowed(_) | Self::Granted)
    }
}

/// What a document says about a question.
type Says = for<'a> fn(&'a Document, Question<'_>) -> Option<Hit<'a>>;

/// Decides.
pub fn decide(question: Question<'_>, grounds: &Grounds<'_>) -> Decision {
    let identity = question.caller.identity();
    let of_owner = |owner: &CanonicalId| identity.is_some_and(|identity| identity.account.id == *owner);
    let is_account = identity.is_some_and(|identity| identity.is_account());
    let own = |says: Says| {
        grounds.own.iter().find_map(|named| {
            let hit = says(named.document, question)?;
            Some(Word::new(Source::Own(named.name.to_owned()), hit))
        })
    };

    // 1. Whatever denies.
    if let Some(word) = own(Document::denies) {
        return Decision::Denied(word);
    }
    if let Some(named) = grounds.session
        && let Some(hit) = named.document.denies(question)
    {
        return Decision::Denied(Word::new(Source::Session(named.name.to_owned()), hit));
    }
    let untouchable = is_account && of_owner(grounds.bucket_owner) && NEVER_LOST.contains(&question.action);
    if let Some(document) = grounds.bucket
        && !untouchable
        && let Some(hit) = document.denies(question)
    {
        return Decision::Denied(Word::new(Source::Bucket, hit));
    }

    // 2. to 4. Whatever allows.
    let by_bucket = grounds
        .bucket
        .filter(|_| grounds.owner == grounds.bucket_owner)
        .and_then(|document| document.allows(question));
    let himself = by_bucket.is_some_and(|hit| hit.himself);
    let by_bucket = by_bucket.map(|hit| Word::new(Source::Bucket, hit));
    let shut = grounds.restricted && !of_owner(grounds.bucket_owner);
    let from_outside = match (by_bucket, grounds.acl) {
        (Some(word), _) if !shut => Some(Decision::Allowed(word)),
        (_, true) => Some(Decision::Granted),
        (Some(word), false) => return Decision::Restricted(word),
        (None, false) => None,
    };
    let decision = if identity.is_none() {
        from_outside
    } else {
        let from_inside = if is_account {
            Some(Decision::Owner)
        } else {
            own(Document::allows).map(Decision::Allowed)
        };
        match (of_owner(grounds.owner), from_inside, from_outside) {
            (true, Some(inside), _) => Some(inside),
            (true, None, Some(outside)) if himself => Some(outside),
            (false, Some(_), Some(outside)) => Some(outside),
            (_, None, Some(_)) => return Decision::OwnPoliciesSilent,
            (_, _, None) => None,
        }
    };
    let Some(decision) = decision else {
        return Decision::NothingAllows;
    };

    // 5. Within the bounds of the session.
    match grounds.session {
        Some(named) if named.document.allows(question).is_none() => {
            Decision::SessionSilent(named.name.to_owned())
        }
        _ => decision,
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {}", self.number)?;
        if let Some(sid) = &self.sid {
            write!(f, " ({sid:?})")?;
        }
        match &self.source {
            Source::Own(name) => write!(f, " of the caller's policy {name:?}"),
            Source::Session(name) => write!(f, " of the policy of the session {name:?}"),
            Source::Bucket => f.write_str(" of the bucket's policy"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("allowed: the account owns the resource"),
            Self::Allowed(word) => write!(f, "allowed by {word}"),
            Self::Granted => f.write_str("allowed by an ACL"),
            Self::Denied(word) => write!(f, "denied by {word}"),
            Self::NothingAllows => f.write_str("denied: nothing allows it"),
            Self::OwnPoliciesSilent => {
                f.write_str("denied: the resource allows it, the caller's own policies do not")
            }
            Self::SessionSilent(name) => {
                write!(f, "denied: the policy of the session {name:?} does not allow it")
            }
            Self::Restricted(word) => {
                write!(
                    f,
                    "denied: the public access block keeps strangers out, though allowed by {word}"
                )
            }
        }
    }
}

/// The caller who asks, for [`Caller::Anonymous`] nobody.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Known(identity) => f.write_str(&identity.arn()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::samples::{account, anonymous, of_account, of_role, of_user};
    use crate::policy::{Context, Kind};

    struct Case {
        own: Option<Document>,
        session: Option<Document>,
        bucket: Option<Document>,
        object_owner: u8,
        restricted: bool,
        acl: bool,
    }

    const NOTHING: Case = Case {
        own: None,
        session: None,
        bucket: None,
        object_owner: 1,
        restricted: false,
        acl: false,
    };

    /// The bucket belongs to account 1.
    fn decided(caller: &Caller, action: &str, case: &Case) -> Decision {
        let context = Context::default();
        let question = Question {
            caller,
            action,
            resource: "arn:aws:s3:::b/k",
            context: &context,
        };
        let own: Vec<Named<'_>> = case
            .own
            .iter()
            .map(|document| Named {
                name: "own",
                document,
            })
            .collect();
        let session = case.session.as_ref().map(|document| Named {
            name: "session",
            document,
        });
        let (owner, bucket_owner) = (account(case.object_owner).id, account(1).id);
        decide(
            question,
            &Grounds {
                own: &own,
                session,
                owner: &owner,
                bucket_owner: &bucket_owner,
                bucket: case.bucket.as_ref(),
                restricted: case.restricted,
                acl: case.acl,
            },
        )
    }

    fn may(caller: &Caller, case: &Case) -> bool {
        decided(caller, "s3:GetObject", case).is_allowed()
    }

    fn own(effect: &str) -> Option<Document> {
        let text = json!({"Statement": {"Sid": "S", "Effect": effect, "Action": "s3:*", "Resource": "*"}});
        Some(Document::parse(&text.to_string(), Kind::Identity).unwrap())
    }

    fn bucket(effect: &str, principal: serde_json::Value) -> Option<Document> {
        let text = json!({"Statement": {"Effect": effect, "Principal": principal, "Action": "s3:*",
            "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}});
        Some(Document::parse(&text.to_string(), Kind::Bucket("b")).unwrap())
    }

    #[test]
    fn within_an_account_one_word_is_enough() {
        let (root, ann) = (of_account(1), of_user(1, "ann"));
        assert_eq!(decided(&root, "s3:GetObject", &NOTHING), Decision::Owner);
        assert_eq!(decided(&ann, "s3:GetObject", &NOTHING), Decision::NothingAllows);
        assert!(may(
            &ann,
            &Case {
                own: own("Allow"),
                ..NOTHING
            }
        ));
        let named = json!({"AWS": format!("arn:aws:iam::{}:user/ann", account(1).id.number())});
        assert!(may(
            &ann,
            &Case {
                bucket: bucket("Allow", named.clone()),
                ..NOTHING
            }
        ));
        assert!(!may(
            &of_user(1, "bob"),
            &Case {
                bucket: bucket("Allow", named),
                ..NOTHING
            }
        ));
        // Naming the account leaves it to the account's own policies.
        let whole = || bucket("Allow", json!({"AWS": account(1).id.number()}));
        let case = Case {
            bucket: whole(),
            ..NOTHING
        };
        assert_eq!(decided(&ann, "s3:GetObject", &case), Decision::OwnPoliciesSilent);
        assert!(may(
            &ann,
            &Case {
                bucket: whole(),
                own: own("Allow"),
                ..NOTHING
            }
        ));
        // An ACL names accounts, too.
        assert!(!may(&ann, &Case { acl: true, ..NOTHING }));
    }

    #[test]
    fn from_another_account_two_words_are_needed() {
        let (root, ann) = (of_account(2), of_user(2, "ann"));
        assert!(!may(&root, &NOTHING));
        assert!(!may(
            &ann,
            &Case {
                own: own("Allow"),
                ..NOTHING
            }
        ));
        let everybody = || bucket("Allow", json!("*"));
        assert!(may(
            &root,
            &Case {
                bucket: everybody(),
                ..NOTHING
            }
        ));
        assert!(!may(
            &ann,
            &Case {
                bucket: everybody(),
                ..NOTHING
            }
        ));
        assert!(may(
            &ann,
            &Case {
                bucket: everybody(),
                own: own("Allow"),
                ..NOTHING
            }
        ));
        assert!(may(&root, &Case { acl: true, ..NOTHING }));
        assert!(!may(&ann, &Case { acl: true, ..NOTHING }));
        assert!(may(
            &ann,
            &Case {
                acl: true,
                own: own("Allow"),
                ..NOTHING
            }
        ));
    }

    #[test]
    fn strangers_need_the_resource_to_allow() {
        assert!(!may(&anonymous(), &NOTHING));
        assert!(may(&anonymous(), &Case { acl: true, ..NOTHING }));
        assert!(may(
            &anonymous(),
            &Case {
                bucket: bucket("Allow", json!("*")),
                ..NOTHING
            }
        ));
        let one = bucket("Allow", json!({"AWS": account(2).id.number()}));
        assert!(!may(
            &anonymous(),
            &Case {
                bucket: one,
                ..NOTHING
            }
        ));
    }

    #[test]
    fn whatever_denies_decides() {
        let root = of_account(1);
        let denied = Case {
            bucket: bucket("Deny", json!("*")),
            acl: true,
            own: own("Allow"),
            ..NOTHING
        };
        for caller in [&root, &of_user(1, "ann"), &of_account(2), &anonymous()] {
            assert!(!may(caller, &denied), "{caller}");
        }
        let by_himself = Case {
            own: own("Deny"),
            bucket: bucket("Allow", json!("*")),
            ..NOTHING
        };
        let decision = decided(&of_user(1, "ann"), "s3:GetObject", &by_himself);
        assert_eq!(
            decision.to_string(),
            "denied by statement 1 (\"S\") of the caller's policy \"own\""
        );
        // The owner's account cannot lock itself out of its bucket's policy; its users can be.
        for action in NEVER_LOST {
            assert!(decided(&root, action, &denied).is_allowed(), "{action}");
            assert!(
                !decided(&of_user(1, "ann"), action, &denied).is_allowed(),
                "{action}"
            );
        }
    }

    #[test]
    fn an_object_of_another_account_is_not_the_buckets_to_give() {
        let others = |bucket: Option<Document>| Case {
            object_owner: 2,
            bucket,
            ..NOTHING
        };
        assert!(!may(&of_account(1), &others(None)));
        assert!(may(&of_account(2), &others(None)));
        assert!(!may(&of_account(3), &others(bucket("Allow", json!("*")))));
        assert!(!may(&of_account(2), &others(bucket("Deny", json!("*")))));
        assert!(may(
            &of_account(1),
            &Case {
                acl: true,
                ..others(None)
            }
        ));
    }

    #[test]
    fn a_restricted_bucket_is_for_its_own_account() {
        let public = |acl| Case {
            bucket: bucket("Allow", json!("*")),
            restricted: true,
            acl,
            ..NOTHING
        };
        assert!(may(&of_account(1), &public(false)) && may(&of_user(1, "ann"), &public(false)));
        let refused = decided(&anonymous(), "s3:GetObject", &public(false));
        assert!(matches!(refused, Decision::Restricted(_)), "{refused}");
        assert!(!may(&of_account(2), &public(false)));
    }

    #[test]
    fn a_session_does_no_more_than_its_policy() {
        let role = of_role(1, "r", "s");
        assert!(!may(&role, &NOTHING));
        assert!(may(
            &role,
            &Case {
                own: own("Allow"),
                ..NOTHING
            }
        ));
        let narrowed = |session| Case {
            own: own("Allow"),
            session,
            ..NOTHING
        };
        assert!(may(&role, &narrowed(own("Allow"))));
        assert!(!may(&role, &narrowed(own("Deny"))));
        let other = json!({"Statement": {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}});
        let other = || Some(Document::parse(&other.to_string(), Kind::Identity).unwrap());
        let decision = decided(&role, "s3:GetObject", &narrowed(other()));
        assert_eq!(decision, Decision::SessionSilent("session".into()));
        assert!(decided(&role, "s3:PutObject", &narrowed(other())).is_allowed());
        // Nor the account itself in a session.
        assert!(!may(
            &of_account(1),
            &Case {
                session: other(),
                ..NOTHING
            }
        ));
    }
}
