//! One gateway whose namespace moves from engine to engine, as an operator moves it.
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use product_tests::operator::{self, Network};
use product_tests::process::{Process, program};
use product_tests::product::S3;
use product_tests::s3::S3Client;
use product_tests::{content, tools};

// What breaks the server is not used.
#[allow(dead_code, clippy::unwrap_used, clippy::expect_used)]
#[path = "../../core/meta/tests/postgres_server/mod.rs"]
mod postgres_server;

use postgres_server::Server;

struct Site<'a> {
    dir: &'a Path,
    network: Network,
    /// `[metadata.postgres]`, if there is a server.
    database: String,
}

impl<'a> Site<'a> {
    /// A network with a territory, and the secrets of a gateway.
    async fn start(dir: &'a Path, database: String) -> Result<Self> {
        let network = Network::start(dir, 10).await?;
        operator::secrets(dir)?;
        Ok(Self {
            dir,
            network,
            database,
        })
    }

    /// Writes the configuration with this engine.
    fn choose(&self, engine: &str) -> Result<()> {
        let metadata = format!("[metadata]\nengine = \"{engine}\"\n{}", self.database);
        let text = operator::configuration(self.dir, &self.network.rpc) + &metadata;
        operator::configure(self.dir, &text)
    }

    fn serve(&self) -> Result<(Process, S3)> {
        let (gateway, ready) = operator::serve(self.dir)?;
        let door = operator::door(&ready)?;
        Ok((gateway, door))
    }

    fn move_to(&self, from: &str, to: &str) -> Result<u64> {
        let mut migrate = Command::new(program("cess-gateway")?);
        migrate.args([
            "meta", "migrate", "--json", "--from", from, "--to", to, "--config",
        ]);
        let moved = tools::run(migrate.arg(self.dir.join("gateway.toml")))?;
        let moved: serde_json::Value = serde_json::from_slice(&moved.stdout)?;
        moved["rows"].as_u64().context("a number of rows")
    }
}

