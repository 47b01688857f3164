//! Renames the registry's paths to those of the real runtime.

use scale_info::PortableRegistry;

/// Types whose home is not a pallet: name → path.
const HOMES: &[(&str, &str)] = &[
    ("AccountId32", "sp_core::crypto"),
    ("H256", "primitive_types"),
    ("Hash", "cp_cess_common"),
    ("PoISKey", "cp_cess_common"),
    ("SpaceProofInfo", "cp_cess_common"),
    ("BloomFilter", "cp_bloom_filter"),
    ("MultiAddress", "sp_runtime::multiaddress"),
    ("MultiSignature", "sp_runtime"),
    ("DispatchError", "sp_runtime"),
    ("ModuleError", "sp_runtime"),
    ("TokenError", "sp_runtime"),
    ("TransactionalError", "sp_runtime"),
    ("TrieError", "sp_runtime::proving_trie"),
    ("ArithmeticError", "sp_arithmetic"),
    ("FixedU128", "sp_arithmetic::fixed_point"),
    ("Weight", "sp_weights::weight_v2"),
    ("RuntimeDbWeight", "sp_weights"),
    ("PerDispatchClass", "frame_support::dispatch"),
    ("DispatchClass", "frame_support::dispatch"),
    ("Pays", "frame_support::dispatch"),
    ("DispatchEventInfo", "frame_system"),
    ("Phase", "frame_system"),
    ("AccountInfo", "frame_system"),
    ("EventRecord", "frame_system"),
    ("AccountData", "pallet_balances::types"),
    ("ExtraFlags", "pallet_balances::types"),
    ("BalanceStatus", "frame_support::traits::tokens::misc"),
    ("Digest", "sp_runtime::generic::digest"),
    ("DigestItem", "sp_runtime::generic::digest"),
    ("RuntimeVersion", "sp_version"),
    ("RuntimeDispatchInfo", "pallet_transaction_payment::types"),
    ("OpaqueMetadata", "sp_core"),
    ("BlockLength", "frame_system::limits"),
    ("BlockWeights", "frame_system::limits"),
    ("WeightsPerClass", "frame_system::limits"),
    ("Runtime", "cess_node_runtime"),
    ("RuntimeCall", "cess_node_runtime"),
    ("RuntimeEvent", "cess_node_runtime"),
    ("RuntimeError", "cess_node_runtime"),
    (
        "CheckNonZeroSender",
        "frame_system::extensions::check_non_zero_sender",
    ),
    ("CheckSpecVersion", "frame_system::extensions::check_spec_version"),
    ("CheckTxVersion", "frame_system::extensions::check_tx_version"),
    ("CheckGenesis", "frame_system::extensions::check_genesis"),
    ("CheckMortality", "frame_system::extensions::check_mortality"),
    ("CheckNonce", "frame_system::extensions::check_nonce"),
    ("CheckWeight", "frame_system::extensions::check_weight"),
    ("ChargeTransactionPayment", "pallet_transaction_payment"),
    ("MasterKeyInfo", "pallet_tee_worker::pallet"),
    ("LaunchStatus", "pallet_tee_worker::pallet"),
];

/// Gives every type of this crate the path that the real runtime gives it.
pub fn rename(registry: &mut PortableRegistry) {
    for entry in &mut registry.types {
        let segments = &mut entry.ty.path.segments;
        if segments.first().is_none_or(|first| first != "cess_devnet") {
            continue;
        }
        let (Some(name), Some(module)) = (segments.last().cloned(), segments.get(2).cloned()) else {
            continue;
        };
        let home = if matches!(name.as_str(), "Call" | "Event" | "Error") {
            match module.as_str() {
                "system" => "frame_system::pallet".to_owned(),
                pallet => format!("pallet_{pallet}::pallet"),
            }
        } else if let Some((_, home)) = HOMES.iter().find(|(known, _)| *known == name) {
            (*home).to_owned()
        } else {
            format!("pallet_{module}::types")
        };
        *segments = home.split("::").map(str::to_owned).chain([name]).collect();
    }
}
