//! Tags of objects and buckets: what a client may say, and how it is kept.
//!
//! Both are kept under the setting [`SETTING`] as a JSON object of strings, `{"key":"value"}`; without
//! tags there is no setting. They are answered in the order of their keys.
use std::collections::BTreeMap;

use s3s::dto::Tag;
use s3s::{S3ErrorCode, S3Result};
use vfs::ObjectMeta;

use crate::error::fail;

/// Name of the setting, of a bucket and of an object.
pub(crate) const SETTING: &str = "tagging";
/// Most tags of an object (AWS limit).
pub(crate) const MAX_OF_OBJECT: usize = 10;
/// Most tags of a bucket (AWS limit).
pub(crate) const MAX_OF_BUCKET: usize = 50;
/// Longest key, in characters (AWS limit).
const MAX_KEY: usize = 128;
/// Longest value, in characters (AWS limit).
const MAX_VALUE: usize = 256;
/// What keys of a service begin with, which no client sets.
const RESERVED: &str = "aws:";

/// Tags by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Out of a document. `InvalidTag` for what AWS does not take, and for more than `most`.
    pub(crate) fn from_document(set: Vec<Tag>, most: usize) -> S3Result<Self> {
        let mut tags = BTreeMap::new();
        for Tag { key, value } in set {
            let (Some(key), Some(value)) = (key, value) else {
                return Err(fail(
                    S3ErrorCode::MalformedXML,
                    "The XML you provided was not well-formed or did not validate against our published schema",
                ));
            };
            if tags.insert(key, value).is_some() {
                return Err(fail(
                    S3ErrorCode::InvalidTag,
                    "Cannot provide multiple Tags with the same key",
                ));
            }
        }
        Self(tags).checked(most)
    }

    /// Out of the header `x-amz-tagging` of a request that makes an object: `key=value&key=value`,
    /// URL-encoded.
    pub(crate) fn from_header(text: &str) -> S3Result<Self> {
        let mut tags = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            if tags.insert(key.into_owned(), value.into_owned()).is_some() {
                return Err(fail(
                    S3ErrorCode::InvalidArgument,
                    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query \
                     parameters without tag name duplicates.",
                ));
            }
        }
        Self(tags).checked(MAX_OF_OBJECT)
    }

    fn checked(self, most: usize) -> S3Result<Self> {
        let invalid = |message: String| Err(fail(S3ErrorCode::InvalidTag, message));
        if self.0.len() > most {
            return invalid(format!("Tags cannot be greater than {most}"));
        }
        for (key, value) in &self.0 {
            if key.is_empty() || key.chars().count() > MAX_KEY || !key.chars().all(is_allowed) {
                return invalid("The TagKey you have provided is invalid".to_owned());
            }
            if value.chars().count() > MAX_VALUE || !value.chars().all(is_allowed) {
                return invalid("The TagValue you have provided is invalid".to_owned());
            }
            if key.starts_with(RESERVED) {
                return invalid("System tags cannot be added/updated by requester".to_owned());
            }
        }
        Ok(self)
    }

    /// As they are kept; `None` where there are none.
    pub(crate) fn kept(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| serde_json::Value::from_iter(self.0.clone()).to_string())
    }

    /// Out of what is kept. What no door wrote is no tag.
    pub(crate) fn parse(kept: &str) -> Self {
        Self(serde_json::from_str(kept).unwrap_or_default())
    }

    /// Those of an object.
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        meta.settings
            .get(SETTING)
            .map(|kept| Self::parse(kept))
            .unwrap_or_default()
    }

    /// Gives them to an object that is to be.
    pub(crate) fn keep(&self, meta: &mut ObjectMeta) {
        match self.kept() {
            Some(kept) => meta.settings.insert(SETTING.to_owned(), kept),
            None => meta.settings.remove(SETTING),
        };
    }

    /// How many there are, where there are any: what HEAD shows.
    pub(crate) fn count(&self) -> Option<i32> {
        i32::try_from(self.0.len()).ok().filter(|count| *count > 0)
    }

    /// As an answer shows them.
    pub(crate) fn to_dto(&self) -> Vec<Tag> {
        self.0
            .iter()
            .map(|(key, value)| Tag {
                key: Some(key.clone()),
                value: Some(value.clone()),
            })
            .collect()
    }
}

/// Letters, digits and spaces of any script, and `+ - = . _ : / @`.
fn is_allowed(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "+-=._:/@".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag {
            key: Some(key.into()),
            value: Some(value.into()),
        }
    }

    fn code(result: S3Result<Tags>) -> String {
        result.unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn headers_are_url_encoded_and_name_no_key_twice() {
        let tags = Tags::from_header("foo=bar&bar&a%20b=%C3%A9%2B").unwrap();
        assert_eq!(
            tags.to_dto(),
            [tag("a b", "é+"), tag("bar", ""), tag("foo", "bar")]
        );
        assert_eq!(Tags::from_header("").unwrap(), Tags::default());
        assert_eq!(code(Tags::from_header("a=1&a=2")), "InvalidArgument");
        assert_eq!(code(Tags::from_header("=x")), "InvalidTag");
        let eleven: Vec<String> = (0..11).map(|n| format!("k{n}=v")).collect();
        assert_eq!(code(Tags::from_header(&eleven.join("&"))), "InvalidTag");
    }

    #[test]
    fn limits_are_those_of_aws() {
        let of = |set: Vec<Tag>| Tags::from_document(set, MAX_OF_OBJECT);
        assert!(of(vec![tag(&"é".repeat(128), &"v".repeat(256))]).is_ok());
        for bad in [
            vec![tag(&"k".repeat(129), "v")],
            vec![tag("k", &"v".repeat(257))],
            vec![tag("", "v")],
            vec![tag("k", "a\nb")],
            vec![tag("k?", "v")],
            vec![tag("aws:k", "v")],
            vec![tag("k", "1"), tag("k", "2")],
            (0..11).map(|n| tag(&n.to_string(), "v")).collect(),
        ] {
            assert_eq!(code(of(bad.clone())), "InvalidTag", "{bad:?}");
        }
        let nameless = Tag {
            key: None,
            value: Some("v".into()),
        };
        assert_eq!(code(of(vec![nameless])), "MalformedXML");
        assert!(
            Tags::from_document((0..50).map(|n| tag(&n.to_string(), "v")).collect(), MAX_OF_BUCKET).is_ok()
        );
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(set in prop::collection::btree_map("[a-zé =:/@+._-]{1,8}", "[a-z\u{4e00} ]{0,8}", 0..10)) {
            let tags = Tags(set);
            let mut meta = ObjectMeta::default();
            tags.keep(&mut meta);
            prop_assert_eq!(&Tags::of(&meta), &tags);
            prop_assert_eq!(meta.settings.is_empty(), tags.0.is_empty());
        }

        #[test]
        fn no_text_is_a_panic(text in ".*") {
            let _ = Tags::from_header(&text);
            let _ = Tags::parse(&text);
        }
    }
}
