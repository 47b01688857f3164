//! Where the database is and how it is used.
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::{Error, Result};

/// How a connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// TLS; the server's certificate and name are verified.
    #[default]
    Require,
    /// None. For a Unix socket, or a network that nobody else can read.
    Disable,
}

/// A database that speaks PostgreSQL's protocol and dialect. In the configuration file:
/// `[metadata.postgres]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Servers, tried in order: `name`, `name:port`, `[IPv6]:port`, or the directory of a Unix socket, with `:port`
    /// as well. With several, the first that takes writes is used.
    pub hosts: Vec<String>,
    /// Database.
    pub database: String,
    /// User.
    pub user: String,
    /// File with the password (mode 0600; a final newline is no part of it). Left out: none is sent.
    pub password_file: Option<PathBuf>,
    /// require or disable. Default require; without any effect when all servers are Unix sockets.
    #[serde(default)]
    pub tls: TlsMode,
    /// File with the certificates (PEM) that the server's is verified against. Default: those that this
    /// machine trusts.
    pub ca_file: Option<PathBuf>,
    /// SQL schema that holds the tables; made if absent. Lower case letters, digits and `_`. Default
    /// cess_gateway.
    #[serde(default = "default_schema")]
    pub schema: String,
    /// Most connections for transactions. Default 16.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Most connections for views, each of which holds one while it is in use. Default 32.
    #[serde(default = "default_views")]
    pub views: usize,
    /// Longest wait in seconds for one answer of the server, a free connection included. Default 10.
    #[serde(default = "default_deadline")]
    pub deadline_seconds: u64,
    /// Longest time in seconds that a view or a transaction may be left alone; then the server ends it.
    /// Default 300.
    #[serde(default = "default_idle")]
    pub idle_seconds: u64,
}

fn default_schema() -> String {
    "cess_gateway".into()
}

fn default_connections() -> usize {
    16
}

fn default_views() -> usize {
    32
}

fn default_deadline() -> u64 {
    10
}

fn default_idle() -> u64 {
    300
}

/// Port of a server whose address names none.
const PORT: u16 = 5432;

impl PostgresConfig {
    /// The settings that have no default.
    pub fn new(host: &str, database: &str, user: &str) -> Self {
        Self {
            hosts: vec![host.into()],
            database: database.into(),
            user: user.into(),
            password_file: None,
            tls: TlsMode::default(),
            ca_file: None,
            schema: default_schema(),
            connections: default_connections(),
            views: default_views(),
            deadline_seconds: default_deadline(),
            idle_seconds: default_idle(),
        }
    }

    pub(super) fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds)
    }

    /// Whether connections are inside TLS. Those through Unix sockets alone need none.
    pub(super) fn is_protected(&self) -> bool {
        self.tls == TlsMode::Require && self.hosts.iter().any(|host| !host.starts_with('/'))
    }

    /// What the client is told. Reads the password.
    pub(super) fn client(&self) -> Result<tokio_postgres::Config> {
        self.check()?;
        let mut config = tokio_postgres::Config::new();
        for host in &self.hosts {
            let (name, port) = address(host).ok_or_else(|| wrong(&format!("host {host:?}")))?;
            config.host(name).port(port);
        }
        if self.hosts.len() > 1 {
            config.target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite);
        }
        config
            .dbname(&self.database)
            .user(&self.user)
            .application_name("cess-gateway")
            .connect_timeout(self.deadline())
            .tcp_user_timeout(self.deadline())
            .keepalives_idle(Duration::from_secs(30))
            .ssl_mode(if self.is_protected() {
                tokio_postgres::config::SslMode::Require
            } else {
                tokio_postgres::config::SslMode::Disable
            });
        if let Some(path) = &self.password_file {
            let failed = |error: std::io::Error| Error::Engine(format!("{}: {error}", path.display()));
            let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(wrong(&format!(
                    "{} can be read by others: chmod 600 it",
                    path.display()
                )));
            }
            let mut password = std::fs::read(path).map_err(failed)?;
            while password.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                password.pop();
            }
            config.password(&password);
        }
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let named = |name: &str| {
            !name.is_empty()
                && name.len() <= 63
                && name
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && !name.starts_with("pg_")
        };
        if !named(&self.schema) {
            return Err(wrong(&format!("schema {:?}", self.schema)));
        }
        if self.hosts.is_empty() {
            return Err(wrong("no hosts"));
        }
        if self.connections == 0 || self.views == 0 || self.deadline_seconds == 0 || self.idle_seconds == 0 {
            return Err(wrong(
                "connections, views, deadline_seconds and idle_seconds are at least 1",
            ));
        }
        Ok(())
    }
}

fn wrong(what: &str) -> Error {
    Error::Engine(format!("metadata.postgres: {what}"))
}

fn address(host: &str) -> Option<(&str, u16)> {
    if let Some(rest) = host.strip_prefix('[') {
        let (name, rest) = rest.split_once(']')?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if rest.is_empty() => PORT,
            None => return None,
        };
        return Some((name, port));
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && !name.is_empty() => Some((name, port.parse().ok()?)),
        Some(_) => None,
        None if host.is_empty() => None,
        None => Some((host, PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (host, expected) in [
            ("db", Some(("db", 5432))),
            ("db.example:26257", Some(("db.example", 26257))),
            ("[::1]:5433", Some(("::1", 5433))),
            ("[::1]", Some(("::1", 5432))),
            ("/run/postgresql", Some(("/run/postgresql", 5432))),
            ("/tmp/x:6000", Some(("/tmp/x", 6000))),
            ("::1", None),
            ("db:port", None),
            ("db:", None),
            (":5432", None),
            ("", None),
            ("[::1", None),
            ("[::1]5", None),
        ] {
            assert_eq!(address(host), expected, "{host}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let good = PostgresConfig::new("db", "names", "gateway");
        good.client().unwrap();
        for schema in ["", "a-b", "A", "1a", "a;drop", "pg_catalog", &"x".repeat(64)] {
            let bad = PostgresConfig {
                schema: schema.into(),
                ..good.clone()
            };
            assert!(bad.client().is_err(), "{schema}");
        }
        let bad = PostgresConfig {
            hosts: Vec::new(),
            ..good.clone()
        };
        assert!(bad.client().is_err());
        let bad = PostgresConfig { views: 0, ..good };
        assert!(bad.client().is_err());
    }

    #[test]
    fn the_password_is_in_its_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "  keep the spaces  \r\n").unwrap();
        let allow = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let config = PostgresConfig {
            password_file: Some(path.clone()),
            ..PostgresConfig::new("db", "names", "gateway")
        };
        allow(0o640);
        assert!(config.client().unwrap_err().to_string().contains("chmod"));
        allow(0o600);
        let client = config.client().unwrap();
        assert_eq!(client.get_password(), Some(&b"  keep the spaces  "[..]));
        assert!(!format!("{config:?} {client:?}").contains("the spaces"));
        let gone = PostgresConfig {
            password_file: Some(dir.path().join("gone")),
            ..config
        };
        assert!(gone.client().unwrap_err().to_string().contains("gone"));
    }
}
