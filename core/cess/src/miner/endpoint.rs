//! Where a miner listens: free text on chain, a base URL here.

use reqwest::Url;

/// Longest endpoint text that the chain stores.
const MAX_LENGTH: usize = 100;

/// Turns the endpoint text of a miner into a base URL with an explicit port and no slash at its
/// end, such as `http://203.0.113.7:15001`.
///
/// Text ends at its first NUL; without a scheme it is `http`; `https` is honoured. `None` if no
/// request could be sent there.
pub fn normalise(text: &[u8]) -> Option<String> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = str::from_utf8(text).ok()?.trim();
    if text.is_empty()
        || text.len() > MAX_LENGTH
        || text.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return None;
    }
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    let url = url.ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    if !plain || host.is_empty() || port == 0 {
        return None;
    }
    Some(format!(
        "{}://{host}:{port}{}",
        url.scheme(),
        url.path().trim_end_matches('/')
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_miners_write_becomes_a_url() {
        for (text, url) in [
            (&b"203.0.113.7:15001"[..], "http://203.0.113.7:15001"),
            (b"203.0.113.7:15001\0\0\0", "http://203.0.113.7:15001"),
            (b"http://203.0.113.7:15001/", "http://203.0.113.7:15001"),
            (b"https://miner.example", "https://miner.example:443"),
            (b"https://miner.example:8443/a/", "https://miner.example:8443/a"),
            (b"miner.example", "http://miner.example:80"),
            (b"localhost:15001", "http://localhost:15001"),
            (b"[2001:db8::1]:15001", "http://[2001:db8::1]:15001"),
            (b" 203.0.113.7:1 ", "http://203.0.113.7:1"),
        ] {
            assert_eq!(
                normalise(text).as_deref(),
                Some(url),
                "{}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn what_cannot_be_reached_is_none() {
        for text in [
            &b""[..],
            b"\0\0\0",
            b"\0http://a",
            b"\xff\xfe",
            b"a b:1",
            b"ftp://a:1",
            b"file:///etc/passwd",
            b"http://user:secret@a:1",
            b"a:1?q=1",
            b"a:1#f",
            b"a:99999",
            b"a:0",
            b"http://",
            &[b'a'; 101],
        ] {
            assert_eq!(normalise(text), None, "{}", String::from_utf8_lossy(text));
        }
    }
}
