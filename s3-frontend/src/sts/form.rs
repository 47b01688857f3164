//! The form of a request.
use std::collections::HashMap;

use super::answer::Refusal;

/// Names and values; each name once.
pub(super) struct Form(HashMap<String, String>);

impl Form {
    /// Reads the body of a request.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Refusal::validation(format!("{name} is given twice.")));
            }
        }
        Ok(Self(fields))
    }

    /// A field that may be left out; one that is empty is.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// What is asked for.
    pub(super) fn action(&self) -> Result<&str, Refusal> {
        self.get("Action")
            .ok_or_else(|| Refusal::new("MissingAction", "The request names no Action."))
    }

    /// A field that must be there.
    pub(super) fn need(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name)
            .ok_or_else(|| Refusal::validation(format!("{name} is missing.")))
    }

    /// A length of time in seconds, within bounds.
    pub(super) fn seconds(&self, name: &'static str, default: i64, most: i64) -> Result<i64, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(default.min(most));
        };
        text.parse()
            .ok()
            .filter(|seconds| (SHORTEST..=most).contains(seconds))
            .ok_or_else(|| Refusal::validation(format!("{name} must be {SHORTEST} to {most} seconds.")))
    }
}

/// Shortest session, in seconds (AWS limit).
const SHORTEST: i64 = 900;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_once_and_lengths_have_bounds() {
        let form = Form::parse(b"Action=A&Empty=&DurationSeconds=900&Text=a%2Fb+c").unwrap();
        assert_eq!(form.get("Text"), Some("a/b c"));
        assert_eq!(form.get("Empty"), None);
        assert!(form.need("Nothing").is_err());
        assert_eq!(form.seconds("DurationSeconds", 3600, 3600).unwrap(), 900);
        assert_eq!(form.seconds("Other", 3600, 1800).unwrap(), 1800);
        for bad in ["899", "3601", "x", "-1"] {
            let form = Form::parse(format!("DurationSeconds={bad}").as_bytes()).unwrap();
            assert!(form.seconds("DurationSeconds", 3600, 3600).is_err(), "{bad}");
        }
        assert!(Form::parse(b"a=1&a=2").is_err());
    }
}
