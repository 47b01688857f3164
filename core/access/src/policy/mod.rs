//! Policy documents: who may do what with what, and when.
//!
//! # What a document is
//! Statements, each of which allows or denies (`Effect`) actions (`Action`, `NotAction`) on resources
//! (`Resource`, `NotResource`), where conditions hold ([`condition`]). A document on a bucket or a role
//! also says to whom (`Principal`, `NotPrincipal`); one of a user or a group is about whoever has it.
//!
//! # How it is read
//! [`Document::parse`] is strict: what it does not know it refuses, because a policy that is half
//! understood allows too much or too little. Everything is compiled there ([`pattern`], [`condition`]),
//! so that a request costs comparisons and no parsing. What one document says about a request is
//! [`Document::allows`] and [`Document::denies`]; how several documents come together is
//! [`crate::decision`].
mod condition;
mod context;
mod known;
mod parse;
mod pattern;
mod principal;
mod public;
#[cfg(test)]
mod reference;
#[cfg(test)]
pub(crate) mod samples;
mod unambiguous;

use std::collections::BTreeSet;

pub use context::Context;

use self::condition::Condition;
use self::pattern::Pattern;
use self::principal::{About, Principals};
use crate::caller::Caller;

/// Largest document on a bucket, in bytes (AWS: 20 KB).
pub const MAX_BUCKET_POLICY: usize = 20 << 10;

/// Why a document is refused, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

fn malformed(why: String) -> Malformed {
    Malformed(why)
}

/// What a document belongs to: it decides which elements it must and may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A user, a group, a role or a session: about whoever has it.
    Identity,
    /// The bucket of this name: about its principals and resources in it.
    Bucket(&'a str),
    /// A role: who may take it.
    Trust,
}

/// The version of the policy language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 2008-10-17, and documents that name none: no variables.
    V2008,
    /// 2012-10-17.
    V2012,
}

/// Whether a statement allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever allows.
    Deny,
}

/// A policy document, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    statements: Vec<Statement>,
    keys: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    sid: Option<String>,
    effect: Effect,
    principals: Option<Principals>,
    actions: Matcher,
    /// `None` in the trust policy of a role.
    resources: Option<Matcher>,
    conditions: Vec<Condition>,
}

/// Patterns that must fit, or must not.
#[derive(Clone, Debug, PartialEq)]
struct Matcher {
    patterns: Vec<Pattern>,
    except: bool,
}

impl Matcher {
    fn fits(&self, text: &str, context: &Context) -> bool {
        self.patterns.iter().any(|pattern| pattern.fits(text, context)) != self.except
    }
}

/// What is asked of a document.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// The action, `s3:GetObject`.
    pub action: &'a str,
    /// The resource name, `arn:aws:s3:::bucket/key`.
    pub resource: &'a str,
    /// What the request says about itself.
    pub context: &'a Context,
}

/// A statement that speaks about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'a> {
    /// Its place in the document, counted from 1.
    pub number: usize,
    /// Its name, if it has one.
    pub sid: Option<&'a str>,
    /// Whether it names the caller himself (or everybody), not only his account.
    pub himself: bool,
}

impl Document {
    /// Reads a document. The message says what is wrong, as AWS does.
    pub fn parse(text: &str, kind: Kind<'_>) -> Result<Self, Malformed> {
        parse::document(text, kind)
    }

    /// The first statement that denies.
    pub fn denies(&self, question: Question<'_>) -> Option<Hit<'_>> {
        self.hits(Effect::Deny, question).next()
    }

    /// The statement that allows: rather one that names the caller himself than one that names his
    /// account.
    pub fn allows(&self, question: Question<'_>) -> Option<Hit<'_>> {
        let mut found = None;
        for hit in self.hits(Effect::Allow, question) {
            if hit.himself {
                return Some(hit);
            }
            found = found.or(Some(hit));
        }
        found
    }

    /// Whether some statement reads a condition key that begins so (in lower case): what is costly to
    /// find out is found out only then.
    pub fn reads(&self, prefix: &str) -> bool {
        self.keys
            .range(prefix.to_owned()..)
            .next()
            .is_some_and(|key| key.starts_with(prefix))
    }

    /// The identity providers and services that some statement names.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.statements
            .iter()
            .filter_map(|statement| statement.principals.as_ref())
            .flat_map(Principals::others)
    }

    fn hits<'a, 'q>(
        &'a self,
        effect: Effect,
        question: Question<'q>,
    ) -> impl Iterator<Item = Hit<'a>> + use<'a, 'q> {
        self.statements
            .iter()
            .zip(1..)
            .filter(move |(statement, _)| statement.effect == effect)
            .filter_map(move |(statement, number)| {
                let about = statement.about(question)?;
                Some(Hit {
                    number,
                    sid: statement.sid.as_deref(),
                    himself: about == About::Himself,
                })
            })
    }
}

impl Statement {
    fn about(&self, question: Question<'_>) -> Option<About> {
        let Question {
            caller,
            action,
            resource,
            context,
        } = question;
        let about = match &self.principals {
            Some(principals) if principals.name_provider(context) => About::Himself,
            Some(principals) => principals.about(caller)?,
            None => About::Himself,
        };
        let speaks = self.actions.fits(action, context)
            && self
                .resources
                .as_ref()
                .is_none_or(|resources| resources.fits(resource, context))
            && self.conditions.iter().all(|condition| condition.holds(context));
        speaks.then_some(about)
    }
}
