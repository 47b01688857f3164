//! Placing: what a byte costs on its way to the miners, and what the doors notice of it.
//!
//! The network runs in this process and the gateway in a child of its own, so that the processor
//! time and the bytes written of the child are the gateway's alone. The bare work that everything is
//! compared with is what the protocol forces: SHA-256 of each segment and its twelve fragments, four
//! bytes hashed for each byte stored, in interleaved lanes, measured in the same run.
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use cess::AccountId;
use cess::chain::{Chain, ChainConfig};
use cess::codec::{self, FRAGMENT_SIZE, PARITY_FRAGMENTS, SEGMENT_SIZE};
use cess_devnet::{Devnet, DevnetConfig};
use nix::sys::resource::{UsageWho, getrusage};
use store::Level;
use subxt_signer::sr25519::Keypair;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::s3::Client as Door;
use super::{Line, noise};
use crate::admin::client::Client;
use crate::admin::model;
use crate::admin::workers::WorkerName;
use crate::data_dir::{find_gateway, write_private};

/// Objects that are stored, and the bytes of each: sixteen segments together.
const OBJECTS: u64 = 8;
const OBJECT: usize = 62 << 20;
/// Segments hashed for comparison.
const HASHED: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(600);

/// A gateway in a process of its own, on a network in this one.
struct Apart {
    child: Child,
    pid: i32,
    admin: Client,
    door: Door,
    mount: PathBuf,
    scratch: PathBuf,
    network: Devnet,
}

/// Measures.
pub async fn measure(scratch: &Path, time: Duration, report: &impl Fn(Line)) -> Result<()> {
    let gateway = Apart::start(scratch).await?;
    let outcome = gateway.measure(time, report).await;
    gateway.stop().await?;
    outcome
}

impl Apart {
    async fn start(scratch: &Path) -> Result<Self> {
        let seed: [u8; 32] = crate::random::bytes()?;
        let signer = Keypair::from_secret_key(seed).context("cannot make a signing key")?;
        let network = Devnet::start(DevnetConfig {
            dir: scratch.join("network"),
            rpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            block_period: Duration::from_millis(500),
            miners: 14,
            miner_base: IpAddr::V4(Ipv4Addr::LOCALHOST),
            funded: vec![(AccountId(signer.public_key().0), 10u128.pow(27))],
            report_period: Duration::from_millis(500),
        })
        .await
        .context("cannot start the network to measure on")?;
        let chain = Chain::connect(ChainConfig {
            endpoints: vec![network.rpc_url()],
            signer,
            miner_endpoints: std::collections::BTreeMap::new(),
            rpc_timeout: Duration::from_secs(30),
        })
        .await?;
        chain.mint_territory(b"bench", 64, 30).await?;

        let secret = |name: &str, text: String| write_private(&scratch.join(name), text.as_bytes());
        secret("passphrase", crate::random::hex::<16>()?)?;
        secret("signer", format!("0x{}", hex::encode(seed)))?;
        let (access, key) = (crate::random::hex::<8>()?, crate::random::hex::<20>()?);
        secret("credentials", format!("{access}:{key}\n"))?;
        let config = scratch.join("gateway.toml");
        let dir = scratch.display();
        let text = format!(
            "data = '{dir}/data'\n\
             [keys]\npassphrase_file = '{dir}/passphrase'\n\
             [network]\nrpc = ['{}']\nsigner_file = '{dir}/signer'\nterritory = 'bench'\n\
             [s3]\nlisten = '127.0.0.1:0'\ncredentials_file = '{dir}/credentials'\n\
             [mount]\npath = '{dir}/mnt'\n",
            network.rpc_url()
        );
        std::fs::write(&config, text)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--json", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the gateway to measure")?;
        let stdout = child
            .stdout
            .take()
            .context("the gateway has no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let ready: ApartReady =
            serde_json::from_str(&line).context("the gateway to measure did not come up")?;
        let door = Door::new(
            &super::S3 {
                endpoint: ready.s3.endpoint,
                region: ready.s3.region,
                access_key: access,
                secret_key: key,
            },
            "bench-place",
        )?;
        door.create_bucket().await?;
        let pid = i32::try_from(child.id().context("the gateway has ended")?)?;
        Ok(Self {
            child,
            pid,
            admin: Client::new(find_gateway(&scratch.join("data"))?)?,
            door,
            mount: scratch.join("mnt/bench-place"),
            scratch: scratch.to_owned(),
            network,
        })
    }

