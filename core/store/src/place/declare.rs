//! Hashed → Declared: ordering space on the chain, once per file.
//!
//! A second declaration of an open deal would overwrite it and leak its lock for ever. Therefore
//! the chain is asked first, and what is sent is noted durably before it is ([`orders`]): who
//! signed it, with which nonce, until which block it can be included. While it can, however long
//! it waits in a pool and whatever happens to this gateway meanwhile, it is waited for; another is
//! sent only when the last finalised block shows that nothing came of it. A declaration that the
//! chain refused is waited for in the same way, since a block that refused it can be retracted.
//!
//! Declarations of several packs are gathered and sent as one batch, after one look at the
//! territory that has to pay for all of them.
use std::sync::Arc;

use cess::Hash;
use cess::chain::{Declaration, Fate, TerritoryState, Validity};
use cess::codec::{FRAGMENT_SIZE, FRAGMENTS, SEGMENT_SIZE};
use futures::future::BoxFuture;
use meta::Durability;
use tokio::sync::{mpsc, oneshot};

use crate::health::life;
use crate::pack::record::{self, Record};
use crate::place::drive::{self, Memory, Step};
use crate::place::orders::{self, Batch};
use crate::place::strangers::{self, Under, under};
use crate::place::{Shared, StepError, rules};
use crate::{Error, PackState, steps};

/// Declarations in one batch at most.
const BATCH: usize = 16;

/// What a segment costs of a territory, in bytes.
pub(crate) const CHARGE: u128 = (FRAGMENTS * FRAGMENT_SIZE) as u128;

/// A declaration and who waits for it.
pub(crate) struct Request {
    pack: u64,
    declaration: Declaration,
    /// Told the block that holds it.
    answer: oneshot::Sender<Result<u32, StepError>>,
}

/// Gathers declarations and sends them, until everything stops.
pub(crate) async fn run(shared: Arc<Shared>, mut requests: mpsc::Receiver<Request>) {
    let worker = &shared.workers.declarer;
    while let Some(first) = requests.recv().await {
        worker.turn().await;
        tokio::time::sleep(shared.settings.pace.declare_gather).await;
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = requests.try_recv()
        {
            batch.push(next);
        }
        let _work = worker.working(format!("{} declarations", batch.len()));
        send(&shared, batch).await;
    }
}

async fn send(shared: &Shared, batch: Vec<Request>) {
    let mut room = room(shared).await;
    let mut declarations = Vec::new();
    let mut packs = Batch::default();
    let mut answers = Vec::new();
    for request in batch {
        let needed = CHARGE * request.declaration.segments.len() as u128;
        match &mut room {
            // The chain wants more than what is needed, not as much.
            Ok(remaining) if *remaining > needed => {
                *remaining -= needed;
                packs.add(request.declaration.fid, request.pack);
                declarations.push(request.declaration);
                answers.push(request.answer);
            }
            Ok(remaining) => {
                let text = format!(
                    "{} MiB remain, more than {} MiB are needed; expand the territory or delete data",
                    *remaining >> 20,
                    needed >> 20
                );
                let _ = request.answer.send(Err(StepError::Territory(text)));
            }
            Err(error) => {
                let _ = request.answer.send(Err(match error {
                    StepError::Territory(text) => StepError::Territory(text.clone()),
                    other => StepError::Territory(format!("cannot be read: {other}")),
                }));
            }
        }
    }
    if declarations.is_empty() {
        return;
    }
    let meta = shared.meta.clone();
    let note = move |fids: Vec<Hash>, validity: Validity| -> BoxFuture<'static, Result<(), String>> {
        let (meta, packs) = (meta.clone(), packs.packs(&fids));
        Box::pin(async move {
            orders::note(&meta, packs, validity)
                .await
                .map_err(|error| error.to_string())
        })
    };
    let results = shared.network.declare(declarations, &note).await;
    for (answer, result) in answers.into_iter().zip(results) {
        // The pack's task may have stopped; the record knows that a declaration was sent.
        let _ = answer.send(
            result
                .map(|included| included.block_number)
                .map_err(StepError::from),
        );
    }
}

