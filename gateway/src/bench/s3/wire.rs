//! A connection that does as little as possible for a request, so that what is measured is the server.
use anyhow::{Context as _, Result, bail};
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest head of an answer.
const HEAD_MAX: usize = 16 << 10;

/// One HTTP/1.1 connection that stays open. Requests are answered one after the other.
pub(super) struct Wire {
    stream: TcpStream,
    host: String,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects to `http://host:port`.
    pub(super) async fn connect(endpoint: &str) -> Result<Self> {
        let host = endpoint
            .strip_prefix("http://")
            .context("only plain HTTP is measured")?
            .trim_end_matches('/')
            .to_owned();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            host,
            buffer: vec![0; 64 << 10],
        })
    }

    /// PUTs `body`.
    pub(super) async fn put(&mut self, url: &Url, body: &[u8]) -> Result<()> {
        let mut request = self.head("PUT", url);
        request.push_str("content-length: ");
        request.push_str(&body.len().to_string());
        request.push_str("\r\n\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        self.answer().await.map(drop)
    }

    /// GETs `len` bytes and throws them away.
    pub(super) async fn get(&mut self, url: &Url, len: usize) -> Result<()> {
        let mut request = self.head("GET", url);
        request.push_str("\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        let came = self.answer().await?;
        anyhow::ensure!(came == len, "{came} bytes instead of {len}");
        Ok(())
    }

    fn head(&self, method: &str, url: &Url) -> String {
        let query = url.query().unwrap_or_default();
        format!(
            "{method} {}?{query} HTTP/1.1\r\nhost: {}\r\n",
            url.path(),
            self.host
        )
    }

    /// Reads an answer to its end; returns the length of its body.
    async fn answer(&mut self) -> Result<usize> {
        let Head { end, filled } = read_head(&mut self.stream, &mut self.buffer).await?;
        let text = std::str::from_utf8(&self.buffer[..end]).context("the answer's head is no text")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            bail!("{status}: {}", String::from_utf8_lossy(&self.buffer[end..filled]));
        }
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.context("the answer does not state its length")?;
        let mut left = (end + length).saturating_sub(filled);
        while left > 0 {
            let room = left.min(self.buffer.len());
            match self.stream.read(&mut self.buffer[..room]).await? {
                0 => bail!("the server hung up within an answer"),
                came => left -= came,
            }
        }
        Ok(length)
    }
}

/// How much of an answer is there when its head is.
struct Head {
    end: usize,
    filled: usize,
}

async fn read_head(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<Head> {
    let mut filled = 0;
    loop {
        let came = stream.read(&mut buffer[filled..]).await?;
        if came == 0 {
            bail!("the server hung up instead of answering");
        }
        filled += came;
        if let Some(at) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(Head { end: at + 4, filled });
        }
        if filled >= HEAD_MAX.min(buffer.len()) {
            bail!("the answer's head does not end");
        }
    }
}