    async fn measure(&self, time: Duration, report: &impl Fn(Line)) -> Result<()> {
        let stored = OBJECTS * OBJECT as u64;
        for worker in ["packer", "placer"] {
            self.order("pause", worker).await?;
        }
        let written = self.written()?;
        let plain = self.plain_write().await?;
        let cpu = self.cpu()?;
        let ingest = self.load(1).await?;
        let cpu = self.cpu()? - cpu;
        let plain = f64::midpoint(plain, self.plain_write().await?);
        let rate = |seconds: f64| OBJECTS as f64 / seconds;
        let mut line = Line::named("  as many bytes to one file, then fsync", rate(plain));
        line.bytes_per_second = Some(stored as f64 / plain);
        report(line);
        let mut line = Line::named("S3 PUT 62 MiB, 2 clients, to staged", rate(ingest));
        line.bytes_per_second = Some(stored as f64 / ingest);
        line.note = Some(format!(
            "{:.2} × the plain writes; {:.1} ns of processor time, {:.2} bytes written per byte stored",
            plain / ingest,
            cpu * 1e9 / stored as f64,
            (self.written()? - written) as f64 / stored as f64
        ));
        report(line);

        let hashing = hashing()?;
        let before = self.cpu()?;
        let start = Instant::now();
        for worker in ["packer", "placer"] {
            self.order("resume", worker).await?;
        }
        self.flush(Level::Placed).await?;
        let cpu = self.cpu()? - before;
        let elapsed = start.elapsed();
        let status: model::Status = self.admin.get("/v1/status").await?;
        let segments: u32 = status.store.packs.iter().map(|pack| pack.segments).sum();
        let bare = hashing * f64::from(segments);
        let rate = |seconds: f64| f64::from(segments) / seconds;
        let mut line = Line::named("  laned SHA-256 alone, processor time", rate(bare));
        line.bytes_per_second = Some(stored as f64 / bare);
        report(line);
        let least = tokio::task::spawn_blocking({
            let scratch = self.scratch.clone();
            move || least(&scratch)
        })
        .await??
            * f64::from(segments);
        let mut line = Line::named("  what any program needs, processor time", rate(least));
        line.bytes_per_second = Some(stored as f64 / least);
        line.note = Some(format!("{:.2} × the time of hashing alone", least / bare));
        report(line);
        let mut line = Line::named("staged to placed, processor time", rate(cpu));
        line.bytes_per_second = Some(stored as f64 / cpu);
        line.note = Some(format!("{:.2} × the time of hashing alone", cpu / bare));
        report(line);
        let mut line = Line::named("staged to placed, elapsed", rate(elapsed.as_secs_f64()));
        line.bytes_per_second = Some(stored as f64 / elapsed.as_secs_f64());
        report(line);

        self.flush(Level::Verified).await?;
        let mut line = Line::named("  the whole way, to verified", 0.0);
        line.size = Some(self.written()? - written);
        line.note = Some(format!(
            "{:.2} bytes written per byte stored",
            (self.written()? - written) as f64 / stored as f64
        ));
        report(line);
        self.doors(time, report).await
    }

    /// How fast the mount makes files, alone and while packs are placed.
    async fn doors(&self, time: Duration, report: &impl Fn(Line)) -> Result<()> {
        let alone = self.create("alone", time).await?;
        report(Line::named("FUSE create, nothing else to do", alone));
        for worker in ["packer", "placer"] {
            self.order("pause", worker).await?;
        }
        self.load(2).await?;
        for worker in ["packer", "placer"] {
            self.order("resume", worker).await?;
        }
        let busy = async {
            // The packer closes the first pack within a second.
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.create("busy", time).await
        };
        let (placed, busy) = tokio::join!(self.flush(Level::Placed), busy);
        placed?;
        let busy = busy?;
        let mut line = Line::named("FUSE create, while packs are placed", busy);
        line.note = Some(format!("{:.2} of the rate alone", busy / alone));
        report(line);
        Ok(())
    }

    async fn create(&self, name: &str, time: Duration) -> Result<f64> {
        let dir = self.mount.join(name);
        tokio::task::spawn_blocking(move || {
            std::fs::create_dir(&dir)?;
            let (samples, elapsed) = super::repeat(time, |number| {
                Ok(std::fs::File::create(dir.join(number.to_string())).map(drop)?)
            })?;
            Ok(samples.line(String::new(), elapsed, 0).per_second)
        })
        .await?
    }

