//! Everything that can be thrown: faults of miners, faults of the chain, and the state of both.
//! The library's own methods and the admin API both end here.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chain::{Node, Operation};
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::miner::Miner;
use crate::miner::fault::Fault;
use crate::runtime::primitives::AccountId32;
use crate::runtime::sminer::MINER_ITEMS;
use crate::runtime::storage_handler::TerritoryState;

/// A fault of the chain, or an operator's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// No blocks.
    Stall,
    /// Blocks, but none becomes final.
    StallFinality,
    /// The RPC endpoint resets connections, for so long (for ever where `None`).
    RpcDead(Option<Duration>),
    /// This many of the newest blocks are retracted and replaced. They must not be final.
    Reorganise(u32),
    /// States older than this many blocks cannot be read.
    Prune(usize),
    /// Time between blocks; zero makes them as needed.
    Period(Duration),
    /// Finality follows so many blocks behind.
    Lag(u32),
    /// Makes so many empty blocks at once.
    Seal(u32),
    /// Tags every fragment of a file.
    Tag(cess::Hash),
    /// Sets the chain's state of a miner, e.g. `frozen`.
    MinerState(AccountId32, String),
    /// Sets the state of every territory, e.g. `frozen`.
    Territories(TerritoryState),
    /// Blocks, finality, RPC and readable states as at the start. Period and lag stay.
    Heal,
}

impl FromStr for ChainFault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, value) = text
            .split_once(':')
            .map_or((text, None), |(name, value)| (name, Some(value)));
        let number = || -> Result<u64> {
            let value = value.ok_or_else(|| Error::Invalid(format!("{name} needs a number: {name}:N")))?;
            value
                .parse()
                .map_err(|_| Error::Invalid(format!("{name}:{value}: not a number")))
        };
        let small = || -> Result<u32> {
            u32::try_from(number()?).map_err(|_| Error::Invalid(format!("{text}: too large")))
        };
        Ok(match name {
            "stall" => Self::Stall,
            "finality-stall" => Self::StallFinality,
            "rpc-dead" if value.is_none() => Self::RpcDead(None),
            "rpc-dead" => Self::RpcDead(Some(Duration::from_millis(number()?))),
            "reorg" => Self::Reorganise(small()?),
            "prune" => Self::Prune(small()? as usize),
            "period" => Self::Period(Duration::from_millis(number()?)),
            "lag" => Self::Lag(small()?),
            "seal" => Self::Seal(small()?),
            "tag" => Self::Tag(
                value
                    .unwrap_or_default()
                    .parse()
                    .map_err(|error: cess::Error| Error::Invalid(error.to_string()))?,
            ),
            "miner-state" => {
                let (account, state) = value
                    .and_then(|value| value.split_once(':'))
                    .ok_or_else(|| Error::Invalid("miner-state:ACCOUNT:STATE".into()))?;
                if state.len() > 20 {
                    return Err(Error::Invalid("a state has at most 20 bytes".into()));
                }
                Self::MinerState(account_of(account)?, state.to_owned())
            }
            "territories" => Self::Territories(match value {
                Some("active") => TerritoryState::Active,
                Some("frozen") => TerritoryState::Frozen,
                Some("expired") => TerritoryState::Expired,
                _ => return Err(Error::Invalid("territories:active, :frozen or :expired".into())),
            }),
            "heal" => Self::Heal,
            _ => {
                return Err(Error::Invalid(format!(
                    "chain fault {text:?}: expected stall, finality-stall, rpc-dead[:MS], reorg:N, prune:N, \
                     period:MS, lag:N, seal:N, tag:FID, miner-state:ACCOUNT:STATE, territories:STATE or heal"
                )));
            }
        })
    }
}

/// An account: SS58 of any prefix, or 64 hex digits with or without `0x`.
pub fn account_of(text: &str) -> Result<AccountId32> {
    let mut bytes = [0; 32];
    if hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).is_ok() {
        return Ok(AccountId32(bytes));
    }
    cess::AccountId::from_ss58(text)
        .map(|(account, _)| account.into())
        .map_err(|error| Error::Invalid(format!("account {text:?}: {error}")))
}

/// SS58 text with the prefix of CESS.
pub fn text_of(account: AccountId32) -> String {
    cess::AccountId::from(account).to_ss58(cess::account::SS58_PREFIX)
}

/// The parts of a devnet that run in this process.
#[derive(Default)]
pub struct Controls {
    /// The chain, and its RPC endpoint.
    pub chain: Option<(Arc<Node>, Arc<Gate>)>,
    /// The miners.
    pub miners: Vec<Miner>,
}

impl Controls {
    /// Throws `fault` at a miner, or at all.
    pub async fn fault(&self, account: Option<AccountId32>, fault: Fault) -> Result<()> {
        let mut found = false;
        for miner in &self.miners {
            if account.is_none_or(|account| account == miner.account()) {
                found = true;
                self.adjust_space(miner, fault);
                miner.fault(fault).await?;
            }
        }
        match account {
            Some(account) if !found => Err(Error::Invalid(format!("no miner {} here", text_of(account)))),
            _ => Ok(()),
        }
    }

