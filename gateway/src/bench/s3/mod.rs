//! The S3 door: PUT and GET of small and large objects, one client and sixteen, and a long listing.
//!
//! Every line of the gateway has beside it, in the same run and by the same client, a server that
//! does nothing but the protocol ([`bare`]): s3s with a handler that keeps nothing and answers from
//! memory. What the two differ in is what the gateway does for the bytes. Other servers ([`Peer`]) can
//! be measured beside them.
mod bare;
mod client;
mod wire;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;

use self::bare::Bare;
pub use self::bare::serve as serve_bare;
pub(super) use self::client::Client;
use self::wire::Wire;
use super::{Line, S3, Samples, Target, noise, repeat_in_parallel};

const BUCKET: &str = "bench-s3";
/// Objects that GETs take turns on.
const OBJECTS: u64 = 16;
const SMALL: usize = 4 << 10;
const LARGE: usize = 64 << 20;
/// Keys of the listing.
const LISTED: u64 = 100_000;
/// Clients that make them.
const MAKERS: u64 = 16;

/// Another S3 server to measure beside the gateway.
pub struct Peer {
    /// What its lines call it.
    pub name: String,
    /// How to reach it.
    pub s3: S3,
}

/// A server under measurement.
struct Server<'a> {
    name: String,
    s3: &'a S3,
    /// What lines say of when a PUT is answered.
    put_means: &'static str,
    /// Its process, if it is ours.
    pid: Option<u32>,
}

/// Measures the door, the bare handler and `peers`.
pub async fn measure(target: &Target, peers: &[Peer], report: &impl Fn(Line)) -> Result<()> {
    let bare = Bare::start().await?;
    let floor = Server {
        name: "bare s3s".to_owned(),
        s3: &bare.s3,
        put_means: "kept nowhere",
        pid: bare.pid(),
    };
    let gateway = Server {
        name: "S3".to_owned(),
        s3: &target.ready.s3,
        put_means: "staged",
        pid: target.pid(),
    };
    let peers = peers.iter().map(|peer| Server {
        name: peer.name.clone(),
        s3: &peer.s3,
        put_means: "as it does",
        pid: None,
    });
    let others: Vec<Server<'_>> = peers.collect();
    let servers = || [&floor, &gateway].into_iter().chain(&others);
    for server in servers() {
        Client::new(server.s3, BUCKET)?.create_bucket().await?;
    }
    for clients in [1, 16] {
        let mut rates = Rates::default();
        for server in servers() {
            report(rates.line(small_puts(server, clients, target.time).await?));
        }
    }
    for clients in [1, 16] {
        let mut rates = Rates::default();
        for server in servers() {
            report(rates.line(small_gets(server, clients, target.time).await?));
        }
    }
    for clients in [1, 16] {
        let (mut puts, mut gets) = (Rates::default(), Rates::default());
        for server in servers() {
            report(puts.line(large_puts(server, clients, target.time).await?));
            report(gets.line(large_gets(server, clients, target.time).await?));
        }
    }
    listing(&gateway, report).await?;
    for peer in &others {
        listing(peer, report).await?;
    }
    bare.stop().await
}

/// Lines of one kind: the first is what the others are multiples of.
#[derive(Default)]
struct Rates {
    first: Option<f64>,
}

impl Rates {
    fn line(&mut self, line: Line) -> Line {
        let first = *self.first.get_or_insert(line.per_second);
        Line {
            ratio: Some(line.per_second / first),
            ..line
        }
    }
}

async fn small_puts(server: &Server<'_>, clients: u64, time: Duration) -> Result<Line> {
    let (client, wires) = (Client::new(server.s3, BUCKET)?, wires(server.s3, clients).await?);
    let body = Bytes::from(noise(SMALL as u64, SMALL));
    let (samples, elapsed) = repeat_in_parallel(clients, time, move |task, number| {
        let (client, wires, body) = (client.clone(), wires.clone(), body.clone());
        async move {
            let url = client.put_url(&format!("put/{task}/{number}"));
            wires[task as usize].lock().await.put(&url, &body).await
        }
    })
    .await?;
    let name = format!(
        "{} PUT 4 KiB, {clients} client(s), {}",
        server.name, server.put_means
    );
    Ok(samples.line(name, elapsed, SMALL as u64))
}

async fn small_gets(server: &Server<'_>, clients: u64, time: Duration) -> Result<Line> {
    let (client, wires) = (Client::new(server.s3, BUCKET)?, wires(server.s3, clients).await?);
    let body = Bytes::from(noise(1, SMALL));
    let mut urls = Vec::new();
    for number in 0..OBJECTS {
        let key = format!("get/{SMALL}/{number}");
        client.put(&key, body.clone()).await?;
        urls.push(client.get_url(&key));
    }
    let (samples, elapsed) = repeat_in_parallel(clients, time, move |task, number| {
        let (wires, url) = (wires.clone(), urls[((task + number) % OBJECTS) as usize].clone());
        async move { wires[task as usize].lock().await.get(&url, SMALL).await }
    })
    .await?;
    let name = format!("{} GET 4 KiB, {clients} client(s), hot", server.name);
    Ok(samples.line(name, elapsed, SMALL as u64))
}

