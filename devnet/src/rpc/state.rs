//! `state_*`: storage, keys, metadata, versions, runtime calls.

use serde_json::{Value, json};

use super::{Answer, Module, Registered, at_of, bytes_of, invalid, runtime_api, text_of, unknown_block};
use crate::chain::Node;
use crate::runtime::metadata;
use crate::runtime::primitives::H256;
use crate::runtime::version::version_json;

/// Most keys in one page.
const MAX_PAGE: u32 = 1000;

pub(super) fn register(module: &mut Module) -> Registered {
    module.register_method("state_getStorage", |params, node, _| -> Answer<Value> {
        let mut params = params.sequence();
        let key = bytes_of(&params.next::<String>()?)?;
        let at = at_of(params.optional_next()?)?;
        let value = read(node, at, &key)?;
        Ok(json!(value.map(|value| text_of(&value))))
    })?;
    module.register_alias("state_getStorageAt", "state_getStorage")?;
    module.register_method("state_getStorageSize", |params, node, _| -> Answer<Value> {
        let mut params = params.sequence();
        let key = bytes_of(&params.next::<String>()?)?;
        let at = at_of(params.optional_next()?)?;
        Ok(json!(read(node, at, &key)?.map(|value| value.len())))
    })?;
    module.register_method("state_getStorageHash", |params, node, _| -> Answer<Value> {
        let mut params = params.sequence();
        let key = bytes_of(&params.next::<String>()?)?;
        let at = at_of(params.optional_next()?)?;
        Ok(json!(
            read(node, at, &key)?.map(|value| H256::of(&value).to_text())
        ))
    })?;
    module.register_method("state_getKeysPaged", |params, node, _| -> Answer<Vec<String>> {
        let mut params = params.sequence();
        let prefix = bytes_of(&params.next::<String>()?)?;
        let count: u32 = params.next()?;
        if count > MAX_PAGE {
            return Err(invalid(format!(
                "count exceeds maximum value. value: {count}, max: {MAX_PAGE}"
            )));
        }
        let start = params
            .optional_next::<String>()?
            .map(|text| bytes_of(&text))
            .transpose()?;
        let at = at_of(params.optional_next()?)?;
        let keys = node
            .view(at, |view| view.keys(&prefix, count as usize, start.as_deref()))
            .ok_or_else(|| unknown_block(at))?;
        Ok(keys.iter().map(|key| text_of(key)).collect())
    })?;
    module.register_alias("state_getKeysPagedAt", "state_getKeysPaged")?;
    module.register_method("state_queryStorageAt", |params, node, _| -> Answer<Value> {
        let mut params = params.sequence();
        let keys: Vec<String> = params.next()?;
        let at = at_of(params.optional_next()?)?;
        let keys = keys.iter().map(|key| bytes_of(key)).collect::<Answer<Vec<_>>>()?;
        let changes: Vec<_> = node
            .view(at, |view| {
                keys.iter()
                    .map(|key| json!([text_of(key), view.get(key).map(|value| text_of(value))]))
                    .collect()
            })
            .ok_or_else(|| unknown_block(at))?;
        let block = at.unwrap_or_else(|| node.best().0).to_text();
        Ok(json!([{ "block": block, "changes": changes }]))
    })?;
    module.register_method("state_getMetadata", |params, _, _| -> Answer<String> {
        // Every block of this chain has the same runtime.
        let _ = at_of(params.sequence().optional_next()?)?;
        Ok(text_of(metadata::encoded(14).unwrap_or_default()))
    })?;
    module.register_method("state_getRuntimeVersion", |params, _, _| -> Answer<Value> {
        let _ = at_of(params.sequence().optional_next()?)?;
        Ok(version_json())
    })?;
    module.register_alias("chain_getRuntimeVersion", "state_getRuntimeVersion")?;
    module.register_method("state_call", |params, node, _| -> Answer<String> {
        let mut params = params.sequence();
        let method: String = params.next()?;
        let input = bytes_of(&params.next::<String>()?)?;
        let at = at_of(params.optional_next()?)?;
        runtime_api::call(node, &method, &input, at).map(|output| text_of(&output))
    })?;
    module.register_alias("state_callAt", "state_call")?;
    module.register_subscription(
        "state_subscribeRuntimeVersion",
        "state_runtimeVersion",
        "state_unsubscribeRuntimeVersion",
        |_, pending, _, _| async move {
            let Ok(sink) = pending.accept().await else { return };
            let Ok(message) = serde_json::value::to_raw_value(&version_json()) else {
                return;
            };
            // The runtime never changes: one message, then silence until the client leaves.
            if sink.send(message).await.is_ok() {
                sink.closed().await;
            }
        },
    )?;
    Ok(())
}

fn read(node: &Node, at: Option<H256>, key: &[u8]) -> Answer<Option<crate::runtime::state::Bytes>> {
    node.view(at, |view| view.get(key).cloned())
        .ok_or_else(|| unknown_block(at))
}
