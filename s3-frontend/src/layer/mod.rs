//! The strict layer in front of s3s: closes what that crate leaves open.
//!
//! | left open by s3s 0.14 | closed in |
//! |---|---|
//! | request ids, `Resource` and `RequestId` in error documents | [`answer`] |
//! | old signature versions, unsigned `x-amz-*` headers, region, presigned lifetime, session tokens | [`signature`] |
//! | `OPTIONS` (CORS preflight) | here |
//! | idle bodies, aws-chunked chunks of any size held in memory, why a body broke off | [`body`], [`chunked`] |
mod answer;
mod body;
mod chunked;
mod signature;

pub(crate) use body::{BodyFault, BodyFaults};
pub(crate) use signature::check_form_region;

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use s3s::service::S3Service;
use s3s::{Body, S3Error};

use self::answer::RequestIds;
use self::body::GuardedBody;
use crate::error::fail_custom;
use crate::limits;

/// Takes requests off the wire and hands the acceptable ones to s3s.
pub(crate) struct Front {
    s3: S3Service,
    region: String,
    ids: RequestIds,
}

impl Front {
    /// In front of `s3`; signatures must name `region`.
    pub(crate) fn new(s3: S3Service, region: String) -> Self {
        Self {
            s3,
            region,
            ids: RequestIds::new(),
        }
    }

    /// Answers one request. Every outcome is an answer.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let id = self.ids.next();
        let method = request.method().clone();
        let resource = request.uri().path().to_owned();
        let response = match self.admit(request) {
            Ok(request) => match self.s3.call(request).await {
                Ok(response) => response,
                Err(error) => {
                    tracing::error!(error = %s3s::StdError::from(error), "request could not be answered");
                    refusal(S3Error::new(s3s::S3ErrorCode::InternalError))
                }
            },
            Err(error) => refusal(error),
        };
        answer::finish(response, &id, &method, &resource)
    }

    fn admit(&self, request: Request<Incoming>) -> Result<Request<Body>, S3Error> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::OPTIONS {
            return Err(fail_custom(
                "AccessForbidden",
                StatusCode::FORBIDDEN,
                "CORSResponse: CORS is not enabled for this bucket.",
            ));
        }
        signature::check(&parts, &self.region)?;
        let faults = Arc::new(BodyFaults::default());
        parts.extensions.insert(Arc::clone(&faults));
        let framing = chunked::Framing::of(&parts.headers);
        let body = Body::http_body_unsync(GuardedBody::new(body, framing, limits::BODY_IDLE_TIMEOUT, faults));
        Ok(Request::from_parts(parts, body))
    }
}

fn refusal(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
