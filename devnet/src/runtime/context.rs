//! What a call executes in: the state it may change, the events it emits, the block it is in.

use super::call::RuntimeEvent;
use super::hashing::blake2_256;
use super::primitives::{DispatchResult, H256, Phase};
use super::state::{Bytes, Overlay};
use super::system::EventRecord;

/// Execution context of one block.
pub struct Context<'a> {
    /// State under the block's changes.
    pub state: Overlay<'a>,
    /// Number of this block.
    pub number: u32,
    /// Hash of the parent.
    pub parent: H256,
    phase: Phase,
    events: Vec<EventRecord>,
    draws: u32,
}

impl<'a> Context<'a> {
    /// A context at the start of block `number`.
    pub fn new(state: Overlay<'a>, number: u32, parent: H256) -> Self {
        Self {
            state,
            number,
            parent,
            phase: Phase::Initialization,
            events: Vec::new(),
            draws: 0,
        }
    }

    /// Sets where the events that follow happen.
    pub fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Records an event.
    pub fn deposit(&mut self, event: impl Into<RuntimeEvent>) {
        self.events.push(EventRecord {
            phase: self.phase,
            event: event.into(),
            topics: Vec::new(),
        });
    }

    /// The events so far.
    pub fn events(&self) -> &[EventRecord] {
        &self.events
    }

    /// Runs `body` in a layer of its own: on failure neither its changes nor its events stay.
    pub fn attempt<T>(&mut self, body: impl FnOnce(&mut Self) -> DispatchResult<T>) -> DispatchResult<T> {
        let events = self.events.len();
        self.state.push();
        let result = body(self);
        if result.is_ok() {
            self.state.commit();
        } else {
            self.state.rollback();
            self.events.truncate(events);
        }
        result
    }

    /// A value that no earlier draw of this chain gave: parent hash, block number, draw count.
    pub fn draw(&mut self, subject: &[u8]) -> H256 {
        self.draws += 1;
        let mut seed = subject.to_vec();
        seed.extend_from_slice(&self.parent.0);
        seed.extend_from_slice(&self.number.to_le_bytes());
        seed.extend_from_slice(&self.draws.to_le_bytes());
        H256(blake2_256(&seed))
    }

    /// Ends the block: everything that changed.
    pub fn into_changes(self) -> std::collections::BTreeMap<Vec<u8>, Option<Bytes>> {
        self.state.into_changes()
    }
}
