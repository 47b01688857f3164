//! PutBucketWebsite, GetBucketWebsite and DeleteBucketWebsite.
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto};

use crate::door::Door;
use crate::error::fail;
use crate::ops::unset::Absent;
use crate::setting;
use crate::website::{self, Refused, Scheme, Site};

impl Door {
    pub(crate) async fn put_website(
        &self,
        req: S3Request<PutBucketWebsiteInput>,
    ) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
        let site = from_dto(req.input.website_configuration)?;
        site.check().map_err(refused)?;
        setting::write(&self.vfs, &req.input.bucket, website::SETTING, Some(&site)).await?;
        Ok(S3Response::new(PutBucketWebsiteOutput::default()))
    }

    pub(crate) async fn website(
        &self,
        req: S3Request<GetBucketWebsiteInput>,
    ) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
        let site: Option<Site> = setting::read(&self.vfs, &req.input.bucket, website::SETTING).await?;
        let site = site.ok_or_else(|| Absent::Website.error())?;
        Ok(S3Response::new(to_dto(site)))
    }

    pub(crate) async fn remove_website(
        &self,
        req: S3Request<DeleteBucketWebsiteInput>,
    ) -> S3Result<S3Response<DeleteBucketWebsiteOutput>> {
        setting::write::<Site>(&self.vfs, &req.input.bucket, website::SETTING, None).await?;
        Ok(S3Response::with_status(
            DeleteBucketWebsiteOutput::default(),
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
        Refused::Argument(message) => fail(S3ErrorCode::InvalidArgument, message),
        Refused::Request(message) => fail(S3ErrorCode::InvalidRequest, message),
    }
}

fn scheme(protocol: Option<Protocol>) -> S3Result<Option<Scheme>> {
    match protocol.as_ref().map(Protocol::as_str) {
        None => Ok(None),
        Some("http") => Ok(Some(Scheme::Http)),
        Some("https") => Ok(Some(Scheme::Https)),
        Some(_) => Err(fail(
            S3ErrorCode::InvalidRequest,
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.",
        )),
    }
}

fn status(code: Option<String>, what: &str) -> S3Result<Option<u16>> {
    code.map(|code| {
        code.parse().map_err(|_| {
            let code = code.escape_default();
            fail(
                S3ErrorCode::InvalidRequest,
                format!("The provided HTTP {what} code ({code}) is not valid."),
            )
        })
    })
    .transpose()
}

fn from_dto(configuration: WebsiteConfiguration) -> S3Result<Site> {
    let rules = configuration
        .routing_rules
        .unwrap_or_default()
        .into_iter()
        .map(|rule| {
            let condition = rule.condition.unwrap_or_default();
            Ok(website::RoutingRule {
                condition: website::Condition {
                    prefix: condition.key_prefix_equals,
                    error: status(condition.http_error_code_returned_equals, "error")?,
                },
                redirect: website::Redirect {
                    host: rule.redirect.host_name,
                    scheme: scheme(rule.redirect.protocol)?,
                    code: status(rule.redirect.http_redirect_code, "redirect")?,
                    key: rule.redirect.replace_key_with,
                    prefix: rule.redirect.replace_key_prefix_with,
                },
            })
        });
    let redirect_all = configuration.redirect_all_requests_to.map(|all| -> S3Result<_> {
        Ok(website::RedirectAll {
            host: all.host_name,
            scheme: scheme(all.protocol)?,
        })
    });
    Ok(Site {
        index: configuration.index_document.map(|index| index.suffix),
        error: configuration.error_document.map(|error| error.key),
        redirect_all: redirect_all.transpose()?,
        rules: rules.collect::<S3Result<_>>()?,
    })
}

fn to_dto(site: Site) -> GetBucketWebsiteOutput {
    let protocol = |scheme: Scheme| Protocol::from_static(scheme.as_str());
    let rules: Vec<dto::RoutingRule> = site
        .rules
        .into_iter()
        .map(|rule| dto::RoutingRule {
            condition: (rule.condition != website::Condition::default()).then(|| dto::Condition {
                http_error_code_returned_equals: rule.condition.error.map(|code| code.to_string()),
                key_prefix_equals: rule.condition.prefix,
            }),
            redirect: dto::Redirect {
                host_name: rule.redirect.host,
                http_redirect_code: rule.redirect.code.map(|code| code.to_string()),
                protocol: rule.redirect.scheme.map(protocol),
                replace_key_prefix_with: rule.redirect.prefix,
                replace_key_with: rule.redirect.key,
            },
        })
        .collect();
    GetBucketWebsiteOutput {
        error_document: site.error.map(|key| ErrorDocument { key }),
        index_document: site.index.map(|suffix| IndexDocument { suffix }),
        redirect_all_requests_to: site.redirect_all.map(|all| RedirectAllRequestsTo {
            host_name: all.host,
            protocol: all.scheme.map(protocol),
        }),
        routing_rules: (!rules.is_empty()).then_some(rules),
    }
}
