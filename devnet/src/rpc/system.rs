//! `system_*`: who this node is, and the next nonce of an account.

use serde_json::{Value, json};

use super::{Answer, Module, Registered, invalid};
use crate::runtime::primitives::AccountId32;

pub(super) fn register(module: &mut Module) -> Registered {
    module.register_method("system_name", |_, _, _| "cess-devnet")?;
    module.register_method("system_version", |_, _, _| env!("CARGO_PKG_VERSION"))?;
    module.register_method("system_chain", |_, _, _| "CESS devnet")?;
    module.register_method("system_chainType", |_, _, _| "Development")?;
    module.register_method("system_localPeerId", |_, _, _| "devnet")?;
    module.register_method("system_localListenAddresses", |_, _, _| Vec::<String>::new())?;
    module.register_method("system_peers", |_, _, _| Vec::<String>::new())?;
    module.register_method("system_nodeRoles", |_, _, _| vec!["Authority"])?;
    module.register_method(
        "system_health",
        |_, _, _| json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }),
    )?;
    module.register_method("system_syncState", |_, node, _| {
        let best = node.best().1;
        json!({ "startingBlock": 0, "currentBlock": best, "highestBlock": best })
    })?;
    module.register_method("system_properties", |_, _, _| {
        json!({ "ss58Format": cess::account::SS58_PREFIX, "tokenDecimals": 18, "tokenSymbol": "TCESS" })
    })?;
    module.register_method("system_accountNextIndex", |params, node, _| -> Answer<Value> {
        let text: String = params.sequence().next()?;
        let (account, _) = cess::AccountId::from_ss58(&text).map_err(|error| invalid(error.to_string()))?;
        Ok(json!(node.next_index(&AccountId32::from(account))))
    })?;
    module.register_alias("account_nextIndex", "system_accountNextIndex")?;
    Ok(())
}
