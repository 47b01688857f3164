//! Who waits for whom, in all gateways: to refuse a wait that would never end.
//!
//! Who waits has a row that names those it waits for. It is written in the transaction that finds their locks in the
//! way, and that transaction walks along the rows first, from them on: if it comes back to who is about to wait, the
//! wait would close a circle. Transactions are serializable, so of two waits that close one together, one sees the
//! other. What a gateway wrote that lives no more counts for nothing.
use std::collections::HashSet;

use meta::{Read, Transaction};
use store::MemberRef;

use super::ranges::Holder;
use crate::Result;
use crate::schema::{self, LOCK_WAITS};

/// Whether a life of a gateway goes on, as `read` sees it.
pub(super) type Lives<'a> = dyn Fn(&dyn Read, MemberRef) -> Result<bool> + 'a;

fn key(holder: Holder) -> Vec<u8> {
    schema::key(
        LOCK_WAITS,
        &[
            &holder.at.member.to_be_bytes(),
            &holder.at.generation.to_be_bytes(),
            &holder.owner.to_be_bytes(),
        ],
    )
}

fn load(read: &dyn Read, holder: Holder) -> Result<Vec<Holder>> {
    match read.get(&key(holder))? {
        Some(row) => schema::decode(&row),
        None => Ok(Vec::new()),
    }
}

/// `holder` is about to wait for `others`, all of them. `false`, and it must not, when one of them waits for it,
/// directly or through others.
pub(super) fn begin(
    tx: &mut dyn Transaction,
    lives: &Lives<'_>,
    holder: Holder,
    others: &[Holder],
) -> Result<bool> {
    let mut seen = HashSet::new();
    let mut next = others.to_vec();
    while let Some(other) = next.pop() {
        if other == holder {
            return Ok(false);
        }
        if seen.insert(other) && lives(&*tx, other.at)? {
            next.extend(load(&*tx, other)?);
        }
    }
    if load(&*tx, holder)? != others {
        tx.put(&key(holder), &schema::encode(&others)?)?;
    }
    Ok(true)
}

/// It waits no more.
pub(super) fn end(tx: &mut dyn Transaction, holder: Holder) -> Result<()> {
    if tx.get(&key(holder))?.is_some() {
        tx.delete(&key(holder))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use meta::{Durability, Meta, MetaConfig};

    use super::*;
    use crate::Error;

    #[tokio::test]
    async fn a_wait_that_closes_a_circle_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let meta = Meta::open(&MetaConfig {
            engine: meta::EngineKind::Fjall,
            path: dir.path().to_owned(),
            cache_bytes: 8 << 20,
        })
        .unwrap();
        let at = |member| MemberRef {
            member,
            generation: 1,
        };
        // At three gateways, the last of which is dead.
        let [a, b, c, d, gone] = [(1, 0), (2, 1), (3, 0), (4, 1), (5, 2)].map(|(owner, member)| Holder {
            at: at(member),
            owner,
        });
        let begin = |holder: Holder, others: Vec<Holder>| {
            meta.write::<_, Error, _>(Durability::Buffered, move |tx| {
                super::begin(tx, &|_, of| Ok(of.member < 2), holder, &others)
            })
        };
        let end = |holder| meta.write::<_, Error, _>(Durability::Buffered, move |tx| super::end(tx, holder));
        assert!(begin(a, vec![b]).await.unwrap());
        assert!(begin(a, vec![b]).await.unwrap(), "it looks again");
        assert!(begin(b, vec![c, d]).await.unwrap());
        assert!(!begin(d, vec![a]).await.unwrap());
        assert!(begin(c, vec![d]).await.unwrap());
        end(b).await.unwrap();
        assert!(begin(d, vec![a]).await.unwrap());
        assert!(!begin(a, vec![a]).await.unwrap());
        assert!(begin(gone, vec![a]).await.unwrap());
        assert!(begin(b, vec![gone]).await.unwrap(), "the dead wait for nobody");
    }
}
