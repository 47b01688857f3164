//! Answers as text for people.
use std::fmt::Write as _;

use access::identity::{Answer, KeyView};
use anyhow::{Result, bail};

/// Only what has this name of a list.
pub(super) fn only(answer: Answer, name: &str) -> Result<Answer> {
    let (found, answer) = match answer {
        Answer::Accounts(mut some) => {
            some.retain(|one| one.name == name);
            (some.len(), Answer::Accounts(some))
        }
        Answer::Users(mut some) => {
            some.retain(|one| one.name == name);
            (some.len(), Answer::Users(some))
        }
        Answer::Groups(mut some) => {
            some.retain(|one| one.name == name);
            (some.len(), Answer::Groups(some))
        }
        Answer::Roles(mut some) => {
            some.retain(|one| one.name == name);
            (some.len(), Answer::Roles(some))
        }
        Answer::Policies(mut some) => {
            some.retain(|one| one.name == name);
            (some.len(), Answer::Policies(some))
        }
        Answer::Keys(mut some) => {
            some.retain(|one| one.access_key == name);
            (some.len(), Answer::Keys(some))
        }
        other => (1, other),
    };
    if found == 0 {
        bail!("{name} not found");
    }
    Ok(answer)
}

/// One line for each thing, and below it what belongs to it.
pub(super) fn text(answer: &Answer) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, answer);
    out
}

fn write(out: &mut String, answer: &Answer) -> std::fmt::Result {
    match answer {
        Answer::Done => writeln!(out, "done"),
        Answer::Key(key) => {
            writeln!(out, "access key  {}", key.access_key)?;
            writeln!(out, "secret key  {}", key.secret_key)?;
            writeln!(out, "The secret key is shown this once.")
        }
        Answer::Accounts(accounts) => accounts.iter().try_for_each(|account| {
            writeln!(out, "{}  {}  {}", account.name, account.number, account.id)?;
            keys(out, &account.keys)
        }),
        Answer::Users(users) => users.iter().try_for_each(|user| {
            writeln!(out, "{}  {}", user.name, user.arn)?;
            names(out, "groups", &user.groups)?;
            names(out, "policies", &user.policies)?;
            keys(out, &user.keys)
        }),
        Answer::Groups(groups) => groups.iter().try_for_each(|group| {
            writeln!(out, "{}", group.name)?;
            names(out, "users", &group.users)?;
            names(out, "policies", &group.policies)
        }),
        Answer::Roles(roles) => roles.iter().try_for_each(|role| {
            writeln!(
                out,
                "{}  {}  sessions of at most {} s",
                role.name, role.arn, role.max_session
            )?;
            names(out, "policies", &role.policies)?;
            writeln!(out, "  trust     {}", role.trust.trim())
        }),
        Answer::Policies(policies) => policies.iter().try_for_each(|policy| {
            writeln!(out, "{}", policy.name)?;
            names(out, "attached", &policy.attached)
        }),
        Answer::Keys(list) => keys(out, list),
    }
}

fn names(out: &mut String, what: &str, names: &[String]) -> std::fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {what:<9} {}", names.join(", "))
}

fn keys(out: &mut String, keys: &[KeyView]) -> std::fmt::Result {
    keys.iter().try_for_each(|key| {
        let user = key.user.as_deref().unwrap_or("the account");
        let disabled = if key.disabled { ", disabled" } else { "" };
        writeln!(out, "  key       {} of {user}{disabled}", key.access_key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_down_to_one_name_and_shown_line_by_line() {
        let key = |access_key: &str, disabled| KeyView {
            access_key: access_key.into(),
            user: Some("ann".into()),
            created: 0,
            disabled,
        };
        let list = Answer::Keys(vec![key("A", false), key("B", true)]);
        assert_eq!(
            text(&list),
            "  key       A of ann\n  key       B of ann, disabled\n"
        );
        assert_eq!(
            only(list.clone(), "B").unwrap(),
            Answer::Keys(vec![key("B", true)])
        );
        assert!(only(list, "C").is_err());
    }
}
