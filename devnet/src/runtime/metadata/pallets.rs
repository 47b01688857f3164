//! The pallets: which storage, calls, events, errors and constants each offers.

use frame_metadata::v14::{
    PalletCallMetadata, PalletConstantMetadata, PalletErrorMetadata, PalletEventMetadata,
    PalletStorageMetadata, StorageEntryMetadata,
};
use frame_metadata::v15::PalletMetadata;
use parity_scale_codec::Encode;
use scale_info::{MetaType, TypeInfo, meta_type};

use crate::runtime::execute::{BLOCK_HASH_COUNT, MAX_NORMAL_WEIGHT};
use crate::runtime::primitives::{BoundedVec, Digest, FixedU128, H256, PerDispatchClass, Weight};
use crate::runtime::transaction_payment::BASE_EXTRINSIC_WEIGHT;
use crate::runtime::{
    audit, balances, extrinsic, file_bank, oss, sminer, storage_handler, sudo, system, tee_worker, timestamp,
    transaction_payment, utility, version,
};

/// Most bytes of a block, by class.
#[derive(Encode, TypeInfo)]
struct BlockLength {
    max: PerDispatchClass<u32>,
}

/// Limits of one class of dispatch.
#[derive(Clone, Copy, Encode, TypeInfo)]
struct WeightsPerClass {
    base_extrinsic: Weight,
    max_extrinsic: Option<Weight>,
    max_total: Option<Weight>,
    reserved: Option<Weight>,
}

/// Limits of a block.
#[derive(Encode, TypeInfo)]
struct BlockWeights {
    base_block: Weight,
    max_block: Weight,
    per_class: PerDispatchClass<WeightsPerClass>,
}

/// Weight of one database access in picoseconds.
#[derive(Encode, TypeInfo)]
struct RuntimeDbWeight {
    read: u64,
    write: u64,
}

fn block_weights() -> BlockWeights {
    let weight = |ref_time| Weight {
        ref_time,
        proof_size: u64::MAX,
    };
    let base_extrinsic = Weight {
        ref_time: BASE_EXTRINSIC_WEIGHT,
        proof_size: 0,
    };
    let class = |max: Option<u64>| WeightsPerClass {
        base_extrinsic,
        max_extrinsic: max.map(weight),
        max_total: max.map(weight),
        reserved: None,
    };
    BlockWeights {
        base_block: Weight {
            ref_time: 419_430_000,
            proof_size: 0,
        },
        max_block: weight(2_000_000_000_000),
        per_class: PerDispatchClass {
            normal: class(Some(MAX_NORMAL_WEIGHT)),
            operational: class(Some(2_000_000_000_000)),
            mandatory: class(None),
        },
    }
}

fn constant<T: Encode + TypeInfo + 'static>(name: &'static str, value: T) -> PalletConstantMetadata {
    PalletConstantMetadata {
        name,
        ty: meta_type::<T>(),
        value: value.encode(),
        docs: vec![],
    }
}

/// A pallet under construction.
struct Pallet(PalletMetadata);

impl Pallet {
    fn new(name: &'static str, index: u8) -> Self {
        Self(PalletMetadata {
            name,
            storage: None,
            calls: None,
            event: None,
            constants: vec![],
            error: None,
            index,
            docs: vec![],
        })
    }

    fn storage(mut self, entries: Vec<StorageEntryMetadata>) -> Self {
        self.0.storage = Some(PalletStorageMetadata {
            prefix: self.0.name,
            entries,
        });
        self
    }

    fn calls(mut self, ty: MetaType) -> Self {
        self.0.calls = Some(PalletCallMetadata { ty });
        self
    }

    fn events(mut self, ty: MetaType) -> Self {
        self.0.event = Some(PalletEventMetadata { ty });
        self
    }

    fn errors(mut self, ty: MetaType) -> Self {
        self.0.error = Some(PalletErrorMetadata { ty });
        self
    }

    fn constants(mut self, constants: Vec<PalletConstantMetadata>) -> Self {
        self.0.constants = constants;
        self
    }
}

/// All pallets, by index.
pub fn all() -> Vec<PalletMetadata> {
    [
        system(),
        utility(),
        timestamp(),
        balances(),
        transaction_payment(),
        sudo(),
        tee_worker(),
        file_bank(),
        sminer(),
        audit(),
        storage_handler(),
        oss(),
    ]
    .into_iter()
    .map(|pallet| pallet.0)
    .collect()
}

