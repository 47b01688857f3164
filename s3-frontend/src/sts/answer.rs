//! The documents of the answers.
use http::StatusCode;
use s3s::S3Error;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: String,
    message: String,
}

impl Refusal {
    /// Something is wrong with the request.
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// A field is wrong or missing.
    pub(super) fn validation(message: String) -> Self {
        Self::new("ValidationError", message)
    }

    /// It may not be done.
    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::forbidden("AccessDenied", message)
    }

    /// It may not be done by who asks.
    pub(super) fn forbidden(code: &str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            ..Self::new(code, message)
        }
    }

    /// Its document.
    pub(super) fn document(&self, id: &str) -> String {
        error_document(&self.code, &escape(&self.message), self.status, id)
    }
}

impl From<S3Error> for Refusal {
    fn from(error: S3Error) -> Self {
        let code = match error.code().as_str() {
            "InvalidAccessKeyId" | "InvalidToken" => "InvalidClientTokenId",
            code => code,
        };
        Self {
            status: StatusCode::FORBIDDEN,
            code: code.to_owned(),
            message: error.message().unwrap_or_default().to_owned(),
        }
    }
}

/// An error; `message` is escaped.
pub(super) fn error_document(code: &str, message: &str, status: StatusCode, id: &str) -> String {
    let kind = if status.is_server_error() {
        "Receiver"
    } else {
        "Sender"
    };
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
    )
}

/// What an action answers.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) action: &'static str,
    /// The elements of the result.
    pub(super) result: String,
}

/// The answer of an action.
pub(super) fn document(Done { action, result }: &Done, id: &str) -> String {
    format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{result}</{action}Result>\
         <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{action}Response>"
    )
}

/// An element with a text.
pub(super) fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}
