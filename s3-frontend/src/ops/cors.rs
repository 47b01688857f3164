//! PutBucketCors, GetBucketCors and DeleteBucketCors.
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::cors::{self, Refused, Rule, Rules};
use crate::door::Door;
use crate::error::fail;
use crate::ops::unset::Absent;
use crate::setting;

impl Door {
    pub(crate) async fn put_cors(
        &self,
        req: S3Request<PutBucketCorsInput>,
    ) -> S3Result<S3Response<PutBucketCorsOutput>> {
        let rules = from_dto(req.input.cors_configuration);
        rules.check().map_err(refused)?;
        setting::write(&self.vfs, &req.input.bucket, cors::SETTING, Some(&rules)).await?;
        Ok(S3Response::new(PutBucketCorsOutput::default()))
    }

    pub(crate) async fn cors(
        &self,
        req: S3Request<GetBucketCorsInput>,
    ) -> S3Result<S3Response<GetBucketCorsOutput>> {
        let rules: Option<Rules> = setting::read(&self.vfs, &req.input.bucket, cors::SETTING).await?;
        let rules = rules.ok_or_else(|| Absent::Cors.error())?;
        Ok(S3Response::new(GetBucketCorsOutput {
            cors_rules: Some(rules.rules.into_iter().map(to_dto).collect()),
        }))
    }

    pub(crate) async fn remove_cors(
        &self,
        req: S3Request<DeleteBucketCorsInput>,
    ) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
        setting::write::<Rules>(&self.vfs, &req.input.bucket, cors::SETTING, None).await?;
        Ok(S3Response::with_status(
            DeleteBucketCorsOutput::default(),
            StatusCode::NO_CONTENT,
        ))
    }
}

fn refused(refused: Refused) -> S3Error {
    match refused {
        Refused::Malformed => fail(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        ),
        Refused::Invalid(message) => fail(S3ErrorCode::InvalidRequest, message),
    }
}

fn from_dto(configuration: CORSConfiguration) -> Rules {
    let rules = configuration.cors_rules.into_iter().map(|rule| Rule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers: rule.allowed_headers.unwrap_or_default(),
        expose: rule.expose_headers.unwrap_or_default(),
        // A browser cannot keep an answer for less than no time.
        max_age: rule.max_age_seconds.map(|seconds| seconds.max(0).unsigned_abs()),
    });
    Rules {
        rules: rules.collect(),
    }
}

fn to_dto(rule: Rule) -> CORSRule {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    CORSRule {
        allowed_headers: some(rule.headers),
        allowed_methods: rule.methods,
        allowed_origins: rule.origins,
        expose_headers: some(rule.expose),
        id: rule.id,
        max_age_seconds: rule
            .max_age
            .map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX)),
    }
}
