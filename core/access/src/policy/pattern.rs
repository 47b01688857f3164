//! Patterns: `*` stands for any text, `?` for one character, `${key}` for the value of a condition key.
//!
//! What a variable yields is taken literally: a key that holds `*` matches a star and nothing else.
//! Matching keeps one place to go back to (the last `*`), so its cost is at most the product of both
//! lengths whatever the pattern, and no stack grows.
use super::context::Context;
use super::{Malformed, malformed};

/// What a pattern is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// This character.
    Char(char),
    /// Any one character.
    One,
    /// Any text, also none.
    Any,
    /// The value of a condition key, or what stands in for it.
    Variable { key: String, default: Option<String> },
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    tokens: Vec<Token>,
    fold: bool,
    variable: bool,
}

/// Which characters of a text mean more than themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Whether `*` and `?` are wildcards.
    pub(crate) wildcards: bool,
    /// Whether `${…}` is a variable (policies of version 2012-10-17).
    pub(crate) variables: bool,
    /// Whether case is ignored.
    pub(crate) fold: bool,
}

impl Pattern {
    /// Compiles a text.
    pub(crate) fn parse(text: &str, dialect: Dialect) -> Result<Self, Malformed> {
        let mut tokens = Vec::with_capacity(text.len());
        let mut rest = text;
        let mut variable = false;
        while let Some(c) = rest.chars().next() {
            if dialect.variables
                && let Some(after) = rest.strip_prefix("${")
            {
                let (inside, after) = after
                    .split_once('}')
                    .ok_or_else(|| malformed(format!("Unclosed policy variable in {text}")))?;
                tokens.push(variable_token(inside)?);
                variable |= matches!(tokens.last(), Some(Token::Variable { .. }));
                rest = after;
                continue;
            }
            rest = &rest[c.len_utf8()..];
            match c {
                // Stars in a row are one.
                '*' if dialect.wildcards && tokens.last() == Some(&Token::Any) => {}
                '*' if dialect.wildcards => tokens.push(Token::Any),
                '?' if dialect.wildcards => tokens.push(Token::One),
                c if dialect.fold => tokens.extend(c.to_lowercase().map(Token::Char)),
                c => tokens.push(Token::Char(c)),
            }
        }
        Ok(Self {
            tokens,
            fold: dialect.fold,
            variable,
        })
    }

    /// Whether the pattern fits a text. A variable whose key the request does not have, and that has no
    /// default, makes it fit nothing.
    pub(crate) fn fits(&self, text: &str, context: &Context) -> bool {
        let folded;
        let text = if self.fold {
            folded = text.to_lowercase();
            &folded
        } else {
            text
        };
        if !self.variable {
            return glob(&self.tokens, text);
        }
        let mut expanded = Vec::with_capacity(self.tokens.len());
        for token in &self.tokens {
            let Token::Variable { key, default } = token else {
                expanded.push(token.clone());
                continue;
            };
            // A key with several values has no one value to put here.
            let value = match (context.get(key), default) {
                (Some([value]), _) => value,
                (_, Some(default)) => default,
                (_, None) => return false,
            };
            for c in value.chars() {
                if self.fold {
                    expanded.extend(c.to_lowercase().map(Token::Char));
                } else {
                    expanded.push(Token::Char(c));
                }
            }
        }
        glob(&expanded, text)
    }

    /// Whether it may fit a text that begins so: only what stands before the first wildcard or variable
    /// is compared.
    pub(crate) fn may_begin(&self, prefix: &str) -> bool {
        let mut expected = prefix.chars();
        for token in &self.tokens {
            match (token, expected.next()) {
                (_, None) | (Token::Any | Token::Variable { .. }, Some(_)) => return true,
                (Token::Char(c), Some(e)) if *c != e => return false,
                (Token::Char(_) | Token::One, Some(_)) => {}
            }
        }
        expected.next().is_none()
    }

    /// The condition keys that it reads.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Variable { key, .. } => Some(key.as_str()),
            _ => None,
        })
    }

    /// Whether it has a wildcard or a variable: then it does not name one fixed value.
    pub(crate) fn is_open(&self) -> bool {
        self.tokens.iter().any(|token| !matches!(token, Token::Char(_)))
    }
}