fn object(n: u64) -> (String, Vec<u8>) {
    (format!("object-{n}"), content::bytes(n, 1000 << (n % 8)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_moves_under_a_running_gateway() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    let mut site = Site::start(dir, String::new()).await?;
    site.choose("fjall")?;
    let (mut gateway, door) = site.serve()?;
    let s3 = S3Client::new(&door, "papers")?;
    s3.create_bucket().await?;
    for n in 0..100 {
        let (name, body) = object(n);
        s3.put(&name, body).await?;
    }
    // Through the mount as well: what a process has open goes on.
    let open = std::fs::File::create(dir.join("mnt/papers/open"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (s3, stop) = (S3Client::new(&door, "papers")?, stop.clone());
        async move {
            let mut next = 100;
            while !stop.load(Ordering::SeqCst) {
                let (name, body) = object(next);
                s3.put(&name, body).await?;
                next += 1;
            }
            anyhow::Ok(next)
        }
    });
    let moved = tokio::task::block_in_place(|| site.move_to("fjall", "sled"));
    // It goes on there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    let (rows, made) = (moved?, writer.await??);
    ensure!(rows > 300 && made > 100, "{rows} rows, {made} objects");
    std::os::unix::fs::FileExt::write_all_at(&open, b"written after", 0)?;
    open.sync_all()?;
    drop(open);
    gateway.kill()?;
    let refused = site.serve().err().context("the old engine opens")?;
    ensure!(
        refused.to_string().contains("were moved to") && refused.to_string().contains("sled"),
        "{refused}"
    );
    site.choose("sled")?;
    let (mut gateway, door) = site.serve()?;
    let s3 = S3Client::new(&door, "papers")?;
    for n in 0..made {
        let (name, body) = object(n);
        let found = s3.get(&name).await?;
        ensure!(found.is_some_and(|found| found == body), "{name} after the move");
    }
    let written = s3.get("open").await?;
    ensure!(written.is_some_and(|found| found == "written after"));
    gateway.stop()?;
    site.network.stop()
}

/// When a gateway is killed after a move was asked for, in milliseconds: before it begins, in the middle, at its end.
const KILLS: [u64; 6] = [20, 60, 100, 150, 220, 400];

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_while_it_moves_has_its_namespace_in_one_place() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    let mut site = Site::start(dir, String::new()).await?;
    site.choose("fjall")?;
    let (mut gateway, door) = site.serve()?;
    let s3 = S3Client::new(&door, "papers")?;
    s3.create_bucket().await?;
    for n in 0..150 {
        let (name, body) = object(n);
        s3.put(&name, body).await?;
    }
    for millis in KILLS {
        let mut migrate = Command::new(program("cess-gateway")?)
            .args(["meta", "migrate", "--from", "fjall", "--to", "sled", "--config"])
            .arg(dir.join("gateway.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(millis));
        gateway.kill()?;
        migrate.wait()?;
        let in_old = site.serve();
        site.choose("sled")?;
        let moved = match in_old {
            Ok((mut old, _)) => {
                old.kill()?;
                let refused = site.serve().err().context("two places open")?;
                ensure!(refused.to_string().contains("meta migrate"), "{refused}");
                site.choose("fjall")?;
                false
            }
            Err(refused) => {
                ensure!(refused.to_string().contains("were moved to"), "{refused}");
                true
            }
        };
        let (now, door) = site.serve()?;
        gateway = now;
        let s3 = S3Client::new(&door, "papers")?;
        for n in 0..150 {
            let (name, body) = object(n);
            let found = s3.get(&name).await?;
            ensure!(
                found.is_some_and(|found| found == body),
                "{name} after {millis} ms"
            );
        }
        if moved {
            break;
        }
    }
    gateway.stop()?;
    site.network.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_moves_from_engine_to_engine() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    let server = Server::start();
    let database = server.as_ref().map(|server| {
        let keys = operator::database(&server.config());
        format!("[metadata.postgres]\n{keys}")
    });
    let mut site = Site::start(dir, database.unwrap_or_default()).await?;
    let mut engines = vec!["fjall", "sled"];
    if server.is_some() {
        engines.push("postgres");
    }
    let mut bodies: Vec<(String, Vec<u8>)> = Vec::new();
    for (turn, engine) in engines.iter().copied().enumerate() {
        if turn > 0 {
            let rows = site.move_to(engines[turn - 1], engine)?;
            ensure!(rows > 40 * turn as u64, "{rows} rows");
            // Where it was it does not open any more, and says where it is.
            let refused = site.serve().err().context("two engines hold the namespace")?;
            ensure!(
                refused.to_string().contains("were moved to") && refused.to_string().contains(engine),
                "{refused}"
            );
        }
        site.choose(engine)?;
        let (mut gateway, door) = site.serve()?;
        let s3 = S3Client::new(&door, "papers")?;
        if turn == 0 {
            s3.create_bucket().await?;
        }
        for (name, body) in &bodies {
            let found = s3.get(name).await?;
            ensure!(found.is_some_and(|found| found == *body), "{name} on {engine}");
        }
        for n in 0..20 {
            let name = format!("{engine}/{n}");
            let body = content::bytes(100 * turn as u64 + n, 1000 << (n % 10));
            s3.put(&name, body.clone()).await?;
            ensure!(
                std::fs::read(dir.join("mnt/papers").join(&name))? == body,
                "{name} in the mount"
            );
            bodies.push((name, body));
        }
        // Many at once: more than there are connections to a database.
        let puts = (0..100).map(|n| {
            let (s3, name) = (&s3, format!("{engine}/many/{n}"));
            async move { s3.put(&name, content::bytes(n, 300)).await }
        });
        futures::future::try_join_all(puts).await?;
        ensure!(std::fs::read_dir(dir.join("mnt/papers").join(engine).join("many"))?.count() == 100);
        // The last one is killed, and has everything all the same.
        if turn + 1 < engines.len() {
            gateway.stop()?;
        } else {
            gateway.kill()?;
            let (mut gateway, door) = site.serve()?;
            let s3 = S3Client::new(&door, "papers")?;
            for (name, body) in &bodies {
                let found = s3.get(name).await?;
                ensure!(found.is_some_and(|found| found == *body), "{name} after a crash");
            }
            gateway.stop()?;
        }
    }
    site.network.stop()
}
