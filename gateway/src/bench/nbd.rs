//! The NBD door: sequential and random transfer over one connection, one request at a time.
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use block_frontend::client::Client;
use rand::{Rng as _, SeedableRng as _};

use super::{Line, Samples, Target, noise};

/// Bytes of the volume.
const VOLUME: u64 = 256 << 20;
const BLOCK: u32 = 1 << 20;
const SECTOR: u32 = 4 << 10;

/// Measures the door.
pub async fn measure(target: &Target, report: &impl Fn(Line)) -> Result<()> {
    let address: SocketAddr = target
        .ready
        .nbd
        .uri
        .trim_start_matches("nbd://")
        .parse()
        .context("the NBD door has an odd address")?;
    let bucket = target.ready.mount.join("bench-nbd");
    tokio::task::spawn_blocking(move || {
        std::fs::create_dir(&bucket)?;
        std::fs::File::create(bucket.join("volume"))?.set_len(VOLUME)
    })
    .await?
    .context("cannot make a file to attach")?;
    let mut client = Client::attach(address, b"bench-nbd/volume").await?;

    let body = noise(3, BLOCK as usize);
    let mut samples = Samples::default();
    let start = Instant::now();
    for block in 0..VOLUME / u64::from(BLOCK) {
        let before = Instant::now();
        client.write(block * u64::from(BLOCK), &body, false).await?;
        samples.add(before.elapsed());
    }
    client.flush().await?;
    report(samples.line(
        "NBD sequential write 1 MiB, then flush".into(),
        start.elapsed(),
        u64::from(BLOCK),
    ));

    let mut samples = Samples::default();
    let start = Instant::now();
    for block in 0..VOLUME / u64::from(BLOCK) {
        let before = Instant::now();
        client.read(block * u64::from(BLOCK), BLOCK).await?;
        samples.add(before.elapsed());
    }
    report(samples.line(
        "NBD sequential read 1 MiB".into(),
        start.elapsed(),
        u64::from(BLOCK),
    ));

    let mut random = Random(rand::rngs::SmallRng::seed_from_u64(4));
    let sector = noise(5, SECTOR as usize);
    let mut turn = Turn::new(target.time);
    while turn.goes_on() {
        let before = Instant::now();
        client.read(random.offset(), SECTOR).await?;
        turn.samples.add(before.elapsed());
    }
    report(turn.line("NBD random read 4 KiB"));
    let mut turn = Turn::new(target.time);
    while turn.goes_on() {
        let before = Instant::now();
        client.write(random.offset(), &sector, false).await?;
        turn.samples.add(before.elapsed());
    }
    report(turn.line("NBD random write 4 KiB"));
    let mut turn = Turn::new(target.time);
    while turn.goes_on() {
        let before = Instant::now();
        client.write(random.offset(), &sector, true).await?;
        turn.samples.add(before.elapsed());
    }
    report(turn.line("NBD random write 4 KiB, FUA each"));
    client.disconnect().await?;
    Ok(())
}

struct Random(rand::rngs::SmallRng);

impl Random {
    fn offset(&mut self) -> u64 {
        self.0.random_range(0..VOLUME / u64::from(SECTOR)) * u64::from(SECTOR)
    }
}

/// One line that is measured for a while.
struct Turn {
    samples: Samples,
    start: Instant,
    time: Duration,
}

impl Turn {
    fn new(time: Duration) -> Self {
        Self {
            samples: Samples::default(),
            start: Instant::now(),
            time,
        }
    }

    fn goes_on(&self) -> bool {
        self.start.elapsed() < self.time
    }

    fn line(self, name: &str) -> Line {
        let elapsed = self.start.elapsed();
        self.samples.line(name.to_owned(), elapsed, u64::from(SECTOR))
    }
}
