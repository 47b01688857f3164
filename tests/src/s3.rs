//! A small S3 client: presigned URLs by `rusty-s3`, sent by `reqwest`.
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use reqwest::{Response, StatusCode, Url};
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};

use crate::product::S3;

/// How long a presigned URL is good for.
const VALID: Duration = Duration::from_secs(3600);

/// One bucket of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct S3Client {
    /// For signing what this client has no method for.
    pub bucket: Bucket,
    /// For signing.
    pub credentials: Credentials,
    /// For sending.
    pub http: reqwest::Client,
}

impl S3Client {
    /// Talks to `bucket` at the door `s3`.
    pub fn new(s3: &S3, bucket: &str) -> Result<Self> {
        let endpoint: Url = s3.endpoint.parse()?;
        Ok(Self {
            bucket: Bucket::new(endpoint, UrlStyle::Path, bucket.to_owned(), s3.region.clone())?,
            credentials: Credentials::new(&s3.access_key, &s3.secret_key),
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(300))
                .build()?,
        })
    }

    /// Makes the bucket; one that is there already is fine.
    pub async fn create_bucket(&self) -> Result<()> {
        let url = self.bucket.create_bucket(&self.credentials).sign(VALID);
        let response = self.http.put(url).send().await?;
        if response.status() == StatusCode::CONFLICT {
            return Ok(());
        }
        checked(response).await.map(drop)
    }

    /// PUT.
    pub async fn put(&self, key: &str, body: impl Into<Bytes>) -> Result<()> {
        let url = self.bucket.put_object(Some(&self.credentials), key).sign(VALID);
        let response = self.http.put(url).body(body.into()).send().await?;
        checked(response).await.map(drop)
    }

    /// GET; `None` when there is no such object.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let url = self.bucket.get_object(Some(&self.credentials), key).sign(VALID);
        let response = self.http.get(url).send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(checked(response).await?.bytes().await?))
    }

    /// DELETE.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let url = self
            .bucket
            .delete_object(Some(&self.credentials), key)
            .sign(VALID);
        checked(self.http.delete(url).send().await?).await.map(drop)
    }
}

/// The response, or an error that shows what the server said.
pub async fn checked(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.context("the error has no readable text")?;
    bail!("{status}: {text}");
}
