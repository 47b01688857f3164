//! `author_*` and `payment_*`: handing in extrinsics and watching them.

use std::sync::Arc;

use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Answer, Module, Registered, bytes_of, runtime_api, text_of};
use crate::chain::{Node, SubmitError};

impl From<SubmitError> for ErrorObjectOwned {
    fn from(error: SubmitError) -> Self {
        Self::owned(error.code(), error.to_string(), error.data())
    }
}

pub(super) fn register(module: &mut Module) -> Registered {
    module.register_method("author_submitExtrinsic", |params, node, _| -> Answer<String> {
        let bytes = extrinsic_of(&params)?;
        Ok(node.submit(bytes, None)?.to_text())
    })?;
    module.register_method("author_pendingExtrinsics", |_, node, _| {
        node.pending_bytes()
            .iter()
            .map(|bytes| text_of(bytes))
            .collect::<Vec<_>>()
    })?;
    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        |params, pending, node, _| watch(params, pending, node),
    )?;
    module.register_method("payment_queryInfo", |params, _, _| -> Answer<Value> {
        let info = runtime_api::dispatch_info(&extrinsic_of(&params)?)?;
        Ok(json!({
            "weight": { "ref_time": info.weight.ref_time, "proof_size": info.weight.proof_size },
            "class": "normal",
            "partialFee": info.partial_fee.to_string(),
        }))
    })?;
    Ok(())
}

fn extrinsic_of(params: &Params<'_>) -> Answer<Vec<u8>> {
    bytes_of(&params.sequence().next::<String>()?)
}

async fn watch(params: Params<'static>, pending: PendingSubscriptionSink, node: Arc<Node>) {
    let (sender, mut statuses) = mpsc::unbounded_channel();
    let submitted = extrinsic_of(&params)
        .and_then(|bytes| node.submit(bytes, Some(sender)).map_err(ErrorObjectOwned::from));
    if let Err(error) = submitted {
        pending.reject(error).await;
        return;
    }
    let Ok(sink) = pending.accept().await else { return };
    loop {
        let status = tokio::select! {
            () = sink.closed() => return,
            status = statuses.recv() => status,
        };
        let Some(status) = status else { return };
        let Ok(message) = serde_json::value::to_raw_value(&status.to_json()) else {
            return;
        };
        if sink.send(message).await.is_err() || status.is_last() {
            return;
        }
    }
}
