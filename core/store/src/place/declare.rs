//! Hashed → Declared: ordering space on the chain, once per file.
//!
//! A second declaration of an open deal would overwrite it and leak its lock for ever. Therefore
//! the chain is asked first; the record says `declaring` durably before anything is sent; and
//! when that was set but neither deal nor file can be found, the declaration may still be on its
//! way, and is looked for during `declare_settle` before another is sent.
//!
//! Declarations of several packs are gathered and sent as one batch, after one look at the
//! territory that has to pay for all of them.
use std::sync::Arc;
use std::time::{Duration, Instant};

use cess::Hash;
use cess::chain::{Declaration, TerritoryState};
use cess::codec::{FRAGMENT_SIZE, FRAGMENTS, SEGMENT_SIZE};
use meta::Durability;
use tokio::sync::{mpsc, oneshot};

use crate::health::life;
use crate::pack::record::{self, Record};
use crate::place::drive::{self, Memory, Step};
use crate::place::{Shared, StepError, upload};
use crate::{Error, PackState};

/// Declarations in one batch at most.
const BATCH: usize = 16;

/// What a segment costs of a territory, in bytes.
const CHARGE: u128 = (FRAGMENTS * FRAGMENT_SIZE) as u128;

/// A declaration and who waits for it.
pub(crate) struct Request {
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
    let mut answers = Vec::new();
    for request in batch {
        let needed = CHARGE * request.declaration.segments.len() as u128;
        match &mut room {
            // The chain wants more than what is needed, not as much.
            Ok(remaining) if *remaining > needed => {
                *remaining -= needed;
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
    let results = shared.network.declare(declarations).await;
    for (answer, result) in answers.into_iter().zip(results) {
        // The pack's task may have stopped; the record knows that a declaration was sent.
        let _ = answer.send(result.map(|included| included.block_number).map_err(StepError::from));
    }
}

/// Bytes that the territory can still take.
async fn room(shared: &Shared) -> Result<u128, StepError> {
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

enum Found {
    Deal,
    File,
    Nothing,
}

async fn look(shared: &Shared, fid: Hash) -> Result<Found, StepError> {
    if shared.network.file(fid).await?.is_some() {
        return Ok(Found::File);
    }
    Ok(if shared.network.deal(fid).await?.is_some() {
        Found::Deal
    } else {
        Found::Nothing
    })
}

/// Looks for a declaration that may be on its way.
async fn settle(shared: &Shared, fid: Hash) -> Result<Found, StepError> {
    let pace = &shared.settings.pace;
    let until = Instant::now() + pace.declare_settle;
    loop {
        let found = look(shared, fid).await?;
        let left = until.saturating_duration_since(Instant::now());
        if !matches!(found, Found::Nothing) || left == Duration::ZERO {
            return Ok(found);
        }
        tokio::time::sleep(pace.poll.min(left)).await;
    }
}

/// Hashed → Declared (or Placed at once, if the file is there already).
pub(crate) async fn declare(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    memory: &mut Memory,
) -> Result<Step, StepError> {
    let fid = drive::fid(record)?;
    let found = if record.declaring {
        settle(shared, fid).await?
    } else {
        look(shared, fid).await?
    };
    match found {
        Found::File | Found::Deal => {
            declared(shared, pack).await?;
            return Ok(Step::Next);
        }
        Found::Nothing => {}
    }
    upload::enough_miners(shared, record.segments).await?;
    let names = record::names(&*shared.meta.snapshot()?, pack)?
        .ok_or_else(|| Error::from(meta::Error::Damaged("pack table: no names".into())))?;
    let sent = shared
        .meta
        .write(Durability::Synced, move |tx| -> crate::Result<bool> {
            let Some(mut record) = record::get(tx, pack)? else {
                return Ok(false);
            };
            if record.retired || record.state != PackState::Hashed {
                return Ok(false);
            }
            record.declaring = true;
            record::put(tx, pack, &record)?;
            Ok(true)
        })
        .await?;
    if !sent {
        return Ok(Step::Next);
    }
    let declaration = Declaration {
        fid,
        segments: names.hashes(),
        owner: shared.settings.owner,
        file_name: hex::encode(record.file_name).into_bytes(),
        territory: shared.settings.territory.clone(),
        file_size: SEGMENT_SIZE as u128 * u128::from(record.segments),
    };
    let (answer, answered) = oneshot::channel();
    let request = Request { declaration, answer };
    let result = match shared.declarations.send(request).await {
        Ok(()) => answered.await.unwrap_or(Err(Error::ShuttingDown.into())),
        Err(_) => Err(Error::ShuttingDown.into()),
    };
    match result {
        Ok(block) => {
            tracing::info!(pack, %fid, block, "pack declared");
            shared.workers.declarer.count("packs declared", 1);
            shared
                .meta
                .write(Durability::Buffered, move |tx| life::note_declared(tx, pack, block))
                .await?;
            declared(shared, pack).await?;
            memory.vanished = 0;
            Ok(Step::Next)
        }
        // The chain or the territory said no: nothing is on its way.
        Err(error @ (StepError::Territory(_) | StepError::Network(cess::Error::Dispatch { .. }))) => {
            shared
                .update(pack, Durability::Buffered, |record| record.declaring = false)
                .await?;
            Err(error)
        }
        Err(error) => Err(error),
    }
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
