//! Reorganisation: the newest blocks are retracted and others take their place.

use super::log::Record;
use super::node::Node;
use super::pool::{Status, Waiting};
use crate::error::{Error, Result};
use crate::runtime::execute::{self, Chain};
use crate::runtime::extrinsic;

impl Node {
    /// Retracts the `depth` newest blocks and makes `depth + 1` others. Their extrinsics return
    /// to the pool and land in the new blocks, one block later than before; those whose era began
    /// in a retracted block are lost. Final blocks are never retracted: stall finality first.
    pub fn reorganise(&self, depth: u32) -> Result<()> {
        let mut bench = self.bench.lock();
        let retracted = {
            let state = self.state.read();
            let above = state.best().saturating_sub(state.finalized);
            if depth == 0 || depth > above || depth as usize > state.undo.len() {
                return Err(Error::Invalid(format!(
                    "{depth} blocks cannot be retracted: {above} are not final"
                )));
            }
            let from = state.canonical.len() - depth as usize;
            state.canonical[from..].to_vec()
        };
        let mut bodies = Vec::new();
        for hash in &retracted {
            bodies.push(self.body(*hash)?.unwrap_or_default());
        }
        let base = self.best().1 - depth;
        bench.log.append(&Record::Rollback(base), true)?;
        bench.fork += 1;
        {
            let mut state = self.state.write();
            for _ in 0..depth {
                state.pop();
            }
        }
        for (hash, body) in retracted.iter().zip(bodies) {
            let mut watched = self.watched.lock().remove(hash).unwrap_or_default().into_iter();
            // The first extrinsic is the author's own.
            for bytes in body.into_iter().skip(1) {
                let watchers = watched.next().unwrap_or_default();
                self.give_back(*hash, bytes, watchers, base + 1);
            }
        }
        self.seal_on(&mut bench, false, false)?;
        for _ in 0..depth {
            self.seal_on(&mut bench, true, true)?;
        }
        Ok(())
    }

    fn give_back(
        &self,
        block: crate::runtime::primitives::H256,
        bytes: Vec<u8>,
        watchers: Vec<super::pool::Watcher>,
        number: u32,
    ) {
        let Ok(signed) = extrinsic::decode(&bytes) else {
            return;
        };
        let dies = signed.era.death(number);
        let hash_of = |number| self.hash_of(number);
        let chain = Chain {
            genesis: self.genesis_hash(),
            number,
            hash_of: &hash_of,
        };
        let valid = execute::check_form(chain, &signed, bytes.len()).is_ok();
        let mut waiting = Waiting::new(bytes, signed, dies);
        waiting.watchers = watchers;
        waiting.tell(&Status::Retracted(block));
        if valid {
            let nonce = execute::next_nonce(&self.state.read().raw, &waiting.signed.signer);
            // A pool that is full, or has a better one by now, loses it, as a node would.
            let _ = self.pool.lock().add(waiting, nonce);
        } else {
            waiting.tell(&Status::Invalid);
        }
    }
}
