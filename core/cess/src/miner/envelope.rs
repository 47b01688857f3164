//! The JSON in which miners wrap every answer that is not a fragment.
//!
//! Its HTTP status is 200 whatever happened; the truth is in `code`.

use serde::Deserialize;

use crate::{Error, Result};

/// `code` of success.
const OK: i64 = 200;
/// Longest text of a miner that is repeated in an error.
const MAX_MESSAGE: usize = 200;

#[derive(Debug, Deserialize)]
struct Envelope {
    code: i64,
    #[serde(default)]
    msg: Option<String>,
    #[serde(default)]
    data: serde_json::Value,
}

/// Reads an answer: its `data`, or the miner's own error. `None` if the bytes are no envelope.
pub(super) fn read(body: &[u8]) -> Option<Result<serde_json::Value>> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    if envelope.code == OK {
        return Some(Ok(envelope.data));
    }
    Some(Err(Error::Miner {
        code: envelope.code,
        message: tame(&envelope.msg.unwrap_or_default()),
    }))
}

/// Cuts text of a stranger to what may stand in an error and a log.
pub(super) fn tame(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_MESSAGE)
        .collect()
}
