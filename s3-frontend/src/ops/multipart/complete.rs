//! CompleteMultipartUpload.
//!
//! The door checks what needs no transaction (order, sizes, tags against the list of parts) and
//! computes ETag and checksum; the namespace joins the parts in one transaction and compares the tags
//! again there. A client that repeats a completion whose answer it lost gets the same answer: the
//! upload is gone then, and the namespace recognises the object that it became.
use std::collections::{BTreeMap, HashMap};

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::{PartInfo, UploadId};

use super::choice::Choice;
use super::{part_number, upload_id};
use crate::door::Door;
use crate::encryption::customer::customer_key;
use crate::encryption::kept::{Kept, Shown};
use crate::encryption::nonces;
use crate::error::{self, fail};
use crate::integrity::Algorithm;
use crate::integrity::algorithm::{checksum_fields, set_checksum};
use crate::integrity::multipart;
use crate::integrity::record::{
    Checksum, Coverage, PART_CHECKSUMS_HEADER, PartChecksums, PartSizes, PartTag, internal_headers,
};
use crate::ops::version;
use crate::{condition, limits, naming};

/// A part as the client names it.
#[derive(Clone, Debug)]
struct Named {
    number: u32,
    md5: String,
    checksums: Vec<(Algorithm, String)>,
}

