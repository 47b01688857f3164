//! `/fragment` and `/status`, answer for answer as the network's miners give them: HTTP 200 with
//! the real code in a JSON envelope, 403 alone excepted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::{Bytes, BytesMut};
use cess::Hash;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::fault::flip_bits;
use super::{FRAGMENT_SIZE, Inner, auth, range};

/// SHA-256 of 8 MiB of zeros.
const ZERO_FRAGMENT: &str = "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74";
/// Longest body: a fragment and its multipart frame.
const MAX_BODY: usize = FRAGMENT_SIZE + (64 << 10);

pub(super) fn router(miner: Arc<Inner>) -> axum::Router {
    axum::Router::new()
        .route("/fragment", get(get_fragment).put(put_fragment))
        .route("/status", get(status))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(miner)
}

fn envelope(status: StatusCode, code: u16, message: &str, data: Value) -> Response {
    (
        status,
        Json(json!({ "code": code, "msg": message, "data": data })),
    )
        .into_response()
}

/// HTTP 200, whatever the code.
fn answer(code: u16, message: &str) -> Response {
    envelope(StatusCode::OK, code, message, Value::Null)
}

/// The names in the headers, after the signature was checked.
async fn admit(miner: &Inner, headers: &HeaderMap) -> Result<(Hash, Hash), Response> {
    let delay = miner.faults.lock().slow;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if !auth::is_signed(headers) {
        return Err(envelope(
            StatusCode::FORBIDDEN,
            403,
            "invalid signature",
            Value::Null,
        ));
    }
    let text = |name: &str| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    let (fid, fragment) = (text("Fid"), text("Fragment"));
    if fid.is_empty() || fragment.is_empty() {
        return Err(answer(400, "empty fid or fragment"));
    }
    Hash::from_ascii(fid)
        .zip(Hash::from_ascii(fragment))
        .ok_or_else(|| answer(400, "invalid fid or fragment"))
}

async fn put_fragment(State(miner): State<Arc<Inner>>, request: Request) -> Response {
    let (fid, fragment) = match admit(&miner, request.headers()).await {
        Ok(names) => names,
        Err(refusal) => return refusal,
    };
    let faults = *miner.faults.lock();
    if faults.full {
        // A miner runs out of space while it saves, so it has read the body by then. Answering
        // earlier would race the answer against the client's own upload.
        if fragment.to_string() != ZERO_FRAGMENT
            && let Err(refusal) = body_of(request).await
        {
            return refusal;
        }
        return answer(500, "system error");
    }
    if miner.areas.is_waiting(fid, fragment).await {
        return answer(200, "ok");
    }
    let stored = if fragment.to_string() == ZERO_FRAGMENT {
        if faults.lie {
            miner.areas.claim(fid, fragment).await
        } else {
            miner.areas.put_zero(fid, fragment).await
        }
    } else {
        let bytes = match body_of(request).await {
            Ok(bytes) => bytes,
            Err(refusal) => return refusal,
        };
        if bytes.len() != FRAGMENT_SIZE {
            return answer(400, "the fragment size is wrong");
        }
        let hashed = bytes.clone();
        match tokio::task::spawn_blocking(move || Hash::of(&hashed)).await {
            Ok(hash) if hash == fragment => {}
            Ok(_) => return answer(400, "the fragment hash is wrong"),
            Err(_) => return answer(500, "system error"),
        }
        let Ok(deal) = miner.link.deal(fid).await else {
            return answer(403, "failed to connect to rpc, please try again later.");
        };
        let name = fragment.into();
        let listed = deal.is_some_and(|deal| {
            deal.segment_list
                .0
                .iter()
                .any(|segment| segment.fragment_list.0.contains(&name))
        });
        if !listed {
            return answer(400, "fragment does not match fid");
        }
        if faults.lie {
            miner.areas.claim(fid, fragment).await
        } else {
            miner.areas.put(fid, fragment, bytes).await
        }
    };
    if let Err(error) = stored {
        tracing::warn!(%error, "a fragment could not be stored");
        return answer(500, "system error");
    }
    // The report loop lives as long as this miner.
    let _ = miner.arrived.send(fid);
    answer(200, "ok")
}

/// The first part with content.
async fn body_of(request: Request) -> Result<Bytes, Response> {
    let mut form = match Multipart::from_request(request, &()).await {
        Ok(form) => form,
        Err(error) => return Err(answer(400, &error.to_string())),
    };
    loop {
        match form.next_field().await {
            Ok(Some(mut field)) if field.name() == Some("file") => {
                let mut bytes = BytesMut::with_capacity(FRAGMENT_SIZE);
                loop {
                    match field.chunk().await {
                        Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                        Ok(None) => return Ok(bytes.freeze()),
                        Err(error) => return Err(answer(400, &error.to_string())),
                    }
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return Err(answer(400, "http: no such file")),
            Err(error) => return Err(answer(400, &error.to_string())),
        }
    }
}

async fn get_fragment(State(miner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    miner.served.fetch_add(1, Ordering::Relaxed);
    let (fid, fragment) = match admit(&miner, &headers).await {
        Ok(names) => names,
        Err(refusal) => return refusal,
    };
    let asked = headers
        .get(header::RANGE)
        .map(|value| value.to_str().ok().and_then(range::parse));
    let (status, wanted) = match asked {
        None => (StatusCode::OK, 0..FRAGMENT_SIZE),
        Some(Some(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(None) => return answer(416, "invalid range"),
    };
    match miner.areas.read(fid, fragment, wanted).await {
        Ok(Some(mut bytes)) => {
            if miner.faults.lock().corrupt {
                flip_bits(&mut bytes);
            }
            (
                status,
                [(header::CONTENT_TYPE, "application/octet-stream")],
                bytes,
            )
                .into_response()
        }
        Ok(None) => answer(404, "not found"),
        Err(error) => {
            tracing::warn!(%error, "a fragment could not be read");
            answer(500, "system error")
        }
    }
}

async fn status(State(miner): State<Arc<Inner>>) -> Response {
    let account = cess::AccountId::from(miner.account).to_ss58(cess::account::SS58_PREFIX);
    let info = miner.link.miner(miner.account).await;
    let connected = info.is_ok();
    let info = info.ok().flatten();
    let space = |pick: fn(&crate::runtime::sminer::MinerInfo) -> u128| info.as_ref().map_or(0, pick) as u64;
    let state = info.as_ref().map_or_else(String::new, |info| {
        String::from_utf8_lossy(&info.state.0).into_owned()
    });
    let data = json!({
        "pid": std::process::id(),
        "version": concat!("cess-devnet ", env!("CARGO_PKG_VERSION")),
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "endpoint": miner.address.to_string(),
        "current_rpc": miner.link.name(),
        "current_rpc_status": connected,
        "is_connecting_rpc": false,
        "start_time": miner.started,
        "state": state,
        "signature_acc": account,
        "staking_acc": account,
        "earnings_acc": account,
        "declaration_space": space(|info| info.declaration_space),
        "idle_space": space(|info| info.idle_space),
        "service_space": space(|info| info.service_space),
        "lock_space": space(|info| info.lock_space),
        "idle_challenging": false,
        "service_challenging": false,
        "generating_idle": false,
        "certifying_idle": false,
        "checking_idle": false,
    });
    envelope(StatusCode::OK, 200, "ok", data)
}