fn system() -> Pallet {
    use system::{ACCOUNT, BLOCK_HASH, BLOCK_WEIGHT, DIGEST, EVENT_COUNT, EVENTS, NUMBER, PARENT_HASH};
    let length = extrinsic::MAX_LENGTH as u32;
    Pallet::new("System", system::INDEX)
        .storage(vec![
            ACCOUNT.describe(Some(system::AccountInfo::default())),
            BLOCK_WEIGHT.describe(Some(PerDispatchClass::default())),
            BLOCK_HASH.describe(Some(H256::default())),
            NUMBER.describe(Some(0)),
            PARENT_HASH.describe(Some(H256::default())),
            DIGEST.describe(Some(Digest::default())),
            EVENTS.describe(Some(vec![])),
            EVENT_COUNT.describe(Some(0)),
        ])
        .calls(meta_type::<system::Call>())
        .events(meta_type::<system::Event>())
        .errors(meta_type::<system::Error>())
        .constants(vec![
            constant("BlockWeights", block_weights()),
            constant(
                "BlockLength",
                BlockLength {
                    max: PerDispatchClass {
                        normal: length,
                        operational: 5 << 20,
                        mandatory: 5 << 20,
                    },
                },
            ),
            constant("BlockHashCount", BLOCK_HASH_COUNT),
            constant(
                "DbWeight",
                RuntimeDbWeight {
                    read: 25_000_000,
                    write: 100_000_000,
                },
            ),
            constant("Version", version::version()),
            constant("SS58Prefix", cess::account::SS58_PREFIX),
        ])
}

fn utility() -> Pallet {
    Pallet::new("Utility", utility::INDEX)
        .calls(meta_type::<utility::Call>())
        .events(meta_type::<utility::Event>())
        .errors(meta_type::<utility::Error>())
        .constants(vec![constant(
            "batched_calls_limit",
            utility::BATCHED_CALLS_LIMIT,
        )])
}

fn timestamp() -> Pallet {
    Pallet::new("Timestamp", timestamp::INDEX)
        .storage(vec![timestamp::NOW.describe(Some(0))])
        .calls(meta_type::<timestamp::Call>())
        .constants(vec![constant("MinimumPeriod", timestamp::MINIMUM_PERIOD)])
}

fn balances() -> Pallet {
    Pallet::new("Balances", balances::INDEX)
        .storage(vec![
            balances::TOTAL_ISSUANCE.describe(Some(0)),
            balances::INACTIVE_ISSUANCE.describe(Some(0)),
        ])
        .calls(meta_type::<balances::Call>())
        .events(meta_type::<balances::Event>())
        .errors(meta_type::<balances::Error>())
        .constants(vec![constant(
            "ExistentialDeposit",
            balances::EXISTENTIAL_DEPOSIT,
        )])
}

fn transaction_payment() -> Pallet {
    Pallet::new("TransactionPayment", transaction_payment::INDEX)
        .storage(vec![
            transaction_payment::NEXT_FEE_MULTIPLIER.describe(Some(FixedU128(1_000_000_000_000_000_000))),
        ])
        .events(meta_type::<transaction_payment::Event>())
        .constants(vec![constant("OperationalFeeMultiplier", 5_u8)])
}

fn sudo() -> Pallet {
    Pallet::new("Sudo", sudo::INDEX)
        .storage(vec![sudo::KEY.describe(None)])
        .calls(meta_type::<sudo::Call>())
        .events(meta_type::<sudo::Event>())
        .errors(meta_type::<sudo::Error>())
}

fn tee_worker() -> Pallet {
    Pallet::new("TeeWorker", tee_worker::INDEX).storage(vec![
        tee_worker::MASTER_KEY_STATUS.describe(Some(tee_worker::LaunchStatus::NotLaunched)),
    ])
}