/// One connection for each client.
async fn wires(s3: &S3, clients: u64) -> Result<std::sync::Arc<Vec<tokio::sync::Mutex<Wire>>>> {
    let mut wires = Vec::new();
    for _ in 0..clients {
        wires.push(tokio::sync::Mutex::new(Wire::connect(&s3.endpoint).await?));
    }
    Ok(wires.into())
}

async fn large_puts(server: &Server<'_>, clients: u64, time: Duration) -> Result<Line> {
    let client = Client::new(server.s3, BUCKET)?;
    let body = Bytes::from(noise(LARGE as u64, LARGE));
    let (samples, elapsed) = repeat_in_parallel(clients, time, move |task, number| {
        let (client, body) = (client.clone(), body.clone());
        // They take turns, so that a long run does not fill the disk.
        async move { client.put(&format!("large/{task}/{}", number % 2), body).await }
    })
    .await?;
    let name = format!(
        "{} PUT 64 MiB, {clients} client(s), {}",
        server.name, server.put_means
    );
    Ok(samples.line(name, elapsed, LARGE as u64))
}

async fn large_gets(server: &Server<'_>, clients: u64, time: Duration) -> Result<Line> {
    const TURNS: u64 = (256 << 20) / LARGE as u64;
    let client = Client::new(server.s3, BUCKET)?;
    let body = Bytes::from(noise(2, LARGE));
    for number in 0..TURNS {
        client.put(&format!("get/{LARGE}/{number}"), body.clone()).await?;
    }
    // Whatever the first one costs, it is not hot.
    client.get(&format!("get/{LARGE}/0"), LARGE).await?;
    let before = server.pid.map(processor_time).transpose()?;
    let (samples, elapsed) = repeat_in_parallel(clients, time, move |task, number| {
        let client = client.clone();
        async move {
            let key = format!("get/{LARGE}/{}", (task + number) % TURNS);
            client.get(&key, LARGE).await
        }
    })
    .await?;
    let after = server.pid.map(processor_time).transpose()?;
    let name = format!("{} GET 64 MiB, {clients} client(s), hot", server.name);
    let line = samples.line(name, elapsed, LARGE as u64);
    let bytes = line.per_second * elapsed.as_secs_f64() * LARGE as f64;
    let spent = before
        .zip(after)
        .map(|(before, after)| after.saturating_sub(before));
    Ok(Line {
        note: spent.map(|spent| {
            let each = spent.as_secs_f64() * 1e9 / bytes;
            format!("{each:.2} ns of processor time per byte")
        }),
        ..line
    })
}

/// What a process has used of the processors so far.
fn processor_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before them is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("an odd /proc/PID/stat")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap_or(0))
        .sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Pages through [`LISTED`] keys: how fast they come, and whether later pages take longer.
async fn listing(server: &Server<'_>, report: &impl Fn(Line)) -> Result<()> {
    let client = Client::new(server.s3, "bench-list")?;
    client.create_bucket().await?;
    let wires = wires(server.s3, MAKERS).await?;
    let makers: Vec<_> = (0..MAKERS)
        .map(|maker| {
            let (client, wires) = (client.clone(), wires.clone());
            tokio::spawn(async move {
                let mut wire = wires[maker as usize].lock().await;
                for number in (maker..LISTED).step_by(MAKERS as usize) {
                    wire.put(&client.put_url(&format!("key-{number:09}")), b"")
                        .await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for maker in makers {
        maker.await??;
    }
    let (mut pages, mut seen, mut after) = (Vec::new(), 0, None);
    let start = Instant::now();
    loop {
        let began = Instant::now();
        let page = client.list(after).await?;
        pages.push(began.elapsed());
        seen += page.contents.len() as u64;
        after = page.next_continuation_token;
        if after.is_none() {
            break;
        }
    }
    let elapsed = start.elapsed();
    anyhow::ensure!(seen == LISTED, "the listing has {seen} keys instead of {LISTED}");
    let tenth = (pages.len() / 10).max(1);
    let sum = |pages: &[Duration]| pages.iter().sum::<Duration>().as_secs_f64();
    let last = pages.get(pages.len() - tenth..).context("there are pages")?;
    let note = format!(
        "keys; latencies are of pages; the last tenth of them took {:.2} × as long as the first",
        sum(last) / sum(&pages[..tenth])
    );
    let mut samples = Samples::default();
    for page in &pages {
        samples.add(*page);
    }
    let line = samples.line(format!("{} LIST of {LISTED} keys", server.name), elapsed, 0);
    report(Line {
        per_second: seen as f64 / elapsed.as_secs_f64(),
        note: Some(note),
        ..line
    });
    Ok(())
}
