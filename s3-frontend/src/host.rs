//! Which bucket a `Host` header names.
//!
//! A host under one of the configured domains is virtual-hosted style (`bucket.DOMAIN`); every other
//! host is path style, so that the gateway also answers under names nobody told it.
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The configured domains, lower case, without port.
pub(crate) struct Domains(Vec<String>);

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
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = without_port(host).to_ascii_lowercase();
        for domain in &self.0 {
            if let Some(bucket) = name
                .strip_suffix(domain.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                && !bucket.is_empty()
            {
                return Ok(VirtualHost::new(domain.as_str()).with_bucket(bucket.to_owned()));
            }
        }
        Ok(VirtualHost::new(host))
    }
}

#[cfg(test)]
mod tests {
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
}
