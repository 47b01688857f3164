//! `chain_*`: headers, blocks, hashes, and the heads as they come.

use std::sync::Arc;

use jsonrpsee::PendingSubscriptionSink;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::{Answer, Module, Registered, at_of, internal, invalid, text_of};
use crate::chain::{Head, Node};

pub(super) fn register(module: &mut Module) -> Registered {
    module.register_method("chain_getBlockHash", |params, node, _| -> Answer<Value> {
        let number: Option<Value> = params.sequence().optional_next()?;
        let hash = match number {
            None | Some(Value::Null) => Some(node.best().0),
            Some(Value::Array(numbers)) => {
                let hashes: Answer<Vec<_>> = numbers
                    .iter()
                    .map(|number| Ok(node.hash_of(number_of(number)?).map(|hash| hash.to_text())))
                    .collect();
                return Ok(json!(hashes?));
            }
            Some(number) => node.hash_of(number_of(&number)?),
        };
        Ok(json!(hash.map(|hash| hash.to_text())))
    })?;
    module.register_alias("chain_getHead", "chain_getBlockHash")?;
    module.register_method("chain_getFinalizedHead", |_, node, _| {
        node.finalized().0.to_text()
    })?;
    module.register_alias("chain_getFinalisedHead", "chain_getFinalizedHead")?;
    module.register_method("chain_getHeader", |params, node, _| -> Answer<Value> {
        let at = at_of(params.sequence().optional_next()?)?;
        let hash = at.unwrap_or_else(|| node.best().0);
        Ok(json!(node.header(hash).map(|header| header.to_json())))
    })?;
    module.register_method("chain_getBlock", |params, node, _| -> Answer<Value> {
        let at = at_of(params.sequence().optional_next()?)?;
        let hash = at.unwrap_or_else(|| node.best().0);
        let Some(header) = node.header(hash) else {
            return Ok(Value::Null);
        };
        let body = node
            .body(hash)
            .map_err(|error| internal(&error))?
            .unwrap_or_default();
        let extrinsics: Vec<_> = body.iter().map(|bytes| text_of(bytes)).collect();
        Ok(json!({
            "block": { "header": header.to_json(), "extrinsics": extrinsics },
            "justifications": null,
        }))
    })?;
    for (subscribe, notify, unsubscribe, finalized) in [
        (
            "chain_subscribeNewHeads",
            "chain_newHead",
            "chain_unsubscribeNewHeads",
            false,
        ),
        (
            "chain_subscribeAllHeads",
            "chain_allHead",
            "chain_unsubscribeAllHeads",
            false,
        ),
        (
            "chain_subscribeFinalizedHeads",
            "chain_finalizedHead",
            "chain_unsubscribeFinalizedHeads",
            true,
        ),
    ] {
        module.register_subscription(subscribe, notify, unsubscribe, move |_, pending, node, _| {
            heads(pending, node, finalized)
        })?;
    }
    Ok(())
}

/// A block number: a JSON number, or `0x` and hex digits.
fn number_of(value: &Value) -> Answer<u32> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text
            .strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok()),
        _ => None,
    };
    number
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| invalid("not a block number"))
}

/// Sends the newest head, then each one as it comes.
async fn heads(pending: PendingSubscriptionSink, node: Arc<Node>, finalized: bool) {
    let mut stream = node.heads();
    let Ok(sink) = pending.accept().await else { return };
    let newest = if finalized {
        node.finalized().0
    } else {
        node.best().0
    };
    let mut next = node.header(newest);
    let mut sent = None;
    loop {
        if let Some(header) = next.take() {
            // What was announced while the subscription was set up is not repeated.
            let fresh = !finalized || sent.is_none_or(|number| header.number > number);
            if fresh {
                sent = Some(header.number);
                let Ok(message) = serde_json::value::to_raw_value(&header.to_json()) else {
                    return;
                };
                if sink.send(message).await.is_err() {
                    return;
                }
            }
        }
        tokio::select! {
            () = sink.closed() => return,
            head = stream.recv() => match head {
                Ok(Head::Finalized(header)) if finalized => next = Some(header),
                Ok(Head::Best(header)) if !finalized => next = Some(header),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }
}
