//! Two gateways on one PostgreSQL database, all doors of both against one model
//! (`product_tests::model::pair`).
//!
//! `CESS_MODEL_SEED=7` runs another seed, or shows a failure again; `CESS_MODEL_OPS` and
//! `CESS_MODEL_KILLS` make the run longer or shorter.
#[allow(dead_code, clippy::unwrap_used)] // shared with the tests of the engine, which use more of it
#[path = "../../core/meta/tests/postgres_server/mod.rs"]
mod postgres_server;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use block_frontend::client::Client;
use postgres_server::Server;
use product_tests::model::pair::Site;
use product_tests::model::{generator, pair};
use product_tests::s3::S3Client;
use product_tests::{content, operator, tools};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

/// Operations of a run that says nothing else.
const OPERATIONS: usize = 600;
/// Kills among them.
const KILLS: usize = 4;

#[allow(clippy::panic)] // part of a test
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}

/// How long it may take until a gateway that was killed is declared dead, and what it held is free.
const TAKEOVER: Duration = Duration::from_secs(60);
/// How long anything else may take that takes a moment.
const MOMENT: Duration = Duration::from_secs(20);

#[test]
fn every_door_of_both_gateways_agrees_with_the_model() {
    let Some(server) = Server::start() else { return };
    let seed = setting("CESS_MODEL_SEED", 1);
    let count = setting("CESS_MODEL_OPS", OPERATIONS as u64) as usize;
    let kills = setting("CESS_MODEL_KILLS", KILLS as u64) as usize;
    let operations = generator::operations(seed, count, kills);
    let began = Instant::now();
    match pair::run(&operations, seed, &operator::database(&server.config())) {
        Ok(tally) => eprintln!("seed {seed}: {tally}, in {:.1?}", began.elapsed()),
        Err(error) => {
            panic!("CESS_MODEL_SEED={seed} CESS_MODEL_OPS={count} CESS_MODEL_KILLS={kills} fails.\n{error:#}")
        }
    }
}