/// The part list of the request: not empty, tagged, in ascending order.
fn named_parts(list: Option<CompletedMultipartUpload>) -> S3Result<Vec<Named>> {
    let malformed = || {
        fail(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    };
    let parts = list
        .and_then(|list| list.parts)
        .filter(|parts| !parts.is_empty() && parts.len() <= limits::MAX_PARTS as usize)
        .ok_or_else(malformed)?;
    let mut named: Vec<Named> = Vec::with_capacity(parts.len());
    for part in parts {
        let number = part_number(part.part_number.ok_or_else(malformed)?)?;
        if named.last().is_some_and(|last| last.number >= number) {
            return Err(fail(
                S3ErrorCode::InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
            ));
        }
        let checksums = checksum_fields!(part);
        let md5 = part.e_tag.ok_or_else(malformed)?.value().to_owned();
        named.push(Named {
            number,
            md5,
            checksums,
        });
    }
    Ok(named)
}

/// What the joined object will be.
struct Plan {
    /// As the namespace keeps them.
    parts: Vec<(u32, String)>,
    etag: String,
    headers: BTreeMap<String, String>,
    checksum: Option<Checksum>,
    size: u64,
}

fn invalid_part() -> s3s::S3Error {
    fail(
        S3ErrorCode::InvalidPart,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or \
         the specified entity tag may not match the part's entity tag.",
    )
}

async fn plan(named: &[Named], there: &HashMap<u32, PartInfo>, choice: Option<Choice>) -> S3Result<Plan> {
    let mut tags = Vec::with_capacity(named.len());
    let mut parts = Vec::with_capacity(named.len());
    for part in named {
        let info = there.get(&part.number).ok_or_else(invalid_part)?;
        let tag = PartTag::parse(&info.etag);
        let known = tag.checksum.as_ref();
        let differs = |(algorithm, value): &(Algorithm, String)| {
            known.is_some_and(|(of, kept)| of == algorithm && kept != value)
        };
        if tag.md5 != part.md5 || part.checksums.iter().any(differs) {
            return Err(invalid_part());
        }
        parts.push((part.number, info.etag.clone()));
        tags.push((tag, info.size));
    }
    if let Some((_, earlier)) = tags.split_last()
        && earlier.iter().any(|(_, size)| *size < limits::MIN_PART)
    {
        return Err(fail(
            S3ErrorCode::EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size: only the last part may be \
             smaller than 5 MiB.",
        ));
    }
    let only_tags: Vec<PartTag> = tags.iter().map(|(tag, _)| tag.clone()).collect();
    let etag = multipart::etag(&only_tags).ok_or_else(invalid_part)?;
    let checksum = match choice {
        Some(choice)
            if tags
                .iter()
                .all(|(tag, _)| tag.checksum.as_ref().is_some_and(|c| c.0 == choice.algorithm)) =>
        {
            multipart::checksum(&tags, Some(choice.coverage)).await
        }
        // Parts that do not have what was chosen leave the object without a checksum.
        Some(_) => None,
        // Nothing was chosen: what can be said of the whole is said.
        None => match multipart::checksum(&tags, Some(Coverage::FullObject)).await {
            Some(checksum) => Some(checksum),
            None => multipart::checksum(&tags, None).await,
        },
    };
    let sizes = PartSizes(tags.iter().map(|(_, size)| *size).collect());
    let mut headers = internal_headers(&etag, checksum.as_ref(), Some(&sizes));
    if choice.is_some()
        && let Some(header) =
            PartChecksums::of_parts(only_tags.iter()).and_then(|checksums| checksums.to_header(&etag))
    {
        headers.insert(PART_CHECKSUMS_HEADER.to_owned(), header);
    }
    let begun: Option<Vec<_>> = only_tags.iter().map(|tag| tag.nonce).collect();
    if let Some(begun) = begun {
        headers.insert(nonces::HEADER.to_owned(), nonces::to_header(&etag, &begun));
    }
    Ok(Plan {
        parts,
        headers,
        checksum,
        size: sizes.0.iter().sum(),
        etag,
    })
}

impl Door {
    pub(crate) async fn complete_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let vfs = self.on_terms(&req.headers)?;
        let input = req.input;
        let id = upload_id(&input.upload_id)?;
        let wanted = checksum_fields!(input);
        let customer = customer_key!(input)?;
        let named = named_parts(input.multipart_upload)?;
        let (bucket, key) = (input.bucket, input.key);

        let plan = match self.vfs.upload(&bucket, key.as_bytes(), &id).await {
            Ok(upload) => {
                self.check_key(&upload.meta, customer.as_ref(), &req.extensions)?;
                let choice = Choice::of(&upload.meta);
                let stated = input.checksum_type.as_ref().map(ChecksumType::as_str);
                if choice
                    .zip(stated)
                    .is_some_and(|(choice, stated)| choice.coverage.name() != stated)
                {
                    return Err(fail(
                        S3ErrorCode::InvalidRequest,
                        "The checksum type of the completion differs from that of the upload.",
                    ));
                }
                let there = self.all_parts(&bucket, key.as_bytes(), &id).await?;
                let plan = plan(&named, &there, choice).await?;
                check_whole(&plan, &wanted, input.mpu_object_size)?;
                plan
            }
            Err(vfs::Error::NoSuchUpload | vfs::Error::NotFound) => repeated(&named)?,
            Err(error) => return Err(error::upload(error)),
        };

        let precondition = condition::of_write(&req.headers);
        let completed = vfs
            .complete_upload(
                &bucket,
                key.as_bytes(),
                &id,
                &plan.parts,
                plan.etag,
                plan.headers,
                precondition.clone(),
            )
            .await;
        let info = match completed {
            Ok(info) => info,
            Err(error @ vfs::Error::PreconditionFailed) => {
                return Err(self
                    .write_error(error, &precondition, &bucket, key.as_bytes())
                    .await);
            }
            Err(error) => return Err(error::upload(error)),
        };
        // Of a repeated completion, too, what follows is for who has the key.
        let kept = Kept::of(&info.meta)?;
        if let Some(kept) = &kept {
            kept.check(customer.as_ref())?;
        }
        let shown = Shown::of(kept.as_ref(), customer.as_ref());
        let key_headers = shown.key_headers();
        let expiration = self.expiration(&bucket, &info).await;
        let mut output = CompleteMultipartUploadOutput {
            expiration,
            location: Some(format!("/{bucket}/{key}")),
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(naming::etag(&info.etag)),
            server_side_encryption: shown.method.map(ServerSideEncryption::from_static),
            ssekms_key_id: shown.kms_key,
            bucket_key_enabled: shown.bucket_key,
            version_id: version::shown(info.version),
            ..CompleteMultipartUploadOutput::default()
        };
        if let Some(checksum) = Checksum::of(&info) {
            output.checksum_type = Some(checksum.coverage.to_dto());
            set_checksum!(output, checksum.algorithm, checksum.value);
        }
        let response = S3Response::with_headers(output, key_headers);
        self.say_level(&req.headers, info.ino, response).await
    }

    async fn all_parts(&self, bucket: &str, key: &[u8], id: &UploadId) -> S3Result<HashMap<u32, PartInfo>> {
        let mut all = HashMap::new();
        let mut after = 0;
        loop {
            let (page, more) = self
                .vfs
                .list_parts(bucket, key, id, after, limits::MAX_PAGE)
                .await
                .map_err(error::upload)?;
            let Some(last) = page.last() else { return Ok(all) };
            after = last.number;
            all.extend(page.into_iter().map(|part| (part.number, part)));
            if !more {
                return Ok(all);
            }
        }
    }
}

