//! What is signed and sent to the chain.
//!
//! Each method answers when a best block has the extrinsic. [`Error::Dispatch`] means that it was
//! refused and nothing happened but the fee; [`Error::Unreachable`] that it is not known to have
//! happened: re-read the state before trying again.

use std::ops::Range;

use super::Chain;
use super::calls::{self, Call};
use super::runtime::Runtime;
use super::submission::unnoted;
use super::types::{BeforeSending, Declaration, Fate, Included, Validity};
use crate::{AccountId, Error, Hash, Result};

/// Most bytes of calls in one batch. A block takes 3.75 MiB of ordinary extrinsics; this leaves room
/// for those of others.
const MAX_BATCH_BYTES: usize = 2 << 20;
/// Most calls in one batch, far below what a block's weight allows.
const MAX_BATCH_CALLS: usize = 100;

impl Chain {
    async fn submit(&self, call: impl Fn(&Runtime) -> Result<Call>) -> Result<Included> {
        let (included, outcome) = self.network.submit(&self.signer, call, &unnoted).await?;
        outcome.result.map(|()| included)
    }

    /// Buys `gib` GiB for `days` (≥ 30).
    pub async fn mint_territory(&self, name: &[u8], gib: u32, days: u32) -> Result<Included> {
        self.submit(|runtime| calls::mint_territory(runtime.metadata(), name, gib, days))
            .await
    }

    /// Adds `gib` GiB.
    pub async fn expand_territory(&self, name: &[u8], gib: u32) -> Result<Included> {
        self.submit(|runtime| calls::expand_territory(runtime.metadata(), name, gib))
            .await
    }

    /// Adds `days`.
    pub async fn renew_territory(&self, name: &[u8], days: u32) -> Result<Included> {
        self.submit(|runtime| calls::renew_territory(runtime.metadata(), name, days))
            .await
    }

    /// Lets `operator` act for the signer, in all of the signer's territories.
    pub async fn authorize(&self, operator: AccountId) -> Result<Included> {
        self.submit(|runtime| calls::authorize(runtime.metadata(), operator))
            .await
    }

    /// Takes that back.
    pub async fn cancel_authorize(&self, operator: AccountId) -> Result<Included> {
        self.submit(|runtime| calls::cancel_authorize(runtime.metadata(), operator))
            .await
    }

    /// Declares several files, batched into as few extrinsics as fit; answers one result per file,
    /// in order. A file that the chain refuses does not sink the others.
    pub async fn declare(&self, files: Vec<Declaration>) -> Vec<Result<Included>> {
        self.declare_noting(files, &|_, _| Box::pin(std::future::ready(Ok(()))))
            .await
    }

    /// [`Self::declare`]; `before` is told which files an extrinsic declares, and until when that
    /// can be included, before it is sent. A file may be told of several times: the last counts.
    /// [`Error::NotSent`] when `before` refuses.
    pub async fn declare_noting(
        &self,
        files: Vec<Declaration>,
        before: &BeforeSending<'_>,
    ) -> Vec<Result<Included>> {
        let runtime = match self.network.known_runtime().await {
            Ok(runtime) => runtime,
            Err(error) => return files.iter().map(|_| Err(error.clone())).collect(),
        };
        let encode =
            |runtime: &Runtime, file: &Declaration| calls::upload_declaration(runtime.metadata(), file);
        let mut results: Vec<Option<Result<Included>>> = Vec::with_capacity(files.len());
        let mut sizes = Vec::new();
        let mut sound = Vec::new();
        for file in &files {
            match encode(&runtime, file) {
                Ok(call) => {
                    sizes.push(call.bytes().len());
                    sound.push(file);
                    results.push(None);
                }
                Err(error) => results.push(Some(Err(error))),
            }
        }
        let can_batch = calls::force_batch(runtime.metadata(), Vec::new()).is_ok();
        let batches = if can_batch {
            batches(&sizes)
        } else {
            (0..sound.len()).map(|i| i..i + 1).collect()
        };
        let mut answers = Vec::with_capacity(sound.len());
        for batch in batches {
            if let [file] = sound[batch.clone()] {
                let call = |runtime: &Runtime| encode(runtime, file);
                let noting = |validity| before(vec![file.fid], validity);
                let answer = self.network.submit(&self.signer, call, &noting).await;
                answers.push(answer.and_then(|(included, outcome)| outcome.result.map(|()| included)));
            } else {
                answers.extend(self.declare_batch(&sound[batch], before).await);
            }
        }
        let mut answers = answers.into_iter();
        let missing = || {
            Err(Error::Corrupt(
                "a batch without the verdict on one of its calls".to_owned(),
            ))
        };
        results
            .into_iter()
            .map(|result| result.unwrap_or_else(|| answers.next().unwrap_or_else(missing)))
            .collect()
    }