/// Bytes that the territory can still take.
pub(crate) async fn room(shared: &Shared) -> Result<u128, StepError> {
    let name = String::from_utf8_lossy(&shared.settings.territory).into_owned();
    let territory = shared
        .network
        .territory(shared.settings.owner, &shared.settings.territory)
        .await?
        .ok_or_else(|| StepError::Territory(format!("the owner has none named {name:?}")))?;
    if territory.state != TerritoryState::Active {
        let text = format!("{name:?} is {:?}; renew it", territory.state);
        return Err(StepError::Territory(text));
    }
    Ok(territory.remaining_space)
}

/// Hashed → Declared (or Placed at once, if the file is there already).
pub(crate) async fn declare(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    memory: &mut Memory,
) -> Result<Step, StepError> {
    let fid = drive::fid(record)?;
    let (names, sent) = {
        let snapshot = shared.meta.snapshot()?;
        let names = record::names(&*snapshot, pack)?
            .ok_or_else(|| Error::from(meta::Error::Damaged("pack table: no names".into())))?;
        (names, orders::get(&*snapshot, pack)?)
    };
    let owner = shared.settings.owner;
    let file = shared.network.file(fid).await?;
    let deal = shared.network.deal(fid).await?;
    match under(owner, &names, deal.as_ref(), file.as_ref()) {
        Under::Ours => {
            declared(shared, pack).await?;
            return Ok(Step::Next);
        }
        Under::Strangers(what) => return strangers::met(shared, pack, record, &names, memory, what).await,
        Under::Nothing => {}
    }
    if let Some(validity) = sent {
        match shared.network.fate(fid, &validity).await? {
            // Why it was refused, if it was, says more than that it is waited for.
            Fate::Pending { .. } if record.last_error.is_some() => return Ok(Step::Poll),
            Fate::Pending { .. } => {
                return Err(StepError::Deal(format!(
                    "the declaration sent before can be included until block {} is final; waiting",
                    validity.dies - 1
                )));
            }
            Fate::Settled { deal, file } => {
                if under(owner, &names, deal.as_ref(), file.as_ref()) != Under::Nothing {
                    // The node asked for the best block lags behind the one asked for the final one.
                    return Ok(Step::Poll);
                }
            }
        }
        tracing::info!(pack, %fid, "nothing came of a declaration");
        forget_order(shared, pack).await?;
    }
    shared.settings.fence.check()?;
    rules::enough_miners(shared, record).await?;
    let declaration = Declaration {
        fid,
        segments: names.hashes(),
        owner,
        file_name: hex::encode(record.file_name).into_bytes(),
        territory: shared.settings.territory.clone(),
        file_size: SEGMENT_SIZE as u128 * u128::from(record.segments),
    };
    let (answer, answered) = oneshot::channel();
    let request = Request {
        pack,
        declaration,
        answer,
    };
    let block = match shared.declarations.send(request).await {
        Ok(()) => answered.await.unwrap_or(Err(Error::ShuttingDown.into()))?,
        Err(_) => return Err(Error::ShuttingDown.into()),
    };
    tracing::info!(pack, %fid, block, "pack declared");
    shared.workers.declarer.count("packs declared", 1);
    steps::reach_async(steps::DECLARE_SENT).await?;
    shared
        .meta
        .write(Durability::Buffered, move |tx| {
            life::note_declared(tx, pack, block)
        })
        .await?;
    declared(shared, pack).await?;
    steps::reach_async(steps::DECLARED).await?;
    memory.vanished = 0;
    Ok(Step::Next)
}

/// Nothing came of what was sent, and nothing can.
async fn forget_order(shared: &Shared, pack: u64) -> Result<(), StepError> {
    shared
        .meta
        .write(Durability::Buffered, move |tx| -> crate::Result<()> {
            record::update(tx, pack, |record| record.declaring = false)?;
            orders::forget(tx, pack)
        })
        .await?;
    Ok(())
}

async fn declared(shared: &Shared, pack: u64) -> Result<(), StepError> {
    shared
        .update(pack, Durability::Buffered, |record| {
            if record.state == PackState::Hashed {
                record.state = PackState::Declared;
                record.declaring = false;
                record.last_error = None;
            }
        })
        .await?;
    Ok(())
}