fn file_bank() -> Pallet {
    Pallet::new("FileBank", file_bank::INDEX)
        .storage(vec![
            file_bank::DEAL_MAP.describe(None),
            file_bank::FILE.describe(None),
            file_bank::USER_HOLD_FILE_LIST.describe(Some(BoundedVec::default())),
            file_bank::RESTORAL_ORDER.describe(None),
            file_bank::CLEAR_USER_LIST.describe(Some(BoundedVec::default())),
            file_bank::TASK_FAILED_COUNT.describe(Some(0)),
        ])
        .calls(meta_type::<file_bank::Call>())
        .events(meta_type::<file_bank::Event>())
        .errors(meta_type::<file_bank::Error>())
        .constants(vec![
            constant("UserFileLimit", file_bank::USER_FILE_LIMIT as u32),
            constant("OneDay", storage_handler::ONE_DAY),
            constant("NameStrLimit", 63_u32),
            constant("NameMinLength", file_bank::NAME_MIN_LENGTH as u32),
            constant("SegmentCount", file_bank::SEGMENT_COUNT as u32),
            constant("FragmentCount", file_bank::FRAGMENT_COUNT as u32),
            constant("OwnerLimit", file_bank::OWNER_LIMIT as u32),
            constant("RestoralOrderLife", file_bank::RESTORAL_ORDER_LIFE),
        ])
}

fn sminer() -> Pallet {
    Pallet::new("Sminer", sminer::INDEX)
        .storage(vec![
            sminer::MINER_ITEMS.describe(None),
            sminer::COUNTER_FOR_MINER_ITEMS.describe(Some(0)),
            sminer::ALL_MINER.describe(Some(BoundedVec::default())),
            sminer::MINER_LOCK.describe(None),
            sminer::RESTORAL_TARGET.describe(None),
            sminer::STAKING_START_BLOCK.describe(None),
        ])
        .calls(meta_type::<sminer::Call>())
        .events(meta_type::<sminer::Event>())
        .errors(meta_type::<sminer::Error>())
        .constants(vec![
            constant("ItemLimit", sminer::ITEM_LIMIT as u32),
            constant("OneDayBlock", storage_handler::ONE_DAY),
        ])
}

fn audit() -> Pallet {
    Pallet::new("Audit", audit::INDEX).storage(vec![
        audit::COUNTED_SERVICE_FAILED.describe(Some(0)),
        audit::COUNTED_CLEAR.describe(Some(0)),
        audit::CHALLENGE_SNAP_SHOT.describe(None),
    ])
}

fn storage_handler() -> Pallet {
    use storage_handler as pallet;
    Pallet::new("StorageHandler", pallet::INDEX)
        .storage(vec![
            pallet::TERRITORY_KEY.describe(None),
            pallet::TERRITORY.describe(),
            pallet::CONSIGNMENT.describe(None),
            pallet::TERRITORY_FROZEN.describe(),
            pallet::TERRITORY_FROZEN_COUNTER.describe(Some(0)),
            pallet::TERRITORY_EXPIRED.describe(),
            pallet::UNIT_PRICE.describe(None),
            pallet::TOTAL_IDLE_SPACE.describe(Some(0)),
            pallet::TOTAL_SERVICE_SPACE.describe(Some(0)),
            pallet::PURCHASED_SPACE.describe(Some(0)),
            pallet::PAY_ORDER.describe(None),
        ])
        .calls(meta_type::<pallet::Call>())
        .events(meta_type::<pallet::Event>())
        .errors(meta_type::<pallet::Error>())
        .constants(vec![
            constant("OneDay", pallet::ONE_DAY),
            constant("OneHours", pallet::ONE_HOUR),
            constant("NameLimit", 63_u32),
            constant("FrozenLimit", pallet::FROZEN_LIMIT),
            constant("ConsignmentRemainingBlock", pallet::CONSIGNMENT_REMAINING_BLOCK),
            constant("LockingBlock", pallet::LOCKING_BLOCK),
            constant("FrozenDays", pallet::FROZEN_DAYS),
        ])
}

fn oss() -> Pallet {
    Pallet::new("Oss", oss::INDEX)
        .storage(vec![
            oss::AUTHORITY_LIST.describe(Some(BoundedVec::default())),
            oss::OSS.describe(None),
        ])
        .calls(meta_type::<oss::Call>())
        .events(meta_type::<oss::Event>())
        .errors(meta_type::<oss::Error>())
        .constants(vec![
            constant("P2PLength", 200_u32),
            constant("AuthorLimit", oss::AUTHOR_LIMIT as u32),
            constant("PayloadExpired", oss::PAYLOAD_EXPIRED),
        ])
}