/// The plan of a completion whose upload is gone: the ETag follows from what the client names, and
/// the namespace answers only if it is that of the object the upload became.
fn repeated(named: &[Named]) -> S3Result<Plan> {
    let tags: Vec<PartTag> = named
        .iter()
        .map(|part| PartTag {
            md5: part.md5.clone(),
            nonce: None,
            checksum: None,
        })
        .collect();
    Ok(Plan {
        parts: named.iter().map(|part| (part.number, part.md5.clone())).collect(),
        etag: multipart::etag(&tags).ok_or_else(error::no_such_upload)?,
        headers: BTreeMap::new(),
        checksum: None,
        size: 0,
    })
}

/// Compares what the client says about the whole object.
fn check_whole(plan: &Plan, wanted: &[(Algorithm, String)], size: Option<i64>) -> S3Result<()> {
    if size.is_some_and(|size| u64::try_from(size) != Ok(plan.size)) {
        return Err(fail(
            S3ErrorCode::InvalidRequest,
            "The provided 'x-amz-mp-object-size' header value does not match what was computed.",
        ));
    }
    for (algorithm, value) in wanted {
        if let Some(checksum) = &plan.checksum
            && checksum.algorithm == *algorithm
            && checksum.value != *value
        {
            return Err(fail(
                S3ErrorCode::BadDigest,
                format!(
                    "The {} you specified did not match the calculated checksum.",
                    algorithm.name()
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

    fn list(numbers: &[i32]) -> Option<CompletedMultipartUpload> {
        let parts = numbers
            .iter()
            .map(|number| CompletedPart {
                e_tag: Some(naming::etag(MD5)),
                part_number: Some(*number),
                ..CompletedPart::default()
            })
            .collect();
        Some(CompletedMultipartUpload { parts: Some(parts) })
    }

    fn there(parts: &[(u32, u64)]) -> HashMap<u32, PartInfo> {
        parts
            .iter()
            .map(|(number, size)| {
                let etag = format!("{MD5}/CRC32/AAAAAA==");
                (
                    *number,
                    PartInfo {
                        number: *number,
                        size: *size,
                        etag,
                        modified: vfs::Timestamp(0),
                    },
                )
            })
            .collect()
    }

    #[test]
    fn the_list_must_be_in_order() {
        assert_eq!(named_parts(list(&[1, 2, 7])).unwrap().len(), 3);
        let code = |list| named_parts(list).unwrap_err().code().as_str().to_owned();
        assert_eq!(code(None), "MalformedXML");
        assert_eq!(code(list(&[])), "MalformedXML");
        assert_eq!(code(list(&[2, 1])), "InvalidPartOrder");
        assert_eq!(code(list(&[1, 1])), "InvalidPartOrder");
        assert_eq!(code(list(&[0])), "InvalidArgument");
    }

    #[tokio::test]
    async fn parts_are_compared_and_sized() {
        let code = |plan: S3Result<Plan>| plan.err().unwrap().code().as_str().to_owned();
        let named = named_parts(list(&[1, 2])).unwrap();
        let large = limits::MIN_PART;
        let good = plan(&named, &there(&[(1, large), (2, 3)]), None).await.unwrap();
        assert!(good.etag.ends_with("-2"));
        assert_eq!(good.size, large + 3);
        assert_eq!(
            code(plan(&named, &there(&[(1, large)]), None).await),
            "InvalidPart"
        );
        assert_eq!(
            code(plan(&named, &there(&[(1, large - 1), (2, 3)]), None).await),
            "EntityTooSmall"
        );
        let mut other = named.clone();
        other[0].md5 = "d41d8cd98f00b204e9800998ecf8427e".into();
        assert_eq!(
            code(plan(&other, &there(&[(1, large), (2, 3)]), None).await),
            "InvalidPart"
        );
        let mut other = named.clone();
        other[1].checksums = vec![(Algorithm::Crc32, "AAAAAQ==".into())];
        assert_eq!(
            code(plan(&other, &there(&[(1, large), (2, 3)]), None).await),
            "InvalidPart"
        );
    }

    #[tokio::test]
    async fn the_whole_is_compared() {
        let named = named_parts(list(&[1])).unwrap();
        let plan = plan(&named, &there(&[(1, 3)]), None).await.unwrap();
        let kept = plan.checksum.clone().unwrap();
        assert!(check_whole(&plan, &[(Algorithm::Crc32, kept.value)], Some(3)).is_ok());
        assert!(check_whole(&plan, &[(Algorithm::Crc32, "AAAAAQ==".into())], None).is_err());
        assert!(check_whole(&plan, &[], Some(4)).is_err());
        assert!(check_whole(&plan, &[], Some(-3)).is_err());
    }
}
