//! Who waits for whom, in all gateways: to refuse a wait that would never end.
//!
//! Who waits has a row that names the lock it waits for. It is written in the transaction that finds others in the
//! way, and that transaction walks along the rows first, from them on, to those who are in the way of each *now*: who
//! gave its lock back is waited for no more, although whoever gets it has not come to change its row. If the walk comes
//! back to who is about to wait, the wait would close a circle. Transactions are serializable, so of two waits that close one together, one sees the
//! other. What a gateway wrote that lives no more counts for nothing.
use std::collections::HashSet;

use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};
use store::MemberRef;

use super::ranges::{Held, Holder, Locks};
use crate::schema::{self, LOCK_WAITS, LOCKS};
use crate::{InodeNo, Result};

/// Whether a life of a gateway goes on, as `read` sees it.
pub(super) type Lives<'a> = dyn Fn(&dyn Read, MemberRef) -> Result<bool> + 'a;

/// A lock that somebody waits for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Wait {
    ino: InodeNo,
    lock: Held,
}

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

fn load(read: &dyn Read, holder: Holder) -> Result<Option<Wait>> {
    read.get(&key(holder))?
        .map(|row| schema::decode(&row))
        .transpose()
}

/// Those for whom `holder` waits now, dead ones among them.
fn waited_for(read: &dyn Read, holder: Holder) -> Result<Vec<Holder>> {
    let Some(Wait { ino, lock }) = load(read, holder)? else {
        return Ok(Vec::new());
    };
    let Some(row) = read.get(&schema::inode_key(LOCKS, ino))? else {
        return Ok(Vec::new());
    };
    let locks: Locks = schema::decode(&row)?;
    let others = locks.against(&lock).map(|held| held.holder).collect();
    Ok(others)
}

/// The holder of `lock` is about to wait for `others`, all of them, to have it. `false`, and it must not, when one of them waits for it,
/// directly or through others.
pub(super) fn begin(
    tx: &mut dyn Transaction,
    lives: &Lives<'_>,
    ino: InodeNo,
    lock: Held,
    others: &[Holder],
) -> Result<bool> {
    let holder = lock.holder;
    let mut seen = HashSet::new();
    let mut next = others.to_vec();
    while let Some(other) = next.pop() {
        if other == holder {
            return Ok(false);
        }
        if seen.insert(other) && lives(&*tx, other.at)? {
            next.extend(waited_for(&*tx, other)?);
        }
    }
    let wait = Wait { ino, lock };
    if load(&*tx, holder)? != Some(wait) {
        tx.put(&key(holder), &schema::encode(&wait)?)?;
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
        let lock = |holder| Held {
            holder,
            first: 0,
            last: 0,
            exclusive: true,
            pid: 0,
        };
        // Each waits for a lock of its own, which `others` share until they give it back.
        let set = |holder: Holder, others: &[Holder]| {
            let mut locks = Locks::default();
            for other in others {
                locks.set(Held {
                    exclusive: false,
                    ..lock(*other)
                });
            }
            let (ino, row) = (InodeNo(holder.owner), schema::encode(&locks).unwrap());
            meta.write::<_, Error, _>(Durability::Buffered, move |tx| {
                Ok(tx.put(&schema::inode_key(LOCKS, ino), &row)?)
            })
        };
        let begin = async |holder: Holder, others: Vec<Holder>| {
            set(holder, &others).await.unwrap();
            meta.write::<_, Error, _>(Durability::Buffered, move |tx| {
                let ino = InodeNo(holder.owner);
                super::begin(tx, &|_, of| Ok(of.member < 2), ino, lock(holder), &others)
            })
            .await
        };
        let end = |holder| meta.write::<_, Error, _>(Durability::Buffered, move |tx| super::end(tx, holder));
        assert!(begin(a, vec![b]).await.unwrap());
        assert!(begin(a, vec![b]).await.unwrap(), "it looks again");
        assert!(begin(b, vec![c, d]).await.unwrap());
        assert!(!begin(d, vec![a]).await.unwrap());
        assert!(begin(c, vec![d]).await.unwrap());
        // What `a` waited for was given back; it has not looked yet.
        set(a, &[]).await.unwrap();
        assert!(begin(d, vec![a]).await.unwrap());
        end(d).await.unwrap();
        set(a, &[b]).await.unwrap();
        assert!(!begin(d, vec![a]).await.unwrap());
        end(b).await.unwrap();
        assert!(begin(d, vec![a]).await.unwrap());
        assert!(!begin(a, vec![a]).await.unwrap());
        assert!(begin(gone, vec![a]).await.unwrap());
        assert!(begin(b, vec![gone]).await.unwrap(), "the dead wait for nobody");
    }
}
