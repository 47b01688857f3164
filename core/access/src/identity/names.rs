//! Names that people choose, and ids that are made.
use crate::error::{Error, Kind, Result};
use crate::random;

/// Longest name, in characters.
const NAME_MAX: usize = 64;
/// Letters and digits of ids: none that looks like another.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Begins the access keys of accounts and users.
const KEY: &str = "CESS";
/// Begins the access keys of sessions.
const SESSION_KEY: &str = "CSTS";

/// Refuses a name that a resource name could not hold.
pub(crate) fn check(kind: Kind, name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
        return Err(Error::Invalid(format!(
            "a name of a {kind} has 1 to {NAME_MAX} letters, digits and _ + = , . @ -"
        )));
    }
    Ok(())
}

/// A fresh unique id of a user.
pub(crate) fn user_id() -> String {
    format!("AIDA{}", letters(random::bytes::<17>()))
}

/// A fresh unique id of a role.
pub(crate) fn role_id() -> String {
    format!("AROA{}", letters(random::bytes::<17>()))
}

/// A fresh access key of an account or a user: 20 characters.
pub(crate) fn access_key() -> String {
    format!("{KEY}{}", letters(random::bytes::<16>()))
}

/// A fresh access key of a session: 20 characters.
pub(crate) fn session_key() -> String {
    format!("{SESSION_KEY}{}", letters(random::bytes::<16>()))
}

/// Whether an access key has the form of a session's.
pub(crate) fn is_session_key(access_key: &str) -> bool {
    access_key.len() == 20
        && access_key
            .strip_prefix(SESSION_KEY)
            .is_some_and(|rest| rest.bytes().all(|byte| ALPHABET.contains(&byte)))
}

/// One letter for each byte: five bits of it.
fn letters<const N: usize>(bytes: [u8; N]) -> String {
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_resource_names_can_hold() {
        for good in ["ann", "a.b_c+d=e,f@g-h", &"x".repeat(64)] {
            assert!(check(Kind::User, good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a b", "*", "ä", "a:b", &"x".repeat(65)] {
            assert!(check(Kind::User, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_say_what_they_are_of_and_differ() {
        assert_ne!(access_key(), access_key());
        assert_eq!(access_key().len(), 20);
        assert_eq!(user_id().len(), 21);
        assert!(role_id().starts_with("AROA"));
        assert!(is_session_key(&session_key()));
        for other in [access_key(), "CSTS".to_owned(), "CSTS1".repeat(4)] {
            assert!(!is_session_key(&other), "{other}");
        }
    }
}