/// Waits until a process has ended; answers whether it did.
fn ends(child: &mut std::process::Child, patience: Duration) -> Result<bool> {
    let give_up = Instant::now() + patience;
    while child.try_wait()?.is_none() {
        if Instant::now() > give_up {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

/// Every door says of an object that only the dead first gateway has that it cannot be had now; S3 and the commands
/// say for whom it waits.
async fn says_what_waits(gateway: &pair::Gateway) -> Result<()> {
    let s3 = S3Client::new(&gateway.s3, "papers")?;
    let refused = s3.get("unread").await.err().context("read from nowhere")?;
    let said = refused.to_string();
    ensure!(
        said.contains("503") && said.contains("waits for it") && said.contains("gateway one"),
        "{said}"
    );
    let path = gateway.mount.join("papers/unread");
    let refused = tokio::task::block_in_place(|| std::fs::read(&path));
    let errno = refused.err().and_then(|error| error.raw_os_error());
    ensure!(errno == Some(libc::ETIMEDOUT), "{errno:?}");
    let address = gateway.nbd.trim_start_matches("nbd://").trim_end_matches('/');
    let mut device = Client::attach(address.parse()?, b"papers/unread").await?;
    let refused = device.read(0, 1000).await;
    ensure!(refused.is_err(), "a device reads from nowhere");
    device.disconnect().await?;
    let explained = tokio::task::block_in_place(|| gateway.command(&["explain", "papers/unread"]))?;
    ensure!(explained.contains("one"), "{explained}");
    Ok(())
}

/// Locks of both kinds hold across mounts; who waits for one can be interrupted; and a gateway that
/// dies and stays away takes neither locks nor what was stored with it.
#[tokio::test(flavor = "multi_thread")]
async fn locks_and_what_was_stored_outlive_a_gateway() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let database = operator::database(&server.config());
    let mut site = tokio::task::spawn_blocking(move || Site::start(&database)).await??;
    let [one, two] = &site.gateways;
    let bucket = |at: usize| S3Client::new(&site.gateways[at].s3, "papers");
    bucket(0)?.create_bucket().await?;
    // The small one lies in the metadata, the large ones in a staging file of the first gateway, from which the
    // second one fetches what it is asked for.
    let (small, large) = (content::bytes(1, 5000), content::bytes(2, 300_000));
    let unread = content::bytes(3, 300_000);
    bucket(0)?.put("small", small.clone()).await?;
    bucket(0)?.put("large", large.clone()).await?;
    bucket(0)?.put("unread", unread.clone()).await?;
    ensure!(bucket(1)?.get("small").await?.context("small")? == small);
    ensure!(bucket(1)?.get("large").await?.context("large")? == large);

    let open = |path: &std::path::Path| std::fs::File::options().read(true).write(true).open(path);
    let at_one = open(&one.mount.join("papers/small"))?;
    let at_two = open(&two.mount.join("papers/small"))?;
    fcntl_lock(&at_one, FlockOperation::NonBlockingLockExclusive)?;
    let refused = fcntl_lock(&at_two, FlockOperation::NonBlockingLockExclusive);
    ensure!(refused == Err(Errno::AGAIN), "{refused:?}");
    if let Some(flock) = tools::find("flock") {
        let mut waits = Command::new(flock)
            .arg("--exclusive")
            .arg(two.mount.join("papers/small"))
            .arg("true")
            .stdin(Stdio::null())
            .spawn()?;
        let ended = ends(&mut waits, Duration::from_secs(1))?;
        ensure!(!ended, "somebody has a lock that another one has");
        waits.kill()?;
        let ended = ends(&mut waits, MOMENT)?;
        ensure!(ended, "who waits for a lock cannot be killed");
    }
    let waiting = std::thread::spawn(move || {
        let locked = fcntl_lock(&at_two, FlockOperation::LockExclusive);
        (at_two, locked)
    });
    std::thread::sleep(Duration::from_millis(500));
    ensure!(!waiting.is_finished(), "two have one lock");
    fcntl_lock(&at_one, FlockOperation::Unlock)?;
    let (at_two, locked) = waiting
        .join()
        .map_err(|_| anyhow::anyhow!("the waiter panicked"))?;
    locked?;
    fcntl_lock(&at_two, FlockOperation::Unlock)?;
    fcntl_lock(&at_one, FlockOperation::LockExclusive)?;

    // It dies with the lock, and stays away.
    site.gateways[0].kill()?;
    says_what_waits(&site.gateways[1]).await?;
    let began = Instant::now();
    while fcntl_lock(&at_two, FlockOperation::NonBlockingLockExclusive).is_err() {
        ensure!(began.elapsed() < TAKEOVER, "a dead gateway keeps its lock");
        std::thread::sleep(Duration::from_millis(200));
    }
    // The same once it was declared dead, and what does not wait for it is there.
    says_what_waits(&site.gateways[1]).await?;
    let s3 = S3Client::new(&site.gateways[1].s3, "papers")?;
    ensure!(s3.get("small").await?.context("small")? == small);
    ensure!(s3.get("large").await?.context("large")? == large);
    s3.put("meanwhile", small.clone()).await?;
    ensure!(
        std::fs::read(site.gateways[1].mount.join("papers/meanwhile"))? == small,
        "the mount of the other one shows something else"
    );

    // Back again, with all that it had.
    tokio::task::block_in_place(|| site.gateways[0].restart())?;
    let refused = open(&site.gateways[0].mount.join("papers/small"))
        .map(|file| fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive))?;
    ensure!(refused == Err(Errno::AGAIN), "{refused:?}");
    let s3 = S3Client::new(&site.gateways[0].s3, "papers")?;
    for (key, body) in [
        ("small", &small),
        ("large", &large),
        ("unread", &unread),
        ("meanwhile", &small),
    ] {
        let found = s3.get(key).await?.with_context(|| format!("{key} is gone"))?;
        ensure!(found == *body, "{key} changed");
    }
    drop((at_one, at_two));
    tokio::task::block_in_place(|| site.gateways.iter_mut().try_for_each(pair::Gateway::stop))
}
