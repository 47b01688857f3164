//! Restores over the fake network.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Meta};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::checkpoint::tests::{open, put};
use crate::checkpoint::{fence, rows};
use crate::pack::record;
use crate::place::network::fake::{Fake, Fault, OWNER, TERRITORY};
use crate::place::tests::store::{DOMAIN, all_read, content, make_domain, write};
use crate::place::tests::world::{LONG, pace};
use crate::restore::{Report, Request, restore_over};
use crate::{ChunkId, Error, Level, Owner, Placement, Result, Store, StoreConfig, testing};

const LEN: usize = 100_000;

fn config(dir: &Path) -> StoreConfig {
    StoreConfig {
        owner: Some(OWNER),
        territory: TERRITORY.to_vec(),
        pace: pace(),
        pack_segments: 1,
        staging_limit: 1 << 30,
        ..testing::config(dir)
    }
}

async fn restore_with(dir: &Path, fake: &Arc<Fake>, passphrase: &str, request: &Request) -> Result<Report> {
    let meta = testing::meta(dir);
    let passphrase = testing::passphrase(passphrase);
    restore_over(
        config(dir),
        meta,
        passphrase,
        fake.clone(),
        OWNER,
        request,
        &|_| {},
    )
    .await
}

async fn restore(dir: &Path, fake: &Arc<Fake>) -> Result<Report> {
    restore_with(dir, fake, "p", &Request::default()).await
}

fn value(meta: &Meta, key: &[u8]) -> Option<Vec<u8>> {
    meta.snapshot().unwrap().get(&[&[0x05], key].concat()).unwrap()
}