    /// What a full miner has left on the chain, and what it has again after healing.
    fn adjust_space(&self, miner: &Miner, fault: Fault) {
        let Some((node, _)) = &self.chain else { return };
        let account = miner.account();
        let idle = match fault {
            Fault::Full => 0,
            Fault::Heal if miner.faults().full => {
                let info = node.view(None, |view| MINER_ITEMS.get(view, &account)).flatten();
                info.map_or(0, |info| {
                    info.declaration_space
                        .saturating_sub(info.service_space)
                        .saturating_sub(info.lock_space)
                })
            }
            _ => return,
        };
        node.operate(Operation::SetIdle(account, idle));
    }

    /// Throws a fault at the chain.
    pub fn chain_fault(&self, fault: ChainFault) -> Result<()> {
        let (node, gate) = self
            .chain
            .as_ref()
            .ok_or_else(|| Error::Invalid("no chain in this process".into()))?;
        match fault {
            ChainFault::Stall => node.set_sealing(|sealing| sealing.stalled = true),
            ChainFault::StallFinality => node.set_sealing(|sealing| sealing.finality_stalled = true),
            ChainFault::RpcDead(time) => {
                gate.set_open(false);
                if let Some(time) = time {
                    let gate = gate.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(time).await;
                        gate.set_open(true);
                    });
                }
            }
            ChainFault::Reorganise(depth) => node.reorganise(depth)?,
            ChainFault::Prune(blocks) => node.set_sealing(|sealing| sealing.state_blocks = blocks),
            ChainFault::Period(period) => node.set_sealing(|sealing| sealing.period = period),
            ChainFault::Lag(blocks) => node.set_sealing(|sealing| sealing.finality_lag = blocks),
            ChainFault::Seal(blocks) => node.seal_empty(blocks)?,
            ChainFault::Tag(fid) => node.operate(Operation::TagFile(fid.into())),
            ChainFault::MinerState(miner, state) => node.operate(Operation::SetState(miner, state)),
            ChainFault::Territories(state) => node.operate(Operation::SetTerritories(state)),
            ChainFault::Heal => {
                node.set_sealing(|sealing| {
                    sealing.stalled = false;
                    sealing.finality_stalled = false;
                    sealing.state_blocks = crate::chain::DEFAULT_STATE_BLOCKS;
                });
                node.catch_up();
                gate.set_open(true);
            }
        }
        Ok(())
    }

    /// Everything worth knowing, as JSON.
    pub async fn status(&self) -> Value {
        let chain = self.chain.as_ref().map(|(node, gate)| {
            let (best, finalized) = (node.best(), node.finalized());
            let sealing = node.sealing();
            json!({
                "rpc": format!("ws://{}", gate.address()),
                "rpc_open": gate.is_open(),
                "genesis": node.genesis_hash().to_text(),
                "best": { "number": best.1, "hash": best.0.to_text() },
                "finalized": { "number": finalized.1, "hash": finalized.0.to_text() },
                "pending": node.pending(),
                "period_ms": sealing.period.as_millis() as u64,
                "stalled": sealing.stalled,
                "finality_stalled": sealing.finality_stalled,
            })
        });
        let mut miners = Vec::new();
        for miner in &self.miners {
            let (waiting, stored) = miner.fragments().await;
            miners.push(json!({
                "account": text_of(miner.account()),
                "endpoint": miner.endpoint(),
                "faults": miner.faults().names(),
                "waiting": waiting,
                "stored": stored,
                "served": miner.served(),
            }));
        }
        json!({ "chain": chain, "miners": miners })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_faults_are_read() {
        assert_eq!("stall".parse::<ChainFault>().unwrap(), ChainFault::Stall);
        assert_eq!(
            "reorg:3".parse::<ChainFault>().unwrap(),
            ChainFault::Reorganise(3)
        );
        assert_eq!(
            "rpc-dead".parse::<ChainFault>().unwrap(),
            ChainFault::RpcDead(None)
        );
        assert_eq!(
            "territories:frozen".parse::<ChainFault>().unwrap(),
            ChainFault::Territories(TerritoryState::Frozen)
        );
        let second = ChainFault::RpcDead(Some(Duration::from_secs(1)));
        assert_eq!("rpc-dead:1000".parse::<ChainFault>().unwrap(), second);
        for text in [
            "",
            "reorg",
            "reorg:x",
            "reorg:99999999999",
            "tag:12",
            "miner-state:x",
            "territories",
            "territories:x",
            "nonsense",
        ] {
            assert!(text.parse::<ChainFault>().is_err(), "{text}");
        }
    }

    #[test]
    fn accounts_are_read_in_hex() {
        let digits = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";
        assert_eq!(
            account_of(digits).unwrap(),
            account_of(&format!("0x{digits}")).unwrap()
        );
    }
}
