//! Operations of the S3 door, as presigned requests.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use rusty_s3::S3Action;
use rusty_s3::actions::{CreateMultipartUpload, ListObjectsV2, ObjectIdentifier};

use super::S3;
use crate::content;
use crate::model::operation::{Condition, ObjectOperation, Place};
use crate::model::outcome::Outcome;
use crate::model::{MULTIPART_FIRST, tag_value};

/// How long a presigned URL holds.
const SIGNED_FOR: Duration = Duration::from_secs(600);

/// An ETag that nothing has.
const NEVER: &str = "\"00000000000000000000000000000000\"";

/// The header of the metadata that the test uses.
const TAG_HEADER: &str = "x-amz-meta-tag";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> Option<String> {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    }

    /// The code of an error.
    fn code(&self) -> String {
        element(&String::from_utf8_lossy(&self.body), "Code").unwrap_or_default()
    }

    fn refused(&self) -> Outcome {
        Outcome::S3(self.status.as_u16(), self.code())
    }

    /// Errors that the model does not foresee.
    fn must_succeed(&self, what: &str) -> Result<()> {
        if !self.status.is_success() {
            bail!("{what}: {} {}", self.status, String::from_utf8_lossy(&self.body));
        }
        Ok(())
    }
}

/// The text of the first element of this name.
fn element(xml: &str, name: &str) -> Option<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let from = xml.find(&open)? + open.len();
    let len = xml[from..].find(&close)?;
    Some(
        xml[from..from + len]
            .replace("&quot;", "\"")
            .replace("&#34;", "\""),
    )
}

impl S3 {
    pub(in crate::model) async fn create_buckets(&self) -> Result<()> {
        for bucket in &self.buckets {
            let url = bucket.create_bucket(&self.credentials).sign(SIGNED_FOR);
            self.send(Method::PUT, url, &[], Bytes::new())
                .await?
                .must_succeed("make a bucket")?;
        }
        Ok(())
    }