/// A store with three chunks and a row, all verified, and then gone with its disk.
async fn lost(fake: &Arc<Fake>) -> Vec<ChunkId> {
    let dir = TempDir::new().unwrap();
    let (store, meta) = open(dir.path(), fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..3, LEN).await;
    put(&meta, b"name", b"value").await;
    store.flush(Level::Verified, LONG).await.unwrap();
    store.shutdown().await;
    chunks
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_placed_comes_back_on_a_blank_machine() {
    let fake = Arc::new(Fake::new(14));
    let chunks = lost(&fake).await;
    let dir = TempDir::new().unwrap();
    let request = Request {
        sample: 2,
        ..Request::default()
    };
    let report = restore_with(dir.path(), &fake, "p", &request).await.unwrap();
    assert!(
        report.checkpoint.is_some() && report.lost.is_empty(),
        "{report:#?}"
    );
    assert_eq!((report.sampled, report.incarnation), (2, 1), "{report:#?}");
    let (store, meta) = open(dir.path(), &fake).await;
    assert_eq!(value(&meta, b"name").as_deref(), Some(b"value".as_slice()));
    all_read(&store, &chunks, LEN).await;
    // It is as good as it was once it was looked at.
    store.wait_level(&chunks, Level::Verified, LONG).await.unwrap();
    assert_eq!(store.level(&chunks).unwrap(), Level::Verified);
    // It goes on as if nothing had been: new ids, new packs, and what is released goes.
    let more = write(&store, &meta, 10..12, LEN).await;
    assert!(more[0] > chunks[2]);
    store.wait_level(&more, Level::Verified, LONG).await.unwrap();
    let packs = record::all(&*meta.snapshot().unwrap()).unwrap();
    assert_eq!(
        packs.last().map(|(pack, _)| fence::incarnation_of(*pack)),
        Some(1)
    );
    all_read(&store, &chunks, LEN).await;
    let (releasing, gone) = (store.clone(), chunks.clone());
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        gone.iter().try_for_each(|chunk| releasing.release(tx, *chunk))
    })
    .await
    .unwrap();
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_namespace_can_be_lost_and_restored_again() {
    let fake = Arc::new(Fake::new(14));
    let chunks = lost(&fake).await;
    for round in 1..=2u32 {
        let dir = TempDir::new().unwrap();
        let report = restore(dir.path(), &fake).await.unwrap();
        assert_eq!(report.incarnation, round, "{report:#?}");
        let (store, meta) = open(dir.path(), &fake).await;
        put(&meta, b"round", &round.to_be_bytes()).await;
        store.flush(Level::Verified, LONG).await.unwrap();
        store.shutdown().await;
    }
    let dir = TempDir::new().unwrap();
    restore(dir.path(), &fake).await.unwrap();
    let (store, meta) = open(dir.path(), &fake).await;
    assert_eq!(value(&meta, b"round"), Some(2u32.to_be_bytes().to_vec()));
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_passphrase_and_an_account_without_packs_are_told_apart() {
    let fake = Arc::new(Fake::new(14));
    let dir = TempDir::new().unwrap();
    let nothing = restore(dir.path(), &fake).await;
    assert!(matches!(nothing, Err(Error::CannotRestore(_))), "{nothing:?}");
    lost(&fake).await;
    let read = fake.bytes_read();
    let wrong = restore_with(dir.path(), &fake, "q", &Request::default()).await;
    assert!(
        matches!(&wrong, Err(Error::Key(text)) if text.contains("passphrase")),
        "{wrong:?}"
    );
    // One whole segment at most, to be sure that nobody lied about the root row.
    assert!(fake.bytes_read() - read < 40 << 20);
    restore(dir.path(), &fake).await.unwrap();
}

/// Takes a pack's file off the list of its owner.
fn unlist(fake: &Arc<Fake>, meta: &Meta, pack: u64) {
    let names = record::names(&*meta.snapshot().unwrap(), pack).unwrap().unwrap();
    fake.change_files(|file| {
        if file.segments[0].0.0 == names.segments[0].segment {
            file.owners.clear();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_lives_and_is_in_no_pack_is_lost() {
    let fake = Arc::new(Fake::new(14));
    let old = TempDir::new().unwrap();
    let (store, meta) = open(old.path(), &fake).await;
    make_domain(&store, &meta).await;
    let first = write(&store, &meta, 0..2, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    let pack = crate::locations::get(&*meta.snapshot().unwrap(), first[0])
        .unwrap()
        .unwrap()
        .pack;
    // A later lineage that shares nothing with what lies in the first pack.
    meta.write::<(), Error, _>(Durability::Synced, |tx| {
        for kept in rows::kept(tx)? {
            rows::delete_kept(tx, kept.manifest.number)?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let second = write(&store, &meta, 2..4, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    store.shutdown().await;
    unlist(&fake, &meta, pack);
    let dir = TempDir::new().unwrap();
    let report = restore(dir.path(), &fake).await.unwrap();
    let expected: Vec<u64> = first.iter().map(|chunk| chunk.0).collect();
    assert!(
        expected.iter().all(|chunk| report.lost.contains(chunk)),
        "{report:#?}"
    );
    let (store, meta) = open(dir.path(), &fake).await;
    assert!(store.read(first[0], 0..10).await.is_err());
    for (number, chunk) in second.iter().enumerate() {
        let bytes = store.read(*chunk, 0..LEN as u32).await.unwrap();
        assert!(bytes == content(number as u64 + 2, LEN));
    }
    assert!(!store.status().unwrap().damaged.is_empty());
    let told = store.status().unwrap().restored.unwrap();
    assert_eq!(
        (told.incarnation, told.checkpoint),
        (1, Some(report.checkpoint.as_ref().unwrap().number))
    );
    assert_eq!(told.lost_chunks, report.lost.len() as u64);
    assert_eq!(told.missing_chunks, told.lost_chunks);
    // The restore told of it: only who waits for it is told again.
    store.flush(Level::Placed, LONG).await.unwrap();
    store.wait_level(&second, Level::Placed, LONG).await.unwrap();
    let told = store.wait_level(&first[..1], Level::Placed, LONG).await;
    assert!(
        matches!(told, Err(Error::Damaged(chunk)) if chunk == first[0]),
        "{told:?}"
    );
    // Letting go of it ends the warning.
    let releasing = store.clone();
    let all = report.lost.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        all.iter()
            .try_for_each(|chunk| releasing.release(tx, ChunkId(*chunk)))
    })
    .await
    .unwrap();
    assert!(store.status().unwrap().damaged.is_empty());
    let told = store.status().unwrap().restored.unwrap();
    assert!(told.missing_chunks == 0 && told.lost_chunks > 0);
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let fake = Arc::new(Fake::new(14));
    let old = TempDir::new().unwrap();
    let (store, meta) = open(old.path(), &fake).await;
    for round in 1..=2u8 {
        put(&meta, b"name", &[round]).await;
        store.flush(Level::Verified, LONG).await.unwrap();
    }
    let kept = rows::kept(&*meta.snapshot().unwrap()).unwrap();
    let newest = kept.last().unwrap();
    let place = crate::locations::get(&*meta.snapshot().unwrap(), newest.parts[0])
        .unwrap()
        .unwrap();
    unlist(&fake, &meta, place.pack);
    store.shutdown().await;
    let dir = TempDir::new().unwrap();
    let report = restore(dir.path(), &fake).await.unwrap();
    assert!(
        report.checkpoint.as_ref().unwrap().number < newest.manifest.number,
        "{report:#?}"
    );
    let (store, meta) = open(dir.path(), &fake).await;
    assert_eq!(value(&meta, b"name"), Some(vec![1]));
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_up_because_miners_are_away_and_a_restore_goes_on_where_it_was() {
    let fake = Arc::new(Fake::new(14));
    let chunks = lost(&fake).await;
    let dir = TempDir::new().unwrap();
    fake.fault(0..14, Fault::Dead);
    assert!(restore(dir.path(), &fake).await.is_err());
    let closed = Store::open(
        config(dir.path()),
        testing::meta(dir.path()),
        testing::passphrase("p"),
        None,
    )
    .await;
    assert!(matches!(closed.map(|_| ()), Err(Error::Restoring)));
    fake.fault(0..14, Fault::None);
    restore(dir.path(), &fake).await.unwrap();
    let again = restore(dir.path(), &fake).await;
    assert!(
        matches!(&again, Err(Error::CannotRestore(text)) if text.contains("empty")),
        "{again:?}"
    );
    let (store, _) = open(dir.path(), &fake).await;
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_namespaces_the_one_with_the_newest_checkpoint_is_restored_or_the_one_of_a_named_file() {
    let fake = Arc::new(Fake::new(14));
    let chunks = lost(&fake).await;
    let ours: Vec<_> = fake.files().into_iter().map(|(fid, _)| fid).collect();
    // Another one, under the same passphrase, that wrote last and took no checkpoint.
    let other = TempDir::new().unwrap();
    let (store, meta) = crate::place::tests::store::open(other.path(), &fake).await;
    make_domain(&store, &meta).await;
    let theirs = write(&store, &meta, 50..52, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    let root = store.inner.keys.root_row().unwrap();
    store.shutdown().await;
    let fid = fake
        .files()
        .into_iter()
        .map(|(fid, _)| fid)
        .find(|fid| !ours.contains(fid))
        .unwrap();
    let segments: Vec<_> = record::all(&*meta.snapshot().unwrap())
        .unwrap()
        .into_iter()
        .filter_map(|(pack, _)| record::names(&*meta.snapshot().unwrap(), pack).unwrap())
        .map(|names| names.segments[0].segment)
        .collect();
    fake.change_files(|file| file.completion = 1 + u32::from(segments.contains(&file.segments[0].0.0)));

    let dir = TempDir::new().unwrap();
    let report = restore(dir.path(), &fake).await.unwrap();
    assert_eq!(report.other_namespaces, [fid.to_string()], "{report:#?}");
    let (store, meta) = open(dir.path(), &fake).await;
    assert_eq!(value(&meta, b"name").as_deref(), Some(b"value".as_slice()));
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;

    let dir = TempDir::new().unwrap();
    let request = Request {
        more: vec![fid],
        without_checkpoint: true,
        ..Request::default()
    };
    let report = restore_with(dir.path(), &fake, "p", &request).await.unwrap();
    let found: Vec<_> = report.found.iter().map(|one| one.chunk).collect();
    assert_eq!(found, theirs);
    assert_eq!(report.other_namespaces.len(), 1);
    let row = testing::meta(dir.path())
        .snapshot()
        .unwrap()
        .get(&[crate::tables::ROOT]);
    assert_eq!(row.unwrap(), Some(root));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_repaired_without_its_index_is_found() {
    let fake = Arc::new(Fake::new(30));
    let old = TempDir::new().unwrap();
    let (store, meta) = open(old.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..3, LEN).await;
    put(&meta, b"name", b"value").await;
    store.flush(Level::Verified, LONG).await.unwrap();
    // Its miners have nothing of it any more; what the disk cache has is stored again.
    let accounts = fake.accounts();
    let holders: Vec<usize> = fake.files()[0]
        .1
        .iter()
        .filter_map(|holder| accounts.iter().position(|account| account == holder))
        .collect();
    fake.fault(holders, Fault::Forget);
    store.inner.memory.clear();
    let report = store.scrub().await.unwrap();
    assert_eq!((report.at_risk, report.lost_chunks), (1, 0), "{report:#?}");
    store.flush(Level::Verified, LONG).await.unwrap();
    store.shutdown().await;
    let dir = TempDir::new().unwrap();
    let request = Request {
        accept_loss: true,
        ..Request::default()
    };
    let report = restore_with(dir.path(), &fake, "p", &request).await.unwrap();
    assert!(
        report.checkpoint.is_some() && report.lost.is_empty(),
        "{report:#?}"
    );
    let (store, meta) = open(dir.path(), &fake).await;
    assert_eq!(value(&meta, b"name").as_deref(), Some(b"value".as_slice()));
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_chunk_in_two_packs_both_copies_stay_until_the_newer_was_looked_at() {
    let fake = Arc::new(Fake::new(24));
    let (early, late): (Vec<_>, Vec<_>) = fake
        .accounts()
        .into_iter()
        .enumerate()
        .partition(|(n, _)| *n < 12);
    let only = |accounts: &[(usize, cess::AccountId)]| Placement {
        allow_accounts: accounts.iter().map(|(_, account)| *account).collect(),
        ..Placement::default()
    };
    let numbers = |accounts: &[(usize, cess::AccountId)]| -> Vec<usize> {
        accounts.iter().map(|(number, _)| *number).collect()
    };
    let open_on = async |dir: &Path, accounts: &[(usize, cess::AccountId)]| {
        crate::place::tests::store::open_with(dir, &fake, |config| {
            config.checkpoint_interval = Some(Duration::from_secs(3600));
            config.placement = only(accounts);
        })
        .await
    };
    let old = TempDir::new().unwrap();
    let (store, meta) = open_on(old.path(), &early).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..3, LEN).await;
    put(&meta, b"name", b"value").await;
    store.flush(Level::Verified, LONG).await.unwrap();
    store.shutdown().await;
    drop((store, meta));
    // Stored again elsewhere, and lost before the first file could go.
    let (store, meta) = open_on(old.path(), &late).await;
    fake.fault(numbers(&early)[..8].iter().copied(), Fault::Forget);
    let report = store.scrub().await.unwrap();
    assert_eq!(report.at_risk, 1, "{report:#?}");
    store.wait_level(&chunks, Level::Verified, LONG).await.unwrap();
    let is_there = || {
        let snapshot = meta.snapshot().unwrap();
        let place = crate::locations::get(&*snapshot, chunks[0]).unwrap();
        place.is_some_and(|place| record::get(&*snapshot, place.pack).unwrap().unwrap().reclaimed)
    };
    let deadline = tokio::time::Instant::now() + LONG;
    while !is_there() {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", store.status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    store.shutdown().await;
    fake.fault(numbers(&early), Fault::None);
    assert_eq!((fake.files().len(), fake.deleted()), (2, 0));

    let dir = TempDir::new().unwrap();
    let report = restore(dir.path(), &fake).await.unwrap();
    assert_eq!((report.packs, report.segments), (2, 2), "{report:#?}");
    fake.fault(numbers(&late), Fault::Dead);
    let (store, meta) = open_on(dir.path(), &early).await;
    assert_eq!(
        store.level(&chunks).unwrap(),
        Level::Placed,
        "nobody has looked at it"
    );
    all_read(&store, &chunks, LEN).await;
    for round in 0..2u8 {
        put(&meta, b"name", &[round]).await;
        store.flush(Level::Placed, LONG).await.unwrap();
    }
    assert_eq!(fake.deleted(), 0, "the newer copy was not looked at");
    fake.fault(numbers(&late), Fault::None);
    store.wait_level(&chunks, Level::Verified, LONG).await.unwrap();
    put(&meta, b"name", b"at last").await;
    store.flush(Level::Placed, LONG).await.unwrap();
    let deadline = tokio::time::Instant::now() + LONG;
    while fake.deleted() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", store.status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_ours_only_in_part_is_no_strangers_file() {
    let fake = Arc::new(Fake::new(14));
    lost(&fake).await;
    // Another namespace of the account, of which a segment takes the place of one of ours.
    let other = TempDir::new().unwrap();
    let (store, meta) = open(other.path(), &fake).await;
    make_domain(&store, &meta).await;
    write(&store, &meta, 50..52, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    let theirs: Vec<[u8; 32]> = record::all(&*meta.snapshot().unwrap())
        .unwrap()
        .into_iter()
        .filter_map(|(pack, _)| record::names(&*meta.snapshot().unwrap(), pack).unwrap())
        .map(|names| names.segments[0].segment)
        .collect();
    store.shutdown().await;
    let foreign = Mutex::new(None);
    fake.change_files(|file| {
        if theirs.contains(&file.segments[0].0.0) {
            *foreign.lock() = Some(file.segments[0].clone());
            file.owners.clear();
        }
    });
    let foreign = foreign.into_inner().unwrap();
    fake.change_files(|file| {
        if !file.owners.is_empty() {
            file.segments.push(foreign.clone());
        }
    });
    let dir = TempDir::new().unwrap();
    let refused = restore(dir.path(), &fake).await;
    assert!(
        matches!(&refused, Err(Error::CannotRestore(text)) if text.contains("segment 1 does not")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_checkpoint_the_packs_still_say_what_they_hold() {
    let fake = Arc::new(Fake::new(14));
    let old = TempDir::new().unwrap();
    let (store, meta) = crate::place::tests::store::open(old.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..3, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    store.shutdown().await;
    let dir = TempDir::new().unwrap();
    let refused = restore(dir.path(), &fake).await;
    assert!(
        matches!(&refused, Err(Error::CannotRestore(text)) if text.contains("checkpoint")),
        "{refused:?}"
    );
    let request = Request {
        without_checkpoint: true,
        ..Request::default()
    };
    let report = restore_with(dir.path(), &fake, "p", &request).await.unwrap();
    let found: Vec<_> = report
        .found
        .iter()
        .map(|one| (one.chunk, one.domain, one.owner.inode, one.len))
        .collect();
    let expected: Vec<_> = chunks
        .iter()
        .zip(0..)
        .map(|(chunk, inode)| (*chunk, DOMAIN, inode, LEN as u32))
        .collect();
    assert_eq!(found, expected);
    super::finish(&testing::meta(dir.path()), &[(chunks[2], 0)])
        .await
        .unwrap();
    let (store, _) = open(dir.path(), &fake).await;
    all_read(&store, &chunks[..2], LEN).await;
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_replaced_only_reads() {
    let fake = Arc::new(Fake::new(14));
    let old = TempDir::new().unwrap();
    let (store, meta) = open(old.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..3, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    store.shutdown().await;
    drop((store, meta));

    let new = TempDir::new().unwrap();
    restore(new.path(), &fake).await.unwrap();
    let (store, _) = open(new.path(), &fake).await;
    // It shows itself without being asked.
    let deadline = tokio::time::Instant::now() + LONG;
    while fake.files().len() < 2 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", store.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.shutdown().await;

    let (store, meta) = open(old.path(), &fake).await;
    while store.inner.fence.reason().is_none() {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", store.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = store
        .stage(DOMAIN, Owner { inode: 1, offset: 0 }, content(5, LEN))
        .await;
    assert!(matches!(refused.map(|_| ()), Err(Error::Superseded(_))));
    assert!(
        store
            .status()
            .unwrap()
            .trouble
            .unwrap()
            .contains("restored elsewhere")
    );
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
    drop((store, meta));
    // And it stays so without asking the chain.
    fake.chain_down(true);
    let (store, _) = open(old.path(), &fake).await;
    assert!(store.inner.fence.check().is_err());
    store.shutdown().await;
}
