//! The S3 door: PUT and GET of small and large objects, one client and sixteen.
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use reqwest::Url;
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};

use super::{Line, S3, Target, noise, repeat_in_parallel};

const VALID: Duration = Duration::from_secs(3600);
/// Objects that GETs take turns on.
const OBJECTS: u64 = 16;

/// A client of one bucket.
#[derive(Clone)]
pub(super) struct Client {
    bucket: Bucket,
    credentials: Credentials,
    http: reqwest::Client,
}

impl Client {
    /// For `bucket`, which need not exist yet.
    pub(super) fn new(s3: &S3, bucket: &'static str) -> Result<Self> {
        let endpoint: Url = s3.endpoint.parse()?;
        Ok(Self {
            bucket: Bucket::new(endpoint, UrlStyle::Path, bucket, s3.region.clone())?,
            credentials: Credentials::new(&s3.access_key, &s3.secret_key),
            http: reqwest::Client::new(),
        })
    }

    /// Makes the bucket.
    pub(super) async fn create_bucket(&self) -> Result<()> {
        let url = self.bucket.create_bucket(&self.credentials).sign(VALID);
        let answer = self.http.put(url).send().await?.error_for_status();
        answer.map(drop).context("cannot make a bucket")
    }

    /// PUTs an object.
    pub(super) async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        let url = self.bucket.put_object(Some(&self.credentials), key).sign(VALID);
        self.http.put(url).body(body).send().await?.error_for_status()?;
        Ok(())
    }

    /// GETs an object and throws it away.
    pub(super) async fn get(&self, key: &str, len: usize) -> Result<()> {
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
}

/// Measures the door.
pub async fn measure(target: &Target, report: &impl Fn(Line)) -> Result<()> {
    let client = Client::new(&target.ready.s3, "bench-s3")?;
    client.create_bucket().await?;
    for (name, len) in [("4 KiB", 4_usize << 10), ("64 MiB", 64 << 20)] {
        let body = Bytes::from(noise(len as u64, len));
        for clients in [1, 16] {
            let (put, content) = (client.clone(), body.clone());
            let (samples, elapsed) = repeat_in_parallel(clients, target.time, move |task, number| {
                let (client, body) = (put.clone(), content.clone());
                // Large objects take turns, so that a long run does not fill the disk.
                let number = if len > 1 << 20 { number % 2 } else { number };
                async move { client.put(&format!("put/{len}/{task}/{number}"), body).await }
            })
            .await?;
            report(samples.line(
                format!("S3 PUT {name}, {clients} client(s), staged"),
                elapsed,
                len as u64,
            ));
        }
        for number in 0..OBJECTS.min((1 << 28) / len as u64) {
            client.put(&format!("get/{len}/{number}"), body.clone()).await?;
        }
        for clients in [1, 16] {
            let get = client.clone();
            let objects = OBJECTS.min((1 << 28) / len as u64);
            let (samples, elapsed) = repeat_in_parallel(clients, target.time, move |task, number| {
                let client = get.clone();
                async move {
                    client
                        .get(&format!("get/{len}/{}", (task + number) % objects), len)
                        .await
                }
            })
            .await?;
            report(samples.line(
                format!("S3 GET {name}, {clients} client(s), hot"),
                elapsed,
                len as u64,
            ));
        }
    }
    Ok(())
}