    /// One forced batch; answers as many results as there are files.
    async fn declare_batch(
        &self,
        files: &[&Declaration],
        before: &BeforeSending<'_>,
    ) -> Vec<Result<Included>> {
        let batch = |runtime: &Runtime| {
            let metadata = runtime.metadata();
            let calls = files
                .iter()
                .map(|file| calls::upload_declaration(metadata, file))
                .collect::<Result<_>>()?;
            calls::force_batch(metadata, calls)
        };
        let all = |error: &Error| files.iter().map(|_| Err(error.clone())).collect();
        let noting = |validity| before(files.iter().map(|file| file.fid).collect(), validity);
        match self.network.submit(&self.signer, batch, &noting).await {
            Err(error) => all(&error),
            Ok((included, outcome)) => match outcome.result {
                Err(error) => all(&error),
                Ok(()) if outcome.items.len() == files.len() => outcome
                    .items
                    .into_iter()
                    .map(|item| item.map(|()| included))
                    .collect(),
                Ok(()) => all(&Error::Corrupt(format!(
                    "{} verdicts on a batch of {}",
                    outcome.items.len(),
                    files.len()
                ))),
            },
        }
    }

    /// What became of the declaration of `fid` in an extrinsic of that validity, for good.
    pub async fn fate(&self, fid: Hash, validity: &Validity) -> Result<Fate> {
        self.network.fate(fid, validity).await
    }

    /// Deletes a completed file of `owner`. The event is no proof: re-read [`Self::file`].
    pub async fn delete_file(&self, owner: AccountId, fid: Hash) -> Result<Included> {
        self.submit(|runtime| calls::delete_file(runtime.metadata(), owner, fid))
            .await
    }

    /// Moves free balance, keeping the sender alive.
    pub async fn transfer(&self, to: AccountId, planck: u128) -> Result<Included> {
        self.submit(|runtime| calls::transfer(runtime.metadata(), to, planck))
            .await
    }

    /// As a miner: reports that fragment `index` (1..=12) of every segment of `fid` is stored.
    pub async fn transfer_report(&self, index: u8, fid: Hash) -> Result<Included> {
        self.submit(|runtime| calls::transfer_report(runtime.metadata(), index, fid))
            .await
    }
}

/// Cuts a row of calls, given their sizes in bytes, into ranges that fit a batch.
fn batches(sizes: &[usize]) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, size) in sizes.iter().enumerate() {
        if index > start && (bytes + size > MAX_BATCH_BYTES || index - start == MAX_BATCH_CALLS) {
            batches.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < sizes.len() {
        batches.push(start..sizes.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_all_calls_in_order_and_fit() {
        assert!(batches(&[]).is_empty());
        assert_eq!(batches(&[10]), vec![0..1]);
        assert_eq!(batches(&[10, 10, 10]), vec![0..3]);
        assert_eq!(
            batches(&[MAX_BATCH_BYTES, 1, MAX_BATCH_BYTES]),
            vec![0..1, 1..2, 2..3]
        );
        assert_eq!(batches(&[MAX_BATCH_BYTES + 1, 1]), vec![0..1, 1..2]);
        assert_eq!(batches(&[1; 250]), vec![0..100, 100..200, 200..250]);
    }
}
