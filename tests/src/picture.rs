//! What a namespace shows, subject by subject, to compare with what it shows at another time.
//!
//! A subject is a way of looking: a tree in the mount, the objects of a bucket, the answer of a command.
//! It shows items, each with a text that says everything about it. Whoever finds another way of looking
//! adds a subject; comparing is the same for all.
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use rusty_s3::S3Action as _;
use rusty_s3::actions::ListObjectsV2;

use crate::s3::{S3Client, checked};
use crate::{census, content};

/// How long a presigned URL is good for.
const VALID: Duration = Duration::from_secs(3600);
/// Differences that are shown.
const SHOWN: usize = 10;

/// Items by name, of each subject.
#[derive(Clone, Debug, Default)]
pub struct Picture(BTreeMap<String, BTreeMap<String, String>>);

impl Picture {
    /// Items of all subjects.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether nothing was looked at.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&mut self, subject: &str, item: impl Into<String>, shows: impl Into<String>) {
        let items = self.0.entry(subject.to_owned()).or_default();
        items.insert(item.into(), shows.into());
    }

    /// Everything below `root`, inode by inode and byte by byte. Without `numbers`, whatever the inodes'
    /// numbers are: those of snapshots are given anew by each gateway.
    pub fn tree(&mut self, subject: &str, root: &Path, numbers: bool) -> Result<()> {
        for (path, mut entry) in census::take(root)? {
            if !numbers {
                entry.inode.0 = 0;
            }
            self.add(subject, path.to_string_lossy(), format!("{entry:?}"));
        }
        Ok(())
    }

    /// What a command answers in JSON.
    pub fn answer(&mut self, subject: &str, item: &str, answer: &serde_json::Value) {
        self.add(subject, item, answer.to_string());
    }

    /// The objects of a bucket as S3 lists them: ETag, size, time.
    pub async fn objects(&mut self, subject: &str, client: &S3Client) -> Result<()> {
        let mut token = None;
        loop {
            let mut list = client.bucket.list_objects_v2(Some(&client.credentials));
            if let Some(token) = token.take() {
                list.with_continuation_token(token);
            }
            let response = checked(client.http.get(list.sign(VALID)).send().await?).await?;
            let page = ListObjectsV2::parse_response(response.text().await?)?;
            for object in page.contents {
                let shows = format!("{} {} {}", object.etag, object.size, object.last_modified);
                self.add(subject, object.key, shows);
            }
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(());
            }
        }
    }

    /// The versions and delete markers of a bucket as S3 lists them, at most a page, and what each version
    /// holds.
    pub async fn versions(&mut self, subject: &str, client: &S3Client) -> Result<()> {
        let (bucket, credentials) = (&client.bucket, Some(&client.credentials));
        let mut list = bucket.get_object(credentials, "");
        list.query_mut().insert("versions", "");
        let listed = checked(client.http.get(list.sign(VALID)).send().await?).await?;
        let listed = listed.text().await?;
        self.add(subject, "list", listed.as_str());
        for version in elements(&listed, "Version") {
            let (Some(key), Some(id)) = (
                elements(version, "Key").next(),
                elements(version, "VersionId").next(),
            ) else {
                bail!("a version without a key or an id: {version}");
            };
            let mut get = bucket.get_object(credentials, key);
            get.query_mut().insert("versionId", id.to_owned());
            let content = checked(client.http.get(get.sign(VALID)).send().await?).await?;
            let content = content::sha256(&content.bytes().await?);
            self.add(subject, format!("{key} {id}"), content);
        }
        Ok(())
    }

    /// Fails with the first differences.
    pub fn compare(&self, after: &Self) -> Result<()> {
        let none = BTreeMap::new();
        let mut differences = Vec::new();
        for subject in self.0.keys().chain(after.0.keys()) {
            let old = self.0.get(subject).unwrap_or(&none);
            let new = after.0.get(subject).unwrap_or(&none);
            for item in old.keys().chain(new.keys()) {
                let (was, is) = (old.get(item), new.get(item));
                if was != is {
                    differences.push(format!("{subject}: {item}: {was:?} became {is:?}"));
                }
            }
        }
        differences.sort_unstable();
        differences.dedup();
        if differences.is_empty() {
            return Ok(());
        }
        let count = differences.len();
        differences.truncate(SHOWN);
        bail!("{count} differences:\n{}", differences.join("\n"))
    }
}

/// What stands in the elements of this name, none of which are nested.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&begin)?;
        let (inside, after) = after.split_once(&end)?;
        rest = after;
        Some(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_of_every_kind_are_named() {
        let mut before = Picture::default();
        before.add("tree", "a", "1");
        before.add("tree", "b", "2");
        before.compare(&before).unwrap();
        for (subject, item, shows) in [("tree", "a", "other"), ("tree", "c", "3"), ("objects", "a", "1")] {
            let mut after = before.clone();
            after.add(subject, item, shows);
            for (old, new) in [(&before, &after), (&after, &before)] {
                let said = old.compare(new).unwrap_err().to_string();
                assert!(said.contains(subject) && said.contains(item), "{said}");
            }
        }
        assert_eq!((before.len(), before.is_empty()), (2, false));
    }
}
