//! What one gateway shows through S3 while the other one is dead.
//!
//! Bytes that lie in the dead one's staging alone are said to wait for it; everything else is answered. What was
//! answered is what is there once the dead one is back, and what waited can be read then.
use anyhow::{Context as _, Result, bail, ensure};
use reqwest::StatusCode;

use crate::model::driver::S3;
use crate::model::operation::{BUCKETS, ObjectOperation, Place};
use crate::model::outcome::Outcome;

/// Most objects that the buckets have at a time.
const PAGE: usize = 1000;

/// Every object, with its bytes; `None` of one that waited for the dead gateway.
pub(super) struct Witness(Vec<(Place, Option<Vec<u8>>)>);

impl Witness {
    /// Reads everything through `s3` while the gateway called `dead` does not run.
    pub(super) async fn look(s3: &S3, dead: &str) -> Result<Self> {
        let mut objects = Vec::new();
        for bucket in 0..BUCKETS.len() {
            for path in keys(s3, bucket).await? {
                let at = Place { bucket, path };
                let (status, body) = s3.fetch(&at).await?;
                let seen = match body {
                    Some(body) if status == StatusCode::OK => Some(body),
                    Some(body) => {
                        let said = String::from_utf8_lossy(&body);
                        let names =
                            said.contains("waits for it") && said.contains(&format!("gateway {dead}"));
                        ensure!(
                            status == StatusCode::SERVICE_UNAVAILABLE && names,
                            "{} while gateway {dead} is dead: {status} {said}",
                            at.full()
                        );
                        None
                    }
                    // Its first bytes were there, others are not.
                    None => None,
                };
                objects.push((at, seen));
            }
        }
        Ok(Self(objects))
    }

    /// How many objects waited.
    pub(super) fn waited(&self) -> usize {
        self.0.iter().filter(|(_, seen)| seen.is_none()).count()
    }

    /// Compares with what `s3` answers now that both run.
    pub(super) async fn compare(self, s3: &S3) -> Result<()> {
        for (at, seen) in self.0 {
            let (status, body) = s3.fetch(&at).await?;
            let body = body
                .filter(|_| status == StatusCode::OK)
                .with_context(|| format!("{} once the other gateway is back: {status}", at.full()))?;
            if seen.is_some_and(|seen| seen != body) {
                bail!("{} read otherwise while the other gateway was dead", at.full());
            }
        }
        Ok(())
    }
}

async fn keys(s3: &S3, bucket: usize) -> Result<Vec<String>> {
    let list = ObjectOperation::List {
        bucket,
        prefix: String::new(),
        delimiter: false,
        version: 2,
        page: PAGE,
    };
    match s3.execute(&list).await {
        Outcome::Listing { objects, .. } => Ok(objects.into_keys().collect()),
        outcome => bail!("listing bucket {}: {outcome:?}", BUCKETS[bucket]),
    }
}
