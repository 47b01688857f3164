//! The pallets' rules, one by one, on a state without blocks or signatures.

use super::call::RuntimeCall;
use super::context::Context;
use super::execute::{self, Header, Operation};
use super::genesis::{Genesis, build};
use super::item::Value;
use super::primitives::{AccountId32, BoundedVec, Digest, DispatchError, DispatchResult, H256, Hash, Origin};
use super::state::{Overlay, RawState, apply};
use super::storage_handler::{TERRITORY, TerritoryInfo};
use super::{balances, call::RuntimeEvent, file_bank, sminer, storage_handler, system};

mod deals;
mod delegation;
mod files;
mod leases;
mod restoral;

const TCESS: u128 = 1_000_000_000_000_000_000;
const ALICE: AccountId32 = AccountId32([1; 32]);
const BOB: AccountId32 = AccountId32([2; 32]);

/// A state that calls change at once.
struct World {
    state: RawState,
    number: u32,
    events: Vec<RuntimeEvent>,
}

fn miner(index: u8) -> AccountId32 {
    AccountId32([100 + index; 32])
}

fn hash(seed: u32) -> Hash {
    cess::Hash::of(&seed.to_le_bytes()).into()
}

fn name(text: &str) -> BoundedVec<u8, 63> {
    BoundedVec(text.as_bytes().to_vec())
}

impl World {
    fn new() -> Self {
        let tee = subxt_signer::sr25519::dev::ferdie().public_key().0;
        let genesis = Genesis {
            funded: vec![(ALICE, 1_000_000 * TCESS), (BOB, 1_000_000 * TCESS)],
            miners: (0..14)
                .map(|index| (miner(index), format!("127.0.0.1:{index}")))
                .collect(),
            idle_space: 1 << 40,
            tee_master: tee,
            sudo: ALICE,
        };
        let mut state = RawState::new();
        apply(&mut state, &build(&genesis));
        Self {
            state,
            number: 1,
            events: Vec::new(),
        }
    }

    /// With a territory `t` of `gib` GiB of Alice's.
    fn with_territory(gib: u32) -> Self {
        let mut world = Self::new();
        world.mint(ALICE, "t", gib).unwrap();
        world
    }

