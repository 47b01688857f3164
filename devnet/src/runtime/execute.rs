//! Executing a block on the state of its parent, and judging an extrinsic before it is in one.

use parity_scale_codec::Encode;

use super::call::RuntimeCall;
use super::context::Context;
use super::extrinsic::{self, MAX_LENGTH, Signed};
use super::item::Reader;
use super::primitives::{
    AccountId32, Digest, DispatchClass, DispatchEventInfo, H256, Origin, Pays, PerDispatchClass, Phase,
    Weight,
};
use super::state::{Changes, Overlay, RawState};
use super::transaction_payment::{BASE_EXTRINSIC_WEIGHT, charge, fee, settle};
use super::{file_bank, sminer, storage_handler, system, timestamp};

/// Most weight of the signed extrinsics of a block, in picoseconds (75 % of 2 s).
pub const MAX_NORMAL_WEIGHT: u64 = 1_500_000_000_000;
/// Blocks whose hashes stay readable in `System.BlockHash`.
pub const BLOCK_HASH_COUNT: u32 = 2400;

/// Why an extrinsic cannot be in a block on this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The nonce was used.
    Stale,
    /// A nonce before it is missing.
    Future,
    /// The signature is not the signer's.
    BadProof,
    /// The signer cannot pay the fee.
    Payment,
    /// The era ended, or begins in an unknown block.
    AncientBirthBlock,
    /// Longer or heavier than a block.
    ExhaustsResources,
}

/// Facts of the chain that judging needs.
#[derive(Clone, Copy)]
pub struct Chain<'c> {
    /// Hash of block 0.
    pub genesis: H256,
    /// Number of the block under construction.
    pub number: u32,
    /// Hash of the canonical block of a number.
    pub hash_of: &'c dyn Fn(u32) -> Option<H256>,
}

/// Checks everything but the nonce and the balance.
pub fn check_form(chain: Chain<'_>, signed: &Signed, length: usize) -> Result<(), Invalid> {
    if length > MAX_LENGTH || signed.call.weight() > MAX_NORMAL_WEIGHT {
        return Err(Invalid::ExhaustsResources);
    }
    if chain.number >= signed.era.death(chain.number) {
        return Err(Invalid::AncientBirthBlock);
    }
    let birth = (chain.hash_of)(signed.era.birth(chain.number)).ok_or(Invalid::AncientBirthBlock)?;
    if !signed.is_authentic(chain.genesis, birth) {
        return Err(Invalid::BadProof);
    }
    Ok(())
}

/// Checks that the signer can pay.
pub fn check_payment(state: &impl Reader, signed: &Signed, length: usize) -> Result<(), Invalid> {
    let data = system::ACCOUNT.value(state, &signed.signer).data;
    let needed = fee(signed.call.weight(), length).saturating_add(signed.tip);
    // The fee is taken with keep-alive.
    if data.free.saturating_sub(data.frozen) < needed.saturating_add(super::balances::EXISTENTIAL_DEPOSIT) {
        return Err(Invalid::Payment);
    }
    Ok(())
}

/// The nonce that `account` must use next.
pub fn next_nonce(state: &impl Reader, account: &AccountId32) -> u32 {
    system::ACCOUNT.value(state, account).nonce
}

/// What an operator of the devnet changes between the extrinsics, as if by magic.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Tags every fragment of a file.
    TagFile(super::primitives::Hash),
    /// Sets a miner's idle space (bytes).
    SetIdle(AccountId32, u128),
    /// Sets a miner's state (`positive`, `frozen`, `lock`, `exit`, `offline`).
    SetState(AccountId32, String),
    /// Adds a positive miner with an endpoint and idle space (bytes), or changes its endpoint.
    AddMiner(AccountId32, String, u128),
    /// Sets the state of every territory.
    SetTerritories(storage_handler::TerritoryState),
}