    pub(in crate::model) async fn execute(&self, operation: &ObjectOperation) -> Outcome {
        match self.attempt(operation).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Broken(format!("{error:#}")),
        }
    }

    /// GET of the whole object: the status, and the body whatever the status is; `None` when it broke off.
    pub(in crate::model) async fn fetch(&self, at: &Place) -> Result<(StatusCode, Option<Vec<u8>>)> {
        let url = self.buckets[at.bucket]
            .get_object(Some(&self.credentials), &at.path)
            .sign(SIGNED_FOR);
        let response = self.http.get(url).send().await?;
        let status = response.status();
        let body = response.bytes().await.ok();
        Ok((status, body.map(|body| body.to_vec())))
    }

    async fn attempt(&self, operation: &ObjectOperation) -> Result<Outcome> {
        use ObjectOperation as O;
        match operation {
            O::Put {
                at,
                body,
                tag,
                condition,
            } => {
                let mut headers = Vec::new();
                if let Some(tag) = tag {
                    headers.push((TAG_HEADER, tag_value(*tag)));
                }
                match condition {
                    Condition::None => {}
                    Condition::Absent => headers.push(("if-none-match", "*".to_owned())),
                    Condition::Present => headers.push(("if-match", "*".to_owned())),
                    Condition::Never => headers.push(("if-match", NEVER.to_owned())),
                }
                self.put(at, &at.path, &headers, body.bytes().into()).await
            }
            O::PutDirectory { at } => {
                let put = self.put(at, &format!("{}/", at.path), &[], Bytes::new()).await?;
                Ok(if let Outcome::Etag(_) = put {
                    Outcome::Done
                } else {
                    put
                })
            }
            O::Copy { from, to } => {
                let source = format!("/{}", from.full());
                self.put(to, &to.path, &[("x-amz-copy-source", source)], Bytes::new())
                    .await
            }
            O::Get { at, range } => {
                let url = self.buckets[at.bucket]
                    .get_object(Some(&self.credentials), &at.path)
                    .sign(SIGNED_FOR);
                let range = range.map(|(from, to)| ("range", format!("bytes={from}-{to}")));
                let answer = self
                    .send(Method::GET, url, range.as_slice(), Bytes::new())
                    .await?;
                if !answer.status.is_success() {
                    return Ok(answer.refused());
                }
                if (answer.status == StatusCode::PARTIAL_CONTENT) != range.is_some() {
                    bail!("a range is answered with {}", answer.status);
                }
                Ok(shown(
                    &answer,
                    answer.body.len() as u64,
                    Some(answer.body.to_vec()),
                ))
            }
            O::Head { at } => {
                let url = self.buckets[at.bucket]
                    .head_object(Some(&self.credentials), &at.path)
                    .sign(SIGNED_FOR);
                let answer = self.send(Method::HEAD, url, &[], Bytes::new()).await?;
                if !answer.status.is_success() {
                    return Ok(answer.refused());
                }
                let size = answer.header("content-length").context("no length")?.parse()?;
                Ok(shown(&answer, size, None))
            }
            O::Delete { at } => self.delete(at, &at.path).await,
            O::DeleteDirectory { at } => self.delete(at, &format!("{}/", at.path)).await,
            O::DeleteMany { bucket, paths } => {
                let objects: Vec<_> = paths.iter().cloned().map(ObjectIdentifier::new).collect();
                let mut action =
                    self.buckets[*bucket].delete_objects(Some(&self.credentials), objects.iter());
                // Otherwise rusty-s3 sends an empty `Quiet`, which is no boolean.
                action.set_quiet(true);
                let url = action.sign(SIGNED_FOR);
                let (body, md5) = action.body_with_md5();
                let answer = self
                    .send(Method::POST, url, &[("content-md5", md5)], body.into())
                    .await?;
                answer.must_succeed("delete many")?;
                let text = String::from_utf8_lossy(&answer.body);
                if text.contains("<Error>") {
                    bail!("delete many: {text}");
                }
                Ok(Outcome::Done)
            }
            O::List {
                bucket,
                prefix,
                delimiter,
                version,
                page,
            } => self.list(*bucket, prefix, *delimiter, *version, *page).await,
            O::Multipart { at, first, last } => {
                let parts = [content::bytes(*first, MULTIPART_FIRST), last.bytes()];
                let (upload, etags) = self.upload(at, &parts).await?;
                let action = self.buckets[at.bucket].complete_multipart_upload(
                    Some(&self.credentials),
                    &at.path,
                    &upload,
                    etags.iter().map(String::as_str),
                );
                let url = action.sign(SIGNED_FOR);
                let answer = self.send(Method::POST, url, &[], action.body().into()).await?;
                answer.must_succeed("complete an upload")?;
                let etag = element(&String::from_utf8_lossy(&answer.body), "ETag").context("no ETag")?;
                Ok(Outcome::Etag(etag))
            }
            O::AbortMultipart { at, part } => {
                let (upload, _) = self.upload(at, &[part.bytes()]).await?;
                let action = self.buckets[at.bucket].abort_multipart_upload(
                    Some(&self.credentials),
                    &at.path,
                    &upload,
                );
                let answer = self
                    .send(Method::DELETE, action.sign(SIGNED_FOR), &[], Bytes::new())
                    .await?;
                answer.must_succeed("abort an upload")?;
                Ok(Outcome::Done)
            }
        }
    }

    async fn put(&self, at: &Place, key: &str, headers: &[(&str, String)], body: Bytes) -> Result<Outcome> {
        let mut action = self.buckets[at.bucket].put_object(Some(&self.credentials), key);
        for (name, value) in headers {
            action.headers_mut().insert((*name).to_owned(), value.clone());
        }
        let answer = self
            .send(Method::PUT, action.sign(SIGNED_FOR), headers, body)
            .await?;
        if !answer.status.is_success() {
            return Ok(answer.refused());
        }
        // A copy tells it in the body.
        let told = || element(&String::from_utf8_lossy(&answer.body), "ETag");
        Ok(Outcome::Etag(
            answer.header("etag").or_else(told).context("no ETag")?,
        ))
    }

    async fn delete(&self, at: &Place, key: &str) -> Result<Outcome> {
        let url = self.buckets[at.bucket]
            .delete_object(Some(&self.credentials), key)
            .sign(SIGNED_FOR);
        let answer = self.send(Method::DELETE, url, &[], Bytes::new()).await?;
        Ok(if answer.status == StatusCode::NO_CONTENT {
            Outcome::Done
        } else {
            answer.refused()
        })
    }

    /// Uploads parts; answers the upload and the parts' ETags.
    async fn upload(&self, at: &Place, parts: &[Vec<u8>]) -> Result<(String, Vec<String>)> {
        let bucket = &self.buckets[at.bucket];
        let url = bucket
            .create_multipart_upload(Some(&self.credentials), &at.path)
            .sign(SIGNED_FOR);
        let answer = self.send(Method::POST, url, &[], Bytes::new()).await?;
        answer.must_succeed("begin an upload")?;
        let created = CreateMultipartUpload::parse_response(&answer.body)?;
        let upload = created.upload_id().to_owned();
        let mut etags = Vec::new();
        for (number, part) in (1..).zip(parts) {
            let url = bucket
                .upload_part(Some(&self.credentials), &at.path, number, &upload)
                .sign(SIGNED_FOR);
            let answer = self.send(Method::PUT, url, &[], part.clone().into()).await?;
            answer.must_succeed("upload a part")?;
            etags.push(answer.header("etag").context("a part without ETag")?);
        }
        Ok((upload, etags))
    }

    async fn list(
        &self,
        bucket: usize,
        prefix: &str,
        delimiter: bool,
        version: u8,
        page: usize,
    ) -> Result<Outcome> {
        let mut objects = BTreeMap::new();
        let mut prefixes = BTreeSet::new();
        let mut next: Option<String> = None;
        loop {
            let mut action = ListObjectsV2::new(&self.buckets[bucket], Some(&self.credentials));
            action.query_mut().remove("encoding-type");
            action.with_prefix(prefix.to_owned());
            action.with_max_keys(page);
            if delimiter {
                action.with_delimiter("/");
            }
            if version == 1 {
                action.query_mut().remove("list-type");
            }
            if let Some(next) = next.take() {
                let name = if version == 1 {
                    "marker"
                } else {
                    "continuation-token"
                };
                action.query_mut().insert(name, next);
            }
            let answer = self
                .send(Method::GET, action.sign(SIGNED_FOR), &[], Bytes::new())
                .await?;
            answer.must_succeed("list")?;
            let text = String::from_utf8_lossy(&answer.body);
            let truncated = element(&text, "IsTruncated").context("no IsTruncated")? == "true";
            let read = ListObjectsV2::parse_response(&answer.body)?;
            let entries = read.contents.len() + read.common_prefixes.len();
            if entries > page || truncated && entries == 0 {
                bail!("a page of {page} has {entries} entries");
            }
            // Version 1 goes on after the last entry of a page.
            let last_key = read.contents.last().map(|object| object.key.clone());
            let last_prefix = read.common_prefixes.last().map(|prefix| prefix.prefix.clone());
            for object in read.contents {
                let before = objects.insert(object.key.clone(), (object.size, object.etag));
                if before.is_some() {
                    bail!("{} is listed twice", object.key);
                }
            }
            for rolled in read.common_prefixes {
                if !prefixes.insert(rolled.prefix.clone()) {
                    bail!("{} is listed twice", rolled.prefix);
                }
            }
            if !truncated {
                return Ok(Outcome::Listing { objects, prefixes });
            }
            next = if version == 1 {
                last_key.max(last_prefix)
            } else {
                read.next_continuation_token
            };
            if next.is_none() {
                bail!("a truncated page says not how to go on");
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        url: reqwest::Url,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Answer> {
        let mut request = self.http.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(
                HeaderName::try_from(*name)?,
                HeaderValue::try_from(value.as_str())?,
            );
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer {
            status,
            headers,
            body: response.bytes().await?,
        })
    }
}

fn shown(answer: &Answer, size: u64, bytes: Option<Vec<u8>>) -> Outcome {
    Outcome::Object {
        size,
        etag: answer.header("etag").unwrap_or_default(),
        tag: answer.header(TAG_HEADER),
        bytes,
    }
}
