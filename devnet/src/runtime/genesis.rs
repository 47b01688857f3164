//! The state of block 0.

use super::balances::{EXISTENTIAL_DEPOSIT, TOTAL_ISSUANCE};
use super::primitives::{AccountId32, BoundedVec, EndPoint, FixedU128, H256};
use super::sminer::{ALL_MINER, COUNTER_FOR_MINER_ITEMS, MINER_ITEMS, MinerInfo, POSITIVE};
use super::state::{Changes, Overlay, RawState};
use super::storage_handler::SPACE_TREASURY;
use super::system::{ACCOUNT, AccountData, AccountInfo};
use super::tee_worker::{LaunchStatus, MASTER_KEY_STATUS, MasterKeyInfo};
use super::transaction_payment::{AUTHOR, NEXT_FEE_MULTIPLIER, TREASURY};
use super::{storage_handler, sudo};

/// What block 0 contains.
pub struct Genesis {
    /// Accounts and their planck.
    pub funded: Vec<(AccountId32, u128)>,
    /// Miners, positive from the start, and their endpoints.
    pub miners: Vec<(AccountId32, String)>,
    /// Idle space of each miner in bytes.
    pub idle_space: u128,
    /// Public half of the key that signs tags.
    pub tee_master: [u8; 32],
    /// Account that may call as root.
    pub sudo: AccountId32,
}

/// Builds the state of block 0, as changes to nothing.
pub fn build(genesis: &Genesis) -> Changes {
    let nothing = RawState::new();
    let mut state = Overlay::new(&nothing);
    let mut issuance = 0_u128;
    let pots = [TREASURY, AUTHOR, SPACE_TREASURY];
    for (account, planck) in genesis
        .funded
        .iter()
        .copied()
        .chain(pots.into_iter().map(|pot| (pot, EXISTENTIAL_DEPOSIT)))
    {
        let mut info = ACCOUNT.value(&state, &account);
        // Saturates far above what all accounts of a devnet are given.
        info = AccountInfo {
            providers: 1,
            data: AccountData {
                free: info.data.free.saturating_add(planck),
                ..info.data
            },
            ..info
        };
        issuance = issuance.saturating_add(planck);
        ACCOUNT.put(&mut state, &account, &info);
    }
    TOTAL_ISSUANCE.put(&mut state, &issuance);
    NEXT_FEE_MULTIPLIER.put(&mut state, &FixedU128(1_000_000_000_000_000_000));
    sudo::KEY.put(&mut state, &genesis.sudo);
    storage_handler::UNIT_PRICE.put(&mut state, &storage_handler::GENESIS_UNIT_PRICE);
    let key = MasterKeyInfo {
        pubkey: genesis.tee_master,
        holder: genesis.tee_master,
        launched_at: (0, 0),
    };
    MASTER_KEY_STATUS.put(&mut state, &LaunchStatus::Launched(key));
    for (account, endpoint) in &genesis.miners {
        let endpoint: EndPoint = BoundedVec(endpoint.as_bytes().to_vec());
        let info = MinerInfo::new(
            *account,
            endpoint,
            POSITIVE,
            genesis.idle_space,
            genesis.idle_space,
        );
        MINER_ITEMS.put(&mut state, account, &info);
    }
    ALL_MINER.put(
        &mut state,
        &BoundedVec(genesis.miners.iter().map(|(account, _)| *account).collect()),
    );
    COUNTER_FOR_MINER_ITEMS.put(&mut state, &(genesis.miners.len() as u32));
    let idle = genesis.idle_space.saturating_mul(genesis.miners.len() as u128);
    storage_handler::TOTAL_IDLE_SPACE.put(&mut state, &idle);
    super::system::PARENT_HASH.put(&mut state, &H256::default());
    state.into_changes()
}