/// A block that executed.
pub struct Executed {
    /// Changes to the state of the parent.
    pub changes: Changes,
    /// The author's own extrinsic, first in the body.
    pub inherent: Vec<u8>,
    /// Indices (into the offered ones) of extrinsics that are invalid now.
    pub rejected: Vec<(usize, Invalid)>,
    /// Indices of extrinsics that did not fit any more.
    pub left_over: Vec<usize>,
}

/// Facts of a block before its extrinsics.
pub struct Header<'h> {
    /// Hash of the parent.
    pub parent: H256,
    /// Number.
    pub number: u32,
    /// Milliseconds since 1970.
    pub time: u64,
    /// Digest.
    pub digest: &'h Digest,
}

/// Executes a block with as many of `offered` as fit and are valid.
pub fn block(
    state: &RawState,
    header: &Header<'_>,
    offered: &[(std::sync::Arc<Signed>, usize)],
    operations: &[Operation],
) -> Executed {
    let mut context = Context::new(Overlay::new(state), header.number, header.parent);
    initialize(&mut context, header);
    for operation in operations {
        // An operation that does not apply (unknown file or miner) changes nothing.
        let _ = context.attempt(|context| operate(context, operation));
    }
    let set_time = RuntimeCall::Timestamp(timestamp::Call::set { now: header.time });
    let inherent = extrinsic::bare(&set_time);
    context.enter(Phase::ApplyExtrinsic(0));
    let outcome = set_time.dispatch(&mut context, Origin::Inherent);
    context.deposit(result_event(outcome, 0, DispatchClass::Mandatory, Pays::No));

    let (mut weight, mut length, mut index) = (0_u64, 0_usize, 1);
    let (mut rejected, mut left_over) = (Vec::new(), Vec::new());
    for (at, (signed, bytes)) in offered.iter().enumerate() {
        let heavier = weight + signed.call.weight() + BASE_EXTRINSIC_WEIGHT;
        if heavier > MAX_NORMAL_WEIGHT + BASE_EXTRINSIC_WEIGHT || length + bytes > MAX_LENGTH {
            left_over.push(at);
            continue;
        }
        context.enter(Phase::ApplyExtrinsic(index));
        match apply(&mut context, signed, *bytes) {
            Ok(()) => {
                weight = heavier;
                length += bytes;
                index += 1;
            }
            Err(reason) => rejected.push((at, reason)),
        }
    }
    finalize(&mut context, weight);
    Executed {
        changes: context.into_changes(),
        inherent,
        rejected,
        left_over,
    }
}

fn initialize(context: &mut Context<'_>, header: &Header<'_>) {
    context.enter(Phase::Initialization);
    system::NUMBER.put(&mut context.state, &header.number);
    system::PARENT_HASH.put(&mut context.state, &header.parent);
    system::DIGEST.put(&mut context.state, header.digest);
    let parent = header.number.saturating_sub(1);
    system::BLOCK_HASH.put(&mut context.state, &parent, &header.parent);
    if let Some(old) = parent.checked_sub(BLOCK_HASH_COUNT) {
        system::BLOCK_HASH.remove(&mut context.state, &old);
    }
    file_bank::on_initialize(context);
    storage_handler::on_initialize(context);
}

fn finalize(context: &mut Context<'_>, weight: u64) {
    context.enter(Phase::Finalization);
    let events = context.events().to_vec();
    system::EVENT_COUNT.put(&mut context.state, &(events.len() as u32));
    system::EVENTS.put(&mut context.state, &events);
    let normal = Weight {
        ref_time: weight,
        proof_size: 0,
    };
    system::BLOCK_WEIGHT.put(
        &mut context.state,
        &PerDispatchClass {
            normal,
            ..PerDispatchClass::default()
        },
    );
}

