//! The keys that requests may be signed with.
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// Access keys and their secrets.
pub(crate) struct Keys(Vec<(String, SecretKey)>);

impl Keys {
    /// Takes `(access key, secret key)` pairs.
    pub(crate) fn new(credentials: &[(String, String)]) -> Self {
        Self(
            credentials
                .iter()
                .map(|(access, secret)| (access.clone(), SecretKey::from(secret.as_str())))
                .collect(),
        )
    }
}

/// Compares in time that depends on the lengths alone, so that response times do not spell out
/// which access keys exist.
fn equal_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |differs, (x, y)| differs | (x ^ y)) == 0
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        // Every entry is looked at, found or not.
        let mut found = None;
        for (access, secret) in &self.0 {
            if equal_constant_time(access.as_bytes(), access_key.as_bytes()) {
                found = Some(secret);
            }
        }
        found.cloned().ok_or_else(|| {
            S3Error::with_message(
                S3ErrorCode::InvalidAccessKeyId,
                "The access key id you provided does not exist in our records.",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn known_keys_are_found_and_unknown_ones_refused() {
        let keys = Keys::new(&[("one".into(), "s1".into()), ("two".into(), "s2".into())]);
        assert_eq!(keys.get_secret_key("one").await.unwrap().expose(), "s1");
        assert_eq!(keys.get_secret_key("two").await.unwrap().expose(), "s2");
        for unknown in ["", "three", "on", "onee", "ONE"] {
            let error = keys.get_secret_key(unknown).await.unwrap_err();
            assert_eq!(error.code(), &S3ErrorCode::InvalidAccessKeyId, "{unknown}");
        }
    }
}
