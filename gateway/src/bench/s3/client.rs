//! A client of one bucket, by signed URLs.
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use reqwest::Url;
use rusty_s3::actions::{ListObjectsV2, ListObjectsV2Response};
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};

use crate::bench::S3;

const VALID: Duration = Duration::from_secs(3600);

/// A client of one bucket.
#[derive(Clone)]
pub(in crate::bench) struct Client {
    bucket: Bucket,
    credentials: Credentials,
    http: reqwest::Client,
}

impl Client {
    /// For `bucket`, which need not exist yet.
    pub(in crate::bench) fn new(s3: &S3, bucket: &'static str) -> Result<Self> {
        let endpoint: Url = s3.endpoint.parse()?;
        Ok(Self {
            bucket: Bucket::new(endpoint, UrlStyle::Path, bucket, s3.region.clone())?,
            credentials: Credentials::new(&s3.access_key, &s3.secret_key),
            http: reqwest::Client::new(),
        })
    }

    /// Makes the bucket.
    pub(in crate::bench) async fn create_bucket(&self) -> Result<()> {
        let url = self.bucket.create_bucket(&self.credentials).sign(VALID);
        let answer = self.http.put(url).send().await?.error_for_status();
        answer.map(drop).context("cannot make a bucket")
    }

    /// PUTs an object.
    pub(in crate::bench) async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        let url = self.bucket.put_object(Some(&self.credentials), key).sign(VALID);
        self.http.put(url).body(body).send().await?.error_for_status()?;
        Ok(())
    }

    /// GETs an object and throws it away.
    pub(in crate::bench) async fn get(&self, key: &str, len: usize) -> Result<()> {
        let url = self.bucket.get_object(Some(&self.credentials), key).sign(VALID);
        let body = self
            .http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?;
        anyhow::ensure!(
            body.len() == len,
            "{key} has {} bytes instead of {len}",
            body.len()
        );
        Ok(())
    }

    /// Where a PUT of the object goes.
    pub(super) fn put_url(&self, key: &str) -> Url {
        self.bucket.put_object(Some(&self.credentials), key).sign(VALID)
    }

    /// Where a GET of the object goes.
    pub(super) fn get_url(&self, key: &str) -> Url {
        self.bucket.get_object(Some(&self.credentials), key).sign(VALID)
    }

    /// One page of ListObjectsV2; `None` begins.
    pub(super) async fn list(&self, after: Option<String>) -> Result<ListObjectsV2Response> {
        let mut action = ListObjectsV2::new(&self.bucket, Some(&self.credentials));
        if let Some(token) = after {
            action.with_continuation_token(token);
        }
        let url = action.sign(VALID);
        let text = self
            .http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?;
        ListObjectsV2::parse_response(&text).context("a page that cannot be read")
    }
}
