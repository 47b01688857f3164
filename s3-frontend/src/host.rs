//! Which bucket a `Host` header names.
//!
//! A host under one of the configured domains is virtual-hosted style (`bucket.DOMAIN`); every other
//! host is path style, so that the gateway also answers under names nobody told it.
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The configured domains, lower case, without port.
#[derive(Clone)]
pub(crate) struct Domains(Arc<[String]>);

/// The host that a request names: HTTP/2 has it in its target.
pub(crate) fn host(parts: &Parts) -> Option<&str> {
    match parts.uri.authority() {
        Some(authority) if parts.version >= http::Version::HTTP_2 => Some(authority.as_str()),
        _ => parts.headers.get(HOST)?.to_str().ok(),
    }
}

impl Domains {
    /// Takes domain names; a port is ignored.
    pub(crate) fn new(domains: &[String]) -> Self {
        Self(
            domains
                .iter()
                .map(|domain| without_port(domain).to_ascii_lowercase())
                .collect(),
        )
    }

    /// The bucket under one of the domains that a host stands for.
    pub(crate) fn hosted(&self, host: &str) -> Option<String> {
        let name = without_port(host).to_ascii_lowercase();
        let mut buckets = self
            .0
            .iter()
            .filter_map(|domain| name.strip_suffix(domain.as_str())?.strip_suffix('.'));
        buckets.find(|bucket| !bucket.is_empty()).map(str::to_owned)
    }

    /// What a request is about; `None`: no bucket.
    pub(crate) fn place(&self, parts: &Parts) -> Option<Place> {
        let path = parts.uri.path().strip_prefix('/')?;
        if let Some(bucket) = host(parts).and_then(|host| self.hosted(host)) {
            return Some(Place {
                bucket,
                key: path.to_owned(),
                hosted: true,
            });
        }
        let (first, key) = path.split_once('/').unwrap_or((path, ""));
        let bucket = percent_decode_str(first).decode_utf8().ok()?;
        (!bucket.is_empty()).then(|| Place {
            bucket: bucket.into_owned(),
            key: key.to_owned(),
            hosted: false,
        })
    }
}

/// What a request is about, whether it is there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    /// The key as the path has it, encoded; empty: the bucket itself.
    pub(crate) key: String,
    /// Whether the host names the bucket.
    pub(crate) hosted: bool,
}

/// A host without its port.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let named = VirtualHost::new(host);
        Ok(match self.hosted(host) {
            Some(bucket) => named.with_bucket(bucket),
            None => named,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(domains: &[&str], host: &str) -> Option<String> {
        let domains = Domains::new(&domains.iter().map(ToString::to_string).collect::<Vec<_>>());
        domains
            .parse_host_header(host)
            .unwrap()
            .bucket()
            .map(str::to_owned)
    }

    #[test]
    fn hosts_under_a_domain_name_buckets_and_all_others_do_not() {
        let domains = ["s3.example.com", "S3.internal:9000"];
        assert_eq!(
            bucket(&domains, "photos.s3.example.com").as_deref(),
            Some("photos")
        );
        assert_eq!(
            bucket(&domains, "Photos.S3.example.com:8080").as_deref(),
            Some("photos")
        );
        assert_eq!(
            bucket(&domains, "my.dotted.s3.internal:9000").as_deref(),
            Some("my.dotted")
        );
        for path_style in [
            "s3.example.com",
            "localhost:9000",
            "xs3.example.com",
            ".s3.example.com",
            "[::1]:80",
            "",
        ] {
            assert_eq!(bucket(&domains, path_style), None, "{path_style}");
        }
    }

    #[test]
    fn requests_name_buckets_by_host_or_path() {
        let domains = Domains::new(&["s3.test".to_owned()]);
        let bucket = |host: &str, path: &str| {
            let request = http::Request::builder().uri(path).header(HOST, host);
            let place = domains.place(&request.body(()).unwrap().into_parts().0);
            place.map(|place| (place.bucket, place.key))
        };
        let photos = |key: &str| Some(("photos".to_owned(), key.to_owned()));
        assert_eq!(bucket("s3.test", "/photos/a/b"), photos("a/b"));
        assert_eq!(bucket("photos.s3.test:80", "/a/b"), photos("a/b"));
        assert_eq!(bucket("photos.s3.test:80", "/"), photos(""));
        assert_eq!(bucket("127.0.0.1:9000", "/ph%6Ftos?cors"), photos(""));
        assert_eq!(bucket("127.0.0.1:9000", "/photos/"), photos(""));
        assert_eq!(bucket("s3.test", "/"), None);
        assert_eq!(bucket("s3.test", "/%FF/k"), None);
        let request = http::Request::builder()
            .version(http::Version::HTTP_2)
            .uri("https://photos.s3.test/k");
        let parts = request.body(()).unwrap().into_parts().0;
        assert_eq!(domains.place(&parts).unwrap().bucket, "photos");
    }

    proptest! {
        #[test]
        fn any_host_and_path_can_be_looked_at(host in "[ -~]{0,40}", path in "/[!-~&&[^#?]]{0,40}") {
            let domains = Domains::new(&["s3.test".to_owned(), "test".to_owned()]);
            let named = domains.hosted(&host);
            if let Some(bucket) = &named {
                prop_assert!(!bucket.is_empty());
                prop_assert!(host.to_ascii_lowercase().starts_with(bucket.as_str()));
            }
            if let (Ok(request), Ok(value)) = (path.parse::<http::Uri>(), http::HeaderValue::from_str(&host)) {
                let request = http::Request::builder().uri(request).header(HOST, value);
                let place = domains.place(&request.body(()).unwrap().into_parts().0);
                prop_assert!(named.is_none() || place.map(|place| place.bucket) == named);
            }
        }
    }
}
