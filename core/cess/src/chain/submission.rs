//! From a call to its outcome: nonce, signature, submission, inclusion.
//!
//! # Nonces
//! Extrinsics of one account are handed to the node one after the other: the node is asked for the
//! next nonce (its answer counts what waits in its pool), the extrinsic is signed and submitted, and
//! only when the node has accepted it is the next one's turn. Waiting for inclusion happens outside
//! of that, so that many extrinsics of one account can be in one block. A nonce that another
//! program took in between is answered by the node as stale; then the question is asked again.
//!
//! # Inclusion
//! An extrinsic counts when a best block has it. If the connection breaks while submitting or
//! waiting, the extrinsic may be on its way or not. It is not signed anew, for then it could happen
//! twice; the very same bytes are handed in again, through whatever connection there is then, and
//! the blocks since the first submission are searched for them.
//! A signature is valid for [`MORTALITY`] blocks, so that an extrinsic
//! that is given up cannot appear much later. A block can still be retracted: whoever cannot live
//! with that re-reads the state, as all idempotent steps do.
//!
//! # Once and no more
//! Who must not send a thing twice is told, before it is sent, until when it can be included (nonce
//! and last block of each signature), and notes that. From the note alone, also after a crash,
//! [`Network::fate`] answers for good: when the last *finalised* block is past the signature's last,
//! or the account's nonce there is past its nonce, then what that block has under the FID is all
//! that will ever come of it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parity_scale_codec::Decode;
use subxt::config::Header;
use subxt::utils::{AccountId32, H256};
use subxt_rpcs::UserError;
use subxt_rpcs::methods::legacy::{NumberOrHex, TransactionStatus};
use subxt_signer::sr25519::Keypair;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use super::calls::Call;
use super::items;
use super::outcome::Outcome;
use super::rpc::Failure;
use super::runtime::MORTALITY;
use super::types::{Fate, Included, Validity};
use super::{Network, Runtime};
use crate::{AccountId, Error, Hash, Result};

/// How often an extrinsic is signed anew because its nonce was taken or the runtime changed.
const ATTEMPTS: u32 = 6;
/// Pause before such an attempt, times the number of attempts so far.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause between two looks at the chain while an extrinsic is searched for.
const SEARCH_PAUSE: Duration = Duration::from_millis(500);
/// Waiting for inclusion may take this many times as long as waiting for an answer.
const INCLUSION_FACTOR: u32 = 10;

/// Whose turn it is, by account.
#[derive(Default)]
pub(super) struct Turns(parking_lot::Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, account: AccountId) -> Arc<tokio::sync::Mutex<()>> {
        self.0.lock().entry(account).or_default().clone()
    }
}

/// An extrinsic on its way.
struct Sent {
    extrinsic: Vec<u8>,
    /// Best block when it was signed: it can only be in later ones.
    since: u64,
    runtime: Arc<Runtime>,
    /// What the node says about it; `None` if the connection broke before it said anything.
    statuses: Option<Statuses>,
}

/// Told of each signature before it is sent.
pub(super) type Before<'a> =
    dyn Fn(Validity) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync + 'a;

/// For what may be sent twice: whoever sends it re-reads the state.
pub(super) fn unnoted(_: Validity) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
    Box::pin(std::future::ready(Ok(())))
}

type Statuses = subxt_rpcs::client::RpcSubscription<TransactionStatus<H256>>;

impl Network {
    /// Signs and submits a call, waits until a best block has it, and reads what it did there.
    /// `call` is asked again when the runtime has changed in between; `before` is told of each
    /// signature before it is sent.
    pub(super) async fn submit(
        &self,
        key: &Keypair,
        call: impl Fn(&Runtime) -> Result<Call>,
        before: &Before<'_>,
    ) -> Result<(Included, Outcome)> {
        let sent = self.send(key, call, before).await?;
        let patience = self.rpc.timeout() * INCLUSION_FACTOR;
        let deadline = Instant::now() + patience;
        let watched = match sent.statuses {
            Some(statuses) => {
                self.watch(statuses, &sent.extrinsic, deadline - patience / 2)
                    .await?
            }
            None => None,
        };
        let (hash, number, index) = match watched {
            Some(place) => place,
            None => self.search(&sent.extrinsic, sent.since, deadline).await?,
        };
        let events = self
            .rpc
            .ask("state_getStorage", |rpc| async move {
                rpc.state_get_storage(&items::EVENTS.prefix(), Some(hash)).await
            })
            .await?
            .ok_or_else(|| Error::Corrupt("a block without events".to_owned()))?;
        let outcome = Outcome::read(&sent.runtime, events, index)?;
        Ok((
            Included {
                block_hash: hash.0,
                block_number: number,
            },
            outcome,
        ))
    }

