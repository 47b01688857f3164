//! What is known of a declaration that was sent: one row per pack, in table 0x8e.
//!
//! ```text
//! 0x8e 00 ‹pack u64 BE›   signer 32 bytes, nonce u64, first block that cannot contain it u64
//! ```
//! The row is written durably, together with the record's `declaring`, after the declaration is
//! signed and before it is sent. So no row means that nothing was sent; and while there is one, the
//! chain can be asked whether anything can still come of it ([`cess::chain::Fate`]). It goes when
//! staging forgets the pack's bytes, or when the declaration is known to have come to nothing.
use std::collections::HashMap;

use cess::chain::Validity;
use cess::{AccountId, Hash};
use meta::{Durability, Meta, Read, Transaction};
use serde::{Deserialize, Serialize};

use crate::pack::record;
use crate::tables::{PLACING, damaged};
use crate::{Error, PackState, Result, steps};

/// First byte after the table's.
const ORDER: u8 = 0;

#[derive(Serialize, Deserialize)]
struct Row {
    signer: [u8; 32],
    nonce: u64,
    dies: u64,
}

fn key(pack: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[0] = PLACING;
    key[1] = ORDER;
    key[2..].copy_from_slice(&pack.to_be_bytes());
    key
}

/// The validity of the declaration that may be on its way for `pack`, if one was sent.
pub(crate) fn get<R: Read + ?Sized>(read: &R, pack: u64) -> Result<Option<Validity>> {
    let Some(bytes) = read.get(&key(pack))? else {
        return Ok(None);
    };
    let row: Row = postcard::from_bytes(&bytes).map_err(|error| damaged(&format!("an order: {error}")))?;
    Ok(Some(Validity {
        signer: AccountId(row.signer),
        nonce: row.nonce,
        dies: row.dies,
    }))
}

/// Nothing can come any more of what was sent for `pack`.
pub(crate) fn forget(tx: &mut dyn Transaction, pack: u64) -> Result<()> {
    Ok(tx.delete(&key(pack))?)
}

/// Notes durably that declarations of these packs are about to be sent. Refuses when one of them
/// is not to be declared any more.
pub(crate) async fn note(meta: &Meta, packs: Vec<(u64, Hash)>, validity: Validity) -> Result<()> {
    let row = Row {
        signer: validity.signer.0,
        nonce: validity.nonce,
        dies: validity.dies,
    };
    let row = postcard::to_stdvec(&row).map_err(|error| damaged(&format!("an order: {error}")))?;
    steps::reach_async(steps::DECLARE_NOTE).await?;
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        for (pack, fid) in &packs {
            let known = record::update(tx, *pack, |record| record.declaring = true)?;
            let wanted = known.is_some_and(|record| {
                !record.retired && record.state == PackState::Hashed && record.fid == Some(fid.0)
            });
            if !wanted {
                return Err(Error::Network(std::sync::Arc::new(cess::Error::NotSent(
                    format!("pack {pack} is not to be declared any more"),
                ))));
            }
            tx.put(&key(*pack), &row)?;
        }
        Ok(())
    })
    .await?;
    steps::reach_async(steps::DECLARE_NOTED).await
}

/// The packs of a batch, by FID.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch(HashMap<Hash, u64>);

impl Batch {
    /// A declaration of `fid` is of `pack`.
    pub(crate) fn add(&mut self, fid: Hash, pack: u64) {
        self.0.insert(fid, pack);
    }

    /// The packs of `fids`.
    pub(crate) fn packs(&self, fids: &[Hash]) -> Vec<(u64, Hash)> {
        fids.iter()
            .filter_map(|fid| Some((*self.0.get(fid)?, *fid)))
            .collect()
    }
}