/// Charges, bumps the nonce and runs the call. The nonce and the balance decide; the signature
/// was checked before.
fn apply(context: &mut Context<'_>, signed: &Signed, length: usize) -> Result<(), Invalid> {
    let who = signed.signer;
    let nonce = next_nonce(&context.state, &who);
    if signed.nonce < nonce {
        return Err(Invalid::Stale);
    }
    if signed.nonce > nonce {
        return Err(Invalid::Future);
    }
    check_payment(&context.state, signed, length)?;
    let weight = signed.call.weight();
    let fee = fee(weight, length);
    charge(context, &who, fee.saturating_add(signed.tip)).map_err(|_| Invalid::Payment)?;
    let mut account = system::ACCOUNT.value(&context.state, &who);
    account.nonce = account.nonce.wrapping_add(1);
    system::ACCOUNT.put(&mut context.state, &who, &account);
    let call = signed.call.clone();
    let outcome = context.attempt(|context| call.dispatch(context, Origin::Signed(who)));
    settle(context, &who, fee, signed.tip);
    context.deposit(result_event(outcome, weight, DispatchClass::Normal, Pays::Yes));
    Ok(())
}

fn result_event(
    outcome: super::primitives::DispatchResult,
    weight: u64,
    class: DispatchClass,
    pays_fee: Pays,
) -> system::Event {
    let weight = Weight {
        ref_time: weight.saturating_add(BASE_EXTRINSIC_WEIGHT),
        proof_size: 0,
    };
    let dispatch_info = DispatchEventInfo {
        weight,
        class,
        pays_fee,
    };
    match outcome {
        Ok(()) => system::Event::ExtrinsicSuccess { dispatch_info },
        Err(dispatch_error) => system::Event::ExtrinsicFailed {
            dispatch_error,
            dispatch_info,
        },
    }
}

fn operate(context: &mut Context<'_>, operation: &Operation) -> super::primitives::DispatchResult {
    use super::primitives::BoundedVec;
    match operation {
        Operation::TagFile(file) => file_bank::tag_all(context, *file),
        Operation::SetIdle(miner, bytes) => {
            let mut info = sminer::MINER_ITEMS
                .get(&context.state, miner)
                .ok_or(sminer::Error::NotMiner)?;
            info.idle_space = *bytes;
            sminer::MINER_ITEMS.put(&mut context.state, miner, &info);
            Ok(())
        }
        Operation::SetState(miner, name) => {
            let mut info = sminer::MINER_ITEMS
                .get(&context.state, miner)
                .ok_or(sminer::Error::NotMiner)?;
            info.state = BoundedVec(name.as_bytes().to_vec());
            sminer::MINER_ITEMS.put(&mut context.state, miner, &info);
            Ok(())
        }
        Operation::SetTerritories(state) => {
            for (_, (owner, name)) in storage_handler::TERRITORY_KEY.entries(&context.state) {
                if let Some(mut info) = storage_handler::TERRITORY.get(&context.state, &owner, &name) {
                    info.state = *state;
                    storage_handler::TERRITORY.put(&mut context.state, &owner, &name, &info);
                }
            }
            Ok(())
        }
        Operation::AddMiner(miner, endpoint, idle) => {
            let endpoint = BoundedVec(endpoint.as_bytes().to_vec());
            if let Some(mut info) = sminer::MINER_ITEMS.get(&context.state, miner) {
                info.endpoint = endpoint;
                sminer::MINER_ITEMS.put(&mut context.state, miner, &info);
                return Ok(());
            }
            let info = sminer::MinerInfo::new(*miner, endpoint, sminer::POSITIVE, *idle, *idle);
            sminer::register(context, *miner, &info)?;
            sminer::list(context, *miner)?;
            storage_handler::TOTAL_IDLE_SPACE
                .mutate(&mut context.state, |total| *total = total.saturating_add(*idle));
            Ok(())
        }
    }
}

/// BLAKE2b-256 over the extrinsics.
pub fn extrinsics_root(body: &[Vec<u8>]) -> H256 {
    H256::of(&body.encode())
}