    async fn send(
        &self,
        key: &Keypair,
        call: impl Fn(&Runtime) -> Result<Call>,
        before: &Before<'_>,
    ) -> Result<Sent> {
        let account = AccountId::from(key);
        let turn = self.turns.of(account);
        let _turn = turn.lock().await;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let runtime = self.current_runtime().await?;
            let call = call(&runtime)?;
            let head = self.head().await?;
            let birth = self.birth(head).await?;
            let nonce = self.next_nonce(account).await?;
            let extrinsic = runtime.sign(&call, key, nonce, birth)?;
            let validity = Validity {
                signer: account,
                nonce,
                dies: birth.0 + MORTALITY,
            };
            before(validity).await.map_err(Error::NotSent)?;
            let submitted = self
                .rpc
                .ask_once("author_submitAndWatchExtrinsic", |rpc| {
                    let extrinsic = extrinsic.clone();
                    async move { rpc.author_submit_and_watch_extrinsic(&extrinsic).await }
                })
                .await;
            let (statuses, refusal) = match submitted {
                Ok(statuses) => (Some(statuses), None),
                Err(Failure::Lost(_)) => (None, None),
                Err(Failure::Refused(error)) => (None, Some(error)),
                Err(Failure::Failed(error)) => return Err(error),
            };
            let Some(refusal) = refusal else {
                debug!(call = call.name(), nonce, "submitted");
                return Ok(Sent {
                    extrinsic,
                    since: head.0,
                    runtime,
                    statuses,
                });
            };
            match Refusal::of(&refusal) {
                Refusal::TryAgain if attempt < ATTEMPTS => {
                    debug!(call = call.name(), nonce, %refusal, "signing anew");
                    sleep(PAUSE * attempt).await;
                }
                Refusal::TryAgain | Refusal::Busy => {
                    return Err(Error::Unreachable(format!(
                        "{}: the node answered: {refusal}",
                        call.name()
                    )));
                }
                Refusal::Final(name) => {
                    return Err(Error::Dispatch {
                        pallet: "TransactionPool".to_owned(),
                        name,
                    });
                }
            }
        }
    }

    /// The block that a signature's validity begins with: the last finalised one, so that it does
    /// not fall with a retracted block; but the best one where finality is far behind, so that the
    /// signature does not expire at once.
    async fn birth(&self, head: (u64, H256)) -> Result<(u64, H256)> {
        let (finalised, hash) = self.finalised().await?;
        Ok(if finalised + MORTALITY / 2 > head.0 {
            (finalised, hash)
        } else {
            head
        })
    }

    /// Number and hash of the last finalised block.
    pub(super) async fn finalised(&self) -> Result<(u64, H256)> {
        let hash = self
            .rpc
            .ask("chain_getFinalizedHead", |rpc| async move {
                rpc.chain_get_finalized_head().await
            })
            .await?;
        Ok((u64::from(self.number_of(hash).await?), hash))
    }

    /// What became of the declaration of `fid` in an extrinsic of that validity.
    pub(super) async fn fate(&self, fid: Hash, validity: &Validity) -> Result<Fate> {
        let (finalised, hash) = self.finalised().await?;
        let can_come =
            finalised + 1 < validity.dies && self.nonce_at(validity.signer, hash).await? <= validity.nonce;
        if can_come {
            return Ok(Fate::Pending { finalised });
        }
        Ok(Fate::Settled {
            deal: self.deal_at(fid, Some(hash)).await?,
            file: self.file_at(fid, Some(hash)).await?,
        })
    }

    /// The next nonce of an account in the state of a block.
    async fn nonce_at(&self, account: AccountId, block: H256) -> Result<u64> {
        let bytes = self
            .rpc
            .ask("AccountNonceApi_account_nonce", |rpc| async move {
                rpc.state_call("AccountNonceApi_account_nonce", Some(&account.0), Some(block))
                    .await
            })
            .await?;
        u32::decode(&mut bytes.as_slice())
            .map(u64::from)
            .map_err(|error| Error::UnsupportedRuntime(format!("account nonce: {error}")))
    }

    /// Number and hash of the best block.
    pub(super) async fn head(&self) -> Result<(u64, H256)> {
        let hash = self.best_hash().await?;
        Ok((u64::from(self.number_of(hash).await?), hash))
    }

    pub(super) async fn best_hash(&self) -> Result<H256> {
        self.rpc
            .ask("chain_getBlockHash", |rpc| async move {
                rpc.chain_get_block_hash(None).await
            })
            .await?
            .ok_or_else(|| Error::Corrupt("a node without a best block".to_owned()))
    }

    async fn number_of(&self, hash: H256) -> Result<u32> {
        let header = self
            .rpc
            .ask("chain_getHeader", |rpc| async move {
                rpc.chain_get_header(Some(hash)).await
            })
            .await?
            .ok_or_else(|| Error::Corrupt(format!("the node does not know its block {hash:?}")))?;
        u32::try_from(header.number()).map_err(|_| Error::Corrupt("a block number beyond u32".to_owned()))
    }

    /// The nonce after all that are used in blocks and in the node's pool.
    async fn next_nonce(&self, account: AccountId) -> Result<u64> {
        let counted = self
            .rpc
            .ask("system_accountNextIndex", |rpc| async move {
                rpc.system_account_next_index(&AccountId32::from(account)).await
            })
            .await;
        match counted {
            Ok(nonce) => Ok(nonce),
            Err(failure @ (Failure::Failed(_) | Failure::Lost(_))) => Err(failure.into()),
            // Some nodes do not offer it; the runtime's own answer leaves the pool out.
            Err(Failure::Refused(_)) => {
                let best = self.best_hash().await?;
                self.nonce_at(account, best).await
            }
        }
    }

    /// Follows the node's word until a best block has the extrinsic: hash and number of the block,
    /// place in it. `None` if the node falls silent or what it says cannot be used.
    async fn watch(
        &self,
        mut statuses: Statuses,
        extrinsic: &[u8],
        until: Instant,
    ) -> Result<Option<(H256, u32, u32)>> {
        let gone = |why: &str| {
            Err(Error::Unreachable(format!(
                "the extrinsic {why} in the node's pool"
            )))
        };
        while let Ok(Some(status)) = timeout_at(until, statuses.next()).await {
            match status {
                Ok(TransactionStatus::InBlock(hash) | TransactionStatus::Finalized(hash)) => {
                    // The block is there, but the connection that said so need not be any more.
                    return match self.place_in(hash, extrinsic).await {
                        Ok(Some(index)) => Ok(Some((hash, self.number_of(hash).await?, index))),
                        Ok(None) => Ok(None),
                        Err(error) => {
                            debug!(%error, "cannot read the block of an extrinsic");
                            Ok(None)
                        }
                    };
                }
                Ok(TransactionStatus::Usurped(_)) => return gone("was replaced by another"),
                Ok(TransactionStatus::Dropped) => return gone("was dropped"),
                Ok(TransactionStatus::Invalid) => return gone("became invalid"),
                Ok(TransactionStatus::FinalityTimeout(_)) => break,
                Ok(_) => {}
                Err(error) => {
                    debug!(%error, "watching an extrinsic failed");
                    break;
                }
            }
        }
        Ok(None)
    }

    /// Looks for the extrinsic in the blocks after `since`, and hands it in again while it is not
    /// there.
    async fn search(&self, extrinsic: &[u8], since: u64, deadline: Instant) -> Result<(H256, u32, u32)> {
        let mut searched = since;
        loop {
            match self.search_blocks(extrinsic, &mut searched).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {
                    // The answer does not matter: it was there already, or is now, or its nonce is
                    // used up, and then the next look at the blocks finds out by whom.
                    let again = self
                        .rpc
                        .ask_once("author_submitExtrinsic", |rpc| async move {
                            rpc.author_submit_extrinsic(extrinsic).await
                        })
                        .await;
                    debug!(?again, "handed in again");
                }
                Err(error) => debug!(%error, "searching an extrinsic"),
            }
            if Instant::now() >= deadline {
                let reason = "not included in time; it still can be, until its signature expires";
                return Err(Error::Unreachable(reason.to_owned()));
            }
            sleep(SEARCH_PAUSE).await;
        }
    }

    /// Looks through the blocks after `searched` and moves it on.
    async fn search_blocks(&self, extrinsic: &[u8], searched: &mut u64) -> Result<Option<(H256, u32, u32)>> {
        let (best, _) = self.head().await?;
        while *searched < best {
            let number = *searched + 1;
            let hash = self
                .rpc
                .ask("chain_getBlockHash", |rpc| async move {
                    rpc.chain_get_block_hash(Some(NumberOrHex::Number(number))).await
                })
                .await?;
            // A reorganisation can take the best block back while its ancestors are searched.
            let Some(hash) = hash else { return Ok(None) };
            if let Some(index) = self.place_in(hash, extrinsic).await? {
                return Ok(Some((hash, number as u32, index)));
            }
            *searched = number;
        }
        Ok(None)
    }

    async fn place_in(&self, hash: H256, extrinsic: &[u8]) -> Result<Option<u32>> {
        let block = self
            .rpc
            .ask("chain_getBlock", |rpc| async move {
                rpc.chain_get_block(Some(hash)).await
            })
            .await?
            .ok_or_else(|| Error::Corrupt(format!("the node does not know block {hash:?}")))?;
        let place = block
            .block
            .extrinsics
            .iter()
            .position(|bytes| bytes.0 == extrinsic);
        Ok(place.map(|index| index as u32))
    }
}

