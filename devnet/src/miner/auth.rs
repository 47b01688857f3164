//! The signature every `/fragment` request carries: some sr25519 key over some message. It binds
//! nothing and nobody is refused for who they are.

use http::HeaderMap;

use crate::runtime::extrinsic::sr25519_verify;

/// Whether the headers carry a valid signature.
pub fn is_signed(headers: &HeaderMap) -> bool {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let (account, message, signature) = (text("Account"), text("Message"), text("Signature"));
    let Ok((account, prefix)) = cess::AccountId::from_ss58(account) else {
        return false;
    };
    if message.is_empty() || ![cess::account::SS58_PREFIX, 42].contains(&prefix) {
        return false;
    }
    let mut bytes = [0; 64];
    if hex::decode_to_slice(signature.strip_prefix("0x").unwrap_or(signature), &mut bytes).is_err() {
        return false;
    }
    let wrapped = format!("<Bytes>{message}</Bytes>");
    [message.as_bytes(), wrapped.as_bytes()]
        .iter()
        .any(|message| sr25519_verify(&bytes, message, &account.0))
}