    fn run<T>(&mut self, body: impl FnOnce(&mut Context<'_>) -> DispatchResult<T>) -> DispatchResult<T> {
        let mut context = Context::new(
            Overlay::new(&self.state),
            self.number,
            H256([self.events.len() as u8; 32]),
        );
        let outcome = context.attempt(body);
        self.events = context
            .events()
            .iter()
            .map(|record| record.event.clone())
            .collect();
        let changes = context.into_changes();
        apply(&mut self.state, &changes);
        outcome
    }

    fn call(&mut self, caller: AccountId32, call: RuntimeCall) -> DispatchResult {
        self.run(|context| call.dispatch(context, Origin::Signed(caller)))
    }

    fn root(&mut self, call: RuntimeCall) -> DispatchResult {
        self.run(|context| call.dispatch(context, Origin::Root))
    }

    fn storage(&mut self, caller: AccountId32, call: storage_handler::Call) -> DispatchResult {
        self.call(caller, RuntimeCall::StorageHandler(call))
    }

    fn files(&mut self, caller: AccountId32, call: file_bank::Call) -> DispatchResult {
        self.call(caller, RuntimeCall::FileBank(call))
    }

    /// Makes empty blocks until block `number` has begun.
    fn reach(&mut self, number: u32) {
        while self.number < number {
            self.block(&[]);
        }
    }

    fn block(&mut self, operations: &[Operation]) {
        self.number += 1;
        let digest = Digest::default();
        let header = Header {
            parent: H256::default(),
            number: self.number,
            time: 1,
            digest: &digest,
        };
        let executed = execute::block(&self.state, &header, &[], operations);
        apply(&mut self.state, &executed.changes);
        let events = system::EVENTS.value(&self.state);
        self.events = events.into_iter().map(|record| record.event).collect();
    }

    fn mint(&mut self, owner: AccountId32, text: &str, gib: u32) -> DispatchResult {
        let call = storage_handler::Call::mint_territory {
            gib_count: gib,
            territory_name: name(text),
            days: 30,
        };
        self.storage(owner, call)
    }

    fn territory(&self, owner: AccountId32, text: &str) -> TerritoryInfo {
        TERRITORY.get(&self.state, &owner, &name(text)).unwrap()
    }

    fn declare(
        &mut self,
        caller: AccountId32,
        owner: AccountId32,
        fid: u32,
        segments: u32,
    ) -> DispatchResult {
        self.declare_in(caller, owner, fid, segments, "t")
    }

    fn declare_in(
        &mut self,
        caller: AccountId32,
        owner: AccountId32,
        fid: u32,
        segments: u32,
        territory: &str,
    ) -> DispatchResult {
        let deal_info = (0..segments).map(|segment| file_bank::SegmentList {
            hash: hash(fid * 1000 + segment),
            fragment_list: BoundedVec(
                (0..12)
                    .map(|index| hash(fid * 1000 + 100 + segment * 12 + index))
                    .collect(),
            ),
        });
        let call = file_bank::Call::upload_declaration {
            file_hash: hash(fid),
            deal_info: BoundedVec(deal_info.collect()),
            user_brief: file_bank::UserBrief {
                user: owner,
                file_name: name("file"),
                territory_name: name(territory),
            },
            file_size: 1,
        };
        self.files(caller, call)
    }

    fn report(&mut self, by: u8, index: u8, fid: u32) -> DispatchResult {
        self.files(
            miner(by),
            file_bank::Call::transfer_report {
                index,
                deal_hash: hash(fid),
            },
        )
    }

    /// Declares and reports all twelve.
    fn place(&mut self, owner: AccountId32, fid: u32, segments: u32) {
        self.declare(owner, owner, fid, segments).unwrap();
        for index in 0..12 {
            self.report(index, index + 1, fid).unwrap();
        }
    }

    fn delete(&mut self, caller: AccountId32, owner: AccountId32, fid: u32) -> DispatchResult {
        self.files(
            caller,
            file_bank::Call::delete_file {
                owner,
                file_hash: hash(fid),
            },
        )
    }

    fn file(&self, fid: u32) -> Option<file_bank::FileInfo> {
        file_bank::FILE.get(&self.state, &hash(fid))
    }

    fn miner_info(&self, index: u8) -> sminer::MinerInfo {
        sminer::MINER_ITEMS.get(&self.state, &miner(index)).unwrap()
    }

    fn free(&self, account: AccountId32) -> u128 {
        system::ACCOUNT.value(&self.state, &account).data.free
    }

    fn total(&self, item: &Value<u128>) -> u128 {
        item.value(&self.state)
    }

    fn emitted(&self, event: impl Into<RuntimeEvent>) -> bool {
        self.events.contains(&event.into())
    }
}

fn refused(error: impl Into<DispatchError>) -> DispatchResult {
    Err(error.into())
}

#[test]
fn transfers_keep_the_existential_deposit_or_end_the_account() {
    use super::primitives::{MultiAddress, TokenError};
    let mut world = World::new();
    let all = world.free(ALICE);
    let to = MultiAddress::Id(BOB);
    let keep = balances::Call::transfer_keep_alive {
        dest: to.clone(),
        value: all - TCESS + 1,
    };
    let outcome = world.call(ALICE, RuntimeCall::Balances(keep));
    assert_eq!(outcome, Err(DispatchError::Token(TokenError::NotExpendable)));
    let dust = balances::Call::transfer_allow_death {
        dest: to,
        value: all - 5,
    };
    world.call(ALICE, RuntimeCall::Balances(dust)).unwrap();
    assert!(!system::ACCOUNT.contains(&world.state, &ALICE));
    assert!(world.emitted(balances::Event::DustLost {
        account: ALICE,
        amount: 5
    }));
    let stranger = MultiAddress::Id(AccountId32([9; 32]));
    let small = balances::Call::transfer_keep_alive {
        dest: stranger,
        value: TCESS - 1,
    };
    let outcome = world.call(BOB, RuntimeCall::Balances(small));
    assert_eq!(outcome, Err(DispatchError::Token(TokenError::BelowMinimum)));
}

#[test]
fn batches_stop_undo_or_go_on() {
    use super::utility::{Call, Event};
    let remark = || {
        RuntimeCall::System(system::Call::remark_with_event {
            remark: b"x".to_vec(),
        })
    };
    let bad = || {
        RuntimeCall::FileBank(file_bank::Call::transfer_report {
            index: 0,
            deal_hash: hash(1),
        })
    };
    let calls = || vec![remark(), bad(), remark()];
    let error: DispatchError = file_bank::Error::SpecError.into();
    let mut world = World::new();
    let remarks = |world: &World| {
        let is_remark =
            |event: &&RuntimeEvent| matches!(event, RuntimeEvent::System(system::Event::Remarked { .. }));
        world.events.iter().filter(is_remark).count()
    };

    world
        .call(ALICE, RuntimeCall::Utility(Call::batch { calls: calls() }))
        .unwrap();
    assert!(world.emitted(Event::BatchInterrupted { index: 1, error }));
    assert_eq!(remarks(&world), 1);

    let outcome = world.call(ALICE, RuntimeCall::Utility(Call::batch_all { calls: calls() }));
    assert_eq!((outcome, remarks(&world)), (Err(error), 0));

    world
        .call(ALICE, RuntimeCall::Utility(Call::force_batch { calls: calls() }))
        .unwrap();
    assert!(world.emitted(Event::ItemFailed { error }));
    assert!(world.emitted(Event::BatchCompletedWithErrors));
    assert_eq!(remarks(&world), 2);

    world
        .call(
            ALICE,
            RuntimeCall::Utility(Call::batch {
                calls: vec![remark()],
            }),
        )
        .unwrap();
    assert!(world.emitted(Event::BatchCompleted));
}

#[test]
fn root_calls_need_root() {
    let mut world = World::new();
    let price = || RuntimeCall::StorageHandler(storage_handler::Call::define_update_price { price: 7 });
    assert_eq!(world.call(BOB, price()), Err(DispatchError::BadOrigin));
    let sudo = |call| RuntimeCall::Sudo(super::sudo::Call::sudo { call: Box::new(call) });
    assert_eq!(
        world.call(BOB, sudo(price())),
        refused(super::sudo::Error::RequireSudo)
    );
    world.call(ALICE, sudo(price())).unwrap();
    assert_eq!(storage_handler::UNIT_PRICE.get(&world.state), Some(7));
    assert_eq!(
        world.call(ALICE, sudo(sudo(price()))),
        Ok(()),
        "reported in the event"
    );
    assert!(world.emitted(super::sudo::Event::Sudid {
        sudo_result: Err(DispatchError::BadOrigin)
    }));
}