    /// Stores the objects, two at a time; answers the seconds that it took.
    async fn load(&self, round: u64) -> Result<f64> {
        let bodies: Vec<Bytes> = (0..OBJECTS)
            .map(|number| noise(100 * round + number, OBJECT).into())
            .collect();
        let put = async |first: usize| -> Result<()> {
            for (number, body) in bodies.iter().enumerate().skip(first).step_by(2) {
                self.door.put(&format!("{round}/{number}"), body.clone()).await?;
            }
            Ok(())
        };
        let start = Instant::now();
        tokio::try_join!(put(0), put(1))?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Writes as many bytes as the objects have to one file beside the gateway's, a MiB at a time,
    /// and syncs it at the end, as `dd bs=1M conv=fsync` does; answers the seconds that it took.
    async fn plain_write(&self) -> Result<f64> {
        let path = self.scratch.join("plain");
        tokio::task::spawn_blocking(move || {
            let block = noise(9, 1 << 20);
            let start = Instant::now();
            let mut file = std::fs::File::create(&path)?;
            for _ in 0..OBJECTS * (OBJECT as u64 >> 20) {
                file.write_all(&block)?;
            }
            file.sync_all()?;
            let took = start.elapsed().as_secs_f64();
            std::fs::remove_file(&path)?;
            Ok(took)
        })
        .await?
    }

    async fn order(&self, order: &str, worker: &str) -> Result<()> {
        let name = WorkerName {
            name: worker.to_owned(),
        };
        self.admin.act(&format!("/v1/workers/{order}"), &name).await
    }

    async fn flush(&self, level: Level) -> Result<()> {
        let request = model::Flush {
            level,
            timeout: PATIENCE.as_secs(),
        };
        self.admin.act("/v1/flush", &request).await
    }

    /// Bytes that the gateway had written to disks so far.
    fn written(&self) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.pid))?;
        text.lines()
            .find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
            .context("the kernel does not count bytes written")
    }

    /// Seconds of processor time that the gateway took so far.
    fn cpu(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let ticks: Option<u64> = text.rsplit_once(')').and_then(|(_, fields)| {
            let mut fields = fields.split_whitespace().skip(11);
            Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
        });
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
        Ok(ticks.context("the kernel does not count processor time")? as f64 / per_second as f64)
    }

    async fn stop(mut self) -> Result<()> {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.pid),
            nix::sys::signal::Signal::SIGTERM,
        )?;
        self.child.wait().await?;
        self.network.shutdown().await;
        Ok(())
    }
}

/// Processor time of hashing one segment and its fragments.
fn hashing() -> Result<f64> {
    let segment = noise(7, SEGMENT_SIZE);
    let mut parity = vec![0; PARITY_FRAGMENTS * FRAGMENT_SIZE];
    codec::encode(&segment, &mut parity)?;
    let before = thread_cpu()?;
    for _ in 0..HASHED {
        std::hint::black_box(codec::hash_segment(&segment, &parity));
    }
    Ok((thread_cpu()? - before) / f64::from(HASHED))
}

/// Processor time of the least that must happen to a segment, in the plainest form there is: read it
/// from a file that is in the page cache, compute the parity, hash everything, write the twelve
/// fragments to a socket. No checksums, no HTTP, no runtime, memory that is used again.
fn least(scratch: &Path) -> Result<f64> {
    let path = scratch.join("least");
    std::fs::write(&path, noise(8, SEGMENT_SIZE))?;
    let mut file = std::fs::File::open(&path)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut socket = TcpStream::connect(listener.local_addr()?)?;
    let (mut peer, _) = listener.accept()?;
    let taking = std::thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
    let mut buffer = vec![0; SEGMENT_SIZE + PARITY_FRAGMENTS * FRAGMENT_SIZE];
    let mut before = 0.0;
    // The first round warms up.
    for round in 0..=HASHED {
        if round == 1 {
            before = thread_cpu()?;
        }
        file.rewind()?;
        let (segment, parity) = buffer.split_at_mut(SEGMENT_SIZE);
        file.read_exact(segment)?;
        codec::encode(segment, parity)?;
        std::hint::black_box(codec::hash_segment(segment, parity));
        socket.write_all(&buffer)?;
    }
    let took = (thread_cpu()? - before) / f64::from(HASHED);
    drop(socket);
    let taken = taking
        .join()
        .map_err(|_| anyhow::anyhow!("the reader of the socket panicked"))??;
    ensure!(taken == buffer.len() as u64 * u64::from(HASHED + 1));
    Ok(took)
}

/// Seconds of processor time that this thread took so far.
fn thread_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The part of the ready line that is needed; `serve` does not repeat secrets.
#[derive(serde::Deserialize)]
struct ApartReady {
    s3: ApartS3,
}

#[derive(serde::Deserialize)]
struct ApartS3 {
    endpoint: String,
    region: String,
}
