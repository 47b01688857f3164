//! The engine for a shared database against the conformance suite, and what only such an engine can meet: servers
//! that go away, other gateways, other people's tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use meta::changes::Change;
use meta::migrate::migrate;
use meta::{
    Durability, Engine, EngineKind, Error, Meta, MetaConfig, Place, PostgresConfig, PostgresEngine, TlsMode,
};

use crate::conformance::Subject;
use crate::postgres_server::{PASSWORD, Server};

// What is about files of this machine is not used.
#[allow(dead_code)]
mod conformance;
mod postgres_server;

/// A schema of a server that the checks of one test share.
struct Schema {
    config: PostgresConfig,
    own: tempfile::TempDir,
}

impl Subject for Schema {
    const EXACT: bool = false;

    fn new() -> Option<Self> {
        thread_local! {
            /// Ended with the thread of the test.
            static SERVER: Option<Server> = Server::start();
        }
        static SCHEMAS: AtomicU32 = AtomicU32::new(0);
        let config = SERVER.with(|server| server.as_ref().map(Server::config))?;
        Some(Self {
            config: PostgresConfig {
                schema: format!("check_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed)),
                ..config
            },
            own: tempfile::tempdir().unwrap(),
        })
    }

    fn at(place: &str) -> Self {
        let (host, rest) = place.split_once(' ').unwrap();
        let (name, schema) = rest.split_once(' ').unwrap();
        Self {
            config: PostgresConfig {
                tls: TlsMode::Disable,
                schema: schema.into(),
                ..PostgresConfig::new(host, name, name)
            },
            own: tempfile::tempdir().unwrap(),
        }
    }

    fn place(&self) -> String {
        let config = &self.config;
        format!("{} {} {}", config.hosts[0], config.database, config.schema)
    }

    fn open(&self) -> Arc<dyn Engine> {
        Arc::new(open(&self.config, self.directory()))
    }

    fn directory(&self) -> &Path {
        self.own.path()
    }
}

fn open(config: &PostgresConfig, directory: &Path) -> PostgresEngine {
    PostgresEngine::open(config, &directory.join("postgres")).unwrap()
}

fn place(config: &PostgresConfig, directory: &Path) -> Place {
    Place::Database {
        config: Box::new(config.clone()),
        path: directory.to_owned(),
    }
}

fn put(engine: &dyn Engine, key: &str, value: &str) -> Result<(), Error> {
    let mut tx = engine.begin()?;
    tx.put(key.as_bytes(), value.as_bytes())?;
    tx.commit()
}

fn get(engine: &dyn Engine, key: &str) -> Option<String> {
    let value = engine.snapshot().unwrap().get(key.as_bytes()).unwrap();
    value.map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn rows_conform() {
    conformance::rows::all::<Schema>();
}

#[test]
fn isolation_conforms() {
    conformance::isolation::all::<Schema>();
}

#[test]
fn load_conforms() {
    conformance::load::all::<Schema>();
}

#[test]
fn feed_conforms() {
    conformance::feed::all::<Schema>();
}

#[test]
fn backups_conform() {
    conformance::backup::all::<Schema>();
}

#[test]
fn a_killed_writer_loses_nothing_that_was_acknowledged() {
    conformance::kill::run::<Schema>("a_killed_writer_loses_nothing_that_was_acknowledged");
}

/// The server ends at a moment that nobody chose, again and again, and comes back; a writer that goes on
/// counts every commit exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_loses_nothing_and_doubles_nothing() {
    let Some(mut server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let config = PostgresConfig {
        deadline_seconds: 3,
        ..server.config()
    };
    let meta = Meta::at(&place(&config, own.path())).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3u8)
        .map(|writer| {
            let (meta, stop) = (meta.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut sure, mut doubtful) = (0u64, 0u64);
                while !stop.load(Ordering::SeqCst) {
                    let wrote = meta.write::<_, Error, _>(Durability::Synced, move |tx| {
                        let count = tx
                            .get(&[b'c', writer])?
                            .map_or(0, |row| u64::from_be_bytes(row.try_into().unwrap()))
                            + 1;
                        tx.put(&[b'c', writer], &count.to_be_bytes())
                    });
                    match wrote.await {
                        Ok(()) => sure += 1,
                        Err(Error::Recovering(_)) => {
                            doubtful += 1;
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                (writer, sure, doubtful)
            })
        })
        .collect();
    for pause in [300, 170, 420] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.crash();
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Unless told otherwise it would keep commits in memory for a while.
        server.serve(&["synchronous_commit=off", "wal_writer_delay=10s"]);
    }
    // They come back by themselves.
    let back = Instant::now() + Duration::from_secs(60);
    loop {
        let done = meta
            .write::<_, Error, _>(Durability::Synced, |tx| tx.put(b"back", b"1"))
            .await;
        match done {
            Ok(()) => break,
            Err(Error::Recovering(_)) => assert!(Instant::now() < back, "not back"),
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        let (writer, sure, doubtful) = writer.await.unwrap();
        let counted = meta.snapshot().unwrap().get(&[b'c', writer]).unwrap().unwrap();
        let counted = u64::from_be_bytes(counted.try_into().unwrap());
        eprintln!("writer {writer}: {sure} acknowledged, {doubtful} refused, {counted} counted");
        assert!(sure > 0 && counted >= sure && counted <= sure + doubtful);
    }
}

/// A connection that is cut while its COMMIT is under way: what became of it is found out.
#[test]
fn a_commit_whose_answer_is_lost_is_looked_for() {
    let Some(server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let engine = open(&server.config(), own.path());
    // Reads are cut as well.
    let is_there = |key: &str| {
        loop {
            match engine.snapshot().and_then(|view| view.get(key.as_bytes())) {
                Ok(value) => return value.is_some(),
                Err(Error::Recovering(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let outcomes = std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            let (mut done, mut conflicts, mut failed) = (0u64, 0u64, 0u64);
            for n in 0..400u64 {
                // Every key once, so that a commit done twice or taken for failed shows.
                match put(&engine, &format!("row/{n:05}"), "x") {
                    Ok(()) => done += 1,
                    Err(Error::Conflict) => {
                        conflicts += 1;
                        assert!(!is_there(&format!("row/{n:05}")));
                    }
                    Err(Error::Recovering(_)) => failed += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            (done, conflicts, failed)
        });
        while !writer.is_finished() {
            server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name = 'cess-gateway' AND state <> 'idle'",
            );
        }
        writer.join().unwrap()
    });
    let (done, conflicts, failed) = outcomes;
    eprintln!("{done} committed, {conflicts} certainly not, {failed} refused at their beginning");
    let rows = server
        .sql("SELECT count(*) FROM cess_gateway.rows")
        .parse::<u64>()
        .unwrap();
    assert_eq!(rows, done);
}

/// Two gateways on one database, with directories of their own in `own`.
fn two_gateways(server: &Server, own: &Path) -> [PostgresEngine; 2] {
    ["one", "two"].map(|name| {
        let directory = own.join(name);
        std::fs::create_dir(&directory).unwrap();
        open(&server.config(), &directory)
    })
}

#[test]
fn gateways_hear_of_each_others_commits() {
    let Some(server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let [one, two] = two_gateways(&server, own.path());
    assert_eq!((one.others().unwrap(), two.others().unwrap()), (1, 1));
    let mut changes = two.subscribe().unwrap();
    for n in 0..300 {
        put(&one, &format!("one/{n:03}"), "x").unwrap();
        if n % 10 == 0 {
            put(&two, &format!("two/{n:03}"), "x").unwrap();
        }
    }
    // The feed says when; nothing else is needed to wait for.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut heard = Vec::new();
    runtime.block_on(async {
        while heard.len() < 330 {
            let next = tokio::time::timeout(Duration::from_secs(30), changes.next()).await;
            match next.expect("a change").expect("the engine is there") {
                Change::Commit { keys, .. } => heard.extend(keys.iter().cloned()),
                Change::Lost => panic!("lost track"),
            }
        }
    });
    let of = |prefix: &[u8]| {
        heard
            .iter()
            .filter(|key| key.starts_with(prefix))
            .collect::<Vec<_>>()
    };
    assert_eq!((of(b"one/").len(), of(b"two/").len()), (300, 30));
    assert!(of(b"one/").is_sorted() && of(b"two/").is_sorted());
    assert_eq!(get(&two, "one/299").as_deref(), Some("x"));
}

#[test]
fn a_gateway_that_another_ended_commits_nothing_more() {
    let Some(server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let [one, two] = two_gateways(&server, own.path());
    let start = one.start().unwrap();
    assert_ne!(two.start(), Some(start));
    put(&one, "a", "1").unwrap();
    // One that has begun, and has read what the other changes, too.
    let mut begun = one.begin().unwrap();
    assert!(begun.get(b"a").unwrap().is_some());
    begun.put(b"b", b"1").unwrap();
    two.end(start).unwrap();
    two.end(start).unwrap();
    assert!(matches!(begun.commit(), Err(Error::Ended | Error::Conflict)));
    assert!(matches!(put(&one, "c", "1"), Err(Error::Ended)));
    assert_eq!(get(&one, "a").as_deref(), Some("1"), "it still reads");
    put(&two, "a", "2").unwrap();
    assert_eq!((get(&two, "b"), get(&two, "c")), (None, None));
    // Started again it is another.
    let directory = own.path().join("one");
    drop(one);
    let one = open(&server.config(), &directory);
    assert_ne!(one.start(), Some(start));
    put(&one, "c", "3").unwrap();
    assert_eq!(get(&two, "c").as_deref(), Some("3"));
}

#[test]
fn ending_a_gateway_waits_for_what_it_commits() {
    let Some(server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let [one, two] = two_gateways(&server, own.path());
    let start = one.start().unwrap();
    let committed = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (one, committed) = (&one, &committed);
            scope.spawn(move || {
                for n in 0.. {
                    match put(one, &format!("{thread}/{n}"), "x") {
                        Ok(()) => committed.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
                        Err(Error::Conflict) => continue,
                        Err(Error::Ended) => break,
                        Err(error) => panic!("{error}"),
                    };
                }
            });
        }
        while committed.load(std::sync::atomic::Ordering::SeqCst) < 100 {
            std::thread::yield_now();
        }
        two.end(start).unwrap();
        // From here on nothing appears.
        let count = || {
            let rows = server.sql("SELECT count(*) FROM cess_gateway.rows");
            rows.parse::<u64>().unwrap()
        };
        let at_the_end = count();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(count(), at_the_end);
    });
    let rows = server.sql("SELECT count(*) FROM cess_gateway.rows");
    assert_eq!(rows.parse::<u64>().unwrap(), committed.into_inner());
}

#[test]
fn tables_of_something_else_are_left_alone() {
    let Some(server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let attempt = |schema: &str| {
        let config = PostgresConfig {
            schema: schema.into(),
            ..server.config()
        };
        PostgresEngine::open(&config, &own.path().join("postgres")).map(|_| ())
    };
    server.sql("CREATE SCHEMA books; CREATE TABLE books.rows (k bytea, v bytea)");
    let refused = attempt("books").unwrap_err().to_string();
    assert!(refused.contains("something else"), "{refused}");
    server.sql("CREATE SCHEMA people; CREATE TABLE people.identity (name text)");
    let refused = attempt("people").unwrap_err().to_string();
    assert!(refused.contains("identity"), "{refused}");
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema IN ('books', 'people')";
    assert_eq!(server.sql(tables), "2");
    attempt("names").unwrap();
    // Another namespace in the place of the one that this gateway knows.
    let refused = attempt("others").unwrap_err();
    assert!(matches!(refused, Error::Damaged(_)), "{refused}");
    server.sql("UPDATE names.identity SET format = 2");
    let refused = attempt("names").unwrap_err().to_string();
    assert!(refused.contains("format 2"), "{refused}");
    assert_eq!(server.sql("SELECT count(*) FROM books.rows"), "0");
}

#[test]
fn a_server_that_does_not_sync_is_refused() {
    let Some(mut server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    server.crash();
    server.serve(&["fsync=off"]);
    let refused = PostgresEngine::open(&server.config(), &own.path().join("postgres")).map(|_| ());
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("fsync"), "{refused}");
}

#[test]
fn a_database_that_went_back_in_time_is_refused() {
    let Some(server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let mark = own.path().join("postgres");
    {
        let engine = open(&server.config(), own.path());
        put(&engine, "a", "1").unwrap();
    }
    // What a backup of before would look like.
    open(&server.config(), own.path());
    let engine = open(&server.config(), own.path());
    put(&engine, "a", "2").unwrap();
    drop(engine);
    server.sql("DELETE FROM cess_gateway.feed; UPDATE cess_gateway.rows SET v = '1'");
    let refused = PostgresEngine::open(&server.config(), &mark)
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(refused, Error::Damaged(_)), "{refused}");
    std::fs::remove_file(&mark).unwrap();
    let engine = open(&server.config(), own.path());
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
}

/// Views have a pool of their own; more of them than it has wait, and say so when it takes too long.
#[test]
fn views_cannot_use_up_what_writers_need() {
    let Some(server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let config = PostgresConfig {
        views: 2,
        connections: 1,
        deadline_seconds: 5,
        ..server.config()
    };
    let engine = open(&config, own.path());
    put(&engine, "a", "1").unwrap();
    let views = [engine.snapshot().unwrap(), engine.snapshot().unwrap()];
    assert!(matches!(engine.snapshot().map(|_| ()), Err(Error::Recovering(_))));
    put(&engine, "a", "2").unwrap();
    for view in views {
        assert_eq!(view.get(b"a").unwrap(), Some(b"1".to_vec()));
    }
    assert_eq!(get(&engine, "a").as_deref(), Some("2"));
    // One that waits gets the one that is given back.
    let views = [engine.snapshot().unwrap(), engine.snapshot().unwrap()];
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| get(&engine, "a"));
        std::thread::sleep(Duration::from_millis(50));
        drop(views);
        assert_eq!(waits.join().unwrap().as_deref(), Some("2"));
    });
}

#[test]
fn a_view_that_is_left_alone_ends() {
    let Some(server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let config = PostgresConfig {
        idle_seconds: 1,
        ..server.config()
    };
    let engine = open(&config, own.path());
    put(&engine, "a", "1").unwrap();
    let view = engine.snapshot().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    // Asking would keep it alive: the server says when it is over.
    while server.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") != "0" {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(matches!(view.get(b"a"), Err(Error::Recovering(_))));
    drop(view);
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
}

#[test]
fn passwords_and_certificates_are_checked() {
    let Some(mut server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let mark = own.path().join("postgres");
    let attempt = |config: &PostgresConfig| {
        PostgresEngine::open(config, &mark).map(|engine| put(&engine, "a", "1").unwrap())
    };
    attempt(&server.tcp()).unwrap();
    let wrong = own.path().join("wrong");
    std::fs::write(&wrong, "not the password").unwrap();
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
    let refused = attempt(&PostgresConfig {
        password_file: Some(wrong),
        ..server.tcp()
    });
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("28P01") && !refused.contains("not the password") && !refused.contains(PASSWORD)
    );
    // No TLS where it was asked for.
    let protected = |server: &Server, ca_file: &Path| PostgresConfig {
        tls: TlsMode::Require,
        ca_file: Some(ca_file.to_owned()),
        ..server.tcp()
    };
    let files = server.directory().to_owned();
    certificate(&server, "good");
    certificate(&server, "other");
    let good = files.join("good.pem");
    assert!(attempt(&protected(&server, &good)).is_err());
    server.crash();
    let (cert, key) = (good.display(), files.join("good.key").display().to_string());
    server.serve(&[
        "ssl=on",
        &format!("ssl_cert_file={cert}"),
        &format!("ssl_key_file={key}"),
    ]);
    attempt(&protected(&server, &good)).unwrap();
    let used = server.sql("SELECT count(*) FROM pg_stat_ssl WHERE ssl");
    assert_eq!(used, "0", "connections of the engine before are closed");
    // A certificate that nobody vouches for, and one for another name.
    assert!(attempt(&protected(&server, &files.join("other.pem"))).is_err());
    let elsewhere = PostgresConfig {
        hosts: vec![format!("127.0.0.1:{}", server.port())],
        ..protected(&server, &good)
    };
    assert!(attempt(&elsewhere).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_moves_to_the_database_and_back() {
    let Some(server) = Server::start() else { return };
    let own = tempfile::tempdir().unwrap();
    let [from, back] = ["from", "back"].map(|name| {
        Place::Directory(MetaConfig {
            engine: EngineKind::Fjall,
            path: own.path().join(name),
            cache_bytes: 8 << 20,
        })
    });
    let database = place(&server.config(), &own.path().join("from"));
    let key = |n: u32| [&[1][..], &n.to_be_bytes()].concat();
    let write = async |place: &Place, n: u32| {
        let meta = Meta::at(place).unwrap();
        let wrote = meta.write::<_, Error, _>(Durability::Synced, move |tx| {
            (0..n).try_for_each(|n| tx.put(&key(n), &vec![n as u8; (n % 300) as usize]))
        });
        wrote.await.unwrap();
    };
    write(&from, 4000).await;
    let there = migrate(&from, &database, &mut |_| {}).unwrap();
    assert_eq!(there.rows, 4000);
    assert!(Meta::at(&from).is_err());
    write(&database, 5000).await;
    // Not while a gateway uses it.
    let gateway = Meta::at(&database).unwrap();
    assert!(matches!(
        migrate(&database, &back, &mut |_| {}),
        Err(Error::InUse)
    ));
    let elsewhere = place(&server.config(), &own.path().join("elsewhere"));
    let refused = migrate(&elsewhere, &back, &mut |_| {}).unwrap_err().to_string();
    assert!(refused.contains("1 gateways"), "{refused}");
    drop(gateway);
    let here = migrate(&database, &back, &mut |_| {}).unwrap();
    assert_eq!(here.rows, 5000);
    assert!(Meta::at(&database).is_err());
    let meta = Meta::at(&back).unwrap();
    assert_eq!(
        meta.snapshot().unwrap().get(&key(4999)).unwrap(),
        Some(vec![135; 199])
    );
}

/// Makes `NAME.pem` and `NAME.key` for the name `localhost` in the directory of the server.
fn certificate(server: &Server, name: &str) {
    let mut command = std::process::Command::new("openssl");
    command
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(server.directory().join(format!("{name}.key")))
        .arg("-out")
        .arg(server.directory().join(format!("{name}.pem")));
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let owner = std::fs::metadata(server.directory()).unwrap();
    let key = server.directory().join(format!("{name}.key"));
    use std::os::unix::fs::MetadataExt as _;
    std::os::unix::fs::chown(key, Some(owner.uid()), Some(owner.gid())).unwrap();
}