/// `${key}`, `${key, 'default'}`, and the ways to write `*`, `?` and `$` themselves.
fn variable_token(inside: &str) -> Result<Token, Malformed> {
    if let "*" | "?" | "$" = inside {
        return Ok(Token::Char(inside.chars().next().unwrap_or('$')));
    }
    let (key, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((key, default)) => {
            let default = default.trim();
            let default = default
                .strip_prefix('\'')
                .and_then(|default| default.strip_suffix('\''))
                .ok_or_else(|| {
                    malformed(format!(
                        "The default of a policy variable is not quoted: {inside}"
                    ))
                })?;
            (key, Some(default.to_owned()))
        }
    };
    let key = key.trim().to_ascii_lowercase();
    if key.is_empty() {
        return Err(malformed("A policy variable has no name".to_owned()));
    }
    Ok(Token::Variable { key, default })
}

fn glob(tokens: &[Token], text: &str) -> bool {
    let (mut at, mut rest) = (0, text);
    let mut back: Option<(usize, &str)> = None;
    loop {
        match (tokens.get(at), rest.chars().next()) {
            (Some(Token::Any), _) => {
                at += 1;
                back = Some((at, rest));
                continue;
            }
            (Some(Token::One), Some(c)) => {
                at += 1;
                rest = &rest[c.len_utf8()..];
                continue;
            }
            (Some(Token::Char(expected)), Some(c)) if *expected == c => {
                at += 1;
                rest = &rest[c.len_utf8()..];
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        // The last star takes one character more.
        let Some((after, from)) = back else { return false };
        let Some(c) = from.chars().next() else {
            return false;
        };
        (at, rest) = (after, &from[c.len_utf8()..]);
        back = Some((after, rest));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Dialect = Dialect {
        wildcards: true,
        variables: true,
        fold: false,
    };

    fn fits(pattern: &str, text: &str) -> bool {
        let mut context = Context::default();
        context.set("aws:username", "ann");
        context.set("star", "*");
        Pattern::parse(pattern, ALL).unwrap().fits(text, &context)
    }

    #[test]
    fn wildcards_and_variables() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbcd", false),
            ("?", "ü", true),
            ("?", "", false),
            ("*.jpg", "a.jpg.jpg", true),
            ("${aws:username}/*", "ann/x", true),
            ("${AWS:UserName}/*", "bob/x", false),
            ("${none}", "", false),
            ("${none, 'guest'}/*", "guest/x", true),
            ("${star}", "anything", false),
            ("${star}", "*", true),
            ("${*}${?}${$}", "*?$", true),
            ("${*}", "x", false),
            ("$a{b}", "$a{b}", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        let plain = Dialect {
            wildcards: false,
            variables: false,
            fold: true,
        };
        let pattern = Pattern::parse("${A}*", plain).unwrap();
        assert!(pattern.fits("${a}*", &Context::default()));
        assert!(!pattern.fits("${a}b", &Context::default()));
        for bad in ["${a", "${}", "${a, b}", "${,'x'}"] {
            assert!(Pattern::parse(bad, ALL).is_err(), "{bad}");
        }
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!fits(&pattern, &"a".repeat(4000)));
    }

    /// The same by recursion over all ways to split the text.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=text.len()).any(|n| naive(rest, &text[n..])),
            (['?', rest @ ..], [_, more @ ..]) => naive(rest, more),
            ([p, rest @ ..], [t, more @ ..]) if p == t => naive(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn fits_what_the_naive_matcher_fits(pattern in "[ab*?]{0,8}", text in "[abü]{0,8}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(fits(&pattern, &text), naive(&p, &t));
        }

        #[test]
        fn any_text_compiles_or_is_refused(pattern in any::<String>(), text in any::<String>()) {
            if let Ok(pattern) = Pattern::parse(&pattern, ALL) {
                pattern.fits(&text, &Context::default());
                pattern.may_begin(&text);
            }
        }
    }
}