/// What a node's refusal to take an extrinsic into its pool means.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// The nonce was taken, or the runtime changed: sign anew.
    TryAgain,
    /// The pool is full or wants peace.
    Busy,
    /// Signing anew would not help. The text is the node's reason.
    Final(String),
}

impl Refusal {
    /// The codes are those of Substrate's `author` RPC.
    fn of(error: &UserError) -> Self {
        let detail = error
            .data
            .as_ref()
            .map(|data| data.get().trim_matches('"').to_owned());
        let reason = detail.clone().unwrap_or_else(|| error.message.clone());
        let lower = reason.to_lowercase();
        match error.code {
            1010 if lower.contains("outdated")
                || lower.contains("stale")
                || lower.contains("bad signature") =>
            {
                Self::TryAgain
            }
            // Another one of the same nonce waits in the pool. (Each signature is another one, so it
            // cannot be the same extrinsic.)
            1013 | 1014 => Self::TryAgain,
            1011 | 1012 | 1015 | 1016 | -32603 => Self::Busy,
            _ => Self::Final(reason.chars().take(200).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: i32, data: &str) -> Refusal {
        let data = serde_json::value::RawValue::from_string(format!("\"{data}\"")).unwrap();
        Refusal::of(&UserError {
            code,
            message: "Invalid Transaction".to_owned(),
            data: Some(data),
        })
    }

    #[test]
    fn refusals_are_sorted_by_what_helps() {
        assert_eq!(refusal(1010, "Transaction is outdated"), Refusal::TryAgain);
        assert_eq!(
            refusal(1010, "Transaction has a bad signature"),
            Refusal::TryAgain
        );
        assert_eq!(
            refusal(1014, "The transaction has too low priority"),
            Refusal::TryAgain
        );
        assert_eq!(refusal(1013, "Already imported"), Refusal::TryAgain);
        assert_eq!(refusal(1012, "Transaction is temporarily banned"), Refusal::Busy);
        assert_eq!(refusal(1016, "Immediately Dropped"), Refusal::Busy);
        let poor = "Inability to pay some fees (e.g. account balance too low)";
        assert_eq!(refusal(1010, poor), Refusal::Final(poor.to_owned()));
    }
}
