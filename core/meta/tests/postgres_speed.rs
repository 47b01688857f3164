//! How fast the engine for a shared database is beside pgbench, which sends the same statements to the same
//! server and does nothing else. A measurement: it is run by name (docs/PERFORMANCE.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use meta::{Engine, Error, PostgresEngine};

use crate::postgres_server::Server;

// What breaks it is not used.
#[allow(dead_code)]
mod postgres_server;

/// Rows that are there.
const ROWS: u64 = 100_000;
/// Bytes of a value.
const VALUE: usize = 200;
/// How long each is measured.
const TIME: Duration = Duration::from_secs(6);

/// A transaction as pgbench sends it: reads two rows, writes them in one statement, and says so.
const SCRIPT: &str = "\
\\set a random(0, 49999)
\\set b random(50000, 99999)
\\set n :n + 1
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT v FROM cess_gateway.rows WHERE k = int8send(:a);
SELECT v FROM cess_gateway.rows WHERE k = int8send(:b);
INSERT INTO cess_gateway.rows (k, v) SELECT t.k, t.v FROM unnest(\
ARRAY[int8send(:a), int8send(:b)], ARRAY[decode(repeat('07', 200), 'hex'), decode(repeat('08', 200), 'hex')]) \
AS t (k, v) ON CONFLICT (k) DO UPDATE SET v = excluded.v;
INSERT INTO cess_gateway.feed (gateway, number, keys) VALUES (1000 + :client_id, :n, int8send(:a) || int8send(:b));
COMMIT;
";

fn transact(engine: &dyn Engine, a: u64, b: u64) -> Result<(), Error> {
    let mut tx = engine.begin()?;
    for key in [a, b] {
        let value = tx.get(&key.to_be_bytes())?;
        assert_eq!(value.map(|value| value.len()), Some(VALUE));
    }
    tx.put(&a.to_be_bytes(), &[7; VALUE])?;
    tx.put(&b.to_be_bytes(), &[8; VALUE])?;
    tx.commit()
}

/// Transactions per second.
fn ours(engine: &dyn Engine, clients: u64) -> f64 {
    let (stop, done, again) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|threads| {
        for client in 0..clients {
            let (stop, done, again) = (&stop, &done, &again);
            threads.spawn(move || {
                let mut state = client + 1;
                while !stop.load(Ordering::Relaxed) {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let (a, b) = ((state >> 33) % (ROWS / 2), ROWS / 2 + (state >> 13) % (ROWS / 2));
                    match transact(engine, a, b) {
                        Ok(()) => done.fetch_add(1, Ordering::Relaxed),
                        Err(Error::Conflict) => again.fetch_add(1, Ordering::Relaxed),
                        Err(error) => panic!("{error}"),
                    };
                }
            });
        }
        std::thread::sleep(TIME);
        stop.store(true, Ordering::Relaxed);
    });
    let rate = done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    println!(
        "{clients} clients: ours {rate:.0}/s, {} conflicts",
        again.load(Ordering::Relaxed)
    );
    rate
}

fn pgbench(server: &Server, clients: u64, round: u64) -> f64 {
    let script = server.directory().join("script");
    std::fs::write(&script, SCRIPT).unwrap();
    let done = server
        .command("pgbench")
        .args([
            "--no-vacuum",
            "--protocol=prepared",
            "--max-tries=100",
            "--username=cess",
        ])
        .arg(format!("--host={}", server.directory().display()))
        .arg(format!("--port={}", server.port()))
        .arg(format!("--client={clients}"))
        .arg(format!("--jobs={}", clients.min(2)))
        .arg(format!("--time={}", TIME.as_secs()))
        .arg(format!("--define=n={}", round * 1_000_000))
        .arg(format!("--file={}", script.display()))
        .arg("cess")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let rate = said
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .expect("a rate");
    let rate: f64 = rate.split(' ').next().unwrap().parse().unwrap();
    println!("{clients} clients: pgbench {rate:.0}/s");
    rate
}

#[test]
#[ignore = "a measurement of a minute that wants the machine for itself"]
fn beside_pgbench() {
    let Some(server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let engine = PostgresEngine::open(&server.config(), &own.path().join("postgres")).unwrap();
    for start in (0..ROWS).step_by(10_000) {
        let mut tx = engine.begin().unwrap();
        for key in start..start + 10_000 {
            tx.put(&key.to_be_bytes(), &[1; VALUE]).unwrap();
        }
        tx.commit().unwrap();
    }
    server.sql("ANALYZE");
    for (round, clients) in [1, 4, 16].into_iter().enumerate() {
        let (bare, engine) = (pgbench(&server, clients, round as u64), ours(&engine, clients));
        println!("{clients} clients: {:.2} of pgbench's rate", engine / bare);
    }
}
